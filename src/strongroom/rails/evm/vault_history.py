"""What hot vaults decided, block after block: read without a gap, undone by reorgs, and final when the rail says so.

The history begins at a block that its operator vouches for, and takes a next one only if it names the one before as its
parent. So of what was asked for nothing is left out: each header commits to all that was logged in its block.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.formats.evm_address import eip55
from strongroom.formats.hot_vault import Batch, Retried
from strongroom.rails.account_port import AccountBlock, AccountRail
from strongroom.rails.evm.settlement import (
    Execution,
    ItemFate,
    Skipped,
    TakenOver,
    VaultEvent,
    Where,
    settle,
)
from strongroom.rails.evm.vault_sums import Base, Skips, VaultBlock, VaultSums, read_block
from strongroom.rails.port import RailError, Tip

BLOCKS_MAXIMUM: Final = 500
"""Read by one `advance`."""


class FinalityBroken(RailError):
    """A block that was final isn't on the chain. Nothing that was settled since can be relied on: people must look."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A block of which only what the vaults did is kept."""

    tip: Tip
    found: Mapping[str, VaultBlock]


@dataclass(frozen=True, slots=True)
class Progress:
    """`undone` are blocks that were read before and aren't on the chain any more. `has_news`: there are such, or one of
    those that were read has something of the vaults."""

    undone: tuple[Tip, ...]
    read: int
    newest: Tip
    final: Tip
    is_at_tip: bool
    has_news: bool


class VaultHistory:
    """`base` is where an earlier history was folded, or a final block from before the vaults were used.

    Of one caller at a time. When `advance` raises, what was read before holds as it did.
    """

    def __init__(self, rail: AccountRail, base: Base) -> None:
        self._rail = rail
        self.base = base
        self.final = base.tip
        self._vaults = [bytes.fromhex(each) for each in base.vaults]
        self._tokens = frozenset(bytes.fromhex(each) for each in base.tokens)
        self._contracts = [eip55(each) for each in (*self._vaults, *self._tokens)]
        self._blocks: list[_Read] = []
        """Those after the base."""
        self._events: dict[bytes, list[tuple[VaultEvent, Tip]]] = defaultdict(list)
        """Of these blocks, by the batch that they are about."""

    @property
    def newest(self) -> Tip:
        return self._blocks[-1].tip if self._blocks else self.base.tip

    async def advance(self) -> Progress:
        """Raises: RailError; FinalityBroken."""
        tip = await self._rail.tip()
        if tip == self.newest and self._blocks:
            return Progress((), 0, tip, self.final, is_at_tip=True, has_news=False)
        undone: list[Tip] = []
        block = await self._next(tip)
        if block is None:
            undone = await self._go_back()
            block = await self._next(tip)
        final = await self._rail.final()
        read, has_news = 0, bool(undone)
        while block is not None:
            found = await asyncio.to_thread(self._read, block) if block.emitted else {}
            self._add(block, found)
            read, has_news = read + 1, has_news or bool(found)
            block = await self._next(tip) if read < BLOCKS_MAXIMUM else None
        await self._make_final(final)
        return Progress(tuple(undone), read, self.newest, self.final, self.newest.height >= tip.height, has_news)

    async def _next(self, tip: Tip) -> AccountBlock | None:
        """What follows the newest up to the tip; None if the chain has changed meanwhile."""
        if self.newest.height >= tip.height:
            return None
        block = await self._rail.block(self.newest.height + 1, self._contracts)
        return None if block is None or block.previous_hash != self.newest.block_hash else block

    def fates(self, batch: Batch) -> tuple[ItemFate | None, ...]:
        """For each item of the batch, by the blocks that were read so far. None: folded, nothing new since."""
        events = [(event, self._where(tip)) for event, tip in self._events.get(batch.name, ())]
        sums, name = self.base.vaults.get(batch.vault.hex(), VaultSums()), batch.name.hex()
        if name not in sums.paid and name not in sums.killed:
            return settle(batch, events)
        return _folded(batch, sums.skipped.get(name), events)

    def fold(self, kept: int) -> None:
        """Of final blocks below the newest `kept` only sums stay: what became of their items was told."""
        while len(self._blocks) > kept and self._blocks[0].tip.height <= self.final.height:
            first = self._blocks.pop(0)
            for vault, found in first.found.items():
                self.base.vaults[vault].add(first.tip, found)
                for event in found.events:
                    self._forget(event, first.tip)
            self.base.height, self.base.block_hash = first.tip.height, first.tip.block_hash

    def sums(self) -> dict[str, VaultSums]:
        """Of each vault, after the newest block."""
        now = {vault: sums.copy() for vault, sums in self.base.vaults.items()}
        for block in self._blocks:
            for vault, found in block.found.items():
                now[vault].add(block.tip, found)
        return now

    def hash_at(self, height: int) -> str | None:
        """None above the newest block, and below the base, where nothing changes any more."""
        if height == self.base.height:
            return self.base.block_hash
        if not 0 < height - self.base.height <= len(self._blocks):
            return None
        return self._blocks[height - self.base.height - 1].tip.block_hash

    async def _go_back(self) -> list[Tip]:
        """Takes back what isn't on the chain any more. Raises: FinalityBroken when that would be what was final."""
        undone: list[Tip] = []
        while not await self._is_on_chain(self.newest):
            if self.newest.height <= self.final.height:
                raise FinalityBroken(f"block {self.newest.height}, which was final, isn't on the chain any more")
            gone = self._blocks.pop()
            undone.append(gone.tip)
            for found in gone.found.values():
                for event in found.events:
                    self._forget(event, gone.tip)
        return undone

    async def _is_on_chain(self, tip: Tip) -> bool:
        block = await self._rail.block(tip.height, [])
        return block is not None and block.block_hash == tip.block_hash

    def _read(self, block: AccountBlock) -> dict[str, VaultBlock]:
        found = {vault.hex(): read_block(block, vault, self._tokens) for vault in self._vaults}
        return {vault: each for vault, each in found.items() if each is not None}

    def _add(self, block: AccountBlock, found: Mapping[str, VaultBlock]) -> None:
        tip = Tip(block.height, block.block_hash)
        self._blocks.append(_Read(tip, found))
        for event in (event for each in found.values() for event in each.events):
            self._events[_batch_of(event)].append((event, tip))

    def _forget(self, event: VaultEvent, tip: Tip) -> None:
        batch = _batch_of(event)
        self._events[batch].remove((event, tip))
        if not self._events[batch]:
            del self._events[batch]

    async def _make_final(self, final: Tip) -> None:
        """All up to the final block, if that is one of ours, or else ours are on its chain: asked after it was known.

        A final block that goes back makes nothing unsaid.
        """
        if final.height <= self.final.height or not self._blocks:
            return
        newest = self._blocks[min(final.height - self.base.height, len(self._blocks)) - 1].tip
        is_ours = newest == final if newest.height == final.height else await self._is_on_chain(newest)
        if is_ours:  # or the chain has changed meanwhile, which the next call sees
            self.final = newest

    def _where(self, tip: Tip) -> Where:
        return Where(tip.height, tip.block_hash, tip.height <= self.final.height)


def _folded(
    batch: Batch, skips: Skips | None, since: list[tuple[VaultEvent, Where]]
) -> tuple[ItemFate | None, ...]:
    """Of a batch that was decided before the base: what may still change are the items that it skipped."""
    fates: list[ItemFate | None] = [None] * len(batch.items)
    if skips is not None:
        where = Where(skips.height, skips.block_hash, is_final=True)
        for index, by in skips.items.items():
            fates[index] = TakenOver(bytes.fromhex(by), where) if by else Skipped(where)
    for event, at in since:
        if isinstance(event, Retried) and event.index < len(fates):
            fates[event.index] = TakenOver(event.by, at)
    return tuple(fates)


def _batch_of(event: VaultEvent) -> bytes:
    """The batch that the event is about; of a Retried, the one that had skipped the item."""
    if isinstance(event, Execution):
        return event.event.batch
    return event.batch
