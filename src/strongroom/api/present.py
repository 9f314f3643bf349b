"""Records as the answers that clients get."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

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
from strongroom.domain.explanation import explain
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.payout import CANCELLABLE, Hold
from strongroom.domain.timestamp import format_instant as format_any_instant
from strongroom.formats.fee_model import cost_of
from strongroom.store.checkpoints import checkpoints_of
from strongroom.store.fee_rates import FeeRate
from strongroom.store.progress import NOTHING, Progress
from strongroom.store.record import BeneficiaryRecord, PayoutRecord, Preview, RunRecord

FEE_RATE_AGE_MAXIMUM_MS: Final = 10 * MINUTE_MS

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
        checkpoints=[
            CheckpointAnswer(each.name, each.by, each.result, _time(each.at))
            for each in checkpoints_of(payout, progress)
        ],
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
    text, step = explain(payout.state, payout.hold)
    if payout.cancel_requested and payout.state in CANCELLABLE:
        step = "A cancel was asked for; it is done when the signer confirms it."
    return Explanation(text, step, None if payout.hold is None else _time(payout.hold.retry_at))


def _amounts(totals: Mapping[str, int]) -> dict[str, str]:
    return {asset: str(minor) for asset, minor in totals.items()}


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)
