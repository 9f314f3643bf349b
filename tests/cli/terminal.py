"""The command line at a terminal of its own, with security keys plugged in: somebody types the PIN when it is asked."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WITHIN_S = 60


def with_keys(folder: Path, keys: Sequence[dict[str, Any]], *arguments: str) -> list[str]:
    """The command line where these keys are plugged in (`virtual_key.described`)."""
    described = folder / "keys.json"
    described.write_text(json.dumps(keys))
    return [sys.executable, "-m", "tests.cli.virtual_key", str(described), *arguments]


def at_a_terminal(command: Sequence[str], typed: str) -> tuple[int, str]:
    """The exit code, and all that the terminal showed."""
    controller, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        ) as process:
            os.close(terminal)
            seen = _answer(controller, typed)
            return process.wait(WITHIN_S), seen
    finally:
        os.close(controller)


def _answer(controller: int, typed: str) -> str:
    """Each time that a PIN is asked for, it is typed."""
    seen, answered, deadline = b"", 0, time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if not select.select([controller], [], [], 1)[0]:
            continue
        try:
            part = os.read(controller, 4_096)
        except OSError:  # the other end is closed: the command has ended
            return seen.decode()
        seen += part
        if seen.count(b"PIN of the security key") > answered:
            answered += 1
            os.write(controller, typed.encode() + b"\n")
    raise AssertionError(f"it doesn't end: {seen.decode()}")
