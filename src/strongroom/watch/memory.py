"""What watch signed last, kept outside of the database: who owns the database can take leaves away, but not this.

The note is on disk before the database transaction that it belongs to commits, so it may be one step ahead of the
database, and never behind it. It is trusted as far as its folder, which only watch may write to.
"""

import os
from pathlib import Path


class Memory:
    """One file with one note; empty before the first."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def recall(self) -> str | None:
        """None before the first note. Raises: OSError."""
        try:
            return self.file.read_text()
        except FileNotFoundError:
            return None

    def keep(self, note: str) -> None:
        """On disk when this returns; the old note or the new one is there whenever the power fails. Raises: OSError."""
        unfinished = self.file.with_name(self.file.name + ".unfinished")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(note)
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.rename(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
