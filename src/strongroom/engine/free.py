"""Frees the money of payouts that were signed and can never be paid, with the signer's void proof, and only with that.

Watch says that another chain transaction excludes an attempt: news, which this follows up. Our node says where that one
stands, guard attests what its own node shows there, and the signer decides by its journal. Whatever is said falsely on
the way ends in a refusal, and the money stays reserved.
"""

import logging
from base64 import b64encode
from typing import Final

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.payout import State
from strongroom.engine.aside import CONFLICT
from strongroom.engine.bench import Bench, later_ms, reason_of
from strongroom.engine.guard_client import SightError
from strongroom.engine.signer_client import statement
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import ChainTransactionId, Confirmed, RailError
from strongroom.store import engine as store
from strongroom.store import freeing
from strongroom.store.engine import Reason, ReportedAttempt, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
SHALLOW_MS: Final = 2 * SECOND_MS
"""After this it is looked again how deep the other stands."""


async def free(bench: Bench) -> bool:
    """Whether anything was freed."""
    freed = False
    if bench.guard is not None:
        for reported in await freeing.excluded_attempts(bench.connection, bench.clock()):
            freed |= await _free(bench, reported)
    return freed


async def _free(bench: Bench, reported: ReportedAttempt) -> bool:
    attempt = reported.attempt
    frame = await _attested(bench, attempt, reported.conflicts_with)
    if frame is None:
        await _later(bench, attempt, SHALLOW_MS)
        return False
    freed, refused = False, False
    for payout in attempt.payouts:
        if await _void(bench, attempt, payout, frame, reported.conflicts_with):
            freed = True
        else:
            refused = True
    if refused:
        await _later(bench, attempt, later_ms(attempt.tries))
    else:
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", bench.clock())
    return freed or not refused


async def _attested(bench: Bench, attempt: StoredAttempt, other: str) -> bytes | None:
    """Guard's word of the other, once our node says that it stands in a block."""
    rail, guard = bench.rails.get(attempt.network), bench.guard
    if rail is None or guard is None:
        return None
    try:
        status = await rail.status(ChainTransactionId(other))
        if isinstance(status, Confirmed):
            return await guard.attest(attempt.network, other, status.height)
    except (RailError, SightError) as fault:
        LOG.info("%s: %s isn't attested yet: %s", attempt.network, other, fault)
    return None


async def _void(bench: Bench, attempt: StoredAttempt, payout: PayoutId, frame: bytes, other: str) -> bool:
    """Failed with the signer's proof, or noted why not. Whether it is failed, now or since before."""
    now, state = bench.clock(), await freeing.state_of(bench.connection, payout)
    if state is State.FAILED:
        return True
    if state not in (State.SIGNED, State.BROADCAST):
        said = f"the record says {state}, and {other} excludes what pays it"
        LOG.error("alarm: %s: somebody changed it: %s", payout, said)
        await store.note(bench.connection, [payout], Reason(CONFLICT, "engine", said), now)
        return False
    attestations: list[JsonValue] = [[b64encode(frame).decode()]]
    body: dict[str, JsonValue] = {
        "attestations": attestations, "object": payout, "organisation": attempt.organisation,
    }
    answer = await bench.signer.ask(Ask.VOID, body)
    if isinstance(answer, RefusedAnswer):
        await store.note(bench.connection, [payout], reason_of(answer), now)
        return False
    raw, signature = statement(answer, "receipt")
    async with bench.connection.transaction():
        await store.keep_receipt(bench.connection, attempt.organisation, payout, raw, signature, now)
        reason = Reason("void", "signer", f"it can never be paid: {other} took its coins")
        await store.move(bench.connection, [payout], state, State.FAILED, now, reason=reason)
    LOG.warning("%s is void: %s took its coins", payout, other)
    return True


async def _later(bench: Bench, attempt: StoredAttempt, wait_ms: int) -> None:
    due_at = Instant(bench.clock() + wait_ms)
    await store.try_later(bench.connection, attempt.chain_transaction, due_at, attempt.note)
