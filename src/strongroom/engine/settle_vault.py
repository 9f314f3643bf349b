"""Follows calls of vaults by watch's reports, and their payouts by what the vault did with each item of their batch.

A call that is in a final block has cost what it did, whether it succeeded or not; one whose nonce another used costs
nothing. A payout is where the vault says: paid by whichever call, or skipped or killed, and then it waits to be planned
again. What is reported is news: it moves payouts and never frees their money, and who says falsely that one was skipped
gets a call that the vault refuses.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.engine.aside import CONFLICT, move_along
from strongroom.engine.bench import LATER_MS, Bench, later_ms
from strongroom.engine.sign import RESEND_MAXIMUM_MS, send
from strongroom.store import engine as store
from strongroom.store import vaults
from strongroom.store.engine import NoFundsError, Reason
from strongroom.store.vaults import Carried, ReportedCall, Sent

LOG = logging.getLogger("strongroom.engine")
ROAD: Final = (
    State.HELD, State.READY, State.PLANNED, State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED
)
_REVERTED: Final = "reverted"
_SKIPPED: Final = Reason("skipped_by_token", "chain", "its token refused the transfer; it is paid by a later batch")
_KILLED: Final = Reason("batch_killed", "chain", "the vault was told never to pay its batch; a later one pays it")
_UNDONE: Final = Reason("reorg", "chain", "the block that held it isn't in the chain any more")


async def settle_vaults(bench: Bench) -> bool:
    """Whether anything moved."""
    moved = False
    for call in await vaults.calls_on_their_way(bench.connection):
        moved |= await _follow(bench, call)
    moved |= await _place(bench, await vaults.sent(bench.connection))
    odd, newest = await vaults.contradicted(bench.connection, bench.reports_seen)
    moved |= await _place(bench, odd)
    bench.reports_seen = newest
    return moved


async def _follow(bench: Bench, call: ReportedCall) -> bool:
    """One step of a call along its road, or back. Whether it moved."""
    attempt, now = call.attempt, bench.clock()
    after = _after(call)
    if after is None:
        if attempt.state == State.BROADCAST and call.status == "unseen" and not call.is_outbid:
            await _send_again(bench, call)
        return False
    if after == "dropped" or attempt.state in (State.SETTLED, _REVERTED):
        await vaults.end_call(bench.connection, attempt.chain_transaction, after, now)
    elif after in ("settled", "reverted"):
        if call.cost is None or call.cost > call.cost_maximum:
            LOG.error("alarm: %s: watch says that it cost %s", attempt.chain_transaction, call.cost)
            return False
        await vaults.end_call(bench.connection, attempt.chain_transaction, after, now, call.cost)
    else:
        async with bench.connection.transaction():
            await store.keep_attempt(bench.connection, attempt.chain_transaction, after, now)
            if attempt.state == State.SIGNED:
                await move_along(bench, attempt, State.SIGNED, State.BROADCAST, now)
    return True


def _after(call: ReportedCall) -> str | None:
    """Where a call belongs by what is reported of it, one step at a time; None if it is there."""
    state, status = call.attempt.state, call.status
    if state in (State.SIGNED, State.BROADCAST) and (call.is_over or (status == "replaced" and call.is_final)):
        return "dropped"
    if state == State.SIGNED:
        return "broadcast" if status in ("pending", "confirmed", "reverted") else None
    if state == State.BROADCAST:
        if status == "reverted":
            return "reverted" if call.is_final else None
        return "confirmed" if status == "confirmed" else None
    if state == _REVERTED:
        return None if status == _REVERTED else "broadcast"
    if status != "confirmed":
        return "broadcast"
    return "settled" if state == State.CONFIRMED and call.is_final else None


async def _send_again(bench: Bench, call: ReportedCall) -> None:
    """A node that was told forgot it, or a reorg did."""
    if call.due_at <= bench.clock() and await send(bench, call.attempt):
        later = Instant(bench.clock() + min(later_ms(call.attempt.tries), RESEND_MAXIMUM_MS))
        await store.try_later(bench.connection, call.attempt.chain_transaction, later, "sent again")


async def _place(bench: Bench, payouts: dict[PayoutId, Sent]) -> bool:
    """Each where its batches say. Whether any moved."""
    if not payouts:
        return False
    found = await vaults.carried(bench.connection, list(payouts))
    moves: dict[tuple[State, State, Reason | None], list[PayoutId]] = defaultdict(list)
    for payout, sent in payouts.items():
        after, reason = _belongs(sent.state, found[payout])
        if sent.state not in ROAD:
            after, reason = sent.state, Reason(CONFLICT, "chain", f"the record says {sent.state}, and a vault paid it")
        if after is not sent.state:
            moves[sent.state, after, reason].append(payout)
        elif reason is not None and reason.code != sent.status_code:
            LOG.error("alarm: %s: %s", payout, reason.detail)
            await store.note(bench.connection, [payout], reason, bench.clock())
    for (before, after, reason), named in moves.items():
        await walk(bench, named, before, after, reason)
    return bool(moves)


def _belongs(state: State, carried: Sequence[Carried]) -> tuple[State, Reason | None]:
    """By any batch that paid it, or else by the newest. Why it is there, or what people must look at."""
    paid = [each for each in carried if each.fate == "paid"]
    if len(paid) > 1:
        return state, Reason("paid_twice", "chain", f"{len(paid)} batches are said to have paid it")
    if paid:
        after = State.SETTLED if paid[0].is_final else State.CONFIRMED
        return after, _UNDONE if state is State.SETTLED and after is not state else None
    newest = carried[0]
    if newest.fate == "differs":
        return state, Reason("vault_differs", "chain", newest.detail)
    if state not in (State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED):
        return state, None
    if newest.is_final and newest.fate in ("skipped", "dead"):
        return State.HELD, _SKIPPED if newest.fate == "skipped" else _KILLED
    return (State.BROADCAST, _UNDONE) if state in (State.CONFIRMED, State.SETTLED) else (state, None)


async def walk(bench: Bench, payouts: list[PayoutId], before: State, after: State, reason: Reason | None) -> None:
    """By moves of the table, in one database transaction."""
    now = bench.clock()
    if reason is not None:
        LOG.log(logging.ERROR if reason is _UNDONE else logging.WARNING, "%s: %d payouts that were %s are %s: %s",
                "alarm" if reason is _UNDONE else "vault", len(payouts), before, after, reason.code)
    try:
        async with bench.connection.transaction():
            if before in (State.HELD, State.READY):
                await store.reserve(bench.connection, payouts, now)
            for state, step in _steps(before, after):
                is_held = step is State.HELD
                await store.move(
                    bench.connection, payouts, state, step, now, reason=reason if step is after else None,
                    hold=HoldReason.RAIL if is_held else None, retry_at=Instant(now + LATER_MS) if is_held else None,
                )
    except NoFundsError:
        LOG.error("alarm: %d payouts were paid by a vault, and the ledger hasn't their money", len(payouts))


def _steps(before: State, after: State) -> list[tuple[State, State]]:
    """Forward one after the other; back by way of `broadcast`, which knows all ways."""
    start, end = ROAD.index(before), ROAD.index(after)
    if start < end and after is not State.HELD:
        return list(zip(ROAD[start:end], ROAD[start + 1 : end + 1], strict=True))
    if (before, after) == (State.SETTLED, State.CONFIRMED):
        return [(before, after)]
    back: list[tuple[State, State]] = [] if before is State.BROADCAST else [(before, State.BROADCAST)]
    return back if after is State.BROADCAST else [*back, (State.BROADCAST, after)]
