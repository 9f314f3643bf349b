"""What left a wallet, counted from a chain's raw blocks and by nothing of the product's: a second reading of the bytes.

A chain transaction is the wallet's if it spends a coin that was paid to one of the wallet's addresses. All that such
ones pay to other addresses has left; the rest is change, or fees that a miner keeps.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.signer.recount import Bytes, address_hash


class MiscountError(Exception):
    """The sums don't agree: what is missing was neither paid, kept nor burnt."""


@dataclass
class Takings:
    """`paid` is by the hash of the address; `held` is what the wallet's addresses hold now."""

    paid: dict[bytes, int] = field(default_factory=dict)
    fees: int = 0
    held: int = 0
    funded: int = 0

    def to(self, addresses: Iterable[str]) -> int:
        return sum(self.paid.get(address_hash(each), 0) for each in set(addresses))

    def beyond(self, promised: Mapping[str, int]) -> int:
        """What each address got above what was promised to it."""
        by_hash = {address_hash(address): minor for address, minor in promised.items()}
        return sum(max(0, got - by_hash.get(to, 0)) for to, got in self.paid.items())

    @property
    def elsewhere(self) -> int:
        return sum(self.paid.values())


def count(blocks: Sequence[Sequence[bytes]], wallet: Iterable[str]) -> Takings:
    """Of the wallet with these addresses. Raises: MiscountError."""
    own = {address_hash(each) for each in wallet}
    coins: dict[str, int] = {}
    found = Takings()
    for raw in (each for block in blocks for each in block):
        made = Bytes.of(unsigned(raw))
        spent = [coins.pop(outpoint) for outpoint in made.inputs if outpoint in coins]
        ours = {f"{made.id}:{place}": amount for place, (to, amount) in enumerate(made.outputs) if to in own}
        coins.update(ours)
        if not spent:
            found.funded += sum(ours.values())
            continue
        if len(spent) != len(made.inputs):
            raise MiscountError(f"{made.id} spends coins of others beside the wallet's")
        found.fees += made.fee
        for to, amount in made.outputs:
            if to not in own:
                found.paid[to] = found.paid.get(to, 0) + amount
    found.held = sum(coins.values())
    if found.funded != found.held + found.elsewhere + found.fees:
        raise MiscountError(f"{found} doesn't add up")
    return found


def unsigned(raw: bytes) -> bytes:
    """Without the witnesses, which come last."""
    _, inputs, outputs = struct.unpack_from(">BHH", raw)
    return raw[: 5 + 62 * inputs + 28 * outputs]
