"""The wallets' coins on one chain, read by ourselves from its blocks: what came in, what went out, what is there.

Believes one node that its blocks are those of the chain (the rail checks that each has the hash of its content), and
our record for whose an address is. No height in the record is believed: reading begins before the deployment was
founded, whose moment the genesis record says, and before which no address was known to anybody (ADR 0043).

An address that is new is looked for in all blocks since. A node with an index of what stands where says that none can
have it; only that is believed of it. Otherwise, and when an address is taken away, all is read again.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.formats.coin_formats import CoinFormat, Moved
from strongroom.rails.port import ADDRESSES_MAXIMUM, Block, Rail
from strongroom.watch.chain_base import Base, BaseFile, Holding

BLOCKS_MAXIMUM: Final = 500
"""Read in one step."""
REORG_MAXIMUM: Final = 144
"""Blocks that are kept to go back by; after a deeper reorg all is read again. Bitcoin's deepest had 53 (in 2010)."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A block, as far as it is about our addresses."""

    block_hash: str
    moved: tuple[Moved, ...]


class ChainView:
    """`founded` is when the deployment was; `file` keeps what was read, for the next start."""

    def __init__(self, rail: Rail, reader: CoinFormat, founded: Instant, file: BaseFile | None = None) -> None:
        self._rail = rail
        self.reader = reader
        self._founded = founded
        self._file = file
        self._owners: Mapping[str, OrganisationId] = {}
        self._base: Base | None = None
        self._blocks: list[_Read] = []
        """Those after the base."""
        self._ours: set[str] = set()
        """Chain transactions that pay us, or spend what these made; after a reorg a few too many, which is harmless."""

    @property
    def tip(self) -> tuple[int, str]:
        """Height and hash of the last block that was read."""
        if self._base is None:
            return -1, ""
        if not self._blocks:
            return self._base.height, self._base.block_hash
        return self._base.height + len(self._blocks), self._blocks[-1].block_hash

    async def advance(self, owners: Mapping[str, OrganisationId]) -> bool:
        """Read on to the tip. Whether it was reached. Raises: RailError, CoinsError."""
        base = self._base or await self._begin()
        base = await self._look_for(owners, base)
        tip = await self._rail.tip()
        if self.tip == (tip.height, tip.block_hash):
            return True
        if not await self._leave_what_is_gone(base, tip.height):
            await self._begin_anew(owners)
            return False
        for _ in range(BLOCKS_MAXIMUM):
            block = await self._rail.block(base.height + len(self._blocks) + 1)
            if block is None:
                return True
            if self.tip[1] and block.previous_hash != self.tip[1]:
                return False  # a reorg came in between
            self._blocks.append(await asyncio.to_thread(self._read, block))  # a full one of Bitcoin's takes a while
            self._fold(base)
        return False

    def holdings(self) -> dict[OrganisationId, Holding]:
        """Of every wallet with an address, as of the last block read."""
        if self._base is None:
            return {}
        now = self._base.copy()
        for place, block in enumerate(self._blocks, start=now.height + 1):
            now.add(place, block.block_hash, block.moved, self._owners)
        return {owner: now.of(owner) for owner in self._owners.values()}

    def outflow(self, pays: Iterable[tuple[str, int]], owner: OrganisationId, spent: int) -> int:
        """What leaves a wallet with a chain transaction that spends so much of it and pays these."""
        return spent - sum(amount for address, amount in pays if self._owners.get(address) == owner)

    async def _begin(self) -> Base:
        """Where the last watch left off, if its block still stands. Raises: RailError."""
        kept = None if self._file is None else self._file.recall()
        if kept is not None:
            block = await self._rail.block(kept.height)
            if block is not None and block.block_hash == kept.block_hash:
                return self._go_on(kept)
        return await self._begin_anew({})

    async def _begin_anew(self, owners: Mapping[str, OrganisationId]) -> Base:
        """Far enough before the founding that no reorg puts what came later below. Raises: RailError."""
        first = max(0, await self._rail.height_before(self._founded) - REORG_MAXIMUM)
        return self._go_on(Base(first - 1, "", dict(owners)))

    def _go_on(self, base: Base) -> Base:
        self._base, self._owners, self._blocks = base, base.owners, []
        self._ours = {outpoint.partition(":")[0] for outpoint in base.coins}
        return base

    async def _look_for(self, owners: Mapping[str, OrganisationId], base: Base) -> Base:
        """What is told from now on is about these addresses, in all blocks. Raises: RailError."""
        if owners == self._owners:
            return base
        new = [address for address in owners if address not in self._owners]
        is_more = all(owners.get(address) == owner for address, owner in self._owners.items())
        if not is_more or await self._may_have(new):
            return await self._begin_anew(owners)
        self._owners = base.owners = dict(owners)
        return base

    async def _may_have(self, addresses: list[str]) -> bool:
        """Whether what was read so far may hold something of these. Raises: RailError."""
        first = max(0, await self._rail.height_before(self._founded) - REORG_MAXIMUM)
        last, _ = self.tip
        for at in range(0, len(addresses), ADDRESSES_MAXIMUM):
            if last >= first and await self._rail.may_touch(addresses[at : at + ADDRESSES_MAXIMUM], first, last):
                return True
        return False

    async def _leave_what_is_gone(self, base: Base, tip_height: int) -> bool:
        """Back to the last block that is still in the chain; False if that is deeper than what is kept."""
        if tip_height < base.height:
            return False
        del self._blocks[tip_height - base.height :]
        while True:
            height, block_hash = self.tip
            block = await self._rail.block(height) if block_hash else None
            if not block_hash or (block is not None and block.block_hash == block_hash):
                return True
            if not self._blocks:
                return False
            self._blocks.pop()

    def _fold(self, base: Base) -> None:
        """Of what is deep enough only the sums are kept."""
        if len(self._blocks) > REORG_MAXIMUM:
            first = self._blocks.pop(0)
            base.add(base.height + 1, first.block_hash, first.moved, self._owners)
            if self._file is not None:
                self._file.keep(base)

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
