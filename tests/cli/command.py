"""Runs `bin/strongroom` as a person would, and finds room for a sandbox."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = str(Path(__file__).resolve().parents[2] / "bin" / "strongroom")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
    return {**kept, "COLUMNS": "80", **more}


def command(*arguments: str, stdin: bytes = b"", **more: str) -> Done:
    done = subprocess.run(
        [PROGRAM, *arguments], input=stdin, capture_output=True, check=False, timeout=TIMEOUT_S, env=environment(**more)
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def _hears_interrupts() -> None:
    """A shell's background job is started deaf to them, and its children after it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A command that goes on until it is interrupted."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment(), start_new_session=True,
            preexec_fn=_hears_interrupts,
        )
        self.said = ""

    def wait_for(self, text: str) -> str:
        """The line that says it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}:\n{self.said}")

    def interrupt(self) -> Done:
        """As Ctrl-C does it."""
        os.killpg(self._process.pid, signal.SIGINT)
        rest, _ = self._process.communicate(timeout=TIMEOUT_S)
        return Done(self._process.returncode, self.said + rest, "")


def free_base() -> int:
    """The first of a hundred ports that a sandbox may have."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for base in range(25_100 + 20 * worker, 25_900, 100):
        if all(_is_free(base + offset) for offset in range(20)):
            return base
    raise AssertionError("no room for a sandbox from port 25100 to 25900")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def eventually(what: str, holds: Any, within_s: float = 40, said: Sequence[str] = ()) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}; last said: {said[-1:]}")
