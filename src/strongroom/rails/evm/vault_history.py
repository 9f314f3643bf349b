"""What a hot vault decided, block after block: read without a gap, undone by reorgs, and final when the rail says so.

The history begins at a block that its operator vouches for, and takes a next one only if it names the one before as its
parent. So of what was asked for nothing is left out: each header commits to all that was logged in its block.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from strongroom.formats.evm_address import eip55
from strongroom.formats.hot_vault import Batch
from strongroom.rails.account_port import AccountBlock, AccountRail
from strongroom.rails.evm.settlement import (
    Execution,
    ItemFate,
    VaultEvent,
    Where,
    read_vault_logs,
    settle,
)
from strongroom.rails.port import RailError, Tip

BLOCKS_MAXIMUM: Final = 500
"""Read by one `advance`."""


class FinalityBroken(RailError):
    """A block that was final isn't on the chain. Nothing that was settled since can be relied on: people must look."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A block of which only what the vault logged is kept."""

    tip: Tip
    events: tuple[VaultEvent, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """`undone` are blocks that were read before and aren't on the chain any more."""

    undone: tuple[Tip, ...]
    read: int
    newest: Tip
    final: Tip
    is_at_tip: bool


class VaultHistory:
    """`begin` is a final block from before the vault was used, or where an earlier history had become final.

    Of one caller at a time. When `advance` raises, what was read before holds as it did.
    """

    def __init__(self, rail: AccountRail, vault: bytes, begin: Tip) -> None:
        self._rail = rail
        self._vault = vault
        self._contracts = [eip55(vault)]
        self.final = begin
        self._open: list[_Read] = []
        """Above the final one, which a reorg may undo."""
        self._events: dict[bytes, list[tuple[VaultEvent, Tip]]] = defaultdict(list)
        """By the batch that they are about, final ones included, until they are forgotten."""

    @property
    def newest(self) -> Tip:
        return self._open[-1].tip if self._open else self.final

    async def advance(self) -> Progress:
        """Raises: RailError; FinalityBroken."""
        undone = await self._go_back()
        tip, final = await self._rail.tip(), await self._rail.final()
        read = 0
        while self.newest.height < tip.height and read < BLOCKS_MAXIMUM:
            block = await self._rail.block(self.newest.height + 1, self._contracts)
            if block is None or block.previous_hash != self.newest.block_hash:
                break  # the chain has changed meanwhile, which the next call sees
            self._add(block)
            read += 1
        await self._make_final(final)
        return Progress(tuple(undone), read, self.newest, self.final, self.newest.height >= tip.height)

    def fates(self, batch: Batch) -> tuple[ItemFate, ...]:
        """For each item of the batch, by the blocks that were read so far."""
        return settle(batch, [(event, self._where(tip)) for event, tip in self._events.get(batch.name, ())])

    def forget(self, batch: bytes) -> None:
        """What is recorded elsewhere for good. Only for batches of which all is final."""
        if any(tip.height > self.final.height for _, tip in self._events.get(batch, ())):
            raise RailError("something of this batch isn't final yet")
        self._events.pop(batch, None)

    async def _go_back(self) -> list[Tip]:
        """Takes back what isn't on the chain any more. Raises: FinalityBroken when that would be what was final."""
        undone: list[Tip] = []
        while self._open and not await self._is_on_chain(self.newest):
            gone = self._open.pop()
            undone.append(gone.tip)
            for event in gone.events:
                self._events[_batch_of(event)].remove((event, gone.tip))
        if not self._open and not await self._is_on_chain(self.final):
            raise FinalityBroken(f"block {self.final.height}, which was final, isn't on the chain any more")
        return undone

    async def _is_on_chain(self, tip: Tip) -> bool:
        block = await self._rail.block(tip.height, [])
        return block is not None and block.block_hash == tip.block_hash

    def _add(self, block: AccountBlock) -> None:
        tip = Tip(block.height, block.block_hash)
        events = tuple(event for each in block.emitted for event in read_vault_logs(self._vault, each.logs))
        self._open.append(_Read(tip, events))
        for event in events:
            self._events[_batch_of(event)].append((event, tip))

    async def _make_final(self, final: Tip) -> None:
        """All up to the final block, if that is one of ours, or else ours are on its chain: asked after it was known.

        A final block that goes back makes nothing unsaid.
        """
        known = [each.tip for each in self._open if each.tip.height <= final.height]
        if not known:
            return
        newest = known[-1]
        is_ours = newest == final if newest.height == final.height else await self._is_on_chain(newest)
        if is_ours:  # or the chain has changed meanwhile, which the next call sees
            self.final = newest
            del self._open[: len(known)]

    def _where(self, tip: Tip) -> Where:
        return Where(tip.height, tip.block_hash, tip.height <= self.final.height)


def _batch_of(event: VaultEvent) -> bytes:
    """The batch that the event is about; of a Retried, the one that had skipped the item."""
    if isinstance(event, Execution):
        return event.event.batch
    return event.batch
