"""A sandbox as its users have it: the command line as a process, with a folder and ports of its own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import port_block

COMMAND_TIMEOUT_S = 120


class Box:
    """One folder, and the commands that point to it."""

    def __init__(self, data: Path, base: int, **environment: str) -> None:
        self.data = data
        self.base = base
        self.environment = {**os.environ, **environment}

    def but(self, **environment: str) -> "Box":
        """The same sandbox, with these environment variables."""
        return Box(self.data, self.base, **environment)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "strongroom.cli", *command, "--data", str(self.data)], env=self.environment,
            capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )

    def start(self, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "strongroom.cli", *command, "--data", str(self.data)], env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )

    @property
    def up_command(self) -> tuple[str, ...]:
        return "up", "--ports", str(self.base), "--detach"

    def up(self, *more: str) -> "subprocess.CompletedProcess[str]":
        return self.run(*self.up_command, *more)

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "sandbox.json").read_text())
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def wait_ready(self, within_s: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while not (found := self.status())["ready"]:
            assert time.monotonic() < deadline, (self.data / "progress.log").read_text()
            time.sleep(0.1)
        return found

    def processes(self) -> dict[int, str]:
        """Every process that names this folder in its arguments or stands in it."""
        return processes_of(self.data)

    def wait_gone(self, within_s: float = 10) -> dict[int, str]:
        """What is still there after that time."""
        deadline = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


def processes_of(folder: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.readlink(process / "cwd")
            if process.name != str(os.getpid()) and (str(folder) in command or Path(place).is_relative_to(folder)):
                found[int(process.name)] = command
    return found


@contextmanager
def box() -> Iterator[Box]:
    """A folder that other users can reach, and nothing in it that runs afterwards."""
    with tempfile.TemporaryDirectory(prefix="strongroom-sandbox-", ignore_cleanup_errors=True) as name, (
        port_block()
    ) as ports:
        Path(name).chmod(0o755)
        made = Box(Path(name) / "data", ports.base)
        try:
            yield made
        finally:
            made.run("down")
            left = made.wait_gone()
            assert left == {}


def fake_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def path_with(folder: Path) -> str:
    """A PATH on which the programs of this folder come first."""
    return f"{folder}:{os.environ['PATH']}"
