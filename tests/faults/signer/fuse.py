"""What a point does when it is passed: counts, and kills its process if a counter in a file says so.

Loaded in the processes under test only. The file is an array of 64-bit integers that driver and both processes map:
for every point how many more times it may be passed (0: as often as it is), how often it was, how often it killed.
"""

import mmap
import os
import signal
from pathlib import Path

from tests.faults.signer.points import POINTS

_NUMBERS = {point: number for number, point in enumerate(POINTS)}
_LEFT, _PASSED, _KILLED = 0, 1, 2
SIZE = 8 * 3 * len(POINTS)


class Fuse:
    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(SIZE))
        with file.open("r+b") as handle:
            self._cells = memoryview(mmap.mmap(handle.fileno(), SIZE)).cast("q")

    def arm(self, point: tuple[str, str], times: int = 1) -> None:
        """Kill whoever passes it, at the `times`th time from now; 0 for never."""
        self._cells[3 * _NUMBERS[point] + _LEFT] = times

    def disarm(self) -> None:
        for point in POINTS:
            self.arm(point, 0)

    def passed(self, point: tuple[str, str]) -> int:
        return self._cells[3 * _NUMBERS[point] + _PASSED]

    def killed(self, point: tuple[str, str]) -> int:
        return self._cells[3 * _NUMBERS[point] + _KILLED]

    def burn(self, point: tuple[str, str]) -> None:
        first = 3 * _NUMBERS[point]
        self._cells[first + _PASSED] += 1
        if self._cells[first + _LEFT]:
            self._cells[first + _LEFT] -= 1
            if not self._cells[first + _LEFT]:
                self._cells[first + _KILLED] += 1
                os.kill(os.getpid(), signal.SIGKILL)


_lit: list[tuple[str, Fuse]] = []


def light(role: str, fuse: Fuse) -> None:
    """In this process points count and kill from now on."""
    _lit[:] = [(role, fuse)]


def burn(name: str) -> None:
    for role, fuse in _lit:
        fuse.burn((role, name))
