"""An exported audit log, checked by its own text and the public key of its checkpoints. No server is asked.

JSON lines: a head with the signed checkpoint, then every leaf with its index and hash, and after every 256 leaves the
hash of that block. Only the signed root is believed. The hashes that are carried along are there to say *which* leaf
is wrong: a leaf that doesn't fit its hash is named; if somebody changed both, the block is named in which it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.protocol.checkpoint import Checkpoint, CheckpointError, verify_checkpoint, verify_cosignature
from strongroom.protocol.merkle import leaf_hash, root_of
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.tree_head import witness_name

EXPORT_TYPE: Final = "strongroom/audit-export/v1"
BLOCK_LEVEL: Final = 8
BLOCK: Final = 2**BLOCK_LEVEL


class ExportError(ValueError):
    """The export doesn't prove itself; `leaf` is the index at fault, None when no single one can be named."""

    def __init__(self, reason: str, leaf: int | None = None) -> None:
        super().__init__(reason if leaf is None else f"leaf {leaf} {reason}")
        self.leaf = leaf
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verified:
    """`witnessed_s` is when guard cosigned it, in seconds since 1970; None if that wasn't asked."""

    origin: str
    size: int
    root: bytes
    witnessed_s: int | None = None


def export_head(origin: str, note: str) -> bytes:
    """The first line."""
    return encode({"checkpoint": note, "origin": origin, "type": EXPORT_TYPE}) + b"\n"


def export_lines(number: int, entries: Iterable[tuple[int, bytes, str]], block: bytes | None) -> Iterator[bytes]:
    """The lines of a block: index, hash and leaf of each entry, and the block's own hash if it is whole.

    Hashes and indices are those that were recorded when the leaves came, never computed anew: what was changed or
    taken out since doesn't fit them, and is named.
    """
    for index, digest, leaf in entries:
        yield encode({"hash": digest.hex(), "index": index, "leaf": leaf}) + b"\n"
    if block is not None:
        yield encode({"block": number, "hash": block.hex()}) + b"\n"


def verify_export(lines: Iterable[bytes], public_key: bytes, witness_key: bytes | None = None) -> Verified:
    """By watch's key, and by guard's if it is given: then the checkpoint must be cosigned.

    Raises: ExportError naming the leaf that was changed, is missing, moved or added, as far as can be told.
    """
    rest = iter(lines)
    checkpoint, witnessed_s = _head(next(rest, b""), public_key, witness_key)
    frontier = Frontier()
    block: list[bytes] = []
    for line in rest:
        record = _read(line, frontier.size)
        if "block" in record:
            _check_block(record, frontier.size, block)
            block.clear()
            continue
        digest = _leaf(record, frontier.size, checkpoint.size)
        frontier.append([digest])
        block.append(digest)
    if frontier.size < checkpoint.size:
        raise ExportError(f"is missing: the checkpoint signs {checkpoint.size} leaves", frontier.size)
    if frontier.root() != checkpoint.root:
        raise ExportError("the leaves don't lead to the root that the checkpoint signs: leaves and hashes were changed")
    return Verified(checkpoint.origin, checkpoint.size, checkpoint.root, witnessed_s)


def _head(line: bytes, public_key: bytes, witness_key: bytes | None) -> tuple[Checkpoint, int | None]:
    record = _read(line, None)
    origin, note = record.get("origin"), record.get("checkpoint")
    if record.get("type") != EXPORT_TYPE or not isinstance(origin, str) or not isinstance(note, str):
        raise ExportError(f"the first line isn't the head of a {EXPORT_TYPE}")
    try:
        checkpoint = verify_checkpoint(note, origin, origin, public_key)
        if witness_key is None:
            return checkpoint, None
        return checkpoint, verify_cosignature(note, witness_name(origin), witness_key)
    except CheckpointError as fault:
        raise ExportError(f"the checkpoint: {fault}") from fault


def _read(line: bytes, leaf: int | None) -> dict[str, JsonValue]:
    try:
        return parse_object(line)
    except CanonicalError as fault:
        raise ExportError(f"can't be read: {fault}" if leaf is not None else f"the head: {fault}", leaf) from fault


def _leaf(record: dict[str, JsonValue], expected: int, size: int) -> bytes:
    index, leaf, carried = record.get("index"), record.get("leaf"), record.get("hash")
    if type(index) is not int or not isinstance(leaf, str) or not isinstance(carried, str):
        raise ExportError("has a line without index, leaf and hash", expected)
    if expected >= size:
        raise ExportError(f"is one too many: the checkpoint signs {size}", expected)
    if index > expected:
        raise ExportError(f"is missing, or stands after leaf {index}", expected)
    if index < expected:
        raise ExportError(f"stands again, or out of its order, where leaf {expected} must be", index)
    digest = leaf_hash(leaf.encode())
    if digest.hex() != carried:
        raise ExportError("was changed: it doesn't fit its hash", index)
    return digest


def _check_block(record: dict[str, JsonValue], size: int, block: list[bytes]) -> None:
    number = size // BLOCK - 1
    if record.get("block") != number or len(block) != BLOCK:
        raise ExportError("is missing, or a block's line stands where it doesn't belong", size)
    if record.get("hash") != root_of(block).hex():
        first = number * BLOCK
        raise ExportError(f"to {size - 1}: one of them was changed together with its hash, or two were swapped", first)
