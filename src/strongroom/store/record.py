"""What intake is given and what it answers: rows as types, so that nobody outside of `store` sees SQL.

A record is always shown as it was taken (`at_intake`) or as it is now; the first is what a repeated request is
answered with, so it is made from columns that nobody can change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from strongroom.domain.destination import Destination
from strongroom.domain.errors import Refusal
from strongroom.domain.ids import BeneficiaryId, ClientId, IdempotencyKey, KeyId, OrganisationId, PayoutId, RunId
from strongroom.domain.instant import Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import Hold, PayoutRequest, State
from strongroom.domain.policy import WalletRule
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.run_tree import Seal


class Caller(NamedTuple):
    """Whose signature held."""

    organisation: OrganisationId
    client: ClientId
    key_id: KeyId


class Evidence(NamedTuple):
    """A signed request, byte for byte as it came."""

    method: str
    path: str
    authority: str
    idempotency_key: IdempotencyKey
    signature_base: bytes
    signature: bytes
    body: bytes
    received_at: Instant


@dataclass(frozen=True, slots=True)
class BeneficiaryRequest:
    """A beneficiary with its first destination, checked at the edge; or what was found wrong with it there, which is
    answered when this key is new."""

    id: BeneficiaryId
    idempotency_key: IdempotencyKey
    external_id: str | None
    destination: DestinationRecord | Refusal


@dataclass(frozen=True, slots=True)
class UnpayableRequest:
    """A payout that was asked for with an amount that can't be; `refusal` says so."""

    id: PayoutId
    beneficiary: BeneficiaryId
    asset: AssetId
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class RunItem:
    request: PayoutRequest
    leaf: bytes


class PayoutRecord(NamedTuple):
    """A payout as recorded. `hold` is why it is `held`; `limit` the name of the limit that made it wait."""

    id: PayoutId
    organisation: OrganisationId
    client: ClientId
    idempotency_key: IdempotencyKey
    beneficiary: BeneficiaryId
    destination: Destination
    amount: Amount
    external_id: str
    remittance_information: str | None
    activities: tuple[str, ...]
    not_before: Instant | None
    expires_at: Instant | None
    replaces: PayoutId | None
    metadata: str | None
    run: RunId | None
    run_index: int | None
    approvals: int
    approval_groups: int
    limit: str | None
    state: State
    hold: Hold | None
    created_at: Instant
    updated_at: Instant
    cancel_requested: bool = False
    position: int = 0
    """Where it stands in lists; 0 in the answer to the request that made it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answer to a request for a payout; `replayed` when an earlier request made it."""

    payout: PayoutRecord
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class DestinationVersion:
    destination: Destination
    record: bytes


@dataclass(frozen=True, slots=True)
class BeneficiaryRecord:
    """A beneficiary and all versions of its destination, the oldest first."""

    id: BeneficiaryId
    organisation: OrganisationId
    client: ClientId
    external_id: str | None
    name: str
    created_at: Instant
    destinations: tuple[DestinationVersion, ...]
    position: int = 0
    replayed: bool = False

    def as_answered(self, version: int) -> "BeneficiaryRecord":
        """As it was when this version of its destination was the newest, for a request that came again."""
        return replace(self, destinations=self.destinations[:version], replayed=True)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run: how much of it is there, and its seal once it has one. `held` counts items by their hold."""

    id: RunId
    organisation: OrganisationId
    client: ClientId
    external_id: str | None
    created_at: Instant
    count: int
    totals: Mapping[str, int]
    held: Mapping[str, int]
    position: int = 0
    seal: Seal | None = None
    sealed_at: Instant | None = None
    cancel_requested: bool = False
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen now to a payout that was asked for. Stored nowhere."""

    reference_minor: int
    reference_currency: str
    approvals: int
    approval_groups: int
    tier: int
    hold: Hold | None
    limits: tuple[tuple[str, int, int, int], ...]
    """(name, span in ms, maximum, used), in reference minor units."""
    young_destination: bool
    network: str
    address: str
    """Where it would go."""
    wallet: WalletRule | None
    """What the policy says of fees there; None where it has no wallet."""
