"""The marker: what guard said last, kept where no backup looks.

A store without its marker, or one that doesn't hold what the marker names, was restored and may lack what guard once
cosigned or promised. Two slots are written in turns, so that a torn write leaves the one before.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from strongroom.journal.journal import JournalError
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head
from strongroom.protocol.merkle import EMPTY_ROOT

_SLOT: Final = 4_096
_LAYOUT: Final = struct.Struct(">QQQ32s32s64sQ32s")
_WITHOUT_TREE: Final = _LAYOUT.size - 40
"""As markers were when guard didn't witness the audit log yet."""
_CHECK: Final = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """The journal's head with the signer's signature over it, the control log's head, and size and root of the tree
    that guard cosigned last: zeros if it doesn't know."""

    journal: Head
    signature: bytes
    control: Head
    tree: Head


EMPTY: Final = Mark(Head(0, EMPTY_HEAD), bytes(64), Head(0, EMPTY_HEAD), Head(0, EMPTY_HEAD))
FOUNDED: Final = replace(EMPTY, tree=Head(0, EMPTY_ROOT))
"""Of a guard that enrols a new deployment, of whose audit log nothing can have been cosigned."""


@contextmanager
def disk_work(what: str) -> Iterator[None]:
    """A fault of our disk stops guard, and is told apart from one of a connection, which doesn't."""
    try:
        yield
    except OSError as fault:
        raise JournalError(f"the disk failed at the {what}: {fault}") from fault


def write_last(file: Path, raw: bytes, mode: str, what: str) -> None:
    """It lasts when this returns. Raises: JournalError."""
    with disk_work(what), file.open(mode) as handle:
        handle.write(raw)
        handle.flush()
        os.fsync(handle.fileno())


class Marker:
    mark: Mark | None

    def __init__(self, file: Path) -> None:
        """Raises: OSError."""
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        slots = [slot for number in (0, 1) if (slot := self._read(number)) is not None]
        self._count, self.mark = 0, None
        if slots:
            self._count, self.mark = max(slots, key=lambda slot: slot[0])
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    def write(self, mark: Mark) -> None:
        """It lasts when this returns. Raises: JournalError."""
        count = self._count + 1
        body = _LAYOUT.pack(
            count, mark.journal.length, mark.control.length, mark.journal.head, mark.control.head, mark.signature,
            mark.tree.length, mark.tree.head,
        )
        with disk_work("marker"):
            os.pwrite(self._file, body + hashlib.sha256(body).digest(), count % 2 * _SLOT)
            os.fsync(self._file)
        self._count, self.mark = count, mark

    def _read(self, slot: int) -> tuple[int, Mark] | None:
        raw = os.pread(self._file, _SLOT, slot * _SLOT)
        for length in (_LAYOUT.size, _WITHOUT_TREE):
            body, check = raw[:length], raw[length : length + _CHECK]
            if hashlib.sha256(body).digest() == check:
                fields = _LAYOUT.unpack(body.ljust(_LAYOUT.size, b"\0"))
                count, journal, control, journal_head, control_head, signature, size, root = fields
                heads = Head(journal, journal_head), signature, Head(control, control_head), Head(size, root)
                return count, Mark(*heads)
        return None
