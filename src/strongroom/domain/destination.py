"""The destinations that a beneficiary may be paid to, version after version.

A destination is never changed: a new version follows, names the digest of the one before, and cools off.
The signer measures cooling-off by its own clock; what is reckoned here is the API's estimate.
"""

from dataclasses import dataclass

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, OrganisationId
from strongroom.domain.instant import Instant


@dataclass(frozen=True, slots=True)
class Destination:
    """One version of where a beneficiary is paid, as recorded.

    `network` is CAIP-2, or `sepa`; `address` is the chain address or the IBAN. `cooling_until` is the
    first instant at which it may be paid.
    """

    digest: DestinationDigest
    organisation: OrganisationId
    beneficiary: BeneficiaryId
    declared_by: ClientId
    version: int
    destination_class: DestinationClass
    network: str
    address: str
    created_at: Instant
    cooling_until: Instant
