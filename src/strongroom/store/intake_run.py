"""Runs through intake: opened with items, added to, sealed; and wishes to cancel.

A call is taken whole or not at all. Its items are payouts like others: same keys, same limits, same order of
refusals; what is wrong is named with its place. The tree over the items grows with every call, so that a seal is
checked without reading them again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from strongroom.domain.admission import worth_of_unsealed_run
from strongroom.domain.bounds import RUN_ITEMS_MAXIMUM
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import IdempotencyKey, PayoutId, RunId
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import CANCELLABLE, PayoutRequest, State
from strongroom.domain.policy import Policy
from strongroom.protocol.canonical import encode
from strongroom.protocol.identifier import payout_id, run_id
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.run_tree import Seal, SealError, check_seal
from strongroom.store import payouts, replay, runs
from strongroom.store.intake_payout import (
    AlreadyRecordedError,
    Ask,
    Batch,
    look_up,
    record_payouts,
    signed_sha256,
)
from strongroom.store.record import Caller, Evidence, PayoutRecord, Recorded, RunItem, RunRecord
from strongroom.store.writing import Writing


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`items` may be what was found wrong with them at the edge, which is answered when this key is new."""

    id: RunId
    idempotency_key: IdempotencyKey
    external_id: str | None
    items: Sequence[RunItem] | Refusal
    seal: Seal | None


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a run is so far."""

    frontier: Frontier
    totals: Mapping[str, int]
    held: Mapping[str, int]


async def open_run(to: Writing, caller: Caller, run: RunRequest, evidence: Evidence) -> RunRecord | Refusal:
    """A run with its first items, sealed at once if the request says so; or the one that this key made before."""
    earlier = await to.connection.fetchval("SELECT evidence FROM strongroom.runs WHERE id = $1", run.id)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier, evidence)
        return difference or await _replayed(to, caller, run.id, 0)
    if isinstance(run.items, Refusal):
        return run.items
    policy = to.state.policy_of(caller.organisation)
    worth = worth_of_unsealed_run(policy) if run.seal is None else _worth(policy, run.seal.totals)
    number = to.state.take_evidence()
    asks = _asks(caller, run.id, 0, run.items, (number, evidence, worth))
    batch = Batch(to.connection, to.state, await look_up(to.connection, to.state, asks), to.now)
    sums = await _decide(batch, asks, _Sums(Frontier(), {}, {}), run.items)
    if isinstance(sums, _Sums) and run.seal is not None:
        try:
            check_seal(run.seal, sums.frontier.size, sums.totals, sums.frontier.root())
        except SealError as fault:
            sums = Refusal(Code.SEAL_MISMATCH, fault.reason, f"seal.{fault.field}")
    if isinstance(sums, Refusal):
        batch.take_back()
        return sums
    async with to.recording(caller, evidence, number):
        event = _event(to, caller, evidence, run.id, "run-opened")
        await to.connection.execute(
            "SELECT strongroom.intake_run($1, $2, $3, $4, $5, $6, $7, $8)",
            run.id, caller.organisation, caller.client, run.idempotency_key, run.external_id, number, to.now, event,
        )
        await _record_call(to, batch, run.id, 0, sums, number)
        if run.seal is not None:
            await _record_seal(to, caller, run.id, run.seal, number, evidence)
    return await _read(to, caller, run.id)


async def add_items(
    to: Writing, caller: Caller, run: RunId, first_index: int, items: Sequence[RunItem] | Refusal, evidence: Evidence
) -> RunRecord | Refusal:
    """More items of an open run; `first_index` is how many there are already."""
    earlier = await to.other_request(caller.client, evidence.idempotency_key)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier[0], evidence)
        return difference or await _replayed(to, caller, run, int(earlier[1]))
    known = await _open(to, caller, run)
    if isinstance(known, Refusal):
        return known
    if isinstance(items, Refusal):
        return items
    if first_index != known.count:
        detail = f"must be {known.count}: indexes have no gaps, and the run has that many items"
        return Refusal(Code.INVALID, detail, "first_index")
    if known.count + len(items) > RUN_ITEMS_MAXIMUM:
        return Refusal(Code.INVALID, f"a run has at most {RUN_ITEMS_MAXIMUM} items", "items")
    number = to.state.take_evidence()
    worth = worth_of_unsealed_run(to.state.policy_of(caller.organisation))
    asks = _asks(caller, run, first_index, items, (number, evidence, worth))
    batch = Batch(to.connection, to.state, await look_up(to.connection, to.state, asks), to.now)
    before = _Sums(await _frontier(to, known), known.totals, known.held)
    sums = await _decide(batch, asks, before, items)
    if isinstance(sums, Refusal):
        batch.take_back()
        return sums
    async with to.recording(caller, evidence, number):
        await _record_call(to, batch, run, first_index, sums, number)
        await to.record_other(caller, evidence, number, str(first_index))
    return await _read(to, caller, run)


async def seal_run(to: Writing, caller: Caller, run: RunId, seal: Seal, evidence: Evidence) -> RunRecord | Refusal:
    """The seal of a run that came in parts."""
    earlier = await to.other_request(caller.client, evidence.idempotency_key)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier[0], evidence)
        return difference or replace(await _read(to, caller, run), cancel_requested=False, replayed=True)
    known = await _open(to, caller, run)
    if isinstance(known, Refusal):
        return known
    try:
        check_seal(seal, known.count, known.totals, (await _frontier(to, known)).root())
    except SealError as fault:
        return Refusal(Code.SEAL_MISMATCH, fault.reason, fault.field)
    policy = to.state.policy_of(caller.organisation)
    worth, ceiling = _worth(policy, seal.totals), policy.tiers[-1].up_to_reference_minor
    if worth > ceiling:
        detail = f"the run is worth {worth} minor units of {policy.reference_currency}; the policy allows {ceiling}"
        return Refusal(Code.LIMIT_EXCEEDED, detail, "totals")
    number = to.state.take_evidence()
    async with to.recording(caller, evidence, number):
        await _record_seal(to, caller, run, seal, number, evidence)
        await to.record_other(caller, evidence, number, "{}")
    return await _read(to, caller, run)


async def cancel_run(
    to: Writing, caller: Caller, run: RunId, key: IdempotencyKey, evidence: Evidence
) -> RunRecord | Refusal:
    """The wish that what isn't planned yet of a run shall not go out."""
    earlier = await to.other_request(caller.client, evidence.idempotency_key)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier[0], evidence)
        return difference or replace(await _read(to, caller, run), replayed=True)
    if run_id(caller.organisation, caller.client, key) != run:
        return Refusal(Code.NOT_FOUND, f"this client has no run {run} under that idempotency key")
    known = await runs.read_at_intake(to.connection, caller.organisation, run)
    if known is None:
        return Refusal(Code.NOT_FOUND, f"there is no run {run}")
    await _record_cancel(to, caller, run, evidence, known.cancel_requested, "{}")
    return await _read(to, caller, run)


async def cancel_payout(
    to: Writing, caller: Caller, payout: PayoutId, key: IdempotencyKey, evidence: Evidence
) -> Recorded | Refusal:
    """The wish that a payout shall not go out; possible until it is planned."""
    known = await payouts.read(to.connection, caller.organisation, payout)
    earlier = await to.other_request(caller.client, evidence.idempotency_key)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier[0], evidence)
        return difference or _cancel_asked(known, State(earlier[1]), replayed=True)
    if known is None or known.client != caller.client:
        return Refusal(Code.NOT_FOUND, f"there is no payout {payout}")
    if payout_id(caller.organisation, caller.client, key) != payout:
        return Refusal(Code.INVALID, "isn't the key that this payout was made with", "idempotency_key")
    if known.state not in CANCELLABLE:
        return Refusal(Code.TOO_LATE, f"the payout is {known.state}: it can't be cancelled any more")
    await _record_cancel(to, caller, payout, evidence, known.cancel_requested, known.state.value)
    return _cancel_asked(known, known.state, replayed=False)


def _cancel_asked(payout: PayoutRecord | None, state: State, *, replayed: bool) -> Recorded:
    """The payout as it was when the wish was recorded, so that the same request is answered alike ever after."""
    if payout is None:
        raise InvariantError("a payout that was to be cancelled is gone")
    return Recorded(payout._replace(state=state, cancel_requested=True), replayed)


async def _record_cancel(
    to: Writing, caller: Caller, target: str, evidence: Evidence, is_requested: bool, result: str
) -> None:
    number = to.state.take_evidence()
    async with to.recording(caller, evidence, number):
        if not is_requested:
            event = _event(to, caller, evidence, target, "cancel-requested")
            await to.connection.execute(
                "SELECT strongroom.intake_cancel($1, $2, $3, $4, $5, $6)",
                target, caller.organisation, caller.client, number, to.now, event,
            )
        await to.record_other(caller, evidence, number, result)


def _asks(
    caller: Caller, run: RunId, first_index: int, items: Sequence[RunItem], asked: tuple[int, Evidence, int]
) -> list[Ask]:
    number, evidence, worth = asked
    signed = signed_sha256(evidence)
    return [
        Ask(caller, item.request, number, signed, run, first_index + index, item.leaf, worth)
        for index, item in enumerate(items)
    ]


async def _decide(batch: Batch, asks: Sequence[Ask], before: _Sums, items: Sequence[RunItem]) -> _Sums | Refusal:
    """What the run is after these items, or the first refusal with its place."""
    refusal = _twice(items)
    if refusal is not None:
        return refusal
    totals, held = Counter(before.totals), Counter(before.held)
    for index, ask in enumerate(asks):
        place = f"items[{index}]"
        try:
            decided = await batch.decide(index, ask)
        except AlreadyRecordedError:
            detail = "a payout was made with this key before"
            return Refusal(Code.IDEMPOTENCY_KEY_REUSED, detail, f"{place}.idempotency_key")
        if isinstance(decided, Refusal):
            return decided.within(place)
        totals[ask.request.amount.asset] += ask.request.amount.minor
        if decided.hold is not None:
            held[decided.hold.reason.value] += 1
    before.frontier.append(leaf_hash(item.leaf) for item in items)
    return _Sums(before.frontier, totals, held)


def _twice(items: Sequence[RunItem]) -> Refusal | None:
    keys: set[str] = set()
    debts: set[tuple[str, str]] = set()
    for index, item in enumerate(items):
        request: PayoutRequest = item.request
        if request.id in keys:
            detail = "stands there twice in this call"
            return Refusal(Code.INVALID, detail, f"items[{index}].idempotency_key")
        if (request.external_id, request.beneficiary) in debts:
            detail = "stands there twice for this beneficiary in this call"
            return Refusal(Code.DUPLICATE_EXTERNAL_ID, detail, f"items[{index}].external_id")
        keys.add(request.id)
        debts.add((request.external_id, request.beneficiary))
    return None


async def _record_call(
    to: Writing, batch: Batch, run: RunId, first_index: int, sums: _Sums, number: int
) -> None:
    totals = {asset: str(minor) for asset, minor in sums.totals.items()}
    summary = encode({"count": sums.frontier.size, "held": dict(sums.held), "totals": totals}).decode()
    await to.connection.execute(
        "SELECT strongroom.intake_run_call($1, $2, $3, $4, $5, $6, $7)",
        run, first_index, len(batch.taken), summary, b"".join(sums.frontier.roots), number, to.now,
    )
    await record_payouts(to.connection, to.state, to.epoch, batch.taken)


async def _record_seal(
    to: Writing, caller: Caller, run: RunId, seal: Seal, number: int, evidence: Evidence
) -> None:
    totals = encode({asset: str(minor) for asset, minor in seal.totals.items()}).decode()
    event = _event(to, caller, evidence, run, "run-sealed")
    await to.connection.execute(
        "SELECT strongroom.intake_run_seal($1, $2, $3, $4, $5, $6, $7, $8)",
        run, caller.organisation, seal.count, totals, seal.root, number, to.now, event,
    )


async def _open(to: Writing, caller: Caller, run: RunId) -> RunRecord | Refusal:
    known = await runs.read_at_intake(to.connection, caller.organisation, run)
    if known is None or known.client != caller.client:
        return Refusal(Code.NOT_FOUND, f"there is no run {run}")
    if known.seal is not None:
        return Refusal(Code.RUN_SEALED, "the run is sealed: nothing is added to it or sealed again")
    if known.cancel_requested:
        return Refusal(Code.TOO_LATE, "the run is to be cancelled")
    return known


async def _frontier(to: Writing, run: RunRecord) -> Frontier:
    raw: bytes = await to.connection.fetchval(
        "SELECT frontier FROM strongroom.run_calls WHERE run = $1 ORDER BY first_index DESC LIMIT 1", run.id
    )
    return Frontier(run.count, [raw[at : at + 32] for at in range(0, len(raw), 32)])


async def _read(to: Writing, caller: Caller, run: RunId) -> RunRecord:
    found = await runs.read_at_intake(to.connection, caller.organisation, run)
    if found is None:
        raise InvariantError(f"run {run} was there a moment ago")
    return found


async def _replayed(to: Writing, caller: Caller, run: RunId, first_index: int) -> RunRecord:
    """The run as it was after the call that began at `first_index`."""
    found = await runs.read_after_call(to.connection, caller.organisation, run, first_index)
    if found is None:
        raise InvariantError(f"run {run} was there a moment ago")
    return replace(found, replayed=True)


def _worth(policy: Policy, totals: Mapping[str, int]) -> int:
    """What sealed totals are worth at the most, in reference minor units; unknown assets are refused item by item."""
    return sum(rule.reference_minor(totals.get(rule.asset, 0)) for rule in policy.assets.values())


def _event(to: Writing, caller: Caller, evidence: Evidence, target: str, what: str) -> str:
    return encode(
        {
            "at": to.now, "client": caller.client, "id": target, "organisation": caller.organisation,
            "signed_sha256": signed_sha256(evidence), "type": f"strongroom/event/{what}/v1",
        }
    ).decode()
