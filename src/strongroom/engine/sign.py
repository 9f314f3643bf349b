"""Has planned attempts signed, keeps the signed bytes before anything else is done with them, and sends them out.

A refusal happened before anything was signed: the attempt is dropped and its payouts go back to wait for what the
rule says. No answer means that it may have been signed: the same bytes are asked for again.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence

from strongroom.domain.document import Fields
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.domain.payout import State
from strongroom.engine.bench import Bench, hold_of
from strongroom.engine.run_proofs import RunProofs
from strongroom.engine.triage import ask_people
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import Accepted
from strongroom.store import engine as store
from strongroom.store.engine import DuePayout, StoredAttempt

_AGAIN = frozenset({"approval-requested", "approval-alive"})
_MORE = frozenset({"approval-enough", "approval-independent", "approval-terminal", "approval-signed"})


async def sign(bench: Bench) -> bool:
    """Ask for every planned attempt. Whether one was signed or dropped."""
    done = False
    for attempt in await store.attempts_in(bench.connection, "planned"):
        payouts = await store.payouts_of(bench.connection, attempt)
        answer = await bench.signer.ask(Ask.SIGN, await _question(bench, attempt, payouts))
        if isinstance(answer, RefusedAnswer):
            await _drop(bench, attempt, payouts, answer)
        else:
            signed = b64decode(Fields(answer).text("signed", 2**24))
            await _keep(bench, attempt, signed)
        done = True
    return done


async def broadcast(bench: Bench) -> bool:
    """Send what is signed. An outcome that isn't known is looked into by sending the same bytes again."""
    sent = False
    for attempt in await store.attempts_in(bench.connection, "signed"):
        rail = bench.rails.get(attempt.network)
        if rail is None or attempt.signed is None:
            continue
        if isinstance(await rail.broadcast(attempt.signed), Accepted):
            now = bench.clock()
            async with bench.connection.transaction():
                await store.keep_attempt(bench.connection, attempt.chain_transaction, "broadcast", now)
                await store.move(bench.connection, attempt.payouts, State.SIGNED, State.BROADCAST, now)
            sent = True
    return sent


async def _question(bench: Bench, attempt: StoredAttempt, payouts: Sequence[DuePayout]) -> dict[str, JsonValue]:
    proofs = RunProofs(bench.connection)
    items: list[JsonValue] = [await proofs.item(payout) for payout in payouts]
    approvals: list[JsonValue] = []
    for subject in dict.fromkeys(payout.subject for payout in payouts):
        request = await store.newest_request(bench.connection, subject)
        if request is not None:
            given: list[JsonValue] = [json.loads(each) for each in request.assertions]
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


async def _keep(bench: Bench, attempt: StoredAttempt, signed: bytes) -> None:
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "signed", now, signed)
        await store.move(bench.connection, attempt.payouts, State.PLANNED, State.SIGNED, now)


async def _drop(
    bench: Bench, attempt: StoredAttempt, payouts: Sequence[DuePayout], refused: RefusedAnswer
) -> None:
    """Nothing was signed. If the rule is about one payout, the others are planned again without it."""
    now = bench.clock()
    named = [payout for payout in payouts if payout.id in refused.reason or payout.subject in refused.reason]
    async with bench.connection.transaction():
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", now)
        await store.move(
            bench.connection, attempt.payouts, State.PLANNED, State.READY, now, reason=f"signer: {refused.rule}"
        )
        for payout in named or payouts:
            await _put_back(bench, payout, refused, now)
    if refused.rule in _AGAIN:
        for payout in {each.subject: each for each in named or payouts}.values():
            await ask_people(bench, payout)


async def _put_back(bench: Bench, payout: DuePayout, refused: RefusedAnswer, now: Instant) -> None:
    if refused.rule in _AGAIN | _MORE:
        await store.move(
            bench.connection, [payout.id], State.READY, State.AWAITING_APPROVAL, now,
            retry_at=Instant(now + HOUR_MS), reason=f"{refused.rule}: {refused.reason}",
        )
        return
    hold, retry_at = hold_of(refused, now)
    await store.move(
        bench.connection, [payout.id], State.READY, State.HELD, now, hold=hold, retry_at=retry_at,
        reason=f"{refused.rule}: {refused.reason}",
    )
