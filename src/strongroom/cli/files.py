"""Files that a ceremony makes: each once, whole and on disk, and nothing that exists is overwritten."""

import os
from pathlib import Path

from strongroom.cli.output import Exit, Stop


def refuse_existing(file: Path) -> None:
    """Raises: Stop."""
    if os.path.lexists(file):
        raise Stop(Exit.REFUSED, f"{file} is there already, and nothing is overwritten")


def write_new(file: Path, text: str, *, mode: int = 0o644) -> None:
    """A new file, on disk when this returns; all may read it unless `mode` says otherwise. Raises: Stop."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as fault:
        raise Stop(Exit.REFUSED, f"{file} is there already, and nothing is overwritten") from fault
    except OSError as fault:
        raise Stop(Exit.FAILED, f"{file}: {fault.strerror}") from fault
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
