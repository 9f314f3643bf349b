"""What watch needs to hold the ledger and the attempts against the chain, and where it writes what it found."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class Recorded:
    """Our own record at one moment. `posted` is what the wallet has by the ledger, reservations aside.

    `states` are the attempts that stand in the chain and of which we hold the signed bytes, but for those that were
    dropped, as nothing of theirs can be there; `absent` the settled ones
    that don't stand in it, with their unsigned bytes.
    """

    posted: int
    states: Mapping[str, str]
    absent: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Found:
    """Ledger, chain and attempts as of one block; base units."""

    organisation: OrganisationId
    network: str
    asset: str
    height: int
    block_hash: str
    chain: int
    ledger: int
    expected: int
    is_whole: bool


async def last_written(connection: Session) -> str:
    """The end of PostgreSQL's own log, which every change of a row moves on, whoever made it and with which triggers.

    Changes of what nobody commits, and housekeeping, move it as well.
    """
    found: str = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    return found


async def wallet_addresses(connection: Session, network: str) -> dict[str, OrganisationId]:
    """Whose each published address is. One that two claim is nobody's: its coins would count twice."""
    rows = await connection.fetch(
        "SELECT address, min(organisation) AS organisation FROM strongroom.wallet_addresses WHERE network = $1 "
        "GROUP BY address HAVING count(DISTINCT organisation) = 1",
        network,
    )
    return {row["address"]: OrganisationId(row["organisation"]) for row in rows}


async def read_recorded(
    connection: asyncpg.Connection, organisation: OrganisationId, network: str, asset: str, on_chain: Collection[str]
) -> Recorded | None:
    """All of it as of one moment; None if the ledger has no such wallet."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        posted = await connection.fetchval(
            "SELECT (debits_posted - credits_posted)::text FROM strongroom.ledger_accounts "
            "WHERE organisation = $1 AND account = 'wallet:hot' AND asset = $2",
            organisation, asset,
        )
        present = await connection.fetch(
            "SELECT chain_transaction, state FROM strongroom.attempts WHERE organisation = $1 AND network = $2 "
            "AND signed IS NOT NULL AND state <> 'dropped' AND chain_transaction = ANY ($3)",
            organisation, network, list(on_chain),
        )
        absent = await connection.fetch(
            "SELECT chain_transaction, unsigned FROM strongroom.attempts WHERE organisation = $1 AND network = $2 "
            "AND state = 'settled' AND chain_transaction <> ALL ($3)",
            organisation, network, list(on_chain),
        )
    return None if posted is None else Recorded(
        int(posted), {row["chain_transaction"]: row["state"] for row in present},
        {row["chain_transaction"]: row["unsigned"] for row in absent},
    )


@dataclass(frozen=True, slots=True)
class RecordedTokens:
    """Of one asset that a vault holds. `left` is what the ledger says was paid out for good; `known` are the batches of
    which we hold an attempt's signed bytes, but for those of which all attempts were dropped."""

    posted: int
    left: int
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class RecordedGas:
    """Of the asset that pays for gas. By watch's own reports so many `nonces` were used by attempts of ours, which cost
    `fees`."""

    posted: int
    left: int
    nonces: int
    fees: int


_POSTED: Final = """
SELECT sum(debits_posted - credits_posted) FILTER (WHERE account = 'wallet:hot')::text AS posted,
    coalesce(sum(debits_posted - credits_posted) FILTER (WHERE account IN ('payouts', 'fees')), 0)::text AS outgone
FROM strongroom.ledger_accounts WHERE organisation = $1 AND asset = $2
"""


async def read_tokens(
    connection: asyncpg.Connection, organisation: OrganisationId, network: str, asset: str, batches: Collection[str]
) -> RecordedTokens | None:
    """None if the ledger has no such wallet. `batches` were executed, by the chain. What is known of them stays known,
    so both needn't be of one moment."""
    ledger = await connection.fetchrow(_POSTED, organisation, asset)
    known = await connection.fetch(
        "SELECT DISTINCT batch FROM strongroom.attempts WHERE organisation = $1 AND network = $2 "
        "AND signed IS NOT NULL AND state <> 'dropped' AND batch = ANY ($3)",
        organisation, network, list(batches),
    ) if batches else []
    if ledger is None or ledger["posted"] is None:
        return None
    return RecordedTokens(int(ledger["posted"]), int(ledger["outgone"]), frozenset(row["batch"] for row in known))


async def read_gas(
    connection: asyncpg.Connection, organisation: OrganisationId, network: str, asset: str, height: int
) -> RecordedGas | None:
    """Of attempts that are mined up to this height; None if the ledger has no such wallet. Only watch writes reports,
    so both needn't be of one moment."""
    ledger = await connection.fetchrow(_POSTED, organisation, asset)
    used = await connection.fetchrow(
        "SELECT count(DISTINCT (a.paths, a.nonce)) AS nonces, coalesce(sum(r.fee), 0)::text AS fees "
        "FROM strongroom.attempts a JOIN LATERAL (SELECT c.status, c.height, c.fee FROM strongroom.chain_reports c "
        "WHERE c.chain_transaction = a.chain_transaction ORDER BY c.id DESC LIMIT 1) r ON true "
        "WHERE a.organisation = $1 AND a.network = $2 AND a.nonce IS NOT NULL AND a.signed IS NOT NULL "
        "AND r.status IN ('confirmed', 'reverted') AND r.height <= $3",
        organisation, network, height,
    )
    if ledger is None or ledger["posted"] is None or used is None:
        return None
    return RecordedGas(int(ledger["posted"]), int(ledger["outgone"]), used["nonces"], int(used["fees"]))


async def keep(connection: Session, found: Found, at: Instant) -> None:
    await connection.execute(
        "INSERT INTO strongroom.reconciliations (organisation, network, asset, height, block_hash, chain, ledger, "
        "expected, is_whole, created_at) VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric, "
        "$8::text::numeric, $9, $10)",
        found.organisation, found.network, found.asset, found.height, found.block_hash, str(found.chain),
        str(found.ledger), str(found.expected), found.is_whole, at,
    )


async def was_whole(connection: Session, organisation: OrganisationId, asset: str) -> bool:
    """Whether ledger and chain agreed once: before that, the wallet may simply not be funded yet."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM strongroom.reconciliations WHERE organisation = $1 AND asset = $2 AND is_whole)",
        organisation, asset,
    )
    return found


async def post_surplus(
    connection: Session, organisation: OrganisationId, asset: str, amount: int, entry: str, at: Instant
) -> bool:
    """Into suspense, where nobody can be promised it. Whether it wasn't there yet."""
    posted: bool = await connection.fetchval(
        "SELECT strongroom.watch_surplus($1, $2, $3, $4, $5)", organisation, asset, str(amount), entry, at
    )
    return posted


async def take_surplus_back(
    connection: Session, organisation: OrganisationId, asset: str, amount: int, entry: str, at: Instant
) -> bool:
    """Out of suspense, as far as it has so much. Whether it had any, and this isn't done yet."""
    taken: bool = await connection.fetchval(
        "SELECT strongroom.watch_surplus_gone($1, $2, $3, $4, $5)", organisation, asset, str(amount), entry, at
    )
    return taken


async def is_raised(connection: Session, organisation: OrganisationId, name: str, asset: str) -> bool:
    """Whether guard has taken this alarm, since ledger and chain agreed last."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM strongroom.alarms a WHERE a.organisation = $1 AND a.name = $2 AND a.created_at > "
        "coalesce((SELECT max(r.created_at) FROM strongroom.reconciliations r WHERE r.organisation = $1 "
        "AND r.asset = $3 AND r.is_whole), -1))",
        organisation, name, asset,
    )
    return found


async def was_raised(connection: Session, organisation: OrganisationId, name: str) -> bool:
    """Whether guard has ever taken this alarm."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM strongroom.alarms WHERE organisation = $1 AND name = $2)", organisation, name
    )
    return found


async def keep_alarm(connection: Session, organisation: OrganisationId, name: str, detail: str, at: Instant) -> None:
    await connection.execute(
        "INSERT INTO strongroom.alarms (organisation, name, detail, created_at) VALUES ($1, $2, $3, $4)",
        organisation, name, detail, at,
    )
