"""The engine's side of the record: what is to be done next, and the only ways in which it writes down what was done.

Reads return rows as types; writes are the functions of migration 0007, which check each move again. One engine works
at a time: it holds an advisory lock on the connection that it writes with.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, PayoutId, RunId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.domain.policy import Policy
from strongroom.protocol.approval import ASSERTIONS_MAXIMUM, take_assertion
from strongroom.protocol.canonical import CanonicalError, parse_object
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.request import Evidence, PersonEvidence
from strongroom.store.organisations import read_policies
from strongroom.store.session import Session

ENGINE_LOCK: Final = 7163829170
ROWS_MAXIMUM: Final = 400
"""Of one organisation in one step, so that none keeps the others waiting."""
STEP_MAXIMUM: Final = 4_000
DETAIL_MAXIMUM: Final = 500
"""Characters kept of what a reason says."""
EXCLUDED: Final = "excluded by "
"""How the note of an attempt begins that another chain transaction excludes."""
NEVER_OVERDRAWN: Final = "never_overdrawn"
CLIENT_SIGNATURE_LENGTH: Final = 64
"""Ed25519; a person's assertion is longer."""


class EngineTakenError(Exception):
    """Another engine holds the lock."""


class NoFundsError(Exception):
    """The wallet hasn't enough that isn't promised already; nothing was changed."""


class PlannedBeforeError(Exception):
    """These very bytes were planned before, for these payouts or for others; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a payout is as it is: `code` is the signer's rule or a word of ours, `source` who says so."""

    code: str
    source: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DuePayout:
    """A payout to look at. `subject` is what people approve: its run, or itself. It was held `holds` times in a row.

    `is_vaults`: it was signed, or may have been, to be paid by a vault that didn't.
    """

    id: PayoutId
    organisation: OrganisationId
    client: str
    beneficiary: str
    digest: str
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
    is_sealed: bool
    holds: int
    status_code: str
    is_vaults: bool

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
    """The last three are of calls of a vault alone: what is paid, the account's nonce, whose batch is sent again."""

    chain_transaction: str
    organisation: OrganisationId
    network: str
    operation: str
    state: str
    unsigned: bytes
    signed: bytes | None
    paths: str
    payouts: tuple[PayoutId, ...]
    tries: int = 0
    note: str = ""
    batch: str | None = None
    nonce: int | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class ReportedAttempt:
    """An attempt, and what watch saw of it last; `depth` is 0 in no block, `conflicts_with` the other's id."""

    attempt: StoredAttempt
    status: str
    depth: int
    conflicts_with: str


_DUE: Final = """
SELECT p.id, p.organisation, p.client, p.beneficiary, p.destination_digest, p.run, p.run_index, p.state, p.asset,
    p.amount::text AS amount, p.not_before, p.expires_at, p.due_at, p.leaf, p.attempts AS holds, d.network, d.address,
    p.status_code,
    p.run IS NULL OR EXISTS (SELECT FROM strongroom.run_seals s WHERE s.run = p.run) AS is_sealed,
    EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = coalesce(p.run, p.id)) AND
    EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.destination_digest) AS is_registered,
    EXISTS (SELECT FROM strongroom.cancel_requests c WHERE c.object = p.id OR c.object = p.run) AS is_cancel_requested,
    EXISTS (SELECT FROM strongroom.attempt_payouts m JOIN strongroom.attempts t USING (chain_transaction)
        WHERE m.payout = p.id AND t.batch IS NOT NULL AND (t.signed IS NOT NULL OR t.is_asked)) AS is_vaults
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
"""
ATTEMPTS: Final = """
SELECT a.*, (SELECT array_agg(payout ORDER BY position) FROM strongroom.attempt_payouts p
    WHERE p.chain_transaction = a.chain_transaction) AS payouts FROM strongroom.attempts a
"""
REPORTED: Final = """
SELECT a.*, r.status, r.depth, r.conflicts_with, (SELECT array_agg(payout ORDER BY position)
    FROM strongroom.attempt_payouts p WHERE p.chain_transaction = a.chain_transaction) AS payouts
FROM strongroom.attempts a JOIN LATERAL (SELECT c.status, c.depth, c.conflicts_with FROM strongroom.chain_reports c
    WHERE c.chain_transaction = a.chain_transaction ORDER BY c.id DESC LIMIT 1) AS r ON true
"""
_OF_EACH: Final = "SELECT due.* FROM strongroom.organisations o CROSS JOIN LATERAL"
_NEWEST: Final = "SELECT * FROM"


async def take_lock(connection: asyncpg.Connection) -> None:
    """Raises: EngineTakenError."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ENGINE_LOCK):
        raise EngineTakenError("another engine is at work on this database")


async def policies(connection: Session) -> Mapping[OrganisationId, Policy]:
    return await read_policies(connection)


async def due_payouts(
    connection: Session, states: Sequence[State], now: Instant, of_each: int = ROWS_MAXIMUM
) -> list[DuePayout]:
    """Those in one of these states whose time has come, the longest waiting first, of each organisation so many."""
    rows = await connection.fetch(
        f"{_OF_EACH} ({_DUE} WHERE p.organisation = o.id AND p.state = ANY ($1) AND p.due_at <= $2 "
        "ORDER BY p.due_at, p.leaf LIMIT $3) AS due ORDER BY due.due_at, due.leaf LIMIT $4",
        [state.value for state in states], now, of_each, STEP_MAXIMUM,
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
    """With as many assertions as the signer takes, one of each person first: nobody's many keys push others out."""
    row = await connection.fetchrow(
        "SELECT subject, request, request_hash, approvals FROM strongroom.approval_requests WHERE subject = $1 "
        "ORDER BY id DESC LIMIT 1", subject,
    )
    if row is None:
        return None
    given = await connection.fetch(
        "SELECT person, assertion FROM strongroom.approval_assertions WHERE request_hash = $1 ORDER BY "
        "row_number() OVER (PARTITION BY person ORDER BY created_at), created_at LIMIT $2",
        row["request_hash"], ASSERTIONS_MAXIMUM,
    )
    people, assertions = {each["person"] for each in given}, tuple(each["assertion"] for each in given)
    return StoredRequest(row["subject"], row["request"], row["approvals"], assertions, len(people))


async def cancel_evidence(connection: Session, payout: DuePayout) -> tuple[str, Evidence] | None:
    """What was asked to be cancelled, the payout or its run, and the client's request."""
    row = await connection.fetchrow(
        "SELECT c.object, e.signature_base, e.signature, e.body FROM strongroom.cancel_requests c "
        "JOIN strongroom.evidence e ON e.id = c.evidence WHERE c.object = $1 OR c.object = $2 "
        "ORDER BY c.object LIMIT 1",
        payout.id, payout.run,
    )
    return None if row is None else (row["object"], evidence_of(row))


async def run_leaf_hashes(connection: Session, run: str) -> list[bytes]:
    rows = await connection.fetch("SELECT leaf FROM strongroom.run_items WHERE run = $1 ORDER BY run_index", run)
    return [leaf_hash(row["leaf"]) for row in rows]


async def run_leaf(connection: Session, run: str, index: int) -> bytes:
    leaf: bytes = await connection.fetchval(
        "SELECT leaf FROM strongroom.run_items WHERE run = $1 AND run_index = $2", run, index
    )
    return leaf


async def attempts_in(connection: Session, state: str, now: Instant) -> list[StoredAttempt]:
    """The attempts that are so far and due, oldest first."""
    rows = await connection.fetch(
        f"{ATTEMPTS} WHERE a.state = $1 AND a.due_at <= $2 ORDER BY a.created_at LIMIT $3", state, now, ROWS_MAXIMUM
    )
    return [attempt_of(row) for row in rows]


async def planned_wallets(connection: Session) -> frozenset[tuple[OrganisationId, str]]:
    """Organisation and network of each plan that isn't signed yet."""
    rows = await connection.fetch("SELECT organisation, network FROM strongroom.attempts WHERE state = 'planned'")
    return frozenset((OrganisationId(row["organisation"]), row["network"]) for row in rows)


async def reported_attempts(
    connection: Session, now: Instant, finality_minimum: int, finality_maximum: int
) -> list[ReportedAttempt]:
    """Of coins, those of which watch saw something that could move them, oldest first; of settled ones the newest."""
    rows = await connection.fetch(
        f"{REPORTED} WHERE a.nonce IS NULL AND a.state IN ('signed', 'broadcast', 'confirmed') AND "
        "((a.state = 'signed' AND r.status IN ('pending', 'confirmed')) OR (a.state = 'broadcast' AND r.depth > 0) OR "
        "(a.state = 'broadcast' AND r.status = 'unseen' AND a.due_at <= $1) OR "
        "(a.state = 'confirmed' AND (coalesce(r.depth, 0) = 0 OR r.depth >= $2)) OR "
        "(r.status = 'conflicted') <> coalesce(starts_with(a.note, $4), false)) ORDER BY a.created_at LIMIT $3",
        now, finality_minimum, ROWS_MAXIMUM, EXCLUDED,
    )
    rows += await connection.fetch(
        f"{_NEWEST} ({REPORTED} WHERE a.nonce IS NULL AND a.state = 'settled' ORDER BY a.updated_at DESC LIMIT $2) "
        "AS settled WHERE coalesce(depth, 0) < $1",
        finality_maximum, ROWS_MAXIMUM,
    )
    return [
        ReportedAttempt(attempt_of(row), row["status"], row["depth"] or 0, row["conflicts_with"] or "") for row in rows
    ]


async def reserved_coins(connection: Session, organisation: OrganisationId) -> frozenset[str]:
    """The outpoints that an attempt which isn't dropped spends: no other plan may take them."""
    rows = await connection.fetch(
        "SELECT c.outpoint FROM strongroom.attempt_coins c JOIN strongroom.attempts a USING (chain_transaction) "
        "WHERE a.organisation = $1 AND a.state <> 'dropped'",
        organisation,
    )
    return frozenset(row["outpoint"] for row in rows)


async def addresses_of(connection: Session, organisation: OrganisationId, network: str, generation: int) -> list[str]:
    """The wallet's addresses that were published, by their place."""
    rows = await connection.fetch(
        "SELECT address FROM strongroom.wallet_addresses WHERE organisation = $1 AND network = $2 AND generation = $3 "
        "ORDER BY position",
        organisation, network, generation,
    )
    return [row["address"] for row in rows]


async def publish_addresses(
    connection: Session, organisation: OrganisationId, network: str, generation: int, first: int,
    addresses: Sequence[str], at: Instant,
) -> None:
    await connection.execute(
        "SELECT strongroom.engine_addresses($1, $2, $3, $4, $5, $6)", organisation, network, generation, first,
        list(addresses), at,
    )


async def reserve(connection: Session, payouts: Sequence[PayoutId], at: Instant) -> None:
    """Raises: NoFundsError if the wallet hasn't enough for all of them."""
    with no_funds():
        await connection.execute("SELECT strongroom.engine_reserve($1, $2)", list(payouts), at)


async def release(connection: Session, payouts: Sequence[PayoutId], at: Instant) -> None:
    """Give back what they reserve; only what is held or ready can."""
    await connection.execute("SELECT strongroom.engine_release($1, $2)", list(payouts), at)


async def move(
    connection: Session, payouts: Sequence[PayoutId], before: State, after: State, at: Instant, *,
    hold: HoldReason | None = None, retry_at: Instant | None = None, reason: Reason | None = None,
) -> None:
    """All or none. Raises: asyncpg.CheckViolationError for a move that isn't one, or that comes too late."""
    await connection.execute(
        "SELECT strongroom.engine_move($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        list(payouts), before.value, after.value, None if hold is None else hold.value, retry_at, *_words(reason), at,
    )


async def wait(
    connection: Session, payouts: Sequence[PayoutId], due_at: Instant, at: Instant, *,
    hold: HoldReason | None = None, reason: Reason | None = None,
) -> None:
    """They stay where they are. `hold` is why from now on, for those that are held."""
    await connection.execute(
        "SELECT strongroom.engine_wait($1, $2, $3, $4, $5, $6, $7)",
        list(payouts), due_at, None if hold is None else hold.value, *_words(reason), at,
    )


async def note(connection: Session, payouts: Sequence[PayoutId], reason: Reason | None, at: Instant) -> None:
    """Say of payouts on their way why they don't go on; None when they do again."""
    await connection.execute("SELECT strongroom.engine_note($1, $2, $3, $4, $5)", list(payouts), *_words(reason), at)


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
) -> None:
    """Write a plan down, its payouts as planned, and reserve its fee.

    Raises: NoFundsError when the fee is more than the wallet has left, PlannedBeforeError.
    """
    with no_funds(PlannedBeforeError):
        async with connection.transaction():
            await connection.execute(
                "SELECT strongroom.engine_plan($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                attempt.chain_transaction, attempt.organisation, attempt.network, asset, attempt.operation,
                attempt.unsigned, attempt.paths, str(fee), list(attempt.payouts), list(outpoints), at,
            )
            await move(connection, attempt.payouts, State.READY, State.PLANNED, at)


async def asking(connection: Session, chain_transaction: str) -> bool:
    """Write down that the signer is asked now; whether it was before, without an answer."""
    return bool(await connection.fetchval("SELECT strongroom.engine_asking($1)", chain_transaction))


async def keep_attempt(
    connection: Session, chain_transaction: str, state: str, at: Instant, signed: bytes | None = None
) -> None:
    await connection.execute("SELECT strongroom.engine_attempt($1, $2, $3, $4)", chain_transaction, state, signed, at)


async def try_later(connection: Session, chain_transaction: str, due_at: Instant, said: str) -> None:
    note = said[:DETAIL_MAXIMUM]
    await connection.execute("SELECT strongroom.engine_try_later($1, $2, $3)", chain_transaction, due_at, note)


@contextmanager
def no_funds(otherwise: type[Exception] = asyncpg.CheckViolationError) -> Iterator[None]:
    """Tells a wallet that hasn't enough from other violations, which are raised as `otherwise`."""
    try:
        yield
    except asyncpg.CheckViolationError as fault:
        if fault.constraint_name == NEVER_OVERDRAWN:
            raise NoFundsError from fault
        if otherwise is asyncpg.CheckViolationError:
            raise
        raise otherwise(str(fault)) from fault


def _words(reason: Reason | None) -> tuple[str | None, str | None, str | None]:
    return (None, None, None) if reason is None else (reason.code, reason.source, reason.detail[:DETAIL_MAXIMUM])


def attempt_of(row: asyncpg.Record) -> StoredAttempt:
    return StoredAttempt(
        row["chain_transaction"], OrganisationId(row["organisation"]), row["network"], row["operation"], row["state"],
        row["unsigned"], row["signed"], row["paths"], tuple(PayoutId(each) for each in row["payouts"] or ()),
        row["tries"], row["note"] or "", row["batch"], row["nonce"], row["replaces"],
    )


def evidence_of(row: asyncpg.Record) -> Evidence:
    """A client's, or a person's; what is neither goes as a client's, and the signer says what is wrong with it."""
    if len(row["signature"]) != CLIENT_SIGNATURE_LENGTH:
        with suppress(CanonicalError, DocumentError):
            return PersonEvidence(row["signature_base"], take_assertion(Fields(parse_object(row["signature"]))))
    return ClientEvidence(row["signature_base"], row["signature"], row["body"])


def _due(row: asyncpg.Record) -> DuePayout:
    return DuePayout(
        PayoutId(row["id"]), OrganisationId(row["organisation"]), row["client"], row["beneficiary"],
        row["destination_digest"], None if row["run"] is None else RunId(row["run"]), row["run_index"],
        State(row["state"]), row["asset"], int(row["amount"]), row["network"], row["address"],
        row["not_before"], row["expires_at"], row["is_registered"], row["is_cancel_requested"],
        row["is_sealed"], row["holds"], row["status_code"] or "", row["is_vaults"],
    )
