"""Settling a reservation doesn't read the ledger, whatever the planner believed when the session began."""

import asyncio

import asyncpg
from tests.conftest import Database
from tests.store.organisation import create

from strongroom.store.session import connect

STORED = 400

_POST = """
INSERT INTO strongroom.ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
VALUES ($1, $2, $3, $4, 1, 'entry', 1) RETURNING id
"""
_READ = """
SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::bigint
FROM pg_stat_xact_user_tables WHERE relname = 'ledger_postings'
"""


async def _settles(session: asyncpg.Connection, debit: int, credit: int) -> int:
    """How many rows of the ledger are read when one reservation is made and settled."""
    async with session.transaction():
        reserved = await session.fetchval(_POST, "pending", None, debit, credit)
        await session.fetchval(_POST, "post_pending", reserved, debit, credit)
        read: int = await session.fetchval(_READ)
        return read


def test_settling_reads_no_more_postings_when_more_are_stored(database: Database) -> None:
    async def go() -> None:
        await create(database.owner_dsn)
        session = await connect(database.owner_dsn, "test")
        try:
            await session.execute("VACUUM ANALYZE")  # the planner now knows that the ledger is short
            accounts = {
                row["account"]: row["id"]
                for row in await session.fetch("SELECT id, account FROM strongroom.ledger_accounts")
            }
            debit, credit = accounts["payouts"], accounts["wallet:hot"]
            assert await _settles(session, debit, credit) <= 3
            for _ in range(STORED):
                await session.fetchval(_POST, "pending", None, debit, credit)
            assert await _settles(session, debit, credit) <= 3
        finally:
            await session.close()

    asyncio.run(go())
