"""Whether intake costs the same when much is stored: the same payouts on a small and on a large database, in turn."""

from pathlib import Path

import asyncpg

from benchmarks.asks import asks
from benchmarks.ground import ASSET, AUTHORITY, Ground
from benchmarks.machine import now


async def filled_database(ground: Ground, count: int) -> str:
    """A database with `count` payouts that were taken in the last thirty days, vacuumed and analysed."""
    database = await ground.database()
    ask = asks(ground, 1)[0]
    debit, credit = await ground.accounts(database)
    connection = await asyncpg.connect(ground.owner_dsn(database))
    try:
        values = {
            "count": count, "payees": len(ground.payees), "now": now(), "organisation": ground.payer.organisation,
            "client": ground.payer.client, "key_id": ground.payer.key_id, "authority": AUTHORITY, "asset": ASSET,
            "base": ask.evidence.signature_base.hex(), "body": ask.evidence.body.hex(),
            "debit": debit, "credit": credit,
        }
        sql = (Path(__file__).parent / "stored.sql").read_text()
        for name, value in values.items():
            sql = sql.replace(f"{{{name}}}", str(value))
        await connection.execute("SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'")
        await connection.execute(sql)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return database
