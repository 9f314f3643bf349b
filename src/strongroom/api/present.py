"""Records as the answers that clients get."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from strongroom.api.schemas import (
    ApprovalsNeeded,
    BeneficiaryAnswer,
    CheckpointAnswer,
    DestinationAnswer,
    Explanation,
    HoldAnswer,
    LimitAnswer,
    PayoutAnswer,
    PayoutDestination,
    PreviewAnswer,
    Reference,
    RunAnswer,
    SealAnswer,
)
from strongroom.domain.beneficiary import Destination
from strongroom.domain.instant import Instant
from strongroom.domain.instant import format_instant as format_any_instant
from strongroom.domain.payout import Hold, HoldReason, State
from strongroom.store.record import BeneficiaryRecord, PayoutRecord, Preview, RunRecord

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
_RECEIVED: Final = ("Your payout has been ordered.", "It waits for the signer, which this version doesn't have yet.")
_ROAD: Final = ("bytes", "broadcast", "settlement")

format_instant: Final = lru_cache(maxsize=256)(format_any_instant)
"""Payouts of one batch have one time, which stands in an answer five times."""


def payout_answer(payout: PayoutRecord) -> PayoutAnswer:
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
        status_reason=None,
        explanation=_explanation(payout),
        checkpoints=_checkpoints(payout),
        chain_transactions=[],
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


def preview_answer(preview: Preview) -> PreviewAnswer:
    warnings = ["the fee isn't estimated yet"]
    if preview.young_destination:
        warnings.append("the destination is new, which can ask for more approvals")
    return PreviewAnswer(
        tier=preview.tier,
        approvals=ApprovalsNeeded(preview.approvals, preview.approval_groups),
        reference=Reference(preview.reference_currency, str(preview.reference_minor)),
        hold=_hold(preview.hold),
        fee_estimate=None,
        limits=[
            LimitAnswer(name, span_ms, str(maximum), str(used), str(max(0, maximum - used)))
            for name, span_ms, maximum, used in preview.limits
        ],
        warnings=warnings,
    )


def _destination(destination: Destination) -> DestinationAnswer:
    return DestinationAnswer(
        destination.digest, destination.version, destination.network, destination.address,
        destination.destination_class.value, format_instant(destination.cooling_until),
    )


def _hold(hold: Hold | None) -> HoldAnswer | None:
    return None if hold is None else HoldAnswer(hold.reason.value, _time(hold.retry_at))


def _explanation(payout: PayoutRecord) -> Explanation:
    text, step = _RECEIVED if payout.hold is None else _HELD[payout.hold.reason]
    if payout.cancel_requested:
        step = "A cancel was asked for; it is done when the signer confirms it."
    return Explanation(text, step, None if payout.hold is None else _time(payout.hold.retry_at))


def _checkpoints(payout: PayoutRecord) -> list[CheckpointAnswer]:
    """What the API can say of the road: its own estimates; the rest is pending until others have spoken."""
    at = format_instant(payout.created_at)
    reason = payout.hold.reason if payout.state is State.HELD and payout.hold is not None else None
    destination = "waiting" if reason is HoldReason.COOLING else "passed"
    limits = "waiting" if reason in (HoldReason.LIMIT_WINDOW, HoldReason.FUNDS) else "passed"
    approval = "pending" if payout.approvals else "not_needed"
    return [
        CheckpointAnswer("intake", "api", "passed", at),
        CheckpointAnswer("destination", "api", destination, at),
        CheckpointAnswer("limits", "api", limits, at),
        CheckpointAnswer("approval", "api", approval, None),
        *(CheckpointAnswer(name, "signer" if name == "bytes" else "watch", "pending", None) for name in _ROAD),
    ]


def _amounts(totals: Mapping[str, int]) -> dict[str, str]:
    return {asset: str(minor) for asset, minor in totals.items()}


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)
