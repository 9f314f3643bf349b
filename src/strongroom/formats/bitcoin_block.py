"""Bitcoin blocks: raw bytes to the transactions in them, which the header commits to.

What is checked is what one block can show: that its header has the work that it claims, and commits to just these
transactions in this order. That it is a block of the best chain, only a node says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.formats.bitcoin_transaction import (
    BitcoinError,
    Reader,
    Transaction,
    double_sha256,
    read_transaction,
    transaction_id,
)

HEADER_LENGTH: Final = 80
BYTES_MAXIMUM: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """`raw` is verbatim, witnesses included."""

    txid: str
    raw: bytes
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Header:
    """Hashes in hex, as explorers show them; `root` is what it commits to, `target` the number that its hash isn't
    above."""

    block_hash: str
    previous: str
    root: bytes
    target: int


@dataclass(frozen=True, slots=True)
class Block:
    """Hashes in hex, as explorers show them. `target` is the number that its hash isn't above."""

    block_hash: str
    previous: str
    target: int
    entries: tuple[Entry, ...]


def parse_block(raw: bytes) -> Block:
    """Bytes from anybody. Raises: BitcoinError, and nothing else."""
    if len(raw) > BYTES_MAXIMUM:
        raise BitcoinError(f"has more than {BYTES_MAXIMUM} bytes")
    reader = Reader(raw)
    header = parse_header(reader.take(HEADER_LENGTH))
    entries: list[Entry] = []
    for _ in reader.many(60):
        first = reader.at
        transaction = read_transaction(reader)
        entries.append(Entry(transaction_id(transaction), raw[first : reader.at], transaction))
    reader.close()
    if merkle_root([bytes.fromhex(each.txid)[::-1] for each in entries]) != header.root:
        raise BitcoinError("holds other transactions than its header commits to")
    return Block(header.block_hash, header.previous, header.target, tuple(entries))


def parse_header(raw: bytes) -> Header:
    """Bytes from anybody. Raises: BitcoinError, and nothing else."""
    if len(raw) != HEADER_LENGTH:
        raise BitcoinError(f"must have a header of {HEADER_LENGTH} bytes")
    digest, target = double_sha256(raw), _target(int.from_bytes(raw[72:76], "little"))
    if int.from_bytes(digest, "little") > target:
        raise BitcoinError("hasn't the work that its header claims")
    return Header(digest[::-1].hex(), raw[4:36][::-1].hex(), raw[36:68], target)


def merkle_root(ids: Sequence[bytes]) -> bytes:
    """Of transaction ids in the order of their bytes. Raises: BitcoinError for none, and for one that stands twice.

    The last of an odd row counts twice, so that a list with its end doubled would have the same root (CVE-2012-2459).
    """
    if not ids or len(set(ids)) != len(ids):
        raise BitcoinError("holds no transaction, or one of them twice")
    row = list(ids)
    while len(row) > 1:
        row += row[-1:] * (len(row) % 2)
        row = [double_sha256(left + right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def _target(compact: int) -> int:
    """Of the header's `bits`: a base-256 exponent and 23 bits of mantissa, whose sign must not be set."""
    exponent, mantissa = compact >> 24, compact & 0x7FFFFF
    if compact & 0x800000 or not 3 <= exponent <= 32:
        raise BitcoinError("claims a target that is none")
    return mantissa << 8 * (exponent - 3)
