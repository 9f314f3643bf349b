"""The machine that measures: its facts, without its name or paths, and the processor time that processes have used."""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from strongroom.domain.instant import Instant

LOOKS_MAXIMUM: Final = 50

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def facts(data: Path) -> dict[str, object]:
    """What a reader needs to judge the numbers; `data` is a folder on the disk that PostgreSQL writes to."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fdatasync_us": round(_fdatasync_us(data)),
        "load_before": round(os.getloadavg()[0], 2),
    }


def tree_cpu_s(root: int) -> float:
    """Processor seconds of a process, its ended children that were waited for, and all living descendants.

    A child that ends while we look could be counted twice or not at all: so we look until nothing moves.
    """
    pids, total = _tree(root)
    for _ in range(LOOKS_MAXIMUM):
        time.sleep(0.005)
        again, total = _tree(root)
        if again == pids:
            break
        pids = again
    return total


def _tree(root: int) -> tuple[set[int], float]:
    children: dict[int, list[int]] = {}
    used: dict[int, tuple[float, float]] = {}
    for pid, parent, own, reaped in _processes():
        children.setdefault(parent, []).append(pid)
        used[pid] = (own, reaped)
    found: set[int] = set()
    total, left = 0.0, [root]
    while left:
        pid = left.pop()
        found.add(pid)
        total += sum(used.get(pid, (0.0, 0.0)))
        left += children.get(pid, [])
    return found, total


def _processes() -> Iterable[tuple[int, int, float, float]]:
    """(pid, parent, own seconds, seconds of reaped children); proc(5), /proc/PID/stat."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            own, reaped = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            yield int(folder.name), int(fields[1]), own / _TICKS, reaped / _TICKS


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fdatasync_us(folder: Path, times: int = 200) -> float:
    """How long one page takes to be on the disk: what a commit can't be faster than."""
    probe = folder / "fdatasync.probe"
    descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY)
    try:
        started = time.perf_counter()
        for place in range(times):
            os.pwrite(descriptor, bytes(8_192), place * 8_192)
            os.fdatasync(descriptor)
        return (time.perf_counter() - started) / times * 1e6
    finally:
        os.close(descriptor)
        probe.unlink()
