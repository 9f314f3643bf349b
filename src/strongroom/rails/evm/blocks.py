"""Blocks through one EVM node, believed as far as their hash is.

A header is taken only if its fields make the hash that it claims, a block's chain transactions and receipts only if
they are all of those that the header commits to, in their order. So what a node can still do is to show another block
in the place of the chain's, and not to change, leave out or add anything in one: a hash that others vouch for
(`several.py`), or the parent of such a block, vouches for every log under it.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from strongroom.formats.evm_block import Header, Receipt, bloom_of, receipts_root
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_trie import ordered_root
from strongroom.rails import port
from strongroom.rails.evm.rpc import Rpc
from strongroom.rails.evm.wire import WireBlock, WireHeader, WireReceipt
from strongroom.rails.port import RailError

TAGS: Final = frozenset({"latest", "safe", "finalized"})
_Receipts = Annotated[list[WireReceipt], msgspec.Meta(max_length=port.BLOCK_TRANSACTIONS_MAXIMUM)]


@dataclass(frozen=True, slots=True)
class Named:
    """A chain transaction of a block. `raw` is signed; `hash` is made of it."""

    hash: bytes
    raw: bytes


def text_of(raw: bytes) -> str:
    return "0x" + raw.hex()


class Blocks:
    """Nothing is remembered here: what a node said is asked again, as it may have changed."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def tagged(self, tag: str) -> Header:
        """The node's `latest`, `safe` or `finalized`. Raises: RailError."""
        return (await self._rpc.ask(WireHeader, "eth_getBlockByNumber", tag, False)).header()

    async def at(self, height: int) -> Header | None:
        """None above the node's tip. Raises: RailError."""
        found = await self._rpc.find_or_none(WireHeader, "eth_getBlockByNumber", hex(height), False)
        if found is None:
            return None
        header = found.header()
        if header.number != height:
            raise RailError("the node gave a block of another height")
        return header

    async def named(self, block_hash: bytes) -> Header | None:
        """None for one that the node doesn't know. Raises: RailError."""
        found = await self._rpc.find_or_none(WireHeader, "eth_getBlockByHash", text_of(block_hash), False)
        if found is None:
            return None
        header = found.header()
        if header.block_hash != block_hash:
            raise RailError("the node gave another block than the one asked for")
        return header

    async def receipts(self, header: Header) -> tuple[Receipt, ...]:
        """Of all chain transactions of the block. Raises: RailError."""
        found = await self._rpc.ask(_Receipts, "eth_getBlockReceipts", text_of(header.block_hash))
        return await asyncio.to_thread(_checked_receipts, found, header)

    async def transactions(self, header: Header) -> tuple[Named, ...]:
        """All of the block. Raises: RailError, also when one is of a kind that isn't known here."""
        found = await self._rpc.ask(WireBlock, "eth_getBlockByHash", text_of(header.block_hash), True)
        return await asyncio.to_thread(_checked_transactions, found, header)


def _checked_receipts(found: list[WireReceipt], header: Header) -> tuple[Receipt, ...]:
    receipts = tuple(each.receipt() for each in found)
    if receipts_root(receipts) != header.receipts_root:
        raise RailError("the node gave other receipts than its block commits to")
    if bloom_of(log for each in receipts for log in each.logs) != header.bloom:
        raise RailError("a block has a bloom that isn't that of its logs")
    return receipts


def _checked_transactions(found: WireBlock, header: Header) -> tuple[Named, ...]:
    encoded = [each.encode() for each in found.transactions]
    if ordered_root(encoded) != header.transactions_root:
        raise RailError("the node gave other chain transactions than its block commits to")
    return tuple(Named(keccak256(raw), raw) for raw in encoded)
