"""The main job as a person does it: a sandbox with real nodes, one command, a thousand payees in three assets, settled.

Counted from the command's start to its end, with everything: payees declared, five seconds in which new destinations
cool off, an approval, blocks of a second, two of which make final. What each payee got is counted from raw blocks.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from strongroom.sandbox.ports import SPAN, Ports, PortTakenError

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = ROOT / "examples" / "payouts-1000.csv"
BASES: Final = range(21_000, 22_000 - SPAN, SPAN)
START_TIMEOUT_S: Final = 300


class EndToEndError(Exception):
    """It didn't come to its end, or somebody got something else; the message says what a command said."""


def measure_seconds() -> float:
    """Raises: EndToEndError."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        Path(name).chmod(0o755)
        data = Path(name) / "data"
        try:
            _strongroom(data, "up", "--ports", str(_free_base()), "--rails", "bitcoin,evm", "--detach")
            began = time.perf_counter()
            _strongroom(data, "run", "import", str(FILE))
            took = time.perf_counter() - began
            _run(data, sys.executable, str(ROOT / "tools" / "recount.py"), str(FILE), str(data / "sandbox.json"))
            return took
        finally:
            _strongroom(data, "down")


def _free_base() -> int:
    for base in random.sample(BASES, len(BASES)):
        try:
            Ports(base).check()
        except PortTakenError:
            continue
        return base
    raise EndToEndError("all the ports for this are taken")


def _strongroom(data: Path, *arguments: str) -> None:
    _run(data, sys.executable, "-m", "strongroom.cli", *arguments)


def _run(data: Path, *command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S, cwd=ROOT,
        env={**os.environ, "STRONGROOM_DATA": str(data)},
    )
    if done.returncode != 0:
        raise EndToEndError(f"{' '.join(command[1:])}: {done.stdout[-2_000:]}{done.stderr[-2_000:]}")
