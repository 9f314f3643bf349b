"""Recursive length prefix, the encoding of EVM transactions: bytes and lists of them, each in its one spelling.

Ethereum yellow paper, appendix B. Numbers are big-endian without leading zeros, and zero is no bytes at all.
"""

from collections.abc import Sequence
from typing import Final

DEPTH_MAXIMUM: Final = 8
Item = bytes | Sequence["Item"]
_SHORT_MAXIMUM: Final = 55


class RlpError(ValueError):
    """No RLP, or not in its shortest form; the message says why."""


def encode_rlp(item: Item) -> bytes:
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _head(0x80, len(item)) + item
    content = b"".join(map(encode_rlp, item))
    return _head(0xC0, len(content)) + content


def decode_rlp(raw: bytes) -> "bytes | list[Decoded]":
    """Bytes from anybody. Raises: RlpError, and nothing else."""
    item, end = _decode(raw, 0, len(raw), 0)
    if end != len(raw):
        raise RlpError("goes on after its end")
    return item


Decoded = bytes | list["Decoded"]


def encode_number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


def decode_number(item: Decoded, bits: int) -> int:
    """Raises: RlpError for what is no number below 2^bits."""
    if not isinstance(item, bytes) or item[:1] == b"\x00" or len(item) * 8 > bits:
        raise RlpError(f"has something else than a number of at most {bits} bits")
    return int.from_bytes(item)


def _head(base: int, length: int) -> bytes:
    if length <= _SHORT_MAXIMUM:
        return bytes([base + length])
    size = encode_number(length)
    return bytes([base + _SHORT_MAXIMUM + len(size)]) + size


def _decode(raw: bytes, at: int, end: int, depth: int) -> tuple[Decoded, int]:
    """The item at this place, and where it ends, which is at most `end`."""
    if at >= end or depth > DEPTH_MAXIMUM:
        raise RlpError(f"ends too early, or lists stand in more than {DEPTH_MAXIMUM} others")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    base = 0xC0 if first >= 0xC0 else 0x80
    start, stop = _content(raw, at, end, first - base)
    if base == 0x80:
        if stop - start == 1 and raw[start] < 0x80:
            raise RlpError("has a byte that isn't in its shortest form")
        return raw[start:stop], stop
    items: list[Decoded] = []
    while start < stop:
        item, start = _decode(raw, start, stop, depth + 1)
        items.append(item)
    return items, stop


def _content(raw: bytes, at: int, end: int, length: int) -> tuple[int, int]:
    """Where the content of the item at this place begins and ends. Raises: RlpError."""
    start = at + 1
    if length > _SHORT_MAXIMUM:
        size = raw[start : min(start + length - _SHORT_MAXIMUM, end)]
        start += length - _SHORT_MAXIMUM
        length = int.from_bytes(size)
        if size[:1] == b"\x00" or length <= _SHORT_MAXIMUM:
            raise RlpError("has a length that isn't in its shortest form")
    if start + length > end:
        raise RlpError("ends too early")
    return start, start + length
