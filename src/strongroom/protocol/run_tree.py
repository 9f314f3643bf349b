"""The tree over the items of a run: what a client seals, and what lets any slice be checked without the rest.

A leaf is the canonical form of the item as it was sent, with its place (`index`, `run`) added, so that an item
can't be moved or shown in another run. Hashing is RFC 6962's.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import RunId
from strongroom.domain.money import MoneyError, parse_amount_minor
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode
from strongroom.protocol.merkle import leaf_hash, root_of

RUN_ITEM_TYPE: Final = "strongroom/run-item/v1"
ASSETS_PER_RUN_MAXIMUM: Final = 64

_ROOT = re.compile("[0-9a-f]{64}")


class SealError(ValueError):
    """The seal isn't one, or doesn't fit the items; `field` says which part."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Seal:
    """What the client says that the run is: how many items, base units for each asset, and the tree's root."""

    count: int
    totals: Mapping[str, int]
    root: bytes


def item_leaf(item: Mapping[str, JsonValue], run: RunId, index: int) -> bytes:
    """The verbatim leaf of an item as sent. Raises: CanonicalError, also if the item has a field that we add."""
    for added in ("index", "run", "type"):
        if added in item:
            raise CanonicalError(f"an item can't have a field {added}", added)
    return encode({**item, "index": index, "run": run, "type": RUN_ITEM_TYPE})


def run_root(leaves: Iterable[bytes]) -> bytes:
    return root_of(leaf_hash(leaf) for leaf in leaves)


def parse_seal(count: int, totals: Mapping[str, str], root: str) -> Seal:
    """A seal from its JSON fields. Raises: SealError."""
    if count < 1:
        raise SealError("count", "must be 1 or more")
    if not 1 <= len(totals) <= ASSETS_PER_RUN_MAXIMUM:
        raise SealError("totals", f"must name 1 to {ASSETS_PER_RUN_MAXIMUM} assets")
    if _ROOT.fullmatch(root) is None:
        raise SealError("root", "must be 64 lower-case hex digits")
    sums: dict[str, int] = {}
    for asset, text in totals.items():
        try:
            sums[asset] = parse_amount_minor(text)
        except MoneyError as fault:
            raise SealError(f"totals.{asset}", str(fault)) from fault
    return Seal(count, sums, bytes.fromhex(root))


def check_seal(seal: Seal, count: int, totals: Mapping[str, int], root: bytes) -> None:
    """That the seal says what the items say. Raises: SealError naming what differs."""
    if seal.count != count:
        raise SealError("count", f"is {seal.count}, and the run has {count} items")
    for asset in sorted({*seal.totals, *totals}):
        if seal.totals.get(asset, 0) != totals.get(asset, 0):
            said, found = seal.totals.get(asset, 0), totals.get(asset, 0)
            raise SealError(f"totals.{asset}", f"is {said}, and the items add up to {found}")
    if seal.root != root:
        raise SealError("root", f"isn't the root of the items, which is {root.hex()}")
