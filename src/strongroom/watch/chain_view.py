"""The wallets' coins on one chain, read by ourselves from its blocks: what came in, what went out, what is there.

Believes one node that its blocks are those of the chain (the rail checks that each has the hash of its content) and
our record for whose an address is. Kept in memory, and read again from the first block after a start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.formats.coin_formats import CoinFormat, Moved
from strongroom.rails.port import Block, Rail

BLOCKS_MAXIMUM: Final = 500
"""Read in one step."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A block, as far as it is about our addresses."""

    block_hash: str
    moved: tuple[Moved, ...]


@dataclass(slots=True)
class Holding:
    """What one wallet has. `spends` are chain transactions by what left the wallet with them, change counted back;
    `incomes` the height and amount of what others sent."""

    balance: int = 0
    spends: dict[str, int] = field(default_factory=dict)
    incomes: list[tuple[int, int]] = field(default_factory=list)


class ChainView:
    def __init__(self, rail: Rail, reader: CoinFormat) -> None:
        self._rail = rail
        self.reader = reader
        self._owners: Mapping[str, OrganisationId] = {}
        self._blocks: list[_Read] = []
        self._ours: set[str] = set()
        """Chain transactions that pay us, or spend what these made; after a reorg a few too many, which is harmless."""

    @property
    def tip(self) -> tuple[int, str]:
        """Height and hash of the last block that was read."""
        return (len(self._blocks) - 1, self._blocks[-1].block_hash) if self._blocks else (-1, "")

    async def advance(self, owners: Mapping[str, OrganisationId]) -> bool:
        """Read on to the tip. Whether it was reached. Raises: RailError, CoinsError."""
        if owners != self._owners:
            self._owners, self._blocks, self._ours = dict(owners), [], set()
        tip = await self._rail.tip()
        if self.tip == (tip.height, tip.block_hash):
            return True
        await self._leave_what_is_gone(tip.height)
        for _ in range(BLOCKS_MAXIMUM):
            block = await self._rail.block(len(self._blocks))
            if block is None:
                return True
            if self._blocks and block.previous_hash != self.tip[1]:
                return False  # a reorg came in between
            self._blocks.append(self._read(block))
        return False

    def holdings(self) -> dict[OrganisationId, Holding]:
        """Of every wallet with an address, as of the last block read."""
        found = {owner: Holding() for owner in self._owners.values()}
        coins: dict[str, tuple[OrganisationId, int]] = {}
        for height, block in enumerate(self._blocks):
            for moved in block.moved:
                self._count(found, coins, height, moved)
        return found

    def outflow(self, pays: Iterable[tuple[str, int]], owner: OrganisationId, spent: int) -> int:
        """What leaves a wallet with a chain transaction that spends so much of it and pays these."""
        return spent - sum(amount for address, amount in pays if self._owners.get(address) == owner)

    def _count(
        self, found: dict[OrganisationId, Holding], coins: dict[str, tuple[OrganisationId, int]], height: int,
        moved: Moved,
    ) -> None:
        spent: dict[OrganisationId, int] = {}
        for outpoint in moved.spends:
            coin = coins.pop(outpoint, None)
            if coin is not None:
                spent[coin[0]] = spent.get(coin[0], 0) + coin[1]
        for owner, amount in spent.items():
            outflow = self.outflow(moved.pays, owner, amount)
            found[owner].spends[moved.identifier] = outflow
            found[owner].balance -= outflow
        for index, (address, amount) in enumerate(moved.pays):
            payee = self._owners.get(address)
            if payee is None:
                continue
            coins[f"{moved.identifier}:{index}"] = payee, amount
            if payee not in spent:
                found[payee].incomes.append((height, amount))
                found[payee].balance += amount

    async def _leave_what_is_gone(self, tip_height: int) -> None:
        """Back to the last block that is still in the chain."""
        del self._blocks[tip_height + 1 :]
        while self._blocks:
            height, block_hash = self.tip
            block = await self._rail.block(height)
            if block is not None and block.block_hash == block_hash:
                return
            self._blocks.pop()

    def _read(self, block: Block) -> _Read:
        ours: list[Moved] = []
        for transaction in block.transactions:
            moved = self.reader.read_signed(transaction.raw)
            if any(each.partition(":")[0] in self._ours for each in moved.spends) or any(
                address in self._owners for address, _ in moved.pays
            ):
                ours.append(moved)
                self._ours.add(moved.identifier)
        return _Read(block.block_hash, tuple(ours))
