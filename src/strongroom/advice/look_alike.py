"""Addresses made to be mistaken for another: the same at both ends, where people look, and different between.

Whoever wants to be paid in another's place grinds such an address and waits until it is copied from a list. Compared
is what a key or hash makes of it: without the prefix that all addresses of a kind share, and on chains whose spelling
has no meaning without regard to capitals. Bank accounts are left out: banks give their numbers, nobody can grind one,
and all accounts of a bank begin alike.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ENDS_MINIMUM: Final = 3
"""So many characters at each end alike."""
_BECH32: Final = re.compile(r"(?:bc|tb|bcrt)1[qp](?=[02-9ac-hj-np-z])")
_EVM: Final = "eip155:"
_BITCOIN: Final = "bip122:"
_SIMULATED: Final = "sim:"


@dataclass(frozen=True, slots=True)
class LookAlike:
    """`address` looks like `known`; `differs` are the places of `address` at which `known` has something else or
    nothing."""

    address: str
    known: str
    differs: tuple[int, ...]


def look_alike(network: str, address: str, known: Iterable[str]) -> LookAlike | None:
    """The known address that this one resembles most without being it; None if it resembles none. All are of
    `network`, in any order."""
    body = _body(network, address)
    if body is None:
        return None
    best: tuple[int, str] | None = None
    for other in known:
        score = _alike(body, _body(network, other))
        if score and (best is None or (score, other) > best):
            best = score, other
    return None if best is None else LookAlike(address, best[1], differing(network, address, best[1]))


def differing(network: str, address: str, known: str) -> tuple[int, ...]:
    """The places of `address` at which it isn't as `known`; capitals mean nothing where their spelling doesn't."""
    if network.startswith(_EVM):
        address, known = address.lower(), known.lower()
    return tuple(at for at, each in enumerate(address) if at >= len(known) or known[at] != each)


def ends(network: str, address: str) -> str | None:
    """The last characters that a look-alike shares, in small letters, to look others up by; None where none is."""
    body = _body(network, address)
    return None if body is None else body[-ENDS_MINIMUM:].lower()


def _alike(body: str, other: str | None) -> int:
    """How many characters at both ends are the same, 0 if that is no look-alike."""
    if other is None or body == other:
        return 0
    first = _common(body, other)
    last = _common(body[::-1], other[::-1])
    return first + last if first >= ENDS_MINIMUM and last >= ENDS_MINIMUM else 0


def _common(one: str, other: str) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _body(network: str, address: str) -> str | None:
    """What a key or hash makes of the address; None where nobody can make one that looks like another."""
    if network.startswith(_EVM):
        return address.lower().removeprefix("0x")
    if network.startswith(_SIMULATED):
        return address.removeprefix("sim1")
    if not network.startswith(_BITCOIN):
        return None
    match = _BECH32.match(address)
    return address[match.end() :] if match is not None else address[1:]
