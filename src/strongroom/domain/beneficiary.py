"""How sure we are of the destinations of a beneficiary."""

from enum import StrEnum


class DestinationClass(StrEnum):
    """How sure we are that the payee named it. A class never falls from one version to the next."""

    DECLARED = "declared"
    PAYEE_VERIFIED = "payee_verified"
    ALLOWLISTED = "allowlisted"
