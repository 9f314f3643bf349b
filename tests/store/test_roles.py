"""What each role may do to each table: the whole matrix, tried and not read from a catalogue.

A table that isn't listed here fails the test, so nobody adds one without saying who may touch it.
"""

import asyncio

import asyncpg
import pytest
from tests.conftest import ROLES, Database

from strongroom.store.session import SessionError, connect

API, CONSOLE, ENGINE, WATCH = "api", "console", "engine", "watch"

# table: (who may read it, who may insert). Nobody may update, delete or truncate anything.
MATRIX: dict[str, tuple[set[str], set[str]]] = {
    "alarms": ({CONSOLE, WATCH}, {WATCH}),
    "approval_assertions": ({API, CONSOLE, ENGINE}, set()),
    "approval_requests": ({API, CONSOLE, ENGINE}, set()),
    "attempt_coins": ({ENGINE}, set()),
    "attempt_payouts": ({API, CONSOLE, ENGINE}, set()),
    "attempts": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "audit_checkpoints": ({API, CONSOLE, WATCH}, {WATCH}),
    "audit_cosignatures": ({API, CONSOLE, WATCH}, {WATCH}),
    "audit_leaves": ({API, CONSOLE, WATCH}, set()),
    "audit_nodes": ({API, CONSOLE, WATCH}, {WATCH}),
    "audit_sequence": ({API, CONSOLE, WATCH}, {WATCH}),
    "audit_words": ({CONSOLE}, set()),
    "batch_reports": ({API, ENGINE, WATCH}, {WATCH}),
    "bearer_keys": ({API, CONSOLE}, set()),
    "beneficiaries": ({API, CONSOLE, ENGINE}, set()),
    "cancel_requests": ({API, CONSOLE, ENGINE}, set()),
    "chain_names": ({API, CONSOLE}, set()),
    "chain_reports": ({API, CONSOLE, ENGINE, WATCH}, {WATCH}),
    "change_assertions": ({API, CONSOLE, ENGINE}, set()),
    "change_steps": ({API, CONSOLE, ENGINE}, set()),
    "client_keys": ({API, CONSOLE}, set()),
    "clients": ({API, CONSOLE}, set()),
    "console_acts": ({CONSOLE}, set()),
    "console_challenges": (set(), set()),
    "console_consents": ({CONSOLE}, set()),
    "console_credential_ends": ({CONSOLE}, set()),
    "console_credentials": ({CONSOLE}, set()),
    "console_instructions": ({CONSOLE}, set()),
    "console_invitation_tokens": (set(), set()),
    "console_invitation_uses": ({CONSOLE}, set()),
    "console_invitations": ({CONSOLE}, set()),
    "console_sessions": ({CONSOLE}, set()),
    "deployment": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "destinations": ({API, CONSOLE, ENGINE}, set()),
    "evidence": ({API, CONSOLE, ENGINE}, set()),
    "fee_rates": ({API}, set()),
    "freezes": ({API, CONSOLE}, set()),
    "intake_epochs": ({API}, set()),
    "key_revocations": ({API, CONSOLE}, set()),
    "key_scopes": ({API, CONSOLE}, set()),
    "ledger_accounts": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "ledger_postings": ({CONSOLE}, set()),
    "migrations": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "organisations": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "other_requests": ({API}, set()),
    "outbox": (set(), set()),
    "payout_moves": (set(), set()),
    "payouts": ({API, CONSOLE, ENGINE}, set()),
    "person_answers": ({API, CONSOLE}, set()),
    "person_requests": ({API, CONSOLE}, set()),
    "policies": ({API, CONSOLE, ENGINE, WATCH}, set()),
    "proposed_changes": ({API, CONSOLE, ENGINE}, set()),
    "receipts": ({API, CONSOLE, ENGINE}, set()),
    "reconciliations": ({API, CONSOLE, WATCH}, {WATCH}),
    "refusals": ({CONSOLE, ENGINE}, set()),
    "registrations": ({API, CONSOLE, ENGINE}, set()),
    "reservations": ({ENGINE}, set()),
    "rosters": ({API, CONSOLE, ENGINE}, set()),
    "run_calls": ({API, CONSOLE, ENGINE}, set()),
    "run_items": ({API, CONSOLE, ENGINE}, set()),
    "run_seals": ({API, CONSOLE, ENGINE}, set()),
    "runs": ({API, CONSOLE, ENGINE}, set()),
    "station_bundles": ({API, CONSOLE, WATCH}, set()),
    "wallet_addresses": ({ENGINE, WATCH}, set()),
}
LAST_COLUMN = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum DESC LIMIT 1
"""
CHANGED_ON_ITS_ROAD = {
    "payouts", "attempts", "ledger_accounts", "migrations", "console_sessions", "console_challenges", "fee_rates",
}


async def _allowed(connection: asyncpg.Connection, sql: str) -> bool:
    """Whether the privilege is there; any other error comes after it was checked."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        return False
    except asyncpg.PostgresError:
        return True
    finally:
        await transaction.rollback()
    return True


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_matrix_says_and_no_more(database: Database, role: str) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(database.dsn(role))
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'strongroom'")
        assert {row[0] for row in tables} == set(MATRIX)
        for table, (readers, writers) in MATRIX.items():
            name = f"strongroom.{table}"
            column = (await connection.fetch(
                LAST_COLUMN, name
            ))[0][0]
            verbs = {
                "SELECT": (f"SELECT * FROM {name} LIMIT 1", role in readers),
                "INSERT": (f"INSERT INTO {name} DEFAULT VALUES", role in writers),
                "UPDATE": (f"UPDATE {name} SET {column} = {column}", False),
                "DELETE": (f"DELETE FROM {name}", False),
                "TRUNCATE": (f"TRUNCATE {name}", False),
            }
            for verb, (sql, expected) in verbs.items():
                assert await _allowed(connection, sql) is expected, f"{role} {verb} {table}"
        await connection.close()

    asyncio.run(go())


@pytest.mark.parametrize("table", sorted(set(MATRIX) - CHANGED_ON_ITS_ROAD))
def test_an_append_only_table_refuses_even_its_owner(database: Database, table: str) -> None:
    async def go() -> None:
        owner = await asyncpg.connect(database.owner_dsn)
        column = (await owner.fetch(
            LAST_COLUMN, f"strongroom.{table}"
        ))[0][0]
        for sql in (
            f"UPDATE strongroom.{table} SET {column} = {column}", f"DELETE FROM strongroom.{table}",
            f"TRUNCATE strongroom.{table} CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(sql)
        await owner.close()

    asyncio.run(go())


@pytest.mark.parametrize("table", ["payouts", "attempts", "ledger_accounts"])
def test_what_changes_on_its_road_is_never_gone(database: Database, table: str) -> None:
    async def go() -> None:
        owner = await asyncpg.connect(database.owner_dsn)
        for sql in (f"DELETE FROM strongroom.{table}", f"TRUNCATE strongroom.{table} CASCADE"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(sql)
        await owner.close()

    asyncio.run(go())


def test_functions_belong_to_those_who_need_them(database: Database) -> None:
    async def go() -> None:
        owner = await asyncpg.connect(database.owner_dsn)
        rows = await owner.fetch(
            "SELECT p.proname, r.rolname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, pg_roles r "
            "WHERE n.nspname = 'strongroom' AND r.rolname LIKE 'strongroom\\_%' AND r.rolname <> 'strongroom_owner' "
            "AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
        )
        await owner.close()
        granted = {(row["rolname"].removeprefix("strongroom_"), row["proname"]) for row in rows}
        assert {name for role, name in granted if role == WATCH} == {
            "audit_lock", "watch_station_bundle", "watch_surplus", "watch_surplus_gone", "watch_words",
        }
        people = {"approve", "change_assert", "change_propose"}
        assert all(name.startswith("intake_") or name in people for role, name in granted if role == API)
        assert all(name.startswith("engine_") for role, name in granted if role == ENGINE)
        assert all(name.startswith("console_") or name in people for role, name in granted if role == CONSOLE)
        assert {role for role, _ in granted} == {API, CONSOLE, ENGINE, WATCH}

    asyncio.run(go())


def test_a_process_refuses_a_database_of_another_version(database: Database) -> None:
    async def go() -> None:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute("UPDATE strongroom.migrations SET sha256 = 'x' WHERE name LIKE '0002%'")
        await owner.close()
        with pytest.raises(SessionError, match="another version"):
            await connect(database.dsn(API), "test")

    asyncio.run(go())
