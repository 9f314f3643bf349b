"""What EVM nodes write in JSON, to the fields that are hashed: headers, receipts, and transactions of every known kind.

The forms are strict where something is read, and what a node adds is left unread: a value that is believed is one
that goes into a hash. Sources: execution-apis (the JSON), EIP-155, 2718, 2930, 1559, 4844 and 7702, and the OP
stack's specification of deposits (what is encoded).
"""

from typing import Annotated, Final

import msgspec

from strongroom.formats.evm_block import EvmBlockError, Header, Receipt
from strongroom.formats.hot_vault import Log
from strongroom.formats.rlp import Item, encode_number, encode_rlp
from strongroom.rails import port
from strongroom.rails.evm.rpc import Address, Data, Hash, Number, Quantity, number, raw_bytes
from strongroom.rails.port import RailError

LOGS_MAXIMUM: Final = 100_000
TOPICS_MAXIMUM: Final = 4

_DEPOSIT: Final = 0x7E
"""Of the OP stack: what the chain itself puts at the beginning of a block, unsigned."""
_CALL: Final = ("to", "value", "input")
_FEE_MARKET: Final = ("chain_id", "nonce", "max_priority_fee", "max_fee", "gas", *_CALL, "access_list")
_FIELDS: Final = {
    0: ("nonce", "gas_price", "gas", *_CALL, "v", "r", "s"),
    1: ("chain_id", "nonce", "gas_price", "gas", *_CALL, "access_list", "y_parity", "r", "s"),
    2: (*_FEE_MARKET, "y_parity", "r", "s"),
    3: (*_FEE_MARKET, "max_fee_per_blob_gas", "blob_versioned_hashes", "y_parity", "r", "s"),
    4: (*_FEE_MARKET, "authorization_list", "y_parity", "r", "s"),
    _DEPOSIT: ("source_hash", "sender", "to", "mint", "value", "gas", "is_system", "input"),
}
"""Of each kind, in the order in which they are encoded."""
_BYTES: Final = frozenset({"to", "input", "source_hash", "sender"})
_EMPTY: Final = frozenset({"to", "mint", "is_system"})
"""What may be missing: nobody, nothing, no."""


class WireLog(msgspec.Struct):
    address: Address
    topics: Annotated[list[Hash], msgspec.Meta(max_length=TOPICS_MAXIMUM)]
    data: Data

    def log(self) -> Log:
        return Log(raw_bytes(self.address), tuple(map(raw_bytes, self.topics)), raw_bytes(self.data))


class WireReceipt(msgspec.Struct, rename="camel"):
    status: Quantity
    cumulative_gas_used: Quantity
    logs: Annotated[list[WireLog], msgspec.Meta(max_length=LOGS_MAXIMUM)]
    type: Quantity = "0x0"
    deposit_nonce: Quantity | None = None
    deposit_receipt_version: Quantity | None = None

    def receipt(self) -> Receipt:
        """Raises: RailError."""
        if self.status not in ("0x0", "0x1"):
            raise RailError("a receipt has a status that is neither 0 nor 1")
        logs = tuple(each.log() for each in self.logs)
        added = (_number(self.deposit_nonce), _number(self.deposit_receipt_version))
        later = tuple(each for each in added if each is not None) if number(self.type) == _DEPOSIT else ()
        try:
            return Receipt(number(self.type), self.status == "0x1", number(self.cumulative_gas_used), logs, later)
        except EvmBlockError as fault:
            raise RailError(f"a receipt {fault}") from fault


class WireHeader(msgspec.Struct, rename="camel"):
    hash: Hash
    parent_hash: Hash
    sha3_uncles: Hash = msgspec.field(name="sha3Uncles")
    miner: Address
    state_root: Hash
    transactions_root: Hash
    receipts_root: Hash
    logs_bloom: Data
    difficulty: Quantity
    number: Quantity
    gas_limit: Quantity
    gas_used: Quantity
    timestamp: Quantity
    extra_data: Data
    mix_hash: Hash
    nonce: Data
    base_fee_per_gas: Quantity | None = None
    withdrawals_root: Hash | None = None
    blob_gas_used: Quantity | None = None
    excess_blob_gas: Quantity | None = None
    parent_beacon_block_root: Hash | None = None
    requests_hash: Hash | None = None

    def header(self) -> Header:
        """Raises: RailError, also when its fields make another hash than the one that it claims."""
        later = (
            _number(self.base_fee_per_gas), _raw(self.withdrawals_root), _number(self.blob_gas_used),
            _number(self.excess_blob_gas), _raw(self.parent_beacon_block_root), _raw(self.requests_hash),
        )
        try:
            header = Header(
                raw_bytes(self.parent_hash), raw_bytes(self.sha3_uncles), raw_bytes(self.miner),
                raw_bytes(self.state_root), raw_bytes(self.transactions_root), raw_bytes(self.receipts_root),
                raw_bytes(self.logs_bloom), number(self.difficulty), number(self.number), number(self.gas_limit),
                number(self.gas_used), number(self.timestamp), raw_bytes(self.extra_data), raw_bytes(self.mix_hash),
                raw_bytes(self.nonce), tuple(each for each in later if each is not None),
            )
        except EvmBlockError as fault:
            raise RailError(f"a block's header {fault}") from fault
        if header.block_hash != raw_bytes(self.hash):
            raise RailError("the node gave a block whose header has another hash")
        return header


class _Access(msgspec.Struct, rename="camel"):
    address: Address
    storage_keys: list[Hash]

    def item(self) -> list[Item]:
        return [raw_bytes(self.address), [raw_bytes(each) for each in self.storage_keys]]


class _Authorization(msgspec.Struct, rename="camel"):
    chain_id: Quantity
    address: Address
    nonce: Quantity
    y_parity: Quantity
    r: Quantity
    s: Quantity

    def item(self) -> list[Item]:
        numbers = [self.chain_id, self.nonce, self.y_parity, self.r, self.s]
        chain, nonce, *signature = (encode_number(number(each)) for each in numbers)
        return [chain, raw_bytes(self.address), nonce, *signature]


class WireTransaction(msgspec.Struct, rename="camel"):
    """A kind that isn't in _FIELDS isn't known. `y_parity` is left out by some nodes, and then stands in `v`."""

    gas: Quantity
    value: Quantity
    input: Data
    nonce: Quantity | None = None
    r: Number | None = None
    s: Number | None = None
    type: Quantity = "0x0"
    to: Address | None = None
    v: Quantity | None = None
    y_parity: Quantity | None = None
    chain_id: Quantity | None = None
    gas_price: Quantity | None = None
    max_priority_fee: Quantity | None = msgspec.field(default=None, name="maxPriorityFeePerGas")
    max_fee: Quantity | None = msgspec.field(default=None, name="maxFeePerGas")
    max_fee_per_blob_gas: Quantity | None = None
    access_list: list[_Access] | None = None
    blob_versioned_hashes: list[Hash] | None = None
    authorization_list: list[_Authorization] | None = None
    source_hash: Hash | None = None
    sender: Address | None = msgspec.field(default=None, name="from")
    mint: Quantity | None = None
    is_system: bool | None = msgspec.field(default=None, name="isSystemTx")

    def encode(self) -> bytes:
        """The signed bytes. Raises: RailError."""
        kind = number(self.type)
        if kind not in _FIELDS:
            raise RailError(f"a block has a chain transaction of kind {kind}, which isn't known here")
        fields = encode_rlp([self._item(name) for name in _FIELDS[kind]])
        return (bytes([kind]) if kind else b"") + fields

    def _item(self, name: str) -> Item:
        value = getattr(self, name)
        if name == "y_parity" and value is None:
            value = self.v
        if value is None:
            if name in _EMPTY:
                return b""
            raise RailError(f"a chain transaction of kind {number(self.type)} has no {name}")
        if isinstance(value, list):
            return [raw_bytes(each) if isinstance(each, str) else each.item() for each in value]
        if isinstance(value, bool):
            return encode_number(int(value))
        return raw_bytes(value) if name in _BYTES else encode_number(number(value))


class WireBlock(WireHeader, kw_only=True):
    transactions: Annotated[list[WireTransaction], msgspec.Meta(max_length=port.BLOCK_TRANSACTIONS_MAXIMUM)]


def _number(quantity: str | None) -> int | None:
    return None if quantity is None else number(quantity)


def _raw(data: str | None) -> bytes | None:
    return None if data is None else raw_bytes(data)
