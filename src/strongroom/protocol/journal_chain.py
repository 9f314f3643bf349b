"""How the signer's journal is chained, so that signer, guard and watch compute one and the same head.

The head of an empty journal is 32 zero bytes; every entry makes the next one from the one before. Two journals with
one head at one length hold the same entries. What an entry means isn't looked at here.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

EMPTY_HEAD: Final = bytes(32)
ENTRY_MAXIMUM: Final = 1_048_576

_DOMAIN: Final = b"strongroom/journal/v1\0"


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain of entries goes: their number, and the hash of the last."""

    length: int
    head: bytes


class EntryError(ValueError):
    """The bytes can't be an entry."""


def next_head(head: bytes, entry: bytes) -> bytes:
    """The head after one more entry of 1 to `ENTRY_MAXIMUM` bytes. Raises: EntryError."""
    if not 1 <= len(entry) <= ENTRY_MAXIMUM:
        raise EntryError(f"an entry has 1 to {ENTRY_MAXIMUM} bytes, and this one {len(entry)}")
    return hashlib.sha256(_DOMAIN + head + entry).digest()


def head_after(head: bytes, entries: Iterable[bytes]) -> bytes:
    """The head after these entries. Raises: EntryError."""
    for entry in entries:
        head = next_head(head, entry)
    return head
