"""The checkpoints of a payout's life, and what each has said: intake, destination, limits, approval, and so on."""

from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.store.progress import Progress
from strongroom.store.record import PayoutRecord

_ROAD: Final = {"bytes": "signer", "broadcast": "engine", "settlement": "watch"}
_SIGNED: Final = frozenset({State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED, State.RETURNED})
_UNPAID: Final = frozenset({State.DECLINED, State.CANCELLED, State.EXPIRED, State.FAILED})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`result` is passed, waiting, pending or not_needed; `by` whoever says so."""

    name: str
    by: str
    result: str
    at: Instant | None


def checkpoints_of(payout: PayoutRecord, progress: Progress) -> list[Checkpoint]:
    """Until the signer has signed, the API's own estimate; from then on the signer's word, the chain's and watch's."""
    if payout.state in _SIGNED or (payout.state is State.FAILED and progress.signed is not None):
        before = [
            _passed("destination", "signer", progress.signed), _passed("limits", "signer", progress.signed),
            _passed("approval", "signer", progress.signed) if progress.requested is not None
            else Checkpoint("approval", "signer", "not_needed", progress.signed),
        ]
    else:
        before = _estimates(payout, progress)
    return [_passed("intake", "api", payout.created_at), *before, *_rest(payout, progress)]


def _estimates(payout: PayoutRecord, progress: Progress) -> list[Checkpoint]:
    at = payout.created_at
    reason = payout.hold.reason if payout.state is State.HELD and payout.hold is not None else None
    destination = "waiting" if reason is HoldReason.COOLING else "passed"
    limits = "waiting" if reason in (HoldReason.LIMIT_WINDOW, HoldReason.FUNDS) else "passed"
    if progress.requested is None:
        approval = Checkpoint("approval", "api", "pending" if payout.approvals else "not_needed", None)
    elif progress.people < progress.approvals or payout.state is State.AWAITING_APPROVAL:
        approval = Checkpoint("approval", "people", "waiting", progress.requested)
    else:
        approval = _passed("approval", "people", progress.requested)
    return [
        Checkpoint("destination", "api", destination, at), Checkpoint("limits", "api", limits, at), approval
    ]


def _rest(payout: PayoutRecord, progress: Progress) -> list[Checkpoint]:
    """Bytes, broadcast and settlement; what has ended unpaid needs none of them, unless it was signed and is void."""
    if payout.state in _UNPAID and progress.signed is None:
        return [Checkpoint(name, by, "not_needed", None) for name, by in _ROAD.items()]
    times = {"bytes": progress.signed, "broadcast": progress.broadcast, "settlement": progress.settled}
    under_way = {State.PLANNED: "bytes", State.SIGNED: "broadcast", State.BROADCAST: "settlement",
                 State.CONFIRMED: "settlement"}.get(payout.state)
    rest: list[Checkpoint] = []
    for name, by in _ROAD.items():
        at = times[name]
        if (payout.state in _SIGNED or payout.state is State.FAILED) and at is not None:
            rest.append(_passed(name, by, at))
        else:
            waits = "waiting" if name == under_way else "not_needed" if payout.state in _UNPAID else "pending"
            rest.append(Checkpoint(name, by, waits, None))
    return rest


def _passed(name: str, by: str, at: Instant | None) -> Checkpoint:
    return Checkpoint(name, by, "passed", at)
