"""Runs in the patched copy of the source: forks signers and guards that are told by lines of JSON on standard input.

`python -m tests.faults.signer.nursery`. A child is a whole process with its own journal, sockets and end; forking it
saves the second that imports take. A signer is the production start, desk, notary, book, journal, link and server;
it isn't locked down, its key file is left out, and its clocks are the shop's. A guard is the production `serve`. Before
it forks one the nursery waits until the one that it replaces has ended.
"""

import asyncio
import ctypes
import gc
import json
import logging
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from tests.faults.signer import fuse
from tests.faults.signer.points import GUARD, SIGNER

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.guard import main as guard_main
from strongroom.guard.config import Config
from strongroom.journal.journal import FileDisk, Journal
from strongroom.signer import main as signer_main
from strongroom.signer.desk import ADMIN, ENGINE, Desk
from strongroom.signer.guard_link import LinkError, SocketLink
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.server import Channel, Server
from strongroom.signer.sign_simulated import SimulatedWallet
from strongroom.signer.start import Opening, StartError

SEED = b"\5" * 32
MILLISECOND_NS = 1_000_000
PR_SET_PDEATHSIG = 1


class SharedTimes:
    """The machine's clocks of one shop, set by its driver: boot and wall, in milliseconds."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as handle:
            self._map = mmap.mmap(handle.fileno(), 16)

    def set(self, boot_ms: int, wall_ms: int) -> None:
        self._map[:] = struct.pack("=qq", boot_ms, wall_ms)

    @property
    def boot_ms(self) -> int:
        return int(struct.unpack_from("=q", self._map, 0)[0])

    @property
    def wall_ms(self) -> int:
        return int(struct.unpack_from("=q", self._map, 8)[0])


class DialledLink(SocketLink):
    """The signer's own link, whose connection comes from a call to guard's port instead of from `link`'s."""

    def __init__(self, port: int) -> None:
        super().__init__(socket.socket(socket.AF_UNIX))
        self._port = port

    def exchange(self, frame: bytes) -> bytes:
        if self._connection is None:
            try:
                self._connection = socket.create_connection(("127.0.0.1", self._port), 2)
            except OSError as fault:
                raise LinkError(str(fault)) from fault
            self._connection.setblocking(False)
        return super().exchange(frame)


class WatchedWallet(SimulatedWallet):
    """Writes down what is about to be signed, and how far guard's marker goes at that moment, before it is signed."""

    def __init__(self, keys: KeyStore, log: Path, marker: Path) -> None:
        super().__init__(keys)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._marker = marker

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[tuple[int, int]]) -> bytes:
        seen = self._marker.read_bytes().hex()
        os.write(self._log, json.dumps({"unsigned": unsigned.hex(), "marker": seen}).encode() + b"\n")
        return super().sign(organisation, unsigned, paths)


def run_signer(told: dict[str, Any], sockets: Sequence[socket.socket]) -> None:
    folder = Path(told["folder"])
    times, keys = SharedTimes(folder / "times"), KeyStore(Secret(SEED))
    fuse.light(SIGNER, fuse.Fuse(folder.parent / "fuse"))
    main: Any = signer_main
    main.time = SimpleNamespace(time_ns=lambda: times.wall_ms * MILLISECOND_NS, sleep=time.sleep)
    main.boot_ns = lambda: times.boot_ms * MILLISECOND_NS
    main.RETRY_S = 0.01
    link = DialledLink(told["port"])
    opening = Opening(Journal.load(FileDisk(told["journal"])), keys, link, os.urandom)
    notary = signer_main._meet_guard(opening, keys, link)
    wallet = WatchedWallet(keys, folder / "signing", folder / "marker")
    desk = Desk(notary, {simulated.NETWORK: wallet}.get, os.urandom)
    names = (ENGINE, ADMIN)
    channels = [Channel(name, each, frozenset({os.getuid()})) for name, each in zip(names, sockets, strict=True)]
    Server(channels, desk.answer, desk.idle, lambda: times.boot_ms).run()


def run_guard(told: dict[str, Any], _: Sequence[socket.socket]) -> None:
    folder = Path(told["folder"])
    times = SharedTimes(folder / "times")
    fuse.light(GUARD, fuse.Fuse(folder.parent / "fuse"))
    main: Any = guard_main
    main.clock = lambda: Instant(times.wall_ms)
    main.boot_ns = lambda: times.boot_ms * MILLISECOND_NS
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    asyncio.run(guard_main.serve(Config(**told["config"]), reconciles=told["reconciles"], epoch=told["epoch"]))


def live(told: dict[str, Any], sockets: Sequence[socket.socket]) -> NoReturn:
    """The child's whole life; what ends it is written to its log."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no test leaves anybody behind
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = os.open(Path(told["folder"]) / f"{told['role']}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        (run_signer if told["role"] == SIGNER else run_guard)(told, sockets)
        os._exit(0)
    except StartError as fault:
        os.write(2, f"can't begin: {fault}\n".encode())
        os._exit(3)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def listening(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    return listener


def main() -> None:
    gc.freeze()  # what all children share is never looked at again
    print(json.dumps({"source": signer_main.__file__}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        code = None
        if told.get("before"):
            code = os.waitstatus_to_exitcode(os.waitpid(told["before"], 0)[1])
        if "role" not in told:
            print(json.dumps({"code": code}), flush=True)
            continue
        sockets = [listening(path) for path in told.get("sockets", ())]
        child = os.fork()
        if not child:
            sys.stdin.close()
            live(told, sockets)
        for each in sockets:
            each.close()
        print(json.dumps({"pid": child, "code": code}), flush=True)


if __name__ == "__main__":
    main()
