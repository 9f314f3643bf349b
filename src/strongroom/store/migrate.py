"""Brings the schema up to date: numbered SQL files, each applied once, whole or not at all.

Runs as the owner. A file that was applied before must still have the same bytes; a database that is newer than
this code is refused. One runner at a time, by an advisory lock; waiting for a table's lock has a time-out, so that
a migration never queues in front of live traffic.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

LOCK: Final = 7163829164
LOCK_TIMEOUT: Final = "5s"
STATEMENT_TIMEOUT: Final = "300s"

_TABLE = """
CREATE SCHEMA IF NOT EXISTS strongroom;
CREATE TABLE IF NOT EXISTS strongroom.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The schema can't be brought up to date; nothing of the failing file was kept."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All of this code's migrations in their order."""
    folder = resources.files("strongroom.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(file.name, file.read_text("utf-8")) for file in files]


async def migrate(owner_dsn: str, known: list[Migration] | None = None) -> list[str]:
    """Apply what is missing; the names applied. Raises: MigrationError."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'; SET statement_timeout = '{STATEMENT_TIMEOUT}'")
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
        await connection.execute(_TABLE)
        return await _apply(connection, migrations() if known is None else known)
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, known: list[Migration]) -> list[str]:
    rows = await connection.fetch("SELECT name, sha256 FROM strongroom.migrations")
    applied = {row["name"]: row["sha256"] for row in rows}
    newer = sorted(set(applied) - {each.name for each in known})
    if newer:
        raise MigrationError(f"the database has {newer[-1]}, which this version of Strongroom doesn't know")
    done: list[str] = []
    for each in known:
        if each.name in applied:
            if applied[each.name] != each.sha256:
                raise MigrationError(f"{each.name} was applied with other bytes than it has now")
            continue
        try:
            async with connection.transaction():
                await connection.execute(each.sql)
                await connection.execute(
                    "INSERT INTO strongroom.migrations (name, sha256) VALUES ($1, $2)", each.name, each.sha256
                )
        except asyncpg.PostgresError as fault:
            raise MigrationError(f"{each.name}: {fault}") from fault
        done.append(each.name)
    return done
