"""The marker: what guard said last, kept where no backup looks.

A store without its marker, or one that doesn't hold what the marker names, was restored and may lack what guard once
cosigned or promised. Two slots are written in turns, so that a torn write leaves the one before.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.journal.journal import JournalError
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head

_SLOT: Final = 4_096
_NUMBER: Final = 8
_BODY: Final = 3 * _NUMBER + 2 * len(EMPTY_HEAD) + 64
_CHECK: Final = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """The journal's head with the signer's signature over it, and the control log's head."""

    journal: Head
    signature: bytes
    control: Head


EMPTY: Final = Mark(Head(0, EMPTY_HEAD), bytes(64), Head(0, EMPTY_HEAD))


@contextmanager
def disk_work(what: str) -> Iterator[None]:
    """A fault of our disk stops guard, and is told apart from one of a connection, which doesn't."""
    try:
        yield
    except OSError as fault:
        raise JournalError(f"the disk failed at the {what}: {fault}") from fault


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
        numbers = (count, mark.journal.length, mark.control.length)
        body = b"".join(number.to_bytes(_NUMBER) for number in numbers)
        body += mark.journal.head + mark.control.head + mark.signature
        with disk_work("marker"):
            os.pwrite(self._file, body + hashlib.sha256(body).digest(), count % 2 * _SLOT)
            os.fsync(self._file)
        self._count, self.mark = count, mark

    def _read(self, slot: int) -> tuple[int, Mark] | None:
        raw = os.pread(self._file, _BODY + _CHECK, slot * _SLOT)
        body, check = raw[:_BODY], raw[_BODY:]
        if hashlib.sha256(body).digest() != check:
            return None
        count, journal, control = (int.from_bytes(body[at : at + _NUMBER]) for at in (0, 8, 16))
        return count, Mark(Head(journal, body[24:56]), body[88:], Head(control, body[56:88]))
