"""A payout: what is asked for, the states it goes through, and the only table that knows a move.

The API makes payouts `received` or `held`; later states belong to the engine and the signer. From `signed`
on, only a proof frees the money; the table allows the move, the proof is the signer's business. What a vault skipped
goes from `broadcast` back to `held`, and keeps its money: it is planned again, in a way that the vault takes once.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.domain.ids import BeneficiaryId, DestinationDigest, IdempotencyKey, PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.money import Amount


class State(StrEnum):
    RECEIVED = "received"
    HELD = "held"
    AWAITING_APPROVAL = "awaiting_approval"
    READY = "ready"
    PLANNED = "planned"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"
    RETURNED = "returned"


class HoldReason(StrEnum):
    """Why a payout waits. `not_before` is the client's own wish, so it is never a refusal."""

    FREEZE = "freeze"
    COOLING = "cooling"
    LIMIT_WINDOW = "limit_window"
    FUNDS = "funds"
    FEE = "fee"
    RAIL = "rail"
    SCREENING = "screening"
    ALARM = "alarm"
    NOT_BEFORE = "not_before"


class OnHold(StrEnum):
    """What the client wants of a payout that can't go out now."""

    HOLD = "hold"
    REFUSE = "refuse"


_UNPAID_ENDS = frozenset({State.DECLINED, State.CANCELLED, State.EXPIRED, State.FAILED})

MOVES: Final[dict[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.HELD, State.AWAITING_APPROVAL, State.READY}) | _UNPAID_ENDS,
    State.HELD: frozenset({State.RECEIVED, State.AWAITING_APPROVAL, State.READY}) | _UNPAID_ENDS,
    State.AWAITING_APPROVAL: frozenset({State.HELD, State.READY}) | _UNPAID_ENDS,
    State.READY: frozenset({State.HELD, State.AWAITING_APPROVAL, State.PLANNED}) | _UNPAID_ENDS,
    State.PLANNED: frozenset({State.READY, State.SIGNED, State.FAILED}),
    State.SIGNED: frozenset({State.BROADCAST, State.FAILED}),
    State.BROADCAST: frozenset({State.CONFIRMED, State.HELD, State.FAILED}),
    State.CONFIRMED: frozenset({State.BROADCAST, State.SETTLED, State.FAILED}),
    State.SETTLED: frozenset({State.CONFIRMED, State.BROADCAST, State.RETURNED}),
    **dict.fromkeys((State.DECLINED, State.CANCELLED, State.EXPIRED, State.FAILED, State.RETURNED), frozenset()),
}

CANCELLABLE: Final = frozenset({State.RECEIVED, State.HELD, State.AWAITING_APPROVAL, State.READY})


class MoveError(ValueError):
    """The table has no such move."""


def move(before: State, after: State) -> State:
    """`after`, if a payout may go there from `before`. Raises: MoveError."""
    if after not in MOVES[before]:
        raise MoveError(f"a payout can't go from {before} to {after}")
    return after


@dataclass(frozen=True, slots=True)
class Hold:
    """A payout waits; `retry_at` is when it is worth looking again, None when only people can end it."""

    reason: HoldReason
    retry_at: Instant | None


class PayoutRequest(NamedTuple):
    """What one client asked for, parsed; bounds as in this module. Nothing is decided yet.

    `external_id` is the client's own name for the debt, paid once per client and destination unless
    `replaces` names the payout that failed. `actor` and `metadata` are canonical JSON text, kept, not read.
    """

    id: PayoutId
    idempotency_key: IdempotencyKey
    beneficiary: BeneficiaryId
    destination_digest: DestinationDigest
    amount: Amount
    external_id: str
    remittance_information: str | None = None
    activities: tuple[str, ...] = ()
    not_before: Instant | None = None
    expires_at: Instant | None = None
    on_hold: OnHold = OnHold.HOLD
    replaces: PayoutId | None = None
    actor: str | None = None
    metadata: str | None = None
