"""Records as the answers that clients get."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, assert_never

import msgspec

from strongroom.api.schemas import (
    ApprovalsNeeded,
    BeneficiaryAnswer,
    CheckpointAnswer,
    DestinationAnswer,
    Explanation,
    FeeEstimate,
    FeeRange,
    HoldAnswer,
    LimitAnswer,
    PayoutAnswer,
    PayoutDestination,
    PreviewAnswer,
    PreviewRow,
    Reference,
    RunAnswer,
    SealAnswer,
    StatusReason,
)
from strongroom.domain.destination import Destination
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.payout import CANCELLABLE, Hold, HoldReason, State
from strongroom.domain.timestamp import format_instant as format_any_instant
from strongroom.formats.fee_model import cost_of
from strongroom.store.fee_rates import FeeRate
from strongroom.store.progress import NOTHING, Progress
from strongroom.store.record import BeneficiaryRecord, PayoutRecord, Preview, RunRecord

FEE_RATE_AGE_MAXIMUM_MS: Final = 10 * MINUTE_MS
_HELD: Final = {
    HoldReason.FREEZE: ("Payments are stopped for a moment.", "People must lift the freeze."),
    HoldReason.COOLING: ("Your payout details are new and are being checked.", "It goes on when cooling-off ends."),
    HoldReason.LIMIT_WINDOW: ("Your payout is waiting its turn.", "It goes on when the limit has room again."),
    HoldReason.FUNDS: ("Your payout is waiting its turn.", "The wallet must be funded."),
    HoldReason.FEE: ("Your payout is waiting for a better moment.", "It goes on when fees fall."),
    HoldReason.RAIL: ("Your payout is waiting for the network.", "It goes on when the network answers."),
    HoldReason.SCREENING: ("Your payout is being checked.", "People must look at it."),
    HoldReason.ALARM: ("Your payout is being checked.", "People must look at an alarm."),
    HoldReason.NOT_BEFORE: ("Your payout is planned for later.", "It goes on at not_before."),
}
_ROAD: Final = {"bytes": "signer", "broadcast": "engine", "settlement": "watch"}
_SIGNED: Final = frozenset({State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED, State.RETURNED})
_UNPAID: Final = frozenset({State.DECLINED, State.CANCELLED, State.EXPIRED, State.FAILED})

format_instant: Final = lru_cache(maxsize=256)(format_any_instant)
"""Payouts of one batch have one time, which stands in an answer five times."""


def payout_answer(payout: PayoutRecord, progress: Progress = NOTHING) -> PayoutAnswer:
    """`progress` is nothing for a payout as it was when it came in."""
    return PayoutAnswer(
        id=payout.id,
        organisation=payout.organisation,
        client=payout.client,
        beneficiary=payout.beneficiary,
        destination=PayoutDestination(
            payout.destination.digest,
            payout.destination.version,
            payout.destination.network,
            payout.destination.address,
            payout.destination.destination_class.value,
        ),
        asset=payout.amount.asset,
        amount=str(payout.amount.minor),
        external_id=payout.external_id,
        remittance_information=payout.remittance_information,
        activities=list(payout.activities),
        run=payout.run,
        run_index=payout.run_index,
        state=payout.state.value,
        hold=_hold(payout.hold),
        cancel_requested=payout.cancel_requested,
        status_reason=None if progress.reason is None else StatusReason(*progress.reason),
        explanation=_explanation(payout),
        checkpoints=_checkpoints(payout, progress),
        chain_transactions=list(progress.chain_transactions),
        attempts=list(progress.attempts),
        not_before=_time(payout.not_before),
        expires_at=_time(payout.expires_at),
        replaces=payout.replaces,
        metadata={} if payout.metadata is None else msgspec.json.decode(payout.metadata, type=dict[str, str]),
        created_at=format_instant(payout.created_at),
        updated_at=format_instant(payout.updated_at),
    )


def beneficiary_answer(beneficiary: BeneficiaryRecord) -> BeneficiaryAnswer:
    destinations = [_destination(version.destination) for version in beneficiary.destinations]
    return BeneficiaryAnswer(
        id=beneficiary.id,
        organisation=beneficiary.organisation,
        client=beneficiary.client,
        name=beneficiary.name,
        external_id=beneficiary.external_id,
        destination=destinations[-1],
        destinations=destinations,
        created_at=format_instant(beneficiary.created_at),
    )


def run_answer(run: RunRecord) -> RunAnswer:
    sealed = None
    if run.seal is not None:
        sealed = SealAnswer(run.seal.count, _amounts(run.seal.totals), run.seal.root.hex())
    state = "open" if run.seal is None else "sealed"
    return RunAnswer(
        id=run.id,
        organisation=run.organisation,
        client=run.client,
        external_id=run.external_id,
        state="cancel_requested" if run.cancel_requested else state,
        count=run.count,
        totals=_amounts(run.totals),
        held=dict(run.held),
        seal=sealed,
        created_at=format_instant(run.created_at),
        sealed_at=_time(run.sealed_at),
    )


def fee_estimate(preview: Preview, rates: Mapping[str, FeeRate], now: Instant) -> FeeEstimate | None:
    """None where nothing is known that is young enough to say something of now."""
    rate, cost = rates.get(preview.network), cost_of(preview.network, preview.address)
    if rate is None or cost is None or preview.wallet is None or now - rate.measured_at > FEE_RATE_AGE_MAXIMUM_MS:
        return None
    least, most = (-(-units * each // 1_000) for units, each in (
        (cost.batched, rate.expected), (cost.alone, rate.offered)))
    return FeeEstimate(
        preview.wallet.fee_asset, str(least), str(most), str(rate.expected), format_instant(rate.measured_at)
    )


def preview_answer(preview: Preview, rates: Mapping[str, FeeRate], now: Instant) -> PreviewAnswer:
    estimate, warnings = fee_estimate(preview, rates, now), []
    if estimate is None:
        warnings.append("the fee isn't known now: no node has said lately what its chain asks for")
    elif preview.wallet is not None and int(estimate.rate) > preview.wallet.fee_rate_maximum:
        warnings.append("fees are above what the policy pays: it would be held until they fall")
    if preview.young_destination:
        warnings.append("the destination is new, which can ask for more approvals")
    return PreviewAnswer(
        tier=preview.tier,
        approvals=ApprovalsNeeded(preview.approvals, preview.approval_groups),
        reference=Reference(preview.reference_currency, str(preview.reference_minor)),
        hold=_hold(preview.hold),
        fee_estimate=estimate,
        limits=[
            LimitAnswer(name, span_ms, str(maximum), str(used), str(max(0, maximum - used)))
            for name, span_ms, maximum, used in preview.limits
        ],
        warnings=warnings,
    )


def fee_ranges(rows: Sequence[PreviewRow]) -> dict[str, FeeRange]:
    """By the asset that pays the fees: of the rows whose fee is known."""
    found = [row.preview.fee_estimate for row in rows if row.preview is not None and row.preview.fee_estimate]
    least, most = Counter[str](), Counter[str]()
    for each in found:
        least[each.asset] += int(each.least)
        most[each.asset] += int(each.most)
    return {asset: FeeRange(str(least[asset]), str(most[asset])) for asset in least}


def _destination(destination: Destination) -> DestinationAnswer:
    return DestinationAnswer(
        destination.digest, destination.version, destination.network, destination.address,
        destination.destination_class.value, format_instant(destination.cooling_until),
    )


def _hold(hold: Hold | None) -> HoldAnswer | None:
    return None if hold is None else HoldAnswer(hold.reason.value, _time(hold.retry_at))


def _explanation(payout: PayoutRecord) -> Explanation:
    text, step = _words(payout)
    if payout.cancel_requested and payout.state in CANCELLABLE:
        step = "A cancel was asked for; it is done when the signer confirms it."
    return Explanation(text, step, None if payout.hold is None else _time(payout.hold.retry_at))


def _words(payout: PayoutRecord) -> tuple[str, str]:
    """What the payee may be told, and what happens next."""
    match payout.state:
        case State.RECEIVED | State.HELD:
            return _HELD[payout.hold.reason] if payout.hold is not None else (
                "Your payout has been ordered.", "The signer looks at it next.")
        case State.AWAITING_APPROVAL:
            return "Your payout is being checked.", "People must approve it."
        case State.READY | State.PLANNED:
            return "Your payout is being prepared.", "It is put into a chain transaction, and signed."
        case State.SIGNED | State.BROADCAST:
            return "Your payout is on its way.", "It waits to be confirmed by the network."
        case State.CONFIRMED:
            return "Your payout is on its way.", "It is confirmed, and waits until that is final."
        case State.SETTLED:
            return "Your payout has been paid.", "Nothing: it is final."
        case State.DECLINED:
            return "Your payout was not approved.", "Nothing; another payout may replace it."
        case State.CANCELLED:
            return "Your payout was cancelled.", "Nothing; another payout may replace it."
        case State.EXPIRED:
            return "Your payout was not made in time.", "Nothing; another payout may replace it."
        case State.FAILED:
            return "Your payout could not be made.", "Look at status_reason; another payout may replace it."
        case State.RETURNED:
            return "Your payout came back.", "Check the payee's details; another payout may replace it."
        case _:
            assert_never(payout.state)


def _checkpoints(payout: PayoutRecord, progress: Progress) -> list[CheckpointAnswer]:
    """Until the signer has signed, the API's own estimate; from then on the signer's word, the chain's and watch's."""
    if payout.state in _SIGNED or (payout.state is State.FAILED and progress.signed is not None):
        before = [
            _passed("destination", "signer", progress.signed), _passed("limits", "signer", progress.signed),
            _passed("approval", "signer", progress.signed) if progress.requested is not None
            else CheckpointAnswer("approval", "signer", "not_needed", _time(progress.signed)),
        ]
    else:
        before = _estimates(payout, progress)
    return [_passed("intake", "api", payout.created_at), *before, *_rest(payout, progress)]


def _estimates(payout: PayoutRecord, progress: Progress) -> list[CheckpointAnswer]:
    at = format_instant(payout.created_at)
    reason = payout.hold.reason if payout.state is State.HELD and payout.hold is not None else None
    destination = "waiting" if reason is HoldReason.COOLING else "passed"
    limits = "waiting" if reason in (HoldReason.LIMIT_WINDOW, HoldReason.FUNDS) else "passed"
    if progress.requested is None:
        approval = CheckpointAnswer("approval", "api", "pending" if payout.approvals else "not_needed", None)
    elif progress.people < progress.approvals or payout.state is State.AWAITING_APPROVAL:
        approval = CheckpointAnswer("approval", "people", "waiting", _time(progress.requested))
    else:
        approval = _passed("approval", "people", progress.requested)
    return [
        CheckpointAnswer("destination", "api", destination, at), CheckpointAnswer("limits", "api", limits, at), approval
    ]


def _rest(payout: PayoutRecord, progress: Progress) -> list[CheckpointAnswer]:
    """Bytes, broadcast and settlement; what has ended unpaid needs none of them, unless it was signed and is void."""
    if payout.state in _UNPAID and progress.signed is None:
        return [CheckpointAnswer(name, by, "not_needed", None) for name, by in _ROAD.items()]
    times = {"bytes": progress.signed, "broadcast": progress.broadcast, "settlement": progress.settled}
    under_way = {State.PLANNED: "bytes", State.SIGNED: "broadcast", State.BROADCAST: "settlement",
                 State.CONFIRMED: "settlement"}.get(payout.state)
    rest: list[CheckpointAnswer] = []
    for name, by in _ROAD.items():
        at = times[name]
        if (payout.state in _SIGNED or payout.state is State.FAILED) and at is not None:
            rest.append(_passed(name, by, at))
        else:
            waits = "waiting" if name == under_way else "not_needed" if payout.state in _UNPAID else "pending"
            rest.append(CheckpointAnswer(name, by, waits, None))
    return rest


def _passed(name: str, by: str, at: Instant | None) -> CheckpointAnswer:
    return CheckpointAnswer(name, by, "passed", _time(at))


def _amounts(totals: Mapping[str, int]) -> dict[str, str]:
    return {asset: str(minor) for asset, minor in totals.items()}


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)
