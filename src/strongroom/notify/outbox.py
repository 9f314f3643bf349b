"""What is to be sent and what was: follows guard's file, and remembers each message that the mail server took.

A message is written down as sent after it was taken, so one may go twice after a crash, with the same Message-ID, and
none is forgotten. Guard's file that became shorter is read from its beginning.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from strongroom.notify.notice import LINE_MAXIMUM, Notice, digest_of, read_notice

LOG = logging.getLogger("strongroom.notify")
READ_MAXIMUM: Final = 4 * 2**20
WAIT_MAXIMUM_S: Final = 600
DOUBLINGS_MAXIMUM: Final = 10


@dataclass(slots=True)
class Waiting:
    """`due_s` by a monotonic clock."""

    notice: Notice
    tries: int = 0
    due_s: float = 0.0


class Outbox:
    def __init__(self, notices: Path, folder: Path) -> None:
        """Raises: OSError."""
        self._notices, self._state = notices, folder / "state.json"
        self._sent_file = os.open(folder / "sent", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.sent = {line for line in (folder / "sent").read_text("ascii").split("\n") if len(line) == 64}
        self.waiting: dict[str, Waiting] = {}
        self.unreadable = 0
        self._read_to = 0
        os.write(self._sent_file, b"\n")  # whatever a crash left of a line ends here

    def follow(self) -> None:
        """Take what guard has written since. Raises: OSError, but not for a file that isn't there yet."""
        if not self._notices.exists():
            return
        with self._notices.open("rb") as handle:
            if handle.seek(0, os.SEEK_END) < self._read_to:
                LOG.warning("%s is shorter than it was: it is read from its beginning", self._notices)
                self._read_to = 0
            handle.seek(self._read_to)
            lines = handle.read(READ_MAXIMUM).split(b"\n")
        whole, rest = lines[:-1], lines[-1]
        if not whole and len(rest) >= READ_MAXIMUM:
            whole = [rest]
        self._read_to += sum(len(line) + 1 for line in whole)
        for line in whole:
            self._take(line)

    def _take(self, line: bytes) -> None:
        digest = digest_of(line)
        if not line or digest in self.sent or digest in self.waiting:
            return
        try:
            if len(line) > LINE_MAXIMUM:
                raise msgspec.DecodeError(f"{len(line)} bytes are too many")
            self.waiting[digest] = Waiting(read_notice(line))
        except msgspec.DecodeError as fault:
            self.unreadable += 1
            LOG.error("a notice of guard's can't be read and is left out: %s", fault)

    def due(self, now_s: float) -> list[tuple[str, Waiting]]:
        return [(digest, each) for digest, each in self.waiting.items() if each.due_s <= now_s]

    def was_sent(self, digest: str) -> None:
        """It lasts when this returns. Raises: OSError."""
        os.write(self._sent_file, digest.encode() + b"\n")
        os.fsync(self._sent_file)
        self.sent.add(digest)
        del self.waiting[digest]

    def later(self, digest: str, now_s: float) -> None:
        waiting = self.waiting[digest]
        waiting.due_s = now_s + min(1 << min(waiting.tries, DOUBLINGS_MAXIMUM), WAIT_MAXIMUM_S)
        waiting.tries += 1

    def show(self, nobodys: int, fault: str) -> None:
        """How it stands, for whoever looks: a file that is replaced at once. Raises: OSError."""
        stands = {
            "fault": fault, "sent": len(self.sent), "unreadable": self.unreadable, "waiting": len(self.waiting),
            "without_address": nobodys,
        }
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(stands, sort_keys=True) + "\n")
        new.replace(self._state)
