"""What would happen now to payouts that nobody has asked for yet. Decides as intake does, and records nothing."""

from collections.abc import Sequence

from strongroom.domain.admission import is_young
from strongroom.domain.errors import Refusal
from strongroom.domain.payout import PayoutRequest
from strongroom.store.intake_payout import Ask, Batch, look_up
from strongroom.store.record import Caller, Preview
from strongroom.store.writing import Writing


async def preview(to: Writing, caller: Caller, requests: Sequence[PayoutRequest]) -> list[Preview | Refusal]:
    """One answer for each request, in their order; each as if it came alone."""
    asks = [Ask(caller, request, 0, "") for request in requests]
    batch = Batch(to.connection, to.state, await look_up(to.connection, to.state, asks), to.now)
    policy = to.state.policy_of(caller.organisation)
    windows = to.state.windows_of(caller.organisation)
    answers: list[Preview | Refusal] = []
    for place, ask in enumerate(asks):
        assessed = await batch.assess(place, ask)
        if isinstance(assessed, Refusal):
            answers.append(assessed)
            continue
        subject, admitted = assessed
        answers.append(
            Preview(
                reference_minor=admitted.reference_minor,
                reference_currency=policy.reference_currency,
                approvals=admitted.tier.approvals,
                approval_groups=admitted.tier.groups,
                tier=[each.up_to_reference_minor for each in policy.tiers].index(admitted.tier.up_to_reference_minor),
                hold=admitted.hold,
                limits=tuple(
                    (limit.name, limit.span_ms, limit.maximum_reference_minor, windows.used(key, limit.span_ms, to.now))
                    for limit, key in admitted.meets
                ),
                young_destination=is_young(policy, subject.destination, to.now),
                network=subject.destination.network,
                address=subject.destination.address,
                wallet=policy.wallets.get(subject.destination.network),
            )
        )
    return answers
