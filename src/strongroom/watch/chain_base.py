"""What wallets had at the end of a block that no reorg reaches: what is read later goes on from it.

It grows with what wallets did, and not with the chain. In a file of watch's own, which is trusted as far as its folder,
a watch that is started again needn't read the chain from the first block on.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from strongroom.domain.ids import OrganisationId
from strongroom.domain.policy import FINALITY_MAXIMUM_BLOCKS
from strongroom.formats.coin_formats import Moved


class Holding(msgspec.Struct):
    """What one wallet has. `spends` are chain transactions by what left the wallet with them, change counted back;
    `incomes` the height and amount of what others sent, but for those that every policy calls final."""

    balance: int = 0
    spends: dict[str, int] = {}
    incomes: list[tuple[int, int]] = []


class Base(msgspec.Struct, forbid_unknown_fields=True):
    """After the block at `height`; -1 is before the first. `owners` are the addresses looked for in it and all blocks
    before, `coins` what they have by outpoint."""

    height: int
    block_hash: str
    owners: dict[str, OrganisationId]
    holdings: dict[OrganisationId, Holding] = {}
    coins: dict[str, tuple[OrganisationId, int]] = {}

    def copy(self) -> "Base":
        holdings = {
            owner: Holding(each.balance, dict(each.spends), list(each.incomes)) for owner, each in self.holdings.items()
        }
        return Base(self.height, self.block_hash, self.owners, holdings, dict(self.coins))

    def add(self, height: int, block_hash: str, moves: tuple[Moved, ...], owners: Mapping[str, OrganisationId]) -> None:
        for moved in moves:
            self._count(height, moved, owners)
        self.height, self.block_hash = height, block_hash
        for holding in self.holdings.values():
            while holding.incomes and height - holding.incomes[0][0] >= FINALITY_MAXIMUM_BLOCKS:
                del holding.incomes[0]

    def _count(self, height: int, moved: Moved, owners: Mapping[str, OrganisationId]) -> None:
        spent: dict[OrganisationId, int] = {}
        for outpoint in moved.spends:
            coin = self.coins.pop(outpoint, None)
            if coin is not None:
                spent[coin[0]] = spent.get(coin[0], 0) + coin[1]
        for owner, amount in spent.items():
            outflow = amount - sum(paid for address, paid in moved.pays if owners.get(address) == owner)
            holding = self.of(owner)
            holding.spends[moved.identifier] = outflow
            holding.balance -= outflow
        for index, (address, amount) in enumerate(moved.pays):
            payee = owners.get(address)
            if payee is None:
                continue
            self.coins[f"{moved.identifier}:{index}"] = payee, amount
            if payee not in spent:
                holding = self.of(payee)
                holding.incomes.append((height, amount))
                holding.balance += amount

    def of(self, owner: OrganisationId) -> Holding:
        return self.holdings.setdefault(owner, Holding())


class AsOfBlock(Protocol):
    """Something that is so after the block at this height."""

    height: int


Kept = TypeVar("Kept", bound=AsOfBlock)


class KeptFile(Generic[Kept]):
    """One network's, rewritten now and then; what can't be read is as if there were none."""

    SAVED_EVERY_BLOCKS: Final = 100

    def __init__(self, folder: Path, network: str, form: type[Kept]) -> None:
        self._file = folder / f"{network.replace(':', '-')}.json"
        self._form = form
        self._height = -1

    def recall(self) -> Kept | None:
        try:
            base = msgspec.json.decode(self._file.read_bytes(), type=self._form)
        except (OSError, msgspec.DecodeError):
            return None
        self._height = base.height
        return base

    def keep(self, base: Kept) -> None:
        """The old one or the new one is there whenever the power fails. Raises: OSError."""
        if abs(base.height - self._height) < self.SAVED_EVERY_BLOCKS:
            return
        unfinished = self._file.with_name(self._file.name + ".unfinished")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(msgspec.json.encode(base))
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.rename(self._file)
        self._height = base.height


class BaseFile(KeptFile[Base]):
    """Of a chain of coins."""

    def __init__(self, folder: Path, network: str) -> None:
        super().__init__(folder, network, Base)
