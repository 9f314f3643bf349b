"""Ports for tests whose processes come and go: blocks below those that the kernel gives to outgoing connections.

A block is held by a lock until its holder ends, so that two test runs at once never take each other's, not even while
a process that was killed isn't back yet.
"""

import fcntl
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO

FIRST, LAST, SPAN = 23_000, 24_000, 20


class PortBlock:
    """Twenty ports from `base` on."""

    def __init__(self, base: int) -> None:
        self.base = base
        self._left = list(range(base, base + SPAN))

    def take(self) -> int:
        return self._left.pop(0)


@contextmanager
def port_block() -> Iterator[PortBlock]:
    """One that nobody holds, and on whose ports nobody listens."""
    for base in random.sample(range(FIRST, LAST, SPAN), (LAST - FIRST) // SPAN):
        with (Path(tempfile.gettempdir()) / f"strongroom-test-ports-{base}.lock").open("w") as lock:
            if _is_free(lock, base):
                yield PortBlock(base)
                return
    raise AssertionError(f"no block of ports is free from {FIRST} to {LAST}")


def free_port() -> int:
    """The next that is free of a block that this process holds until it ends."""
    held = _own_block()
    for _ in range(SPAN):
        port = next(held)
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports of this process's block are taken")


@cache
def _own_block() -> Iterator[int]:
    block = _HELD.enter_context(port_block())
    return cycle(range(block.base, block.base + SPAN))


_HELD = ExitStack()


def _is_free(lock: IO[str], base: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for port in range(base, base + SPAN):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
