"""`bench`: runs the benchmark of the checkout."""

import os
import sys
from pathlib import Path

from strongroom.cli.output import Exit, Stop


def bench(*, quick: bool = False, output: Path | None = None) -> int:
    """Measure against the bare database and write benchmarks/latest.json.

    Args:
        quick: Everything once and small, in less than a minute; says nothing of speed and writes no file of itself.
        output: Where to write the figures instead.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "benchmarks" / "run.py").exists():
        raise Stop(Exit.FAILED, "the benchmark is part of a checkout, and this isn't one")
    options = ["--quick"] * quick
    if output is not None:
        options += ["--output", str(output.absolute())]
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.run", *options])  # noqa: S606 no shell is wanted
