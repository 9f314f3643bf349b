"""What the engine reads to call back and to free what was signed; it writes by `engine`'s own functions."""

from collections.abc import Sequence
from typing import Final

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import State
from strongroom.store.bumping import newest_and_free
from strongroom.store.engine import ATTEMPTS, REPORTED, ROWS_MAXIMUM, ReportedAttempt, StoredAttempt, attempt_of
from strongroom.store.session import Session

_EXCLUDED: Final = REPORTED + """
WHERE a.state IN ('signed', 'broadcast') AND r.status = 'conflicted' AND a.due_at <= $1 AND NOT EXISTS (
    SELECT FROM strongroom.attempt_payouts mine JOIN strongroom.attempt_payouts other USING (payout)
    WHERE mine.chain_transaction = a.chain_transaction AND other.chain_transaction = r.conflicts_with)
ORDER BY a.created_at LIMIT $2
"""
_SENT: Final = ATTEMPTS + """
WHERE a.nonce IS NULL AND a.state = 'broadcast' AND a.operation IN ('pay', 'bump') AND a.due_at <= $1
ORDER BY a.created_at LIMIT $2
"""
ODD: Final = "put aside: "
"""How the note of an attempt begins of whose payouts the record says what can't be."""
_ODD: Final = REPORTED + """
WHERE a.nonce IS NULL AND a.state IN ('broadcast', 'confirmed', 'settled') AND starts_with(a.note, $1)
AND a.due_at <= $2 ORDER BY a.created_at LIMIT $3
"""


async def excluded_attempts(connection: Session, now: Instant) -> list[ReportedAttempt]:
    """Those under way that another chain transaction excludes, as watch saw it last, and that are due."""
    rows = await connection.fetch(_EXCLUDED, now, ROWS_MAXIMUM)
    return [ReportedAttempt(attempt_of(row), row["status"], 0, row["conflicts_with"] or "") for row in rows]


async def recallable_attempts(connection: Session, now: Instant) -> list[StoredAttempt]:
    """Payments that were sent and aren't in a block, and on whose coins and change nothing else of ours is built."""
    sent = [attempt_of(row) for row in await connection.fetch(_SENT, now, ROWS_MAXIMUM)]
    return await newest_and_free(connection, sent)


async def odd_attempts(connection: Session, now: Instant) -> list[ReportedAttempt]:
    """Those on their way or settled of which a payout was put aside, and that are due to be looked at again."""
    rows = await connection.fetch(_ODD, ODD, now, ROWS_MAXIMUM)
    return [
        ReportedAttempt(attempt_of(row), row["status"], row["depth"] or 0, row["conflicts_with"] or "") for row in rows
    ]


async def states_of(connection: Session, payouts: Sequence[PayoutId]) -> dict[PayoutId, State]:
    rows = await connection.fetch("SELECT id, state FROM strongroom.payouts WHERE id = ANY ($1)", list(payouts))
    return {PayoutId(row["id"]): State(row["state"]) for row in rows}


async def state_of(connection: Session, payout: PayoutId) -> State:
    return State(await connection.fetchval("SELECT state FROM strongroom.payouts WHERE id = $1", payout))
