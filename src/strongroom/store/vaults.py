"""The engine's side of the record for calls of vaults: what was planned and signed of which batch, and how it ended."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId, PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import State
from strongroom.store.engine import ROWS_MAXIMUM, PlannedBeforeError, StoredAttempt, attempt_of, move, no_funds
from strongroom.store.session import Session

REPORTS_MAXIMUM: Final = 10_000


@dataclass(frozen=True, slots=True)
class Carried:
    """A batch that was signed, or may have been, with a payout as this item; `fate` is watch's newest word of it."""

    network: str
    batch: str
    item: int
    fate: str
    is_final: bool
    detail: str


async def keep_chain_name(connection: Session, chain_transaction: str, chain_name: str) -> None:
    """What the chain calls an attempt whose signed bytes are kept."""
    await connection.execute("SELECT strongroom.engine_chain_name($1, $2)", chain_transaction, chain_name)


_CARRIED: Final = """
SELECT m.payout, a.network, a.batch, m.position - 1 AS item, f.fate, f.is_final, f.detail
FROM strongroom.attempt_payouts m JOIN strongroom.attempts a USING (chain_transaction)
LEFT JOIN LATERAL (
    SELECT r.fate, r.is_final, r.detail FROM strongroom.batch_reports r
    WHERE (r.network, r.batch, r.item) = (a.network, a.batch, m.position - 1) ORDER BY r.id DESC LIMIT 1
) f ON true
WHERE m.payout = ANY ($1) AND a.batch IS NOT NULL AND (a.signed IS NOT NULL OR a.is_asked)
GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY min(a.created_at) DESC, min(a.nonce) DESC
"""


async def carried(connection: Session, payouts: Sequence[PayoutId]) -> dict[PayoutId, list[Carried]]:
    """The batches of each, the newest first; nothing of those that were never signed for a vault."""
    found: dict[PayoutId, list[Carried]] = defaultdict(list)
    for row in await connection.fetch(_CARRIED, list(payouts)):
        found[PayoutId(row["payout"])].append(Carried(
            row["network"], row["batch"], row["item"], row["fate"] or "unseen", bool(row["is_final"]),
            row["detail"] or "",
        ))
    return found


@dataclass(frozen=True, slots=True)
class Sent:
    """A payout that a vault is to pay, or was: where it is, and what is said of it."""

    state: State
    status_code: str


@dataclass(frozen=True, slots=True)
class ReportedCall:
    """A call that was signed, and what watch saw of it last, if anything. `cost` is what it did cost, in a block.

    `is_outbid`: another with its nonce was signed after it. `is_over`: another with its nonce is in a final block.
    """

    attempt: StoredAttempt
    cost_maximum: int
    signed_at: Instant
    due_at: Instant
    status: str
    is_final: bool
    cost: int | None
    is_outbid: bool
    is_over: bool


_CALLS: Final = """
SELECT a.*, coalesce(r.status, '') AS status, r.is_final, r.fee AS cost, EXISTS (
        SELECT FROM strongroom.attempts o WHERE o.replaces = a.chain_transaction AND o.nonce = a.nonce
        AND o.signed IS NOT NULL) AS is_outbid, EXISTS (
        SELECT FROM strongroom.attempts o WHERE (o.organisation, o.network, o.nonce)
        = (a.organisation, a.network, a.nonce) AND o.paths = a.paths AND o.state IN ('settled', 'reverted')
        AND o.chain_transaction <> a.chain_transaction) AS is_over, (
        SELECT array_agg(payout ORDER BY position) FROM strongroom.attempt_payouts p
        WHERE p.chain_transaction = a.chain_transaction) AS payouts
FROM strongroom.attempts a LEFT JOIN LATERAL (
    SELECT c.status, c.is_final, c.fee FROM strongroom.chain_reports c
    WHERE c.chain_transaction = a.chain_transaction ORDER BY c.id DESC LIMIT 1) r ON true
WHERE a.nonce IS NOT NULL AND a.signed IS NOT NULL AND
"""
_LATELY: Final = "SELECT * FROM"
_LATELY_ENDED: Final = 100


async def calls_on_their_way(connection: Session) -> list[ReportedCall]:
    """Those that aren't in a final block, oldest first; and those that were, lately, and aren't any more."""
    rows = await connection.fetch(
        f"{_CALLS} a.state IN ('signed', 'broadcast', 'confirmed') ORDER BY a.created_at, a.nonce LIMIT $1",
        ROWS_MAXIMUM,
    )
    rows += await connection.fetch(
        f"{_LATELY} ({_CALLS} a.state IN ('settled', 'reverted') ORDER BY a.updated_at DESC LIMIT $1) AS ended "
        "WHERE NOT (status IN ('confirmed', 'reverted') AND coalesce(is_final, false))", _LATELY_ENDED,
    )
    return [_call(row) for row in rows]


async def calls_of(connection: Session, network: str, batch: str) -> list[ReportedCall]:
    """All that were signed of a batch, the newest first."""
    rows = await connection.fetch(
        f"{_CALLS} (a.network, a.batch) = ($1, $2) ORDER BY a.created_at DESC, a.nonce DESC", network, batch
    )
    return [_call(row) for row in rows]


async def is_being_killed(connection: Session, calls: Sequence[ReportedCall]) -> bool:
    """Whether a call is planned or sent that kills the batch of these."""
    return bool(await connection.fetchval(
        "WITH RECURSIVE killing AS (SELECT a.chain_transaction, a.state FROM strongroom.attempts a "
        "WHERE a.replaces = ANY ($1) AND a.batch IS NULL UNION SELECT a.chain_transaction, a.state "
        "FROM strongroom.attempts a JOIN killing k ON a.replaces = k.chain_transaction) "
        "SELECT EXISTS (SELECT FROM killing WHERE state NOT IN ('dropped', 'reverted'))",
        [call.attempt.chain_transaction for call in calls],
    ))


async def sent(connection: Session) -> dict[PayoutId, Sent]:
    """The payouts that were signed for a vault and aren't settled."""
    rows = await connection.fetch(
        "SELECT DISTINCT p.id, p.state, p.status_code FROM strongroom.payouts p "
        "JOIN strongroom.attempt_payouts m ON m.payout = p.id JOIN strongroom.attempts a USING (chain_transaction) "
        "WHERE p.state IN ('signed', 'broadcast', 'confirmed') AND a.batch IS NOT NULL AND a.signed IS NOT NULL"
    )
    return {PayoutId(row["id"]): Sent(State(row["state"]), row["status_code"] or "") for row in rows}


async def waiting_for_proof(connection: Session) -> frozenset[PayoutId]:
    """Those that were taken back after they were signed for a vault, and wait for the proof that it won't pay them."""
    rows = await connection.fetch(
        "SELECT p.id FROM strongroom.payouts p WHERE p.state = 'held' AND p.status_code = 'void_needed' LIMIT $1",
        ROWS_MAXIMUM,
    )
    return frozenset(PayoutId(row["id"]) for row in rows)


async def contradicted(connection: Session, after: int) -> tuple[dict[PayoutId, Sent], int]:
    """Payouts that aren't on their way, of which a report after this one says that they are elsewhere; and the newest.

    Of settled ones that they weren't paid, of those that wait and those that ended that they were.
    """
    newest = int(await connection.fetchval("SELECT coalesce(max(id), 0) FROM strongroom.batch_reports"))
    if newest == after:
        return {}, newest
    rows = await connection.fetch(
        "SELECT DISTINCT p.id, p.state, p.status_code FROM (SELECT * FROM strongroom.batch_reports r WHERE r.id > $1 "
        "ORDER BY r.id DESC LIMIT $2) r JOIN strongroom.attempts a USING (network, batch) "
        "JOIN strongroom.attempt_payouts m ON (m.chain_transaction, m.position) = (a.chain_transaction, r.item + 1) "
        "JOIN strongroom.payouts p ON p.id = m.payout "
        "WHERE (p.state = 'settled' AND NOT (r.fate = 'paid' AND r.is_final)) OR "
        "(r.fate = 'paid' AND p.state NOT IN ('signed', 'broadcast', 'confirmed', 'settled'))", after, REPORTS_MAXIMUM,
    )
    return {PayoutId(row["id"]): Sent(State(row["state"]), row["status_code"] or "") for row in rows}, newest


async def has_nonce(
    connection: Session, organisation: OrganisationId, network: str, paths: str, nonce: int
) -> bool:
    """Whether a call of this account with this nonce is planned or may be in the chain."""
    return bool(await connection.fetchval(
        "SELECT EXISTS (SELECT FROM strongroom.attempts a WHERE (a.organisation, a.network, a.nonce) = ($1, $2, $3) "
        "AND a.paths = $4 AND a.state <> 'dropped')", organisation, network, nonce, paths,
    ))


async def keep_call(connection: asyncpg.Connection, attempt: StoredAttempt, asset: str, fee: int, at: Instant) -> None:
    """Write a call down, and reserve its fee. Its payouts are planned, unless it sends their batch again.

    Raises: NoFundsError when the fee is more than the ledger has left of its asset, PlannedBeforeError.
    """
    with no_funds(PlannedBeforeError):
        async with connection.transaction():
            await connection.execute(
                "SELECT strongroom.engine_plan_call($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                attempt.chain_transaction, attempt.organisation, attempt.network, asset, attempt.operation,
                attempt.unsigned, attempt.paths, str(fee), list(attempt.payouts), attempt.batch, attempt.nonce,
                attempt.replaces, at,
            )
            if attempt.payouts and attempt.replaces is None:
                await move(connection, attempt.payouts, State.READY, State.PLANNED, at)


async def end_call(
    connection: Session, chain_transaction: str, after: str, at: Instant, fee_paid: int | None = None
) -> None:
    """Settled or reverted, for what it did cost, or dropped; or back to `broadcast` from there."""
    paid = None if fee_paid is None else str(fee_paid)
    await connection.execute("SELECT strongroom.engine_end_call($1, $2, $3, $4)", chain_transaction, after, paid, at)


def _call(row: asyncpg.Record) -> ReportedCall:
    return ReportedCall(
        attempt_of(row), int(row["fee"]), Instant(row["signed_at"]), Instant(row["due_at"]), row["status"],
        bool(row["is_final"]), None if row["cost"] is None else int(row["cost"]), row["is_outbid"], row["is_over"],
    )
