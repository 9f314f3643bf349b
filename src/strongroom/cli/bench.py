"""`bench`: runs the benchmark of the checkout."""

import os
import sys
from pathlib import Path

from strongroom.cli.output import Exit, Stop


def bench() -> int:
    """Measure against the bare database and write benchmarks/latest.json."""
    program = Path(__file__).resolve().parents[3] / "benchmarks" / "run.py"
    if not program.exists():
        raise Stop(Exit.FAILED, "the benchmark is part of a checkout, and this isn't one")
    os.chdir(program.parent.parent)
    os.execv(sys.executable, [sys.executable, str(program)])  # noqa: S606 no shell is wanted
