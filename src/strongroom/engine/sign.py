"""Has planned attempts signed, keeps the signed bytes before anything else is done with them, and sends them out.

A refusal of the first question happened before anything was signed: the attempt is dropped and its payouts go back to
wait for what the rule says. No answer means that it may have been signed: the same bytes are asked for again, and a
refusal then proves nothing, unless it is by a rule that the signer asks only of what it never signed.
"""

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import HOUR_MS, SECOND_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import State
from strongroom.engine.aside import move_along
from strongroom.engine.bench import LATER_MS, Bench, hold_of, later_ms, reason_of
from strongroom.engine.child import CHILD, parent_of
from strongroom.engine.run_proofs import RunProofs
from strongroom.engine.triage import ask_people
from strongroom.formats.coins import CoinsError
from strongroom.formats.evm_transaction import transaction_hash
from strongroom.formats.signed_forms import is_signed_form
from strongroom.protocol.approval import take_assertions
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import Accepted, Rejected, Unknown
from strongroom.store import engine as store
from strongroom.store import vaults
from strongroom.store.engine import DuePayout, Reason, StoredAttempt, StoredRequest

LOG = logging.getLogger("strongroom.engine")
RESEND_MAXIMUM_MS: Final = 60 * SECOND_MS

_AGAIN: Final = frozenset({"approval-requested", "approval-alive"})
_MORE: Final = frozenset({"approval-signed", "approval-enough", "approval-independent", "approval-terminal"})
# Rules about everything that the signer does now: another batch would hear the same.
_OF_ALL: Final = frozenset({
    "lease-fresh", "guard-agrees", "organisation-known", "operation-known", "limit-fees", "bytes-fee", "bytes-read",
    "bytes-inputs", "bytes-change",
})
# Rules that come after "signed before": who hears one of them was never signed.
_PROVES: Final = _AGAIN | _MORE | frozenset({
    "payout-once", "debt-once", "destination-known", "destination-cooled", "destination-current", "limit-amount",
    "limit-tier", "limit-window", "limit-fees", "bytes-outputs", "bytes-change", "bytes-fee",
})
_ALL_SCOPES: Final = ("organisation", "asset:", "network:")


async def sign(bench: Bench) -> bool:
    """Ask for every planned attempt. Whether one was signed or dropped."""
    done = False
    for attempt in await store.attempts_in(bench.connection, "planned", bench.clock()):
        has_moved, _ = await sign_one(bench, attempt)
        done |= has_moved
    return done


async def sign_one(bench: Bench, attempt: StoredAttempt) -> tuple[bool, RefusedAnswer | None]:
    """Ask for a planned attempt. Whether it was signed or dropped, and the refusal if there was one."""
    # A child pays nobody, and names whom its parent pays.
    named = replace(attempt, chain_transaction=parent_of(attempt)) if attempt.operation == CHILD else attempt
    payouts = await store.payouts_of(bench.connection, named)
    requests = await _requests(bench, payouts)
    question = await _question(bench, attempt, payouts, requests)
    was_asked = await store.asking(bench.connection, attempt.chain_transaction)
    answer = await bench.signer.ask(Ask.SIGN, question)
    if not isinstance(answer, RefusedAnswer):
        await _keep(bench, attempt, b64decode(Fields(answer).text("signed", 2**24)))
        return True, None
    if was_asked and answer.rule not in _PROVES:
        await _wait(bench, attempt, answer)
        return False, answer
    if named is not attempt or attempt.replaces is not None or (attempt.nonce is not None and not payouts):
        before = attempt.replaces if named is attempt else named.chain_transaction
        await _drop_call(bench, attempt, before, payouts, answer)
    else:
        await _drop(bench, attempt, payouts, requests, answer)
    return True, answer


async def broadcast(bench: Bench) -> bool:
    """Send what is signed. An outcome that isn't known is looked into by sending the same bytes again."""
    sent = False
    for attempt in await store.attempts_in(bench.connection, "signed", bench.clock()):
        if await send(bench, attempt):
            now = bench.clock()
            async with bench.connection.transaction():
                await store.keep_attempt(bench.connection, attempt.chain_transaction, "broadcast", now)
                await move_along(bench, attempt, State.SIGNED, State.BROADCAST, now)
            sent = True
    return sent


async def send(bench: Bench, attempt: StoredAttempt) -> bool:
    """The same bytes as ever, which can only be the same payment. Whether the node has them; if not, later again."""
    rail = bench.relay(attempt.network)
    if attempt.signed is None:
        raise InvariantError(f"{attempt.chain_transaction} has no signed bytes")
    if rail is None:
        return False
    outcome = await rail.broadcast(attempt.signed)
    now = bench.clock()
    retry_at = Instant(now + min(later_ms(attempt.tries), RESEND_MAXIMUM_MS))
    match outcome:
        case Accepted():
            return True
        case Unknown(reason):
            await store.try_later(bench.connection, attempt.chain_transaction, retry_at, f"no answer: {reason}")
        case Rejected(reason, permanent):
            said = f"{'refused for good' if permanent else 'refused'}: {reason}"
            if said != attempt.note:
                LOG.error("alarm: %s: %s: the node %s", attempt.network, attempt.chain_transaction, said)
            await store.try_later(bench.connection, attempt.chain_transaction, retry_at, said)
            await store.note(bench.connection, attempt.payouts, Reason("broadcast_rejected", "node", said), now)
        case _:
            assert_never(outcome)
    return False


async def _requests(bench: Bench, payouts: Sequence[DuePayout]) -> dict[str, StoredRequest]:
    """By their subject, with what people have said so far."""
    subjects = dict.fromkeys(payout.subject for payout in payouts)
    found = [await store.newest_request(bench.connection, subject) for subject in subjects]
    return {request.subject: request for request in found if request is not None}


async def _question(
    bench: Bench, attempt: StoredAttempt, payouts: Sequence[DuePayout], requests: Mapping[str, StoredRequest]
) -> dict[str, JsonValue]:
    proofs = RunProofs(bench.connection)
    items: list[JsonValue] = [await proofs.item(payout) for payout in payouts]
    approvals: list[JsonValue] = []
    for subject, request in requests.items():
        given = _readable(request)
        raw = b64encode(request.request).decode()
        approvals.append({"assertions": given, "request": raw, "subject": subject})
    paths: list[JsonValue] = [
        {"generation": generation, "index": index} for generation, index in json.loads(attempt.paths)
    ]
    return {
        "approvals": approvals, "items": items, "network": attempt.network, "operation": attempt.operation,
        "organisation": attempt.organisation, "paths": paths,
        "transaction": b64encode(attempt.unsigned).decode(),
    }


def _readable(request: StoredRequest) -> list[JsonValue]:
    """What people said, as far as the signer can read it: a row that it can't would sink all that is signed with it."""
    given: list[JsonValue] = []
    for each in request.assertions:
        try:
            document = parse_object(each.encode())
            take_assertions(Fields({"assertions": [document]}), "assertions")
        except (CanonicalError, DocumentError) as fault:
            LOG.error("alarm: an approval of %s in the record is none: %s", request.subject, fault)
            continue
        given.append(document)
    return given


async def _keep(bench: Bench, attempt: StoredAttempt, signed: bytes) -> None:
    """Raises: InvariantError if these aren't the bytes that were asked for, signed."""
    try:
        is_signed = is_signed_form(attempt.network, signed, attempt.unsigned)
    except CoinsError as fault:
        raise InvariantError(f"what the signer gave for {attempt.chain_transaction} can't be read: {fault}") from fault
    if not is_signed:
        raise InvariantError(f"the signer signed something else than {attempt.chain_transaction}")
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "signed", now, signed)
        if attempt.nonce is not None:  # whose name here isn't the chain's
            name = transaction_hash(signed)
            await vaults.keep_chain_name(bench.connection, attempt.chain_transaction, name)
        await move_along(bench, attempt, State.PLANNED, State.SIGNED, now)


async def _wait(bench: Bench, attempt: StoredAttempt, refused: RefusedAnswer) -> None:
    """It may have been signed when there was no answer: it stays planned, and is asked for again."""
    now = bench.clock()
    retry_at = Instant(now + min(later_ms(attempt.tries), RESEND_MAXIMUM_MS))
    async with bench.connection.transaction():
        await store.try_later(
            bench.connection, attempt.chain_transaction, retry_at, f"{refused.rule}: {refused.reason}"
        )
        await store.note(bench.connection, attempt.payouts, reason_of(refused), now)


async def _drop(
    bench: Bench, attempt: StoredAttempt, payouts: Sequence[DuePayout], requests: Mapping[str, StoredRequest],
    refused: RefusedAnswer,
) -> None:
    """Nothing was signed. Those that the rule is about wait; the others are planned again without them."""
    named = _meant(payouts, refused)
    again = {each.subject: each for each in named}.values() if refused.rule in _AGAIN else ()
    answers = [await ask_people(bench, payout, needs_people=True) for payout in again]
    asked_in_vain = next((answer for answer in answers if isinstance(answer, RefusedAnswer)), None)
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", now)
        moved = await move_along(bench, attempt, State.PLANNED, State.READY, now, reason_of(refused))
        named = [payout for payout in named if payout.id in moved]
        for payout in named:
            await _put_back(bench, payout, asked_in_vain or refused, now)
        if refused.rule in _MORE:
            await _hear_latecomers(bench, named, requests, now)


async def _drop_call(
    bench: Bench, attempt: StoredAttempt, before: str | None, payouts: Sequence[DuePayout], refused: RefusedAnswer
) -> None:
    """Of what was sent `before`: its payouts stay where they are, and it is tried again later."""
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", now)
        await store.note(bench.connection, [each.id for each in payouts], reason_of(refused), now)
        if before is not None:
            said = f"{refused.rule}: {refused.reason}"
            await store.try_later(bench.connection, before, Instant(now + LATER_MS), said)


async def _hear_latecomers(
    bench: Bench, payouts: Sequence[DuePayout], requests: Mapping[str, StoredRequest], now: Instant
) -> None:
    """Who said yes while the signer was asked wakes the payout: by then it didn't wait for people yet."""
    for subject, request in (await _requests(bench, payouts)).items():
        if subject not in requests or request.assertions != requests[subject].assertions:
            late = [payout.id for payout in payouts if payout.subject == subject]
            await store.wait(bench.connection, late, now, now)


def _meant(payouts: Sequence[DuePayout], refused: RefusedAnswer) -> Sequence[DuePayout]:
    """Those that a refusal is about. Where it doesn't say, half of them: the smaller batch is asked for next."""
    reason = refused.reason
    named = [payout for payout in payouts if payout.id in reason or payout.subject in reason]
    if refused.rule == "not-frozen":
        named = [each for each in payouts if f"client:{each.client} " in reason
                 or f"beneficiary:{each.beneficiary} " in reason]
        if reason.startswith(_ALL_SCOPES):
            return payouts
    if named or refused.rule in _OF_ALL or len(payouts) == 1:
        return named or payouts
    return payouts[len(payouts) // 2 :]


async def _put_back(bench: Bench, payout: DuePayout, refused: RefusedAnswer, now: Instant) -> None:
    if refused.rule in _AGAIN | _MORE:
        await store.move(
            bench.connection, [payout.id], State.READY, State.AWAITING_APPROVAL, now,
            retry_at=Instant(now + HOUR_MS), reason=reason_of(refused),
        )
        return
    hold, retry_at = hold_of(refused, now, payout.holds)
    await store.move(
        bench.connection, [payout.id], State.READY, State.HELD, now, hold=hold, retry_at=retry_at,
        reason=reason_of(refused),
    )
