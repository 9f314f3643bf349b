"""The signer's memory, and guard's: an append-only file of entries, each chained to all before it by a hash.

On disk an entry is a frame: its length in four bytes, big-endian, the entry, and the head after it. What was synced
survives a crash; what wasn't may be lost, torn or flipped, so reading stops at the first frame that isn't whole and
chained. Nothing is cut and nothing appended before `settle` has compared the journal with guard's: from here a torn
tail and a journal that somebody rolled back look alike. The disk is trusted as far as the chain goes, and after a
failed write or sync not at all: the kernel may have dropped what it couldn't write. What an entry means is for others.
"""

import fcntl
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from strongroom.protocol.journal_chain import EMPTY_HEAD, ENTRY_MAXIMUM, Head, head_after, next_head

_LENGTH: Final = 4
_HEAD: Final = len(EMPTY_HEAD)


class JournalError(Exception):
    """The journal can't be used: its process stops."""


class BehindError(JournalError):
    """Guard's journal is longer than ours: this one must be brought forward."""


class ForkError(JournalError):
    """Guard's journal says something else than ours: people must look into it."""


class Disk(Protocol):
    """One file that grows. Each call may raise OSError; `read` gives what there is, `sync` makes all of it last."""

    def read(self, offset: int, length: int) -> bytes: ...
    def append(self, raw: bytes) -> None: ...
    def sync(self) -> None: ...
    def truncate(self, length: int) -> None: ...
    def close(self) -> None: ...


class FileDisk:
    """A file in a folder that nobody else can enter, held by one process at a time."""

    def __init__(self, folder: str, name: str = "journal", *, create: bool = False) -> None:
        """`create` refuses a journal that exists; without it a missing one is an error and never a new one.

        Raises: JournalError.
        """
        try:
            self.file = _open_file(folder, name, os.O_CREAT | os.O_EXCL if create else 0)
        except BlockingIOError as fault:
            raise JournalError("another process holds the journal") from fault
        except OSError as fault:
            raise JournalError(f"the journal can't be opened: {fault}") from fault

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.file, length, offset)

    def append(self, raw: bytes) -> None:
        rest = memoryview(raw)
        while rest:
            rest = rest[os.write(self.file, rest) :]

    def sync(self) -> None:
        os.fdatasync(self.file)

    def truncate(self, length: int) -> None:
        os.ftruncate(self.file, length)

    def close(self) -> None:
        os.close(self.file)


class Journal:
    """Made by `Journal.load`. `length` counts entries; `is_torn` says that something unreadable follows them."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._heads = bytearray(EMPTY_HEAD)
        self._ends = array("Q", [0])
        self._is_settled = False
        self._poison = ""
        self.is_torn = False

    @classmethod
    def load(cls, disk: Disk) -> "Journal":
        """Read and verify what is there, and change nothing. Raises: JournalError if the disk can't be read."""
        journal = cls(disk)
        with journal._disk_work():
            end, head = 0, EMPTY_HEAD
            while (frame := _read_frame(disk, end, head)) is not None:
                journal._remember(*frame)
                end, head = journal._ends[-1], frame[1]
            journal.is_torn = disk.read(end, 1) != b""
        return journal

    @property
    def length(self) -> int:
        return len(self._ends) - 1

    @property
    def head(self) -> bytes:
        return self.head_at(self.length)

    def head_at(self, length: int) -> bytes:
        """The head after the first `length` entries. Raises: JournalError."""
        self._check()
        if not 0 <= length <= self.length:
            raise JournalError(f"the journal has {self.length} entries, and no head at {length}")
        return bytes(self._heads[length * _HEAD : (length + 1) * _HEAD])

    def holds(self, head: Head) -> bool:
        """Whether it had this head once, or has it now. Raises: JournalError."""
        return head.length <= self.length and self.head_at(head.length) == head.head

    def entries(self, first: int = 0) -> Iterator[bytes]:
        """The entries from number `first` on, counted from 0, read and verified anew. Raises: JournalError."""
        with self._disk_work():
            head = self.head_at(min(first, self.length))
            for number in range(first, self.length):
                frame = _read_frame(self._disk, self._ends[number], head)
                if frame is None or frame[1] != self.head_at(number + 1):
                    self._poison = f"entry {number} has changed on the disk"
                    raise JournalError(self._poison)
                yield frame[0]
                head = frame[1]

    def settle(self, guard_length: int, guard_head: bytes) -> None:
        """Compare with what guard cosigned last; only then a torn tail is cut and entries may be appended.

        What we have beyond guard's length is kept, to be offered to guard again. Raises: BehindError, ForkError,
        JournalError.
        """
        if guard_length > self.length:
            raise BehindError(f"guard has {guard_length} entries, and the journal {self.length}")
        if self.head_at(guard_length) != guard_head:
            raise ForkError(f"guard has another entry than ours among the first {guard_length}")
        self._cut()
        self._is_settled = True

    def bring_forward(self, entries: Sequence[bytes], head: bytes) -> None:
        """Append the next entries of guard's copy. `head`, signed by guard, is the one after the last of them: all
        are verified against it before any is written. Raises: ForkError, JournalError, EntryError.
        """
        if self._is_settled:
            raise JournalError("a settled journal isn't brought forward")
        if head_after(self.head, entries) != head:
            raise ForkError("guard's entries don't continue ours")
        # Guard's chain goes on where the good part ends, so whatever else stands there was never cosigned.
        self._cut()
        for entry in entries:
            self._write(entry)
        self.sync()

    def append(self, entry: bytes) -> bytes:
        """Write an entry; the head after it. It is believed only after `sync`. Raises: JournalError, EntryError."""
        if not self._is_settled:
            raise JournalError("nothing is appended before the journal was compared with guard's")
        self._write(entry)
        return self.head

    def sync(self) -> None:
        """Must have returned before anything is said that depends on an entry. Raises: JournalError."""
        with self._disk_work():
            self._disk.sync()

    def close(self) -> None:
        self._disk.close()
        self._poison = self._poison or "it was closed"

    def _write(self, entry: bytes) -> None:
        head = next_head(self.head, entry)
        with self._disk_work():
            self._disk.append(len(entry).to_bytes(_LENGTH) + entry + head)
        self._remember(entry, head)

    def _remember(self, entry: bytes, head: bytes) -> None:
        self._heads += head
        self._ends.append(self._ends[-1] + _LENGTH + len(entry) + _HEAD)

    def _cut(self) -> None:
        """Leave the good part alone on the disk, and safe: some of it may never have been synced."""
        with self._disk_work():
            if self.is_torn:
                self._disk.truncate(self._ends[-1])
            self._disk.sync()
        self.is_torn = False

    def _check(self) -> None:
        if self._poison:
            raise JournalError(f"the journal can't be used any more: {self._poison}")

    @contextmanager
    def _disk_work(self) -> Iterator[None]:
        """After a fault of the disk nobody knows what it holds, so every later call is refused."""
        self._check()
        try:
            yield
        except OSError as fault:
            self._poison = str(fault)
            raise JournalError(f"the journal's disk failed: {fault}") from fault


def _read_frame(disk: Disk, offset: int, head: bytes) -> tuple[bytes, bytes] | None:
    """The entry at `offset` and the head after it, or None unless the frame is whole and continues `head`."""
    length = int.from_bytes(disk.read(offset, _LENGTH))
    if not 1 <= length <= ENTRY_MAXIMUM:
        return None
    raw = disk.read(offset + _LENGTH, length + _HEAD)
    entry, stored = raw[:length], raw[length:]
    if len(entry) < length or next_head(head, entry) != stored:
        return None
    return entry, stored


def _open_file(folder: str, name: str, making: int) -> int:
    """The locked journal; its name in the folder lasts as well. Raises: OSError, JournalError."""
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_ours(inside)
        file = os.open(name, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | making, 0o600, dir_fd=inside)
        try:
            _check_ours(file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fsync(inside)
        except (OSError, JournalError):
            os.close(file)
            raise
        return file
    finally:
        os.close(inside)


def _check_ours(opened: int) -> None:
    status = os.fstat(opened)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise JournalError("the journal and its folder must be ours, and open to nobody else")
