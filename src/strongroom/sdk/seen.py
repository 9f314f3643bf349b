"""Which events were handled: in memory, or in a folder that outlives restarts and is shared by processes.

Both hand an id to one handler at a time. In a folder that is an advisory lock on the id's own file, which the kernel
drops when a handler's process dies; so no handler's crash loses an event, and none needs a time-out.
"""

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

KEEP_S: Final = 30 * 86_400
"""How long an id is remembered in a folder; the sender tries for about 75 hours."""
MEMORY_MAXIMUM: Final = 1_000_000
PRUNE_EVERY_S: Final = 3_600

_HANDLED: Final = b"handled"


class Taken(Exception):
    """Somebody handles the same event at this moment."""


class Seen(Protocol):
    def once(self, identifier: str) -> contextlib.AbstractContextManager[bool]:
        """True inside the block if the id is new; it counts as handled when the block ends well. Raises: Taken."""


class Memory:
    """For the life of this object; of more than MEMORY_MAXIMUM ids the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._handled: OrderedDict[str, None] = OrderedDict()

    @contextmanager
    def once(self, identifier: str) -> Iterator[bool]:
        with self._lock:
            if identifier in self._running:
                raise Taken
            is_new = identifier not in self._handled
            if is_new:
                self._running.add(identifier)
        if not is_new:
            yield False
            return
        try:
            yield True
            with self._lock:
                self._handled[identifier] = None
                if len(self._handled) > MEMORY_MAXIMUM:
                    self._handled.popitem(last=False)
        finally:
            with self._lock:
                self._running.discard(identifier)


class Folder:
    """A file for every id. Needs a POSIX system and a local file system, where `flock` is honest."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._pruned = 0.0

    @contextmanager
    def once(self, identifier: str) -> Iterator[bool]:
        self._prune()
        file = self._folder / hashlib.sha256(identifier.encode()).hexdigest()
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(descriptor):
                raise Taken
            if os.read(descriptor, len(_HANDLED)) == _HANDLED:
                yield False
                return
            yield True
            os.pwrite(descriptor, _HANDLED, 0)
            os.fsync(descriptor)
            self._sync_folder()
        finally:
            os.close(descriptor)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _prune(self) -> None:
        now = time.time()
        if now - self._pruned < PRUNE_EVERY_S:
            return
        self._pruned = now
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < now - KEEP_S:
                    os.unlink(entry.path)


def _lock(descriptor: int) -> bool:
    import fcntl  # not on every system, and needed for folders only

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        if fault.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True
