"""The table of moves in PostgreSQL is the one in the code, and so is what intake and the engine do alike."""

import asyncio

import asyncpg
from tests.conftest import Database

from strongroom.domain.payout import MOVES


def test_postgresql_knows_the_same_moves(database: Database) -> None:
    async def go() -> set[tuple[str, str]]:
        owner = await asyncpg.connect(database.owner_dsn)
        rows = await owner.fetch("SELECT before, after FROM strongroom.payout_moves")
        await owner.close()
        return {(row["before"], row["after"]) for row in rows}

    moves = {(before.value, after.value) for before, afters in MOVES.items() for after in afters}
    assert asyncio.run(go()) == moves
