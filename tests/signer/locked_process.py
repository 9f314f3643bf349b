"""A small signer that locks itself down and then tries one thing; run by test_hardening, never imported.

Arguments: its folder, how to lock ("free" not at all, "locked", "production", "no-landlock"), what to try, who may
connect, and "lock" to keep the capability to lock memory. As root it becomes nobody first. Prints one line of JSON
when it is locked, and another with the outcome.
"""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol.entry import Reading
from strongroom.protocol.journal_chain import EMPTY_HEAD
from strongroom.signer import hardening
from strongroom.signer.clock import Clock, boot_ns
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.server import Channel, Server

FOLDER, MODE, ATTEMPT = sys.argv[1:4]
NOBODY = 65_534
ORGANISATION = OrganisationId("org_aaaaaaaaaaaaaaaaaaaaaaaaaa")


def say(value: object) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


class Signer:
    """All that a signer does when it is locked: read its clock, journal, sync, sign, and answer."""

    def __init__(self) -> None:
        self.journal = Journal.load(FileDisk(FOLDER))
        self.journal.settle(0, EMPTY_HEAD)
        self.keys = KeyStore(Secret(bytes(32)))
        self.clock = Clock(boot_ns, time.time_ns, Reading(Instant(0), Instant(0), Instant(0)))
        listener = socket.socket(fileno=3)
        channel = Channel("engine", listener, frozenset({int(sys.argv[4])}))
        self.server = Server([channel], self.handle, lambda: None, lambda: boot_ns() // 1_000_000)
        self.is_done = False

    def handle(self, channel: str, frame: bytes) -> bytes:
        self.journal.append(frame)
        self.journal.sync()
        self.is_done = frame == b"done"
        digest = self.journal.head
        signature = self.keys.wallet_sign(ORGANISATION, "sim:sandbox", 0, self.journal.length, digest)
        return json.dumps(
            {"length": self.journal.length, "entries": len(list(self.journal.entries())), "wallet": signature.hex(),
             "statement": self.keys.statement_sign(digest).hex(), "passed": self.clock.read().at_least}
        ).encode()

    def serve(self) -> str:
        while not self.is_done:
            self.server.turn()
        self.server.turn()
        return "served"


def attempts(signer: Signer) -> dict[str, object]:
    libc = ctypes.CDLL(None, use_errno=True)
    pair = socket.socketpair()
    unused = socket.socket(socket.AF_UNIX)
    own = os.path.join(FOLDER, "journal")
    return {
        "serve": signer.serve,
        "stay": lambda: time.sleep(60),
        "open /etc/passwd": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
        "open own": lambda: os.close(os.open(own, os.O_RDWR)),
        "create own": lambda: os.close(os.open(own + "2", os.O_RDWR | os.O_CREAT)),
        "create elsewhere": lambda: os.close(os.open("/tmp/strongroom-locked", os.O_WRONLY | os.O_CREAT)),
        "read /proc/self/mem": lambda: os.close(os.open("/proc/self/mem", os.O_RDONLY)),
        "unlink": lambda: os.unlink(own),
        "socket": lambda: socket.socket(socket.AF_INET).close(),
        "unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "connect": lambda: unused.connect(os.path.join(FOLDER, "engine.sock")),
        "send a descriptor": lambda: socket.send_fds(pair[0], [b"x"], [0]),
        "execve": lambda: os.execv("/bin/true", ["true"]),
        "fork": lambda: os.waitpid(os.fork() or os._exit(0), 0),
        "thread": lambda: threading.Thread(target=int).start(),
        "kill": lambda: os.kill(os.getpid(), signal.SIGCONT),
        "ptrace": lambda: libc.ptrace(0, 0, 0, 0),
        "become dumpable": lambda: libc.prctl(4, 1, 0, 0, 0),
        "executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close(),
        "another ioctl": lambda: fcntl.ioctl(pair[0], 0x541B, b"0000"),
        "unlock memory": lambda: libc.munlockall(),
        "raise limits": lambda: resource.getrlimit(resource.RLIMIT_CORE),
        "memfd": lambda: os.close(os.memfd_create("x")),
        "an error's trace": lambda: 1 // 0,
    }


def main() -> None:
    os.set_inheritable(3, False)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        ctypes.CDLL(None).prctl(8, int(sys.argv[5] == "lock"), 0, 0, 0)
        os.setuid(NOBODY)
        if sys.argv[5] == "lock":
            only = struct.pack("=6I", 1 << 14, 1 << 14, 0, 0, 0, 0)
            ctypes.CDLL(None).capset(struct.pack("=Ii", 0x20080522, 0), only)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # what changing its user took; an exec would give it back
    signer = Signer()
    every = attempts(signer)
    if MODE == "no-landlock":
        def none(_: str) -> None:
            raise OSError(95, "Operation not supported")

        hardening._restrict_files = none
    missing: tuple[str, ...] = ()
    if MODE != "free":
        missing = hardening.lock_down(FOLDER, is_production=MODE == "production")
    say({"pid": os.getpid(), "missing": missing})
    try:
        say({"done": repr(every[ATTEMPT]())})
    except OSError as fault:
        say({"error": type(fault).__name__})


main()
