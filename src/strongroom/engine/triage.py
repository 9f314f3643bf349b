"""What a payout waits for before it can be planned: its end, its time, people, funds. Each answer is a state.

The signer says whether people are needed, and writes the request that they sign; it says the same again when it is
asked to sign, so what is believed here costs time and never money.
"""

from strongroom.domain.document import Fields
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.engine.bench import LATER_MS, SOON_MS, Bench, hold_of
from strongroom.engine.signer_client import statement
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.store import engine as store
from strongroom.store.engine import DuePayout

FUNDS_WAIT_MS = 5_000


async def triage(bench: Bench) -> bool:
    """Look at what came in or has waited long enough. Whether anything moved."""
    moved = False
    asked: dict[str, JsonValue | RefusedAnswer] = {}
    for payout in await store.due_payouts(bench.connection, (State.RECEIVED, State.HELD), bench.clock()):
        moved |= await _end(bench, payout) or await _look(bench, payout, asked)
    return moved


async def collect(bench: Bench) -> bool:
    """Payouts for which enough people have answered are ready; the signer verifies what they said."""
    moved = False
    for payout in await store.due_payouts(bench.connection, (State.AWAITING_APPROVAL,), bench.clock()):
        now = bench.clock()
        if await _end(bench, payout):
            moved = True
            continue
        request = await store.newest_request(bench.connection, payout.subject)
        if request is None or request.people < request.approvals:
            await store.wait(bench.connection, [payout.id], Instant(now + HOUR_MS))
        else:
            await _make_ready(bench, payout)
            moved = True
    return moved


async def ask_people(bench: Bench, payout: DuePayout) -> JsonValue | RefusedAnswer:
    """The signer's answer to who is needed; a request that it made is kept for the people to see."""
    body: dict[str, JsonValue] = {"organisation": payout.organisation, "subject": payout.subject}
    answer = await bench.signer.ask(Ask.REQUEST, body)
    if isinstance(answer, RefusedAnswer) or not Fields(answer).has("request"):
        return answer
    raw, signature = statement(answer, "request")
    fields = Fields(answer)
    await store.keep_request(
        bench.connection, payout.organisation, payout.subject, raw, record_hash(APPROVAL_REQUEST_TYPE, raw).hex(),
        signature, fields.integer("approvals", 1, 100), fields.integer("groups", 1, 100), bench.clock(),
    )
    return answer


async def _look(bench: Bench, payout: DuePayout, asked: dict[str, JsonValue | RefusedAnswer]) -> bool:
    now = bench.clock()
    if payout.network not in bench.rails:
        await _hold(bench, payout, HoldReason.RAIL, Instant(now + LATER_MS))
        return False
    if payout.not_before is not None and payout.not_before > now:
        await _hold(bench, payout, HoldReason.NOT_BEFORE, payout.not_before)
        return False
    if not payout.is_registered:
        await store.wait(bench.connection, [payout.id], Instant(now + SOON_MS))
        return False
    if payout.subject not in asked:
        asked[payout.subject] = await ask_people(bench, payout)
    answer = asked[payout.subject]
    if isinstance(answer, RefusedAnswer):
        await _hold(bench, payout, *hold_of(answer, now))
        return False
    if Fields(answer).integer("approvals", 0, 100):
        await store.move(bench.connection, [payout.id], payout.state, State.AWAITING_APPROVAL, now)
        return True
    return await _make_ready(bench, payout)


async def _make_ready(bench: Bench, payout: DuePayout) -> bool:
    now = bench.clock()
    if not await store.reserve(bench.connection, [payout.id], now):
        await _hold(bench, payout, HoldReason.FUNDS, Instant(now + FUNDS_WAIT_MS))
        return False
    await store.move(bench.connection, [payout.id], payout.state, State.READY, now)
    return True


async def _hold(bench: Bench, payout: DuePayout, reason: HoldReason, retry_at: Instant) -> None:
    """Held from now on, or still."""
    if payout.state is State.HELD:
        await store.wait(bench.connection, [payout.id], retry_at)
    else:
        await store.move(
            bench.connection, [payout.id], payout.state, State.HELD, bench.clock(), hold=reason, retry_at=retry_at
        )


async def _end(bench: Bench, payout: DuePayout) -> bool:
    """Whether it ended unpaid: its client took it back, or its time is over. Only with the signer's receipt."""
    if payout.is_cancel_requested:
        found = await store.cancel_evidence(bench.connection, payout)
        if found is None:
            return False
        subject, evidence = found
        body: dict[str, JsonValue] = {"evidence": evidence.document(), "organisation": payout.organisation}
        return await _bury(bench, payout, subject, Ask.CANCEL, body, State.CANCELLED)
    if payout.expires_at is not None and payout.expires_at <= bench.clock() and payout.is_registered:
        body = {"object": payout.id, "organisation": payout.organisation}
        return await _bury(bench, payout, payout.id, Ask.RECEIPT, body, State.EXPIRED)
    return False


async def _bury(
    bench: Bench, payout: DuePayout, subject: str, ask: Ask, body: dict[str, JsonValue], end: State
) -> bool:
    answer = await bench.signer.ask(ask, body)
    if isinstance(answer, RefusedAnswer):
        return False
    raw, signature = statement(answer, "receipt")
    now = bench.clock()
    await store.keep_receipt(bench.connection, payout.organisation, subject, raw, signature, now)
    await store.move(bench.connection, [payout.id], payout.state, end, now, reason=str(ask))
    return True

