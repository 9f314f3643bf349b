"""Runs a test's coroutine with an intake writer that is stopped afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
from tests.conftest import Database
from tests.store.organisation import Clock, Organisation, create

from strongroom.store.intake import Intake

DAY_MS = 86_400_000


class World:
    """One organisation, a clock that stands still, and a writer on a fresh database."""

    def __init__(self, database: Database, organisation: Organisation, clock: Clock, intake: Intake) -> None:
        self.database = database
        self.organisation = organisation
        self.clock = clock
        self.intake = intake

    async def owner(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.database.owner_dsn)

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await self.owner()
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    async def counts(self) -> dict[str, int]:
        """How many rows each table has that intake writes to."""
        tables = (
            "payouts", "evidence", "ledger_postings", "outbox", "audit_leaves", "beneficiaries", "destinations",
            "runs", "run_calls", "run_items", "run_seals", "cancel_requests", "other_requests",
        )
        return {table: (await self.fetch(f"SELECT count(*) FROM strongroom.{table}"))[0][0] for table in tables}


def run(database: Database, story: Callable[[World], Awaitable[None]], **policy: object) -> None:
    async def go() -> None:
        organisation = await create(database.owner_dsn, **policy)  # type: ignore[arg-type]  # keyword by keyword
        clock = Clock()
        intake = await Intake.start(database.dsn("api"), clock)
        try:
            await story(World(database, organisation, clock, intake))
        finally:
            await intake.stop()

    asyncio.run(go())
