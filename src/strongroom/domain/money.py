"""Money: whole base units of one asset, never a fraction and never a binary floating number.

An amount travels as a string of base units (`"125000000"`) beside its asset, because JSON numbers stop
being exact at 2^53. Base units are satoshi, the token's smallest unit, or cents. Which assets exist, and
their maxima, the policy says; nothing here knows a price.
"""

import re
from dataclasses import dataclass
from typing import Final, NewType

AssetId = NewType("AssetId", str)
"""A CAIP-19 name such as `eip155:31337/erc20:0x…`, or `iso4217:EUR`. `formats.asset` parses it."""

AMOUNT_MAXIMUM: Final = 2**256 - 1

_AMOUNT = re.compile("[1-9][0-9]{0,77}")


class MoneyError(ValueError):
    """The text isn't an amount, or the number can't be one."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A positive count of base units of one asset; 1 to 2^256-1."""

    minor: int
    asset: AssetId

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise MoneyError("an amount must be an int")
        if not 1 <= self.minor <= AMOUNT_MAXIMUM:
            raise MoneyError("an amount must be from 1 to 2^256-1 base units")


def parse_amount_minor(text: str) -> int:
    """Base units from their decimal string: ASCII digits, no sign, no leading zero, at most 2^256-1.

    Raises: MoneyError, with a sentence for the person who wrote the amount.
    """
    if _AMOUNT.fullmatch(text) is None:
        raise MoneyError('must be a whole number of base units as a string, such as "125000"')
    minor = int(text)
    if minor > AMOUNT_MAXIMUM:
        raise MoneyError("must be at most 2^256-1 base units")
    return minor
