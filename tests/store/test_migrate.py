"""Migrations: each once, whole or not at all, and never with other bytes than before."""

import asyncio

import asyncpg
import pytest
from tests.conftest import Database

from strongroom.store.migrate import Migration, MigrationError, migrate, migrations


def test_a_database_that_is_current_is_left_alone(database: Database) -> None:
    assert asyncio.run(migrate(database.owner_dsn)) == []


def test_a_failing_file_leaves_nothing_behind_and_those_before_it_stay(database: Database) -> None:
    more = [
        *migrations(), Migration("9001_good.sql", "CREATE TABLE strongroom.good (id int)"),
        Migration("9002_bad.sql", "CREATE TABLE strongroom.half (id int); SELECT 1 / 0"),
    ]

    async def go() -> None:
        with pytest.raises(MigrationError, match=r"9002_bad.sql: division by zero"):
            await migrate(database.owner_dsn, more)
        owner = await asyncpg.connect(database.owner_dsn)
        rows = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'strongroom'")
        tables = {row[0] for row in rows}
        await owner.close()
        assert "good" in tables
        assert "half" not in tables
        with pytest.raises(MigrationError, match=r"has 9001_good.sql, which this version"):
            await migrate(database.owner_dsn)

    asyncio.run(go())


def test_a_file_with_other_bytes_than_were_applied_is_refused(database: Database) -> None:
    first, *rest = migrations()
    with pytest.raises(MigrationError, match="other bytes"):
        asyncio.run(migrate(database.owner_dsn, [Migration(first.name, first.sql + " "), *rest]))


def test_two_runners_at_once_apply_each_file_once(database: Database) -> None:
    more = [*migrations(), Migration("9001_slow.sql", "SELECT pg_sleep(0.3); CREATE TABLE strongroom.once (id int)")]

    async def go() -> None:
        done = await asyncio.gather(migrate(database.owner_dsn, more), migrate(database.owner_dsn, more))
        assert sorted(map(len, done)) == [0, 1]

    asyncio.run(go())
