"""Connections to PostgreSQL, with the settings that every one of them needs."""

from typing import Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from strongroom.store.migrate import migrations

CONNECT_TIMEOUT_S: Final = 10
COMMAND_TIMEOUT_S: Final = 30

SETTINGS: Final = {
    "timezone": "UTC",
    "search_path": "strongroom, pg_temp",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

Pool = asyncpg.Pool
Connection = asyncpg.Connection
FAULTS: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError
)
"""What goes wrong when PostgreSQL can't be reached or refuses. The driver calls it an internal error of its own when
it finds at the next statement that its session was ended meanwhile."""

OUTAGES: Final = (
    asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError,
)
"""Of these, what passes when PostgreSQL is back: no fault of a statement or its arguments."""

Session = asyncpg.Connection | PoolConnectionProxy
"""A connection of one's own, or one lent by a pool."""


class SessionError(Exception):
    """The database isn't the one that this process was written for."""


async def connect(dsn: str, application: str) -> asyncpg.Connection:
    """One connection, with our settings. Raises: SessionError if the schema is of another version."""
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S,
        server_settings={**SETTINGS, "application_name": application},
    )
    try:
        await _check(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def open_pool(dsn: str, application: str, maximum: int = 4) -> asyncpg.Pool:
    """A pool of 1 to `maximum` connections. Raises: SessionError if the schema is of another version."""
    pool = await asyncpg.create_pool(
        dsn, min_size=1, max_size=maximum, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S,
        server_settings={**SETTINGS, "application_name": application},
    )
    try:
        async with pool.acquire() as connection:
            await _check(connection)
    except BaseException:
        await pool.close()
        raise
    return pool


async def _check(connection: Session) -> None:
    try:
        rows = await connection.fetch("SELECT name, sha256 FROM strongroom.migrations ORDER BY name")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as fault:
        raise SessionError("the database has no Strongroom schema: run the migrations") from fault
    if [(row["name"], row["sha256"]) for row in rows] != [(each.name, each.sha256) for each in migrations()]:
        raise SessionError("the database's schema is of another version than this program: run the migrations")
