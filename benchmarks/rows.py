"""That a run wrote what it says it wrote: the same rows to the same tables, whichever side it was."""

import asyncpg

from benchmarks.ground import Ground

ROW_EACH = ("payouts", "ledger_postings", "audit_leaves", "outbox")
"""One row of each of these for every payout; a single has its own row of evidence, a run one for all of it."""


class RowsError(Exception):
    """A side didn't do the work that it is measured for."""


def expected_rows(payouts: int, runs: int = 0) -> dict[str, int]:
    """What so many payouts add to the template, in tables that a run changes at all."""
    added = dict.fromkeys(ROW_EACH, payouts)
    if runs == 0:
        return {**added, "evidence": payouts}
    added["audit_leaves"] += 2 * runs  # opened and sealed
    added["outbox"] += runs  # sealed
    return {**added, "evidence": runs, "run_items": payouts, "runs": runs, "run_calls": runs, "run_seals": runs}


async def check_rows(ground: Ground, database: str, payouts: int, runs: int = 0) -> None:
    """Raises: RowsError unless exactly these rows were added, and what is reserved is what the payouts ask for."""
    before, after = ground.rows_of_template, await ground.rows(database)
    added = {table: after[table] - before[table] for table in after if after[table] != before[table]}
    expected = expected_rows(payouts, runs)
    if added != expected:
        raise RowsError(f"{database} has {added}, and should have {expected}")
    connection = await asyncpg.connect(ground.owner_dsn(database))
    try:
        reserved = await connection.fetchval(
            "SELECT credits_pending FROM strongroom.ledger_accounts WHERE account = 'wallet:hot'"
        )
        asked = await connection.fetchval("SELECT sum(amount) FROM strongroom.payouts WHERE counted")
    finally:
        await connection.close()
    if reserved != asked:
        raise RowsError(f"{reserved} base units are reserved for payouts of {asked}")
