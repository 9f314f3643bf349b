"""What a payout waits for before it can be planned: its end, its time, screening, people, funds. All are states.

The signer says whether people are needed, and writes the request that they sign; it says the same again when it is
asked to sign, so what is believed here costs time and never money.
"""

from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.instant import HOUR_MS, INSTANT_MAXIMUM, Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.engine.bench import LATER_MS, SOON_MS, Bench, hold_of, later_ms, reason_of
from strongroom.engine.free_vault import void
from strongroom.engine.screening import Hit, ScreeningError
from strongroom.engine.signer_client import statement
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import JsonValue, parse_object, record_hash
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.store import engine as store
from strongroom.store import registering
from strongroom.store.engine import DuePayout, NoFundsError, Reason, StoredRequest

FUNDS_WAIT_MS: Final = 5_000
DEAD: Final = "intent-alive"
"""The rule by which the signer refuses what was taken back or is over."""
Asked = dict[str, JsonValue | RefusedAnswer]


async def triage(bench: Bench) -> bool:
    """Look at what came in or has waited long enough. Whether anything moved."""
    moved = False
    asked: Asked = {}
    for payout in await store.due_payouts(bench.connection, (State.RECEIVED, State.HELD), bench.clock()):
        moved |= await end(bench, payout) or await _look(bench, payout, asked)
    return moved


async def collect(bench: Bench) -> bool:
    """Payouts for which enough people have answered are ready; the signer verifies what they said."""
    moved = False
    asked: Asked = {}
    for payout in await store.due_payouts(bench.connection, (State.AWAITING_APPROVAL,), bench.clock()):
        if await end(bench, payout):
            moved = True
            continue
        moved |= await _hear_people(bench, payout, asked)
    return moved


async def ask_people(bench: Bench, payout: DuePayout, needs_people: bool = False) -> JsonValue | RefusedAnswer:
    """The signer's answer to who is needed; a request that it made is kept for the people to see.

    An item may need people when its run needs none; that is known by a refusal, and then `needs_people`.
    """
    body: dict[str, JsonValue] = {"organisation": payout.organisation, "subject": payout.subject}
    if needs_people:
        body["needs_people"] = True
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


async def hold(bench: Bench, payout: DuePayout, why: HoldReason, retry_at: Instant, reason: Reason | None) -> bool:
    """Held from now on, or still. Never news to go on for: always False."""
    now = bench.clock()
    if payout.state is State.HELD:
        await store.wait(bench.connection, [payout.id], retry_at, now, hold=why, reason=reason)
    else:
        await store.move(
            bench.connection, [payout.id], payout.state, State.HELD, now, hold=why, retry_at=retry_at, reason=reason
        )
    return False


async def end(bench: Bench, payout: DuePayout) -> bool:
    """Whether it ended unpaid, or has to wait for it: it was taken back, or its time is over.

    Only with the signer's receipt: of this very payout, also where its whole run was cancelled, as others of it may be
    signed, by a record that we don't have any more. Somebody may have told guard as well, and then the signer has
    buried it already. A cancel that comes too late changes nothing. One that the signer can't believe holds the payout:
    somebody doesn't want it paid, and people must see who.
    """
    if payout.is_vaults:
        is_back = payout.is_cancel_requested or not (await bench.taken_back()).isdisjoint((payout.id, payout.subject))
        return is_back and await _wait_for_proof(bench, payout)
    if payout.status_code == DEAD and await _bury_dead(bench, payout):
        return True
    if payout.is_cancel_requested:
        return await _cancel(bench, payout)
    if payout.expires_at is not None and payout.expires_at <= bench.clock() and payout.is_registered:
        return await _bury(bench, payout, payout.id, Ask.RECEIPT, await _of(bench, payout), State.EXPIRED) is None
    return False


async def _wait_for_proof(bench: Bench, payout: DuePayout) -> bool:
    """It was signed, and taken back since: it isn't paid again, and its money isn't freed without a proof."""
    reason = await void(bench, payout)
    if reason is not None:
        retry_at = Instant(bench.clock() + later_ms(payout.holds))
        await hold(bench, payout, HoldReason.SCREENING, retry_at, reason)
    return True


async def _cancel(bench: Bench, payout: DuePayout) -> bool:
    """By its client's request. False when it was signed before, and goes on."""
    found = await store.cancel_evidence(bench.connection, payout)
    if found is None:
        return False
    subject, evidence = found
    body: dict[str, JsonValue] = {"evidence": evidence.document(), "organisation": payout.organisation}
    if subject != payout.id and payout.is_registered:
        answer = await bench.signer.ask(Ask.CANCEL, body)
        refused = answer if isinstance(answer, RefusedAnswer) else await _bury(
            bench, payout, payout.id, Ask.RECEIPT, await _of(bench, payout), State.CANCELLED)
    else:
        refused = await _bury(bench, payout, subject, Ask.CANCEL, body, State.CANCELLED)
    if refused is None or await _bury_dead(bench, payout):
        return True
    if refused.rule == "payout-once":
        return False
    retry_at = Instant(bench.clock() + later_ms(payout.holds))
    await hold(bench, payout, HoldReason.SCREENING, retry_at, reason_of(refused))
    return True


async def _bury_dead(bench: Bench, payout: DuePayout) -> bool:
    """Whether the signer says that it, or its run, will never be paid."""
    is_over = payout.expires_at is not None and payout.expires_at <= bench.clock()
    after = State.EXPIRED if is_over else State.CANCELLED
    if await _bury(bench, payout, payout.id, Ask.RECEIPT, await _of(bench, payout), after) is None:
        return True
    if payout.is_registered or payout.run is None:
        return False
    of_run: dict[str, JsonValue] = {"object": payout.run, "organisation": payout.organisation}
    return await _bury(bench, payout, payout.run, Ask.RECEIPT, of_run, after) is None


async def _of(bench: Bench, payout: DuePayout) -> dict[str, JsonValue]:
    """How a receipt is asked for; the signer knows an item by its proof, once its run is sealed there."""
    body: dict[str, JsonValue] = {"object": payout.id, "organisation": payout.organisation}
    return {**body, "item": await bench.proofs.item(payout)} if payout.run and payout.is_registered else body


async def _look(bench: Bench, payout: DuePayout, asked: Asked) -> bool:
    now = bench.clock()
    if bench.relay(payout.network) is None:
        reason = Reason("no_rail", "engine", f"nothing pays on {payout.network} here")
        return await hold(bench, payout, HoldReason.RAIL, Instant(now + LATER_MS), reason)
    if payout.not_before is not None and payout.not_before > now:
        return await hold(bench, payout, HoldReason.NOT_BEFORE, payout.not_before, None)
    if not payout.is_registered:
        return await _wait_for_signer(bench, payout)
    try:
        screened = await bench.screen.screen(payout)
    except ScreeningError as fault:
        reason = Reason("screening_unavailable", "screening", str(fault))
        return await hold(bench, payout, HoldReason.SCREENING, Instant(now + LATER_MS), reason)
    if isinstance(screened, Hit):
        reason = Reason("screening_hit", screened.source, screened.detail)
        return await hold(bench, payout, HoldReason.SCREENING, Instant(now + LATER_MS), reason)
    if payout.is_vaults:  # what was approved once is paid as it was approved
        return await _make_ready(bench, payout)
    return await _hear_people(bench, payout, asked)


async def _hear_people(bench: Bench, payout: DuePayout, asked: Asked) -> bool:
    """By the request that is alive, or else by a new one, which would end the life of any before. Whether it moved."""
    now = bench.clock()
    request = await store.newest_request(bench.connection, payout.subject)
    if request is None or _expires(request) <= now:
        return await _ask_once(bench, payout, asked)
    if request.people >= request.approvals:
        return await _make_ready(bench, payout)
    return await _await_people(bench, payout, min(Instant(now + HOUR_MS), _expires(request)))


async def _ask_once(bench: Bench, payout: DuePayout, asked: Asked) -> bool:
    """Who is needed for it, or for its run, asked once in a step. Whether it moved."""
    now = bench.clock()
    if payout.subject not in asked:
        asked[payout.subject] = await ask_people(bench, payout)
    answer = asked[payout.subject]
    if isinstance(answer, RefusedAnswer):
        return await hold(bench, payout, *hold_of(answer, now, payout.holds), reason_of(answer))
    if not Fields(answer).integer("approvals", 0, 100):
        return await _make_ready(bench, payout)
    return await _await_people(bench, payout, Instant(now + HOUR_MS))


async def _await_people(bench: Bench, payout: DuePayout, due_at: Instant) -> bool:
    """An approval wakes it before; one that came before this was written down is looked for once more."""
    now = bench.clock()
    if payout.state is State.AWAITING_APPROVAL:
        await store.wait(bench.connection, [payout.id], due_at, now)
        request = await store.newest_request(bench.connection, payout.subject)
        if request is None or request.people < request.approvals:
            return False
        await store.wait(bench.connection, [payout.id], now, now)
        return True
    await store.move(bench.connection, [payout.id], payout.state, State.AWAITING_APPROVAL, now)
    return True


async def _wait_for_signer(bench: Bench, payout: DuePayout) -> bool:
    """It is shown its evidence by `intake`, which wakes the payout; a refusal is told, and an open run."""
    now = bench.clock()
    refusal = await registering.refusal_of(bench.connection, payout)
    if refusal is not None:
        reason = Reason(refusal.rule, "signer", refusal.reason)
        return await hold(bench, payout, HoldReason.SCREENING, max(refusal.due_at, Instant(now + SOON_MS)), reason)
    if not payout.is_sealed:
        reason = Reason("run_open", "client", f"{payout.run} isn't sealed yet")
        await store.wait(bench.connection, [payout.id], Instant(now + LATER_MS), now, reason=reason)
    else:
        await store.wait(bench.connection, [payout.id], Instant(now + SOON_MS), now)
    return False


async def _make_ready(bench: Bench, payout: DuePayout) -> bool:
    now = bench.clock()
    try:
        async with bench.connection.transaction():
            await store.reserve(bench.connection, [payout.id], now)
            await store.move(bench.connection, [payout.id], payout.state, State.READY, now)
    except NoFundsError:
        reason = Reason("no_funds", "ledger", "the wallet has promised all that it has")
        return await hold(bench, payout, HoldReason.FUNDS, Instant(now + FUNDS_WAIT_MS), reason)
    return True


def _expires(request: StoredRequest) -> Instant:
    """As the signer wrote it."""
    return Instant(Fields(parse_object(request.request)).integer("expires_ms", 0, INSTANT_MAXIMUM))


async def _bury(
    bench: Bench, payout: DuePayout, subject: str, ask: Ask, body: dict[str, JsonValue], after: State
) -> RefusedAnswer | None:
    """Ended with the signer's receipt, or its refusal."""
    answer = await bench.signer.ask(ask, body)
    if isinstance(answer, RefusedAnswer):
        return answer
    raw, signature = statement(answer, "receipt")
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_receipt(bench.connection, payout.organisation, subject, raw, signature, now)
        await store.move(bench.connection, [payout.id], payout.state, after, now)
    return None
