"""EVM addresses: 20 bytes in the mixed-case spelling of EIP-55, whose case is the checksum.

All lower or all upper case carries no checksum, so a mistyped digit would go unnoticed: refused. So are addresses
that nobody holds (zero, the precompiled contracts) and those that the caller forbids, such as token contracts.
"""

import re
from collections.abc import Set
from typing import Final

from sha3 import keccak_256

from strongroom.formats.address_error import AddressError, AddressFault

PRECOMPILED_MAXIMUM: Final = 0xFFFF

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
EVM_NETWORK: Final = re.compile("eip155:[1-9][0-9]{0,17}")
DEVELOPMENT_CHAIN: Final = "eip155:31337"
"""Of development nodes: whoever runs one makes its money."""


def parse_evm_address(text: str, network: str, forbidden: Set[str] = frozenset()) -> bytes:
    """The 20 bytes of an EIP-55 address. `forbidden` holds EIP-55 texts. Raises: AddressError."""
    if EVM_NETWORK.fullmatch(network) is None:
        raise AddressError(AddressFault.MISMATCH, f"{network} isn't an EVM network")
    if _ADDRESS.fullmatch(text) is None:
        raise AddressError(AddressFault.INVALID, "must be 0x and 40 hex digits")
    raw = bytes.fromhex(text[2:])
    expected = eip55(raw)
    if text != expected:
        if text[2:] in (text[2:].lower(), text[2:].upper()):
            reason = "must be written in mixed case (EIP-55): that is its checksum against mistyped digits"
        else:
            reason = "has a wrong checksum (EIP-55): a digit or its case is mistyped"
        raise AddressError(AddressFault.INVALID, reason)
    if int.from_bytes(raw) <= PRECOMPILED_MAXIMUM:
        raise AddressError(AddressFault.FORBIDDEN, "is an address that nobody holds")
    if text in forbidden:
        raise AddressError(AddressFault.FORBIDDEN, "is a contract or wallet that must not be paid")
    return raw


def eip55(raw: bytes) -> str:
    """The one text of a 20-byte address (EIP-55)."""
    digits = raw.hex()
    hashed = keccak_256(digits.encode()).hexdigest()
    mixed = (digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, hashed, strict=False))
    return "0x" + "".join(mixed)
