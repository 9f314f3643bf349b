"""One payout before a policy: what the real admission says of it when money isn't what is lacking.

The estimate of intake, which counts as the signer does; what the signer alone sees (bytes, approvals, fees) isn't here.
"""

from dataclasses import dataclass
from typing import Final

from strongroom.advice.sums import people_text
from strongroom.domain.admission import Admitted, Funds, Subject, admit, count
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.destination import Destination
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, KeyId
from strongroom.domain.instant import Instant
from strongroom.domain.money import AMOUNT_MAXIMUM, Amount
from strongroom.domain.payout import HoldReason
from strongroom.domain.policy import Policy
from strongroom.domain.velocity import Windows

PLENTY: Final = Funds(AMOUNT_MAXIMUM, frozen=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where money goes. `since` is when this destination was declared."""

    network: str
    address: str
    destination_class: DestinationClass
    since: Instant


@dataclass(frozen=True, slots=True)
class Said:
    """What a policy says of one payout. `until` is when it is worth asking again; None with a hold: never.

    `limit` is one that has no room, so that the payout doesn't count yet.
    """

    refused: Code | None = None
    approvals: int = 0
    groups: int = 0
    hold: HoldReason | None = None
    until: Instant | None = None
    limit: str | None = None

    def __str__(self) -> str:
        if self.refused is not None:
            return f"refused ({self.refused})"
        people = people_text(self.approvals, self.groups)
        if self.hold is None:
            return people
        return f"{people}, held ({self.hold}{f': {self.limit}' if self.limit else ''})"


def ask(
    policy: Policy, amount: Amount, place: Place, client: ClientId, windows: Windows, now: Instant,
    run_total_reference_minor: int | None = None,
) -> Said:
    """What the policy says now; what it lets pass, or lets cool off, counts in the windows from then on."""
    payable_from = Instant(place.since + policy.cooling_off_ms[place.destination_class])
    destination = Destination(
        DestinationDigest(""), policy.organisation, BeneficiaryId(""), client, 1, place.destination_class,
        place.network, place.address, place.since, payable_from,
    )
    # A key of its own for every client: which key signed isn't recorded where clients read.
    subject = Subject(client, KeyId(client), amount, destination, payable_from, None, run_total_reference_minor)
    answer = admit(policy, subject, PLENTY, windows, now)
    if isinstance(answer, Refusal):
        return Said(refused=answer.code)
    count(subject, answer, windows, now)
    return _said(answer)


def _said(answer: Admitted) -> Said:
    tier, hold = answer.tier, answer.hold
    if hold is None:
        return Said(approvals=tier.approvals, groups=tier.groups)
    return Said(None, tier.approvals, tier.groups, hold.reason, hold.retry_at, answer.limit)
