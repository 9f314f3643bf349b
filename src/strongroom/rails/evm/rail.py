"""An EVM chain through one node: Geth, Reth, Nethermind, Erigon, Besu, or a provider that speaks like them.

What is checked here: the chain is the configured one from its first block on, each block has the hash that its fields
make, and holds just what it commits to; a chain transaction said to be mined stands in the block that is named, at
its place. What isn't: that the node's chain is the one that others follow. Nonces, balances, fees, what waits, and
what the node calls final are its bare word; `several.py` holds the words of several nodes against each other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from strongroom.domain.instant import DAY_MS, SECOND_MS, Instant
from strongroom.formats.address_error import AddressError
from strongroom.formats.evm_address import parse_evm_address
from strongroom.formats.evm_block import Header, Receipt, may_hold
from strongroom.formats.evm_transaction import (
    EvmTransaction,
    EvmTransactionError,
    keccak256,
    parse_signed,
    sender,
)
from strongroom.rails import port
from strongroom.rails.account_port import (
    Account,
    AccountBlock,
    AccountStatus,
    Emitted,
    FeeMarket,
    Mined,
    Nonces,
    Replaced,
)
from strongroom.rails.evm.blocks import Blocks, Named, text_of
from strongroom.rails.evm.fees import next_base_fee
from strongroom.rails.evm.rpc import Data, Hash, Quantity, Refused, Rpc, number, raw_bytes, shortened
from strongroom.rails.port import (
    Accepted,
    BroadcastOutcome,
    ChainTransactionId,
    Identity,
    Pending,
    RailError,
    Rejected,
    Tip,
    Unknown,
    Unseen,
)

Finality = Literal["finalized", "safe"] | int
"""A tag of the node's, or a depth: 1 says that the tip is final already."""
CHECKED_MAXIMUM: Final = 16
LOOK_BACK_MAXIMUM: Final = 120
"""Blocks of whose states nodes without an archive still know (128)."""
CONTRACTS_MAXIMUM: Final = 100
_REVERTED: Final = 3
"""The code of an error of a call that the contract itself ended."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes that were signed, read: whose they are, and their hash."""

    transaction: EvmTransaction
    sender: bytes
    hash: bytes


class _Found(msgspec.Struct, rename="camel"):
    """A chain transaction that the node knows; without a block while it waits."""

    block_hash: Hash | None = None


class EvmRail:
    """`genesis` is the hash of the first block, `checkpoint` height and hash of a later one. Of an open event loop."""

    def __init__(
        self, network: str, url: str, genesis: str, finality: Finality, *,
        checkpoint: tuple[int, str] | None = None, answer_timeout_s: float = port.ANSWER_TIMEOUT_S,
    ) -> None:
        """Raises: RailError for a network that is none of EVM's, for a URL that isn't safe, and for no finality."""
        if finality not in ("finalized", "safe") and not (type(finality) is int and finality >= 1):
            raise RailError("finality must be `finalized`, `safe`, or a depth from 1")
        name, _, chain_id = network.partition(":")
        if name != "eip155" or not chain_id.isdecimal() or not 1 <= int(chain_id) < 2**63:
            raise RailError(f"{network} isn't an EVM network")
        self.network = network
        self.chain_id = int(chain_id)
        self._genesis = genesis
        self._checkpoint = checkpoint
        self._finality = finality
        self._rpc = Rpc(url, answer_timeout_s)
        self.blocks = Blocks(self._rpc)
        self._checked: dict[bytes, tuple[tuple[Named, ...], tuple[Receipt, ...]]] = {}
        """By hash, which commits to all of it."""

    async def identity(self) -> Identity:
        said = number(await self._rpc.ask(Quantity, "eth_chainId"))
        if said != self.chain_id:
            raise RailError(f"the node's chain id is {said}, and {self.chain_id} is configured: it is another chain")
        genesis = await self.blocks.at(0)
        if genesis is None or text_of(genesis.block_hash) != self._genesis:
            raise RailError("the node's first block isn't the one that was configured: it is another chain")
        if self._checkpoint is not None:
            height, block_hash = self._checkpoint
            passed = await self.blocks.at(height)
            if passed is None:
                raise RailError(f"the node is still reading the chain: it hasn't block {height} yet")
            if text_of(passed.block_hash) != block_hash:
                raise RailError(f"the node's block {height} isn't the one that was configured: it is another chain")
        return Identity(self.network, self._genesis, shortened(await self._rpc.ask(str, "web3_clientVersion")))

    async def tip(self) -> Tip:
        return _tip(await self.blocks.tagged("latest"))

    async def final(self) -> Tip:
        return _tip(await self._final())

    async def block(self, height: int, contracts: Sequence[str]) -> AccountBlock | None:
        if len(contracts) > CONTRACTS_MAXIMUM:
            raise RailError(f"at most {CONTRACTS_MAXIMUM} contracts at once")
        wanted = {self._address(each) for each in contracts}
        header = await self.blocks.at(height)
        if header is None:
            return None
        # What the bloom denies isn't there, and the header commits to it; but there are chains that leave it empty.
        is_empty = header.gas_used > 0 and not any(header.bloom)
        is_asked = any(is_empty or may_hold(header.bloom, each) for each in wanted)
        receipts = await self.blocks.receipts(header) if is_asked else ()
        emitted = tuple(
            Emitted(place, receipt.logs) for place, receipt in enumerate(receipts)
            if any(log.address in wanted for log in receipt.logs)
        )
        return AccountBlock(height, text_of(header.block_hash), text_of(header.parent), emitted)

    async def before(self, at: Instant) -> Tip:
        wanted_s = (at - DAY_MS) // SECOND_MS
        low, high = 0, (await self.blocks.tagged("latest")).number
        while low < high:
            middle = (low + high + 1) // 2
            if (await self._at(middle)).timestamp < wanted_s:
                low = middle
            else:
                high = middle - 1
        return _tip(await self._at(low))

    async def account(self, address: str, at: Tip) -> Account:
        raw, where = text_of(self._address(address)), {"blockHash": at.block_hash}
        balance = number(await self._rpc.ask(Quantity, "eth_getBalance", raw, where))
        return Account(balance, number(await self._rpc.ask(Quantity, "eth_getTransactionCount", raw, where)))

    async def nonces(self, address: str) -> Nonces:
        raw = self._address(address)
        mined = await self._nonce(raw, "latest")
        return Nonces(mined, max(mined, await self._nonce(raw, "pending")))

    async def balance(self, address: str) -> int:
        return number(await self._rpc.ask(Quantity, "eth_getBalance", text_of(self._address(address)), "latest"))

    async def fees(self) -> FeeMarket:
        newest = await self.blocks.tagged("latest")
        if newest.base_fee is None:
            raise RailError("the chain has no base fee (EIP-1559)")
        priority = number(await self._rpc.ask(Quantity, "eth_maxPriorityFeePerGas"))
        return FeeMarket(next_base_fee(newest.base_fee, newest.gas_used, newest.gas_limit), priority)

    async def code(self, address: str, at: Tip) -> bytes:
        where = {"blockHash": at.block_hash}
        return raw_bytes(await self._rpc.ask(Data, "eth_getCode", text_of(self._address(address)), where))

    async def call(self, contract: str, data: bytes, at: Tip) -> bytes | None:
        question = {"to": text_of(self._address(contract)), "data": text_of(data)}
        try:
            return raw_bytes(await self._rpc.call(Data, "eth_call", question, {"blockHash": at.block_hash}))
        except Refused as fault:
            if fault.code == _REVERTED:
                return None
            raise RailError(f"eth_call: {fault.reason}") from fault

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        try:
            ours = self._read(signed)
        except RailError as fault:
            return Rejected(f"never sent: {fault}", permanent=True)
        try:
            answer = await self._rpc.call(Hash, "eth_sendRawTransaction", text_of(signed))
            taken = raw_bytes(answer) == ours.hash
            return Accepted() if taken else Unknown("the node says that it took another chain transaction")
        except RailError as fault:
            return Unknown(str(fault))
        except Refused as fault:
            return await self._rejected(ours, fault.reason)

    async def _rejected(self, ours: Signed, reason: str) -> BroadcastOutcome:
        """Its words say why; what is so is asked: it may have the bytes already, or the nonce may be used."""
        try:
            if await self._known(ours) is not None:
                return Accepted()
            used = await self._nonce(ours.sender, "latest") > ours.transaction.nonce
        except RailError as fault:
            return Unknown(str(fault))
        return Rejected(reason, permanent=used)

    async def status(self, signed: bytes) -> AccountStatus:
        ours = self._read(signed)
        known = await self._known(ours)
        if known is None or known.block_hash is None:
            if await self._nonce(ours.sender, "latest") <= ours.transaction.nonce:
                return Unseen() if known is None else Pending()
            known = await self._known(ours)  # it may have been mined between the two questions
        if known is None or known.block_hash is None:
            return Replaced(await self._taker(ours))
        return await self._mined(ours, raw_bytes(known.block_hash))

    async def close(self) -> None:
        await self._rpc.close()

    async def _mined(self, ours: Signed, block_hash: bytes) -> Mined:
        header = await self.blocks.named(block_hash)
        if header is None:
            raise RailError("the node doesn't know the block that it says holds the chain transaction")
        transactions, receipts = await self._contents(header)
        place = next((at for at, each in enumerate(transactions) if each.hash == ours.hash), None)
        if place is None or len(receipts) != len(transactions):
            raise RailError("the block that is said to hold the chain transaction doesn't hold it")
        tip, final = await self.blocks.tagged("latest"), await self._final()
        # Last, as only then it is on the chain of the tip and of the final block that were seen.
        if tip.number < header.number or await self.blocks.at(header.number) != header:
            raise RailError("the block that is said to hold the chain transaction isn't on the node's chain")
        return Mined(
            header.number, text_of(block_hash), tip.number - header.number + 1, final.number >= header.number,
            receipts[place].succeeded, _fee(ours.transaction, header, receipts, place),
        )

    async def _contents(self, header: Header) -> tuple[tuple[Named, ...], tuple[Receipt, ...]]:
        known = self._checked.get(header.block_hash)
        if known is None:
            known = (await self.blocks.transactions(header), await self.blocks.receipts(header))
            if len(self._checked) == CHECKED_MAXIMUM:
                self._checked.pop(next(iter(self._checked)))
            self._checked[header.block_hash] = known
        return known

    async def _final(self) -> Header:
        if isinstance(self._finality, str):
            return await self.blocks.tagged(self._finality)
        tip = await self.blocks.tagged("latest")
        if self._finality == 1:
            return tip
        return await self._at(max(tip.number - self._finality + 1, 0))

    async def _at(self, height: int) -> Header:
        """Of a block that was there a moment ago. Raises: RailError."""
        header = await self.blocks.at(height)
        if header is None:
            raise RailError("the chain changed while it was asked about")
        return header

    async def _known(self, ours: Signed) -> _Found | None:
        return await self._rpc.find_or_none(_Found, "eth_getTransactionByHash", text_of(ours.hash))

    async def _nonce(self, address: bytes, when: str) -> int:
        return number(await self._rpc.ask(Quantity, "eth_getTransactionCount", text_of(address), when))

    async def _taker(self, ours: Signed) -> ChainTransactionId | None:
        """What used its nonce, if that was in one of the newest blocks, and was of the kind that is made here."""
        nonce = ours.transaction.nonce
        after = (await self.blocks.tagged("latest")).number
        before = max(after - LOOK_BACK_MAXIMUM, 0)
        if await self._nonce(ours.sender, hex(before)) > nonce:
            return None
        while after - before > 1:
            middle = (before + after) // 2
            if await self._nonce(ours.sender, hex(middle)) > nonce:
                after = middle
            else:
                before = middle
        header = await self.blocks.at(after)
        transactions = () if header is None else await self.blocks.transactions(header)
        for each in await asyncio.to_thread(_of_sender, transactions, ours.sender):
            if each.hash == ours.hash:
                raise RailError("the node hides a chain transaction that stands in a block of its own")
            if each.transaction.nonce == nonce:
                return ChainTransactionId(text_of(each.hash))
        return None

    def _read(self, signed: bytes) -> Signed:
        """Raises: RailError."""
        try:
            ours = _signed(signed)
        except EvmTransactionError as fault:
            raise RailError(f"no chain transaction: it {fault}") from fault
        if ours.transaction.chain_id != self.chain_id:
            raise RailError(f"the chain transaction is for the chain {ours.transaction.chain_id}")
        return ours

    def _address(self, address: str) -> bytes:
        """Raises: RailError."""
        try:
            return parse_evm_address(address, self.network)
        except AddressError as fault:
            raise RailError(f"{address[:50]!r}: {fault}") from fault


def _signed(raw: bytes) -> Signed:
    """Raises: EvmTransactionError."""
    transaction, signature = parse_signed(raw)
    return Signed(transaction, sender(transaction, signature), keccak256(raw))


def _fee(transaction: EvmTransaction, header: Header, receipts: Sequence[Receipt], place: int) -> int:
    """Of the gas that it used, at the price that its block makes of what it offers (EIP-1559)."""
    gas = receipts[place].gas_used - (receipts[place - 1].gas_used if place else 0)
    return gas * min(transaction.max_fee, (header.base_fee or 0) + transaction.max_priority_fee)


def _of_sender(transactions: Sequence[Named], address: bytes) -> list[Signed]:
    found: list[Signed] = []
    for each in transactions:
        try:
            signed = _signed(each.raw)
        except EvmTransactionError:
            continue  # of another kind, which the signer doesn't make
        if signed.sender == address:
            found.append(signed)
    return found


def _tip(header: Header) -> Tip:
    return Tip(header.number, text_of(header.block_hash))
