"""Passwords of the roles that processes sign in as. A role without one can't sign in."""

from collections.abc import Mapping

import asyncpg


async def set_passwords(owner_dsn: str, passwords: Mapping[str, str]) -> None:
    """`passwords` maps role to password; each role exists since the migrations."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        for role, password in passwords.items():
            statement = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
            await connection.execute(await connection.fetchval(statement, role, password))
    finally:
        await connection.close()
