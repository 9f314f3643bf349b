"""Sums as people read them: `12,500.00 USD`, `0.5 BTC`, `a day`. Whole numbers only."""

from collections.abc import Mapping
from typing import Final

from strongroom.domain.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from strongroom.domain.policy import AssetRule

_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF",
                     "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""ISO 4217: currencies whose minor unit isn't a hundredth."""
_SPANS: Final = ((DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute"), (SECOND_MS, "second"))


def sum_text(minor: int, currency: str) -> str:
    """`minor` units of a currency of ISO 4217, without its name."""
    return _decimal(minor, _DIGITS.get(currency, 2))


def asset_text(minor: int, rule: AssetRule) -> str:
    """Base units of an asset as whole ones, with its symbol; zeros at the end are left out."""
    text = _decimal(minor, rule.decimals)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {rule.symbol}"


def span_text(span_ms: int) -> str:
    """In the largest unit that leaves nothing over: `36 hours`, `1 day`; `no time` for 0."""
    for unit_ms, name in _SPANS:
        count, rest = divmod(span_ms, unit_ms)
        if count and not rest:
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"{span_ms} ms" if span_ms else "no time"


def people_text(approvals: int, groups: int) -> str:
    if approvals == 0:
        return "nobody"
    people = "1 person" if approvals == 1 else f"{approvals} people"
    return people if groups <= 1 else f"{people} of {groups} groups"


def _decimal(minor: int, digits: int) -> str:
    whole, rest = divmod(minor, 10**digits)
    return f"{whole:,}.{rest:0{digits}d}" if digits else f"{whole:,}"
