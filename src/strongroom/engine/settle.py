"""Follows what was sent by watch's reports, until it is final; then the ledger says so. A reorg moves it back."""

from strongroom.domain.payout import State
from strongroom.engine.bench import Bench
from strongroom.store import engine as store
from strongroom.store.engine import StoredAttempt


async def settle(bench: Bench) -> bool:
    """Whether anything moved."""
    moved = False
    policies = await store.policies(bench.connection)
    for attempt in await store.attempts_in(bench.connection, "broadcast", "confirmed"):
        report = await store.chain_report(bench.connection, attempt.chain_transaction)
        if report is None:
            continue
        finality = policies[attempt.organisation].wallets[attempt.network].finality_blocks
        if attempt.state == "broadcast" and report.depth >= 1:
            await _move(bench, attempt, State.BROADCAST, State.CONFIRMED)
            moved = True
        elif attempt.state == "confirmed" and report.depth == 0:
            await _move(bench, attempt, State.CONFIRMED, State.BROADCAST)
            await _send_again(bench, attempt)
            moved = True
        elif attempt.state == "confirmed" and report.depth >= finality:
            await _move(bench, attempt, State.CONFIRMED, State.SETTLED)
            moved = True
        elif attempt.state == "broadcast" and report.status == "unseen":
            await _send_again(bench, attempt)
    return moved


async def _move(bench: Bench, attempt: StoredAttempt, before: State, after: State) -> None:
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, after.value, now)
        await store.move(bench.connection, attempt.payouts, before, after, now)
        if after is State.SETTLED:
            await store.post_fee(bench.connection, attempt.chain_transaction, now)


async def _send_again(bench: Bench, attempt: StoredAttempt) -> None:
    """The same bytes: they can only be the same payment."""
    rail = bench.rails.get(attempt.network)
    if rail is not None and attempt.signed is not None:
        await rail.broadcast(attempt.signed)
