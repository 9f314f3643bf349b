"""EVM blocks: the hash that a header's fields make, and what a receipt is under the root that the header commits to.

So a log is believed as far as the hash of its block is. Nothing here shows that a block is one of the chain: since
proof of stake anybody can write a header, and only nodes say which is the chain's. What a header doesn't have among
the fields that are known here changes its hash, so a block of a later form is refused and not misread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_trie import ordered_root
from strongroom.formats.hot_vault import Log
from strongroom.formats.rlp import Item, encode_number, encode_rlp

BLOOM_BITS: Final = 2_048
KIND_MAXIMUM: Final = 0x7F
"""Of a typed transaction (EIP-2718); 0 is one from before there were types."""


class EvmBlockError(ValueError):
    """A header or receipt that there can't be; the message says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """`later` is what forks have added, in their order: base fee (EIP-1559), withdrawals root (4895), blob gas used,
    excess blob gas (4844), beacon root (4788), requests hash (7685). Numbers are below 2^256, the rest has the
    lengths that `__post_init__` names. Raises: EvmBlockError.
    """

    parent: bytes
    uncles: bytes
    beneficiary: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: bytes
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    extra: bytes
    mix: bytes
    nonce: bytes
    later: tuple[int | bytes, ...]

    def __post_init__(self) -> None:
        hashes = (
            self.parent, self.uncles, self.state_root, self.transactions_root, self.receipts_root, self.mix,
        )
        if any(len(each) != 32 for each in hashes):
            raise EvmBlockError("must have hashes of 32 bytes")
        if (len(self.beneficiary), len(self.bloom), len(self.nonce)) != (20, BLOOM_BITS // 8, 8):
            raise EvmBlockError("must have a beneficiary of 20 bytes, a bloom of 256, and a nonce of 8")

    @property
    def block_hash(self) -> bytes:
        fields = (
            self.parent, self.uncles, self.beneficiary, self.state_root, self.transactions_root, self.receipts_root,
            self.bloom, self.difficulty, self.number, self.gas_limit, self.gas_used, self.timestamp, self.extra,
            self.mix, self.nonce, *self.later,
        )
        return keccak256(encode_rlp([each if isinstance(each, bytes) else encode_number(each) for each in fields]))

    @property
    def base_fee(self) -> int | None:
        """None in a block from before there was one."""
        return self.later[0] if self.later and isinstance(self.later[0], int) else None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the chain transaction at its place. `gas_used` is that of all up to it. Raises: EvmBlockError.

    `later` are numbers that a chain of its own adds at the end: of a deposit of the OP stack, its nonce and version.
    """

    kind: int
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]
    later: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.kind <= KIND_MAXIMUM:
            raise EvmBlockError(f"must have a kind from 0 to {KIND_MAXIMUM}")
        if self.logs and not self.succeeded:
            raise EvmBlockError("has logs of a chain transaction that failed")

    def encode(self) -> bytes:
        logs: list[Item] = [[log.address, list(log.topics), log.data] for log in self.logs]
        fields: list[Item] = [
            encode_number(int(self.succeeded)), encode_number(self.gas_used), bloom_of(self.logs), logs,
            *map(encode_number, self.later),
        ]
        return (bytes([self.kind]) if self.kind else b"") + encode_rlp(fields)


def receipts_root(receipts: Sequence[Receipt]) -> bytes:
    return ordered_root([each.encode() for each in receipts])


def bloom_of(logs: Iterable[Log]) -> bytes:
    """256 bytes; of logs of a block, those of its header."""
    bits = 0
    for log in logs:
        for value in (log.address, *log.topics):
            bits |= _bits(value)
    return bits.to_bytes(BLOOM_BITS // 8)


def may_hold(bloom: bytes, *values: bytes) -> bool:
    """False: no log under this bloom is of all these, which are an address or topics. True: there may be one."""
    held = int.from_bytes(bloom)
    return all(held & bits == bits for bits in map(_bits, values))


def _bits(value: bytes) -> int:
    """Three of 2,048, by the first six bytes of its hash (yellow paper §4.3.1)."""
    digest = keccak256(value)
    places = (int.from_bytes(digest[at : at + 2]) % BLOOM_BITS for at in (0, 2, 4))
    return sum(1 << place for place in set(places))
