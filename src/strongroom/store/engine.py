"""The engine's side of the record: what is to be done next, and the only ways in which it writes down what was done.

Reads return rows as types; writes are the functions of migration 0007, which check each move again. One engine works
at a time: it holds an advisory lock on the connection that it writes with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId, PayoutId, RunId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.domain.policy import Policy
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.merkle import leaf_hash
from strongroom.store.organisations import read_policies
from strongroom.store.session import Session

ENGINE_LOCK: Final = 7163829170
ROWS_MAXIMUM: Final = 400


class EngineTakenError(Exception):
    """Another engine holds the lock."""


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Something that a client signed and that the signer hasn't acknowledged yet."""

    object: str
    organisation: OrganisationId
    evidence: ClientEvidence


@dataclass(frozen=True, slots=True)
class DuePayout:
    """A payout to look at. `subject` is what people approve: its run, or itself."""

    id: PayoutId
    organisation: OrganisationId
    run: RunId | None
    run_index: int | None
    state: State
    asset: str
    amount: int
    network: str
    address: str
    not_before: Instant | None
    expires_at: Instant | None
    is_registered: bool
    is_cancel_requested: bool

    @property
    def subject(self) -> str:
        return self.run or self.id


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """The newest approval request for a subject, and the assertions over it as they came."""

    subject: str
    request: bytes
    approvals: int
    assertions: tuple[str, ...]
    people: int


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    chain_transaction: str
    organisation: OrganisationId
    network: str
    operation: str
    state: str
    unsigned: bytes
    signed: bytes | None
    paths: str
    payouts: tuple[PayoutId, ...]


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What watch saw last; `depth` is 0 in no block."""

    status: str
    depth: int


_DUE: Final = """
SELECT p.id, p.organisation, p.run, p.run_index, p.state, p.asset, p.amount::text AS amount, p.not_before, p.expires_at,
    d.network, d.address,
    EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = coalesce(p.run, p.id)) AND
    EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.destination_digest) AS is_registered,
    EXISTS (SELECT FROM strongroom.cancel_requests c WHERE c.object = p.id OR c.object = p.run) AS is_cancel_requested
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
"""


async def take_lock(connection: asyncpg.Connection) -> None:
    """Raises: EngineTakenError."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ENGINE_LOCK):
        raise EngineTakenError("another engine is at work on this database")


async def policies(connection: Session) -> Mapping[OrganisationId, Policy]:
    return await read_policies(connection)


async def unregistered_destinations(connection: Session) -> list[Unregistered]:
    """Oldest first, so that a version never comes before the one that it follows."""
    rows = await connection.fetch(
        "SELECT d.digest AS object, d.organisation, e.signature_base, e.signature, e.body "
        "FROM strongroom.destinations d JOIN strongroom.evidence e ON e.id = d.evidence WHERE NOT EXISTS "
        "(SELECT FROM strongroom.registrations r WHERE r.object = d.digest) ORDER BY d.evidence LIMIT $1",
        ROWS_MAXIMUM,
    )
    return [_unregistered(row) for row in rows]


async def unregistered_payouts(connection: Session) -> list[Unregistered]:
    """Payouts of their own, whose destination the signer knows."""
    rows = await connection.fetch(
        "SELECT p.id AS object, p.organisation, e.signature_base, e.signature, e.body FROM strongroom.payouts p "
        "JOIN strongroom.evidence e ON e.id = p.evidence WHERE p.run IS NULL AND p.state IN ('received', 'held') "
        "AND NOT EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.id) "
        "AND EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.destination_digest) "
        "ORDER BY p.leaf LIMIT $1",
        ROWS_MAXIMUM,
    )
    return [_unregistered(row) for row in rows]


async def unregistered_runs(connection: Session) -> list[Unregistered]:
    """Sealed ones."""
    rows = await connection.fetch(
        "SELECT s.run AS object, u.organisation, e.signature_base, e.signature, e.body FROM strongroom.run_seals s "
        "JOIN strongroom.runs u ON u.id = s.run JOIN strongroom.evidence e ON e.id = s.evidence WHERE NOT EXISTS "
        "(SELECT FROM strongroom.registrations r WHERE r.object = s.run) ORDER BY s.evidence LIMIT 20"
    )
    return [_unregistered(row) for row in rows]


async def due_payouts(connection: Session, states: Sequence[State], now: Instant) -> list[DuePayout]:
    """Those in one of these states whose time has come, the longest waiting first."""
    rows = await connection.fetch(
        f"{_DUE} WHERE p.state = ANY ($1) AND p.due_at <= $2 ORDER BY p.due_at, p.leaf LIMIT $3",
        [state.value for state in states], now, ROWS_MAXIMUM,
    )
    return [_due(row) for row in rows]


async def payouts_of(connection: Session, attempt: StoredAttempt) -> list[DuePayout]:
    """In the order of the attempt's outputs."""
    rows = await connection.fetch(
        f"{_DUE} JOIN strongroom.attempt_payouts a ON a.payout = p.id WHERE a.chain_transaction = $1 "
        "ORDER BY a.position",
        attempt.chain_transaction,
    )
    return [_due(row) for row in rows]


async def newest_request(connection: Session, subject: str) -> StoredRequest | None:
    row = await connection.fetchrow(
        "SELECT subject, request, request_hash, approvals FROM strongroom.approval_requests WHERE subject = $1 "
        "ORDER BY id DESC LIMIT 1",
        subject,
    )
    if row is None:
        return None
    given = await connection.fetch(
        "SELECT person, assertion FROM strongroom.approval_assertions WHERE request_hash = $1 ORDER BY created_at",
        row["request_hash"],
    )
    people = len({each["person"] for each in given})
    return StoredRequest(
        row["subject"], row["request"], row["approvals"], tuple(each["assertion"] for each in given), people
    )


async def cancel_evidence(connection: Session, payout: DuePayout) -> tuple[str, ClientEvidence] | None:
    """What was asked to be cancelled, the payout or its run, and the client's request."""
    row = await connection.fetchrow(
        "SELECT c.object, e.signature_base, e.signature, e.body FROM strongroom.cancel_requests c "
        "JOIN strongroom.evidence e ON e.id = c.evidence WHERE c.object = $1 OR c.object = $2 "
        "ORDER BY c.object LIMIT 1",
        payout.id, payout.run,
    )
    return None if row is None else (row["object"], _evidence(row))


async def run_leaf_hashes(connection: Session, run: str) -> list[bytes]:
    rows = await connection.fetch("SELECT leaf FROM strongroom.run_items WHERE run = $1 ORDER BY run_index", run)
    return [leaf_hash(row["leaf"]) for row in rows]


async def run_leaf(connection: Session, run: str, index: int) -> bytes:
    leaf: bytes = await connection.fetchval(
        "SELECT leaf FROM strongroom.run_items WHERE run = $1 AND run_index = $2", run, index
    )
    return leaf


async def attempts_in(connection: Session, *states: str) -> list[StoredAttempt]:
    """The attempts that are so far, oldest first."""
    rows = await connection.fetch(
        "SELECT a.*, (SELECT array_agg(payout ORDER BY position) FROM strongroom.attempt_payouts p "
        "WHERE p.chain_transaction = a.chain_transaction) AS payouts FROM strongroom.attempts a "
        "WHERE a.state = ANY ($1) ORDER BY a.created_at LIMIT $2",
        list(states), ROWS_MAXIMUM,
    )
    return [
        StoredAttempt(
            row["chain_transaction"], OrganisationId(row["organisation"]), row["network"], row["operation"],
            row["state"], row["unsigned"], row["signed"], row["paths"],
            tuple(PayoutId(each) for each in row["payouts"] or ()),
        )
        for row in rows
    ]


async def reserved_coins(connection: Session, organisation: OrganisationId) -> frozenset[str]:
    """The outpoints that an attempt which isn't dropped spends: no other plan may take them."""
    rows = await connection.fetch(
        "SELECT c.outpoint FROM strongroom.attempt_coins c JOIN strongroom.attempts a USING (chain_transaction) "
        "WHERE a.organisation = $1 AND a.state <> 'dropped'",
        organisation,
    )
    return frozenset(row["outpoint"] for row in rows)


async def chain_report(connection: Session, chain_transaction: str) -> ChainReport | None:
    row = await connection.fetchrow(
        "SELECT status, depth FROM strongroom.chain_reports WHERE chain_transaction = $1 ORDER BY id DESC LIMIT 1",
        chain_transaction,
    )
    return None if row is None else ChainReport(row["status"], row["depth"] or 0)


async def register(connection: Session, organisation: OrganisationId, objects: Sequence[str], at: Instant) -> None:
    await connection.execute("SELECT strongroom.engine_register($1, $2, $3)", list(objects), organisation, at)


async def reserve(connection: Session, payouts: Sequence[PayoutId], at: Instant) -> bool:
    """Whether the wallet has enough for all of them; nothing is reserved if not."""
    try:
        await connection.execute("SELECT strongroom.engine_reserve($1, $2)", list(payouts), at)
    except asyncpg.CheckViolationError:
        return False
    return True


async def move(
    connection: Session, payouts: Sequence[PayoutId], before: State, after: State, at: Instant, *,
    hold: HoldReason | None = None, retry_at: Instant | None = None, reason: str = "",
) -> None:
    """All or none. Raises: asyncpg.CheckViolationError for a move that isn't one, or that comes too late."""
    await connection.execute(
        "SELECT strongroom.engine_move($1, $2, $3, $4, $5, $6, $7)",
        list(payouts), before.value, after.value, None if hold is None else hold.value, retry_at, reason, at,
    )


async def wait(connection: Session, payouts: Sequence[PayoutId], due_at: Instant) -> None:
    await connection.execute("SELECT strongroom.engine_wait($1, $2)", list(payouts), due_at)


async def keep_request(
    connection: Session, organisation: OrganisationId, subject: str, request: bytes, request_hash: str,
    signature: bytes, approvals: int, groups: int, at: Instant,
) -> None:
    await connection.execute(
        "SELECT strongroom.engine_request($1, $2, $3, $4, $5, $6::smallint, $7::smallint, $8)",
        organisation, subject, request, request_hash, signature, approvals, groups, at,
    )


async def keep_receipt(
    connection: Session, organisation: OrganisationId, subject: str, receipt: bytes, signature: bytes, at: Instant
) -> None:
    await connection.execute(
        "SELECT strongroom.engine_receipt($1, $2, $3, $4, $5)", subject, organisation, receipt, signature, at
    )


async def keep_plan(
    connection: Session, attempt: StoredAttempt, asset: str, fee: int, outpoints: Sequence[str], at: Instant
) -> bool:
    """Write a plan down, and its payouts as planned; False if these very bytes were planned for other payouts."""
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT strongroom.engine_plan($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                attempt.chain_transaction, attempt.organisation, attempt.network, asset, attempt.operation,
                attempt.unsigned, attempt.paths, str(fee), list(attempt.payouts), list(outpoints), at,
            )
            await move(connection, attempt.payouts, State.READY, State.PLANNED, at)
    except asyncpg.CheckViolationError:
        return False
    return True


async def keep_attempt(
    connection: Session, chain_transaction: str, state: str, at: Instant, signed: bytes | None = None
) -> None:
    await connection.execute("SELECT strongroom.engine_attempt($1, $2, $3, $4)", chain_transaction, state, signed, at)


async def post_fee(connection: Session, chain_transaction: str, at: Instant) -> None:
    await connection.execute("SELECT strongroom.engine_fee($1, $2)", chain_transaction, at)


def _unregistered(row: asyncpg.Record) -> Unregistered:
    return Unregistered(row["object"], OrganisationId(row["organisation"]), _evidence(row))


def _evidence(row: asyncpg.Record) -> ClientEvidence:
    return ClientEvidence(row["signature_base"], row["signature"], row["body"])


def _due(row: asyncpg.Record) -> DuePayout:
    return DuePayout(
        PayoutId(row["id"]), OrganisationId(row["organisation"]), None if row["run"] is None else RunId(row["run"]),
        row["run_index"], State(row["state"]), row["asset"], int(row["amount"]), row["network"], row["address"],
        row["not_before"], row["expires_at"], row["is_registered"], row["is_cancel_requested"],
    )
