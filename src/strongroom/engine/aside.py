"""Moves an attempt's payouts with it, and puts those aside that aren't where their attempt is.

Whoever can write to PostgreSQL can say of a payout on its way that it ended. The attempt and the signer know better: it
is said of the payout, with an alarm, and neither its money nor its state is touched. The others of the attempt go on,
and it follows as soon as its state is put right. Nothing is paid twice: no state here makes the signer sign again.
"""

import logging
from collections import defaultdict
from typing import Final

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import State
from strongroom.engine.bench import Bench, later_ms
from strongroom.store import engine as store
from strongroom.store import freeing
from strongroom.store.engine import Reason, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
CONFLICT: Final = "record_conflict"
_ROAD: Final = (State.PLANNED, State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED)


async def move_along(
    bench: Bench, attempt: StoredAttempt, before: State, after: State, now: Instant, reason: Reason | None = None
) -> list[PayoutId]:
    """In the database transaction in which their attempt goes from `before` to `after`; those that went with it.

    Of what is sent again they may be elsewhere, by what became of the other: those go along that are where it was.
    """
    states = await freeing.states_of(bench.connection, attempt.payouts)
    by_state: dict[State, list[PayoutId]] = defaultdict(list)
    is_alone = attempt.batch is None and attempt.replaces is None
    for payout in attempt.payouts:
        by_state[states[payout]].append(payout)
    for state, payouts in by_state.items():
        step = after if state is before else _follows(state, after) if is_alone else None
        if step is not None and step is not state:
            await store.move(bench.connection, payouts, state, step, now, reason=reason)
    odd = {payout: state for payout, state in states.items() if state not in (before, after)}
    if odd and is_alone:
        await _put_aside(bench, attempt, odd, after, now)
    return by_state[before]


def _follows(state: State, after: State) -> State | None:
    """The next step of one whose state was put right and lies behind; None if there is none."""
    if state not in _ROAD or after not in _ROAD or _ROAD.index(state) > _ROAD.index(after):
        return None
    return _ROAD[min(_ROAD.index(state) + 1, _ROAD.index(after))]


async def _put_aside(
    bench: Bench, attempt: StoredAttempt, odd: dict[PayoutId, State], after: State, now: Instant
) -> None:
    for payout, state in odd.items():
        said = f"the record says {state}, and {attempt.chain_transaction}, which pays it, is {after}"
        if not attempt.note.startswith(freeing.ODD):
            LOG.error("alarm: %s: somebody changed it: %s", payout, said)
        await store.note(bench.connection, [payout], Reason(CONFLICT, "engine", said), now)
    due_at = Instant(now + later_ms(attempt.tries))
    await store.try_later(bench.connection, attempt.chain_transaction, due_at, f"{freeing.ODD}{len(odd)} payouts")
