"""Follows what was sent by watch's reports, until it is final; then the ledger says so. A reorg moves it back.

What the chain reports of an attempt is news, not proof: it moves a payout along its road and back, and never frees its
money. An attempt that another chain transaction excludes waits and is looked into; it isn't tried with other bytes.
"""

import logging

from strongroom.domain.instant import Instant
from strongroom.domain.payout import State
from strongroom.engine.aside import move_along
from strongroom.engine.bench import Bench, later_ms
from strongroom.engine.sign import RESEND_MAXIMUM_MS, send
from strongroom.store import bumping, freeing
from strongroom.store import engine as store
from strongroom.store.engine import EXCLUDED, Reason, ReportedAttempt, StoredAttempt

LOG = logging.getLogger("strongroom.engine")


async def settle(bench: Bench) -> bool:
    """Whether anything moved."""
    policies = await bench.policies()
    finalities = [wallet.finality_blocks for policy in policies.values() for wallet in policy.wallets.values()]
    if not finalities:
        return False
    moved = False
    found = await store.reported_attempts(bench.connection, bench.clock(), min(finalities), max(finalities))
    odd = await freeing.odd_attempts(bench.connection, bench.clock())
    for reported in {each.attempt.chain_transaction: each for each in (*odd, *found)}.values():
        attempt = reported.attempt
        policy = policies.get(attempt.organisation)
        wallet = None if policy is None else policy.wallets.get(attempt.network)
        if wallet is None:
            continue  # a policy that has lost its wallet settles nothing, nor one that isn't known here yet
        after = _state(State(attempt.state), reported, wallet.finality_blocks)
        if after is not None:
            await _move(bench, attempt, after)
            moved = True
        elif attempt.note.startswith(freeing.ODD):
            await _look_again(bench, attempt)
        await _look_into(bench, reported)
        if reported.status == "unseen" and attempt.state == State.BROADCAST:
            await _send_again(bench, attempt)
    return moved


def _state(now: State, reported: ReportedAttempt, finality: int) -> State | None:
    """Where an attempt belongs by what is reported of it, one move at a time; None if it is there."""
    if now is State.SIGNED:
        return State.BROADCAST if reported.status in ("pending", "confirmed") else None
    if reported.depth == 0:
        right = State.BROADCAST
    else:
        right = State.CONFIRMED if reported.depth < finality or now is State.BROADCAST else State.SETTLED
    return None if right is now else right


async def _move(bench: Bench, attempt: StoredAttempt, after: State) -> None:
    before, now = State(attempt.state), bench.clock()
    reason = None
    if (before, after) in ((State.CONFIRMED, State.BROADCAST), (State.SETTLED, State.BROADCAST),
                           (State.SETTLED, State.CONFIRMED)):
        reason = Reason("reorg", "chain", "the block that held it isn't in the chain any more")
        LOG.error("alarm: %s: %s was %s and a reorg took it back", attempt.network, attempt.chain_transaction, before)
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, after.value, now)
        await move_along(bench, attempt, before, after, now, reason)


async def _look_again(bench: Bench, attempt: StoredAttempt) -> None:
    """Whether what was put aside was put right, and can follow."""
    state, now = State(attempt.state), bench.clock()
    async with bench.connection.transaction():
        await store.try_later(bench.connection, attempt.chain_transaction, now, "")
        await move_along(bench, attempt, state, state, now)


async def _look_into(bench: Bench, reported: ReportedAttempt) -> None:
    """Said once of it, and taken back once if the chain changes its mind."""
    attempt, now = reported.attempt, bench.clock()
    is_excluded = reported.status == "conflicted"
    if is_excluded == attempt.note.startswith(EXCLUDED):
        return
    said = f"{EXCLUDED}{reported.conflicts_with}" if is_excluded else ""
    if is_excluded and await bumping.is_kin(bench.connection, attempt.chain_transaction, reported.conflicts_with):
        await store.try_later(bench.connection, attempt.chain_transaction, now, said)
        return
    if is_excluded:
        LOG.error("alarm: %s: %s is %s", attempt.network, attempt.chain_transaction, said)
    async with bench.connection.transaction():
        await store.try_later(bench.connection, attempt.chain_transaction, now, said)
        reason = Reason("conflicted", "chain", said) if is_excluded else None
        await store.note(bench.connection, attempt.payouts, reason, now)


async def _send_again(bench: Bench, attempt: StoredAttempt) -> None:
    """A node that was told forgot it, or a reorg did."""
    if await send(bench, attempt):
        later = Instant(bench.clock() + min(later_ms(attempt.tries), RESEND_MAXIMUM_MS))
        await store.try_later(bench.connection, attempt.chain_transaction, later, "sent again")
