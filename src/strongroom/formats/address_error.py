"""The one error of every parser of addresses and accounts, with the code that the API answers."""

from enum import StrEnum


class AddressFault(StrEnum):
    INVALID = "address_invalid"
    MISMATCH = "network_mismatch"
    FORBIDDEN = "address_forbidden"


class AddressError(ValueError):
    """The address can't be paid; the message goes on after its name: "is …", "must …", "has …"."""

    def __init__(self, fault: AddressFault, reason: str, field: str = "address") -> None:
        super().__init__(reason)
        self.fault = fault
        self.field = field
