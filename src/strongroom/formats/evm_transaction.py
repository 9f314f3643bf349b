"""EVM transactions with a fee market (EIP-1559), without an access list: read, written, signed for and named.

No other kind is made here, and none that creates a contract. A chain id of 0, which would be good on every chain, is
refused. Amounts are in wei.
"""

from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey
from sha3 import keccak_256

from strongroom.formats.rlp import Decoded, RlpError, decode_number, decode_rlp, encode_number, encode_rlp

KIND: Final = b"\x02"
GAS_LIMIT_MAXIMUM: Final = 2**24
"""Of one transaction (EIP-7825)."""
_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Of the group of secp256k1 (SEC 2 §2.4.1)."""
_FIELDS: Final = 9
_SIGNED_FIELDS: Final = 12


class EvmTransactionError(ValueError):
    """No transaction of this kind, or a signature that doesn't hold; the message says why."""


@dataclass(frozen=True, slots=True)
class EvmTransaction:
    """`to` has 20 bytes. Both fees are for a unit of gas. Checked when made. Raises: EvmTransactionError."""

    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas_limit: int
    to: bytes
    value: int
    data: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.chain_id < 2**63 or not 0 <= self.nonce < 2**64 - 1:
            raise EvmTransactionError("must have a chain id from 1, and a nonce below 2^64 - 1 (EIP-2681)")
        if not 0 <= self.max_priority_fee <= self.max_fee < 2**128:
            raise EvmTransactionError("must have a maximum fee that isn't below the priority fee")
        if not 21_000 <= self.gas_limit <= GAS_LIMIT_MAXIMUM:
            raise EvmTransactionError(f"must have a gas limit from 21000 to {GAS_LIMIT_MAXIMUM}")
        if len(self.to) != 20 or not 0 <= self.value < 2**256:
            raise EvmTransactionError("must go to an address of 20 bytes, with a value below 2^256")


@dataclass(frozen=True, slots=True)
class EvmSignature:
    """`y_parity` is 0 or 1; r and s are below the order of the group, s in its lower half (EIP-2)."""

    y_parity: int
    r: int
    s: int

    def __post_init__(self) -> None:
        if self.y_parity not in (0, 1) or not 0 < self.r < _ORDER or not 0 < self.s <= _ORDER // 2:
            raise EvmTransactionError("has a signature out of its bounds")


def keccak256(raw: bytes) -> bytes:
    return bytes(keccak_256(raw).digest())


def encode_unsigned(transaction: EvmTransaction) -> bytes:
    return KIND + encode_rlp([*_fields(transaction), []])


def parse_unsigned(raw: bytes) -> EvmTransaction:
    """Bytes from anybody. Raises: EvmTransactionError, and nothing else."""
    return _read(_list(raw, _FIELDS))


def signing_hash(transaction: EvmTransaction) -> bytes:
    """32 bytes, which the key of the sender signs."""
    return keccak256(encode_unsigned(transaction))


def encode_signed(transaction: EvmTransaction, signature: EvmSignature) -> bytes:
    numbers = (signature.y_parity, signature.r, signature.s)
    return KIND + encode_rlp([*_fields(transaction), [], *map(encode_number, numbers)])


def parse_signed(raw: bytes) -> tuple[EvmTransaction, EvmSignature]:
    """Bytes from anybody; who signed, `sender` says. Raises: EvmTransactionError, and nothing else."""
    items = _list(raw, _SIGNED_FIELDS)
    transaction = _read(items[:_FIELDS])
    try:
        y_parity, r, s = (decode_number(each, bits) for each, bits in zip(items[_FIELDS:], (8, 256, 256), strict=True))
    except RlpError as fault:
        raise EvmTransactionError(str(fault)) from fault
    return transaction, EvmSignature(y_parity, r, s)


def transaction_hash(signed: bytes) -> str:
    """0x and 64 hex digits, as explorers show it."""
    return "0x" + keccak256(signed).hex()


def sender(transaction: EvmTransaction, signature: EvmSignature) -> bytes:
    """The 20 bytes of the address whose key signed. Raises: EvmTransactionError when there is none."""
    raw = signature.r.to_bytes(32) + signature.s.to_bytes(32) + bytes([signature.y_parity])
    try:
        key = PublicKey.from_signature_and_message(raw, signing_hash(transaction), hasher=None)
    except ValueError as fault:
        raise EvmTransactionError("has a signature that no key made") from fault
    return address_of(key.format(compressed=False))


def address_of(public_key: bytes) -> bytes:
    """The 20 bytes of the address of an uncompressed public key of 65 bytes."""
    return keccak256(public_key[1:])[12:]


def _fields(transaction: EvmTransaction) -> list[bytes]:
    numbers = (
        transaction.chain_id, transaction.nonce, transaction.max_priority_fee, transaction.max_fee,
        transaction.gas_limit,
    )
    return [*map(encode_number, numbers), transaction.to, encode_number(transaction.value), transaction.data]


def _list(raw: bytes, length: int) -> list[Decoded]:
    if raw[:1] != KIND:
        raise EvmTransactionError("isn't a transaction with a fee market (EIP-1559)")
    try:
        items = decode_rlp(raw[1:])
    except RlpError as fault:
        raise EvmTransactionError(str(fault)) from fault
    if not isinstance(items, list) or len(items) != length:
        raise EvmTransactionError(f"must be a list of {length} fields")
    return items


def _read(items: list[Decoded]) -> EvmTransaction:
    *numbers, to, value, data, access_list = items
    if not isinstance(to, bytes) or not isinstance(data, bytes) or access_list != []:
        raise EvmTransactionError("must have a payee, data, and an access list that is empty")
    try:
        chain_id, nonce, priority, most, gas = (decode_number(each, 256) for each in numbers)
        return EvmTransaction(chain_id, nonce, priority, most, gas, to, decode_number(value, 256), data)
    except RlpError as fault:
        raise EvmTransactionError(str(fault)) from fault
