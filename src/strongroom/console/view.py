"""Pages out of templates: what every page has around it, and how money, addresses and times are written.

What people wrote is text: the templates escape everything, and no filter here makes markup out of a value.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from strongroom.console.mirror import Mirror
from strongroom.console.web import Headers, Reply
from strongroom.domain.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant

TEMPLATES: Final = Path(__file__).parent / "templates"
GROUP: Final = 4
NETWORKS: Final = {
    "sim:sandbox": "the simulated chain", "sepa": "SEPA", "eip155:1": "Ethereum", "eip155:31337": "a local EVM chain",
    "bip122:000000000019d6689c085ae165831e93": "Bitcoin", "bip122:0f9188f13cb7b2c71f2a335e3a4fc328": "Bitcoin regtest",
}
_STATES: Final = {
    "settled": "ok", "confirmed": "ok", "failed": "bad", "declined": "bad", "returned": "bad", "cancelled": "bad",
    "expired": "bad", "held": "warn", "awaiting_approval": "act",
}


def content_policy(station: str) -> str:
    """Nothing but what the console itself serves, and no markup made by scripts at all."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        f"form-action 'self' {station}; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


class View:
    def __init__(self, station_origin: str, *, is_sandbox: bool) -> None:
        self._station, self._is_sandbox = station_origin, is_sandbox
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "instant": instant, "day": day, "clock": clock_time, "groups": groups, "state_kind": _STATES.get,
            "network": network, "digits": digits, "ago": ago, "span": span,
            "shown": json.loads,
        }
        self.environment.globals |= {"money": money, "differs": differs}
        self._fixed: Headers = security_headers(station_origin)

    def page(self, template: str, call: Any, status: int, values: Mapping[str, Any]) -> Reply:
        """`call` is what the templates know of who looks, and at what."""
        text = self.environment.get_template(template).render(
            **values, call=call, who=call.visitor, now=call.now, path=call.request.path, is_sandbox=self._is_sandbox,
            station=self._station,
        )
        return Reply(status, text.encode(), headers=[*self._fixed])


def security_headers(station_origin: str) -> Headers:
    return [
        (b"content-security-policy", content_policy(station_origin).encode()), (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), "
                                b"microphone=(), geolocation=(), payment=(), usb=()"),
        (b"x-frame-options", b"DENY"),
    ]


def money(mirror: Mirror, minor: int | str, asset: str) -> tuple[str, str]:
    """The amount in whole units with its decimals, and the asset's symbol; base units of what policy doesn't know."""
    rule = mirror.asset(asset)
    if rule is None:
        return digits(int(minor)), f"base units of {asset}"
    return decimal(int(minor), rule.decimals), rule.symbol


def decimal(minor: int, decimals: int) -> str:
    """1234500000 with 6 decimals is 1,234.50: all that there is, and no more zeros than two."""
    sign, whole = "−" if minor < 0 else "", abs(minor)
    front, back = divmod(whole, 10**decimals)
    if decimals == 0:
        return f"{sign}{front:,}"
    text = f"{back:0{decimals}d}"
    kept = text.rstrip("0")
    return f"{sign}{front:,}.{kept.ljust(min(2, decimals), '0')}"


def digits(number: int) -> str:
    return f"{number:,}"


def groups(address: str) -> list[str]:
    """Fours, of all of it: an address is never shortened."""
    return [address[start : start + GROUP] for start in range(0, len(address), GROUP)]


def differs(one: str, other: str) -> list[list[tuple[str, bool]]]:
    """The groups of `one`, each character with whether `other` has another in its place."""
    marked = [(char, index >= len(other) or other[index] != char) for index, char in enumerate(one)]
    return [marked[start : start + GROUP] for start in range(0, len(marked), GROUP)]


def network(name: str) -> str:
    """What people call it, where we know; the CAIP-2 name stands beside it on every page that matters."""
    return NETWORKS.get(name, name)


def instant(at: int) -> str:
    return _utc(at).strftime("%-d %b %Y, %H:%M:%S UTC")


def day(at: int) -> str:
    return _utc(at).strftime("%-d %b %Y")


def clock_time(at: int) -> str:
    return _utc(at).strftime("%H:%M UTC")


@pass_context
def ago(context: Context, at: int) -> str:
    """How long it is from now, before or after."""
    gone = int(context["now"]) - at
    return f"{span(gone)} ago" if gone >= 0 else f"in {span(-gone)}"


def span(milliseconds: int) -> str:
    for size, unit in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if milliseconds >= size:
            return f"{milliseconds // size} {unit}"
    return f"{max(0, milliseconds) // SECOND_MS} s"


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(Instant(at) // SECOND_MS, UTC)


def etag(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
