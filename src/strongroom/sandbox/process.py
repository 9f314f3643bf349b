"""Child processes: started in a session of their own, ended with their parent, known by pid and start time.

A pid alone names nobody for long; with the time at which the kernel started it, it does. Each child may run as a
user of its own when we are root and the program can be reached by others; otherwise it says "not isolated".
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

STOP_TIMEOUT_S: Final = 20
FIRST_USER: Final = 64_200
"""Numbers of users that exist nowhere else: a process needs no name to be apart from others."""

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT = 1, 8, 47
_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION, _CAPABILITY_LOCK = 0x20080522, 14  # linux/capability.h


class ProcessError(Exception):
    """A process didn't start, or ended at once; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Known:
    """A process for certain: `started` is field 22 of /proc/PID/stat."""

    pid: int
    started: int

    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Only that process, never one that got its pid since."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


def start_time(pid: int) -> int | None:
    """None if there is no such process, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def give(path: Path, user: int | None) -> None:
    """A file, or a folder with all that is in it; to nobody new if `user` is None."""
    if user is not None:
        for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(each, user, user, follow_symlinks=False)


@dataclass(slots=True)
class Child:
    """One process of the sandbox, and its log. `user` is the number of the user it runs as, None for ours."""

    name: str
    command: Sequence[str]
    log: Path
    user: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    inherited: Sequence[int] = ()
    rewound: Sequence[int] = ()
    """Descriptors among those inherited that are read from their beginning at every start."""
    locks_memory: bool = False
    """Whether it keeps all of its memory from being swapped out: only root can allow that."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for each in self.rewound:
            os.lseek(each, 0, os.SEEK_SET)
        with private_log(self.log) as log:
            self.process = subprocess.Popen(
                list(self.command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **self.environment},
                start_new_session=True, umask=0o077, pass_fds=tuple(self.inherited),
                preexec_fn=self._become,  # noqa: PLW1509 a few system calls; they take no lock
            )

    def _become(self) -> None:
        """In the child: what only root may give it, then its user, and last what a change of user undoes."""
        if self.locks_memory:
            _lift_memory_limit()
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
            if self.locks_memory:
                _keep_memory_lock()
        die_with_parent()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def known(self) -> Known:
        if self.process is None:
            raise ProcessError(f"{self.name} was never started")
        return Known(self.process.pid, start_time(self.process.pid) or 0)

    def stop(self) -> None:
        """Ask, wait, and then insist."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def fail(self, what: str) -> ProcessError:
        """An error that says how the log ends."""
        end = self.log.read_text(errors="replace").splitlines()[-8:] if self.log.exists() else []
        return ProcessError("\n".join([f"{self.name} {what}; {self.log} ends:", *end]))


def user_of(place: int, program: Path | None = None) -> int | None:
    """The user for the process at this place in the list; None when it can't have one of its own."""
    return FIRST_USER + place if not why_not_isolated(program) else None


def why_not_isolated(program: Path | None = None) -> str:
    """Why a process that runs `program` (one of ours, if None) has no user of its own; empty if it has."""
    if os.geteuid() != 0:
        return "not isolated: not root, so all processes run as one user"
    for needed in (Path(sys.executable).resolve(), Path(__file__)) if program is None else (program.resolve(),):
        for folder in needed.parents:
            if not folder.stat().st_mode & 0o001:
                return f"not isolated: other users can't reach {folder}"
    return ""


def wait_until_gone(known: Known, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while known.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def private_log(file: Path) -> IO[bytes]:
    """A log to append to, that only its owner may read."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _lift_memory_limit() -> None:
    """Root of a container may lack this right, and can still hand down the capability to lock memory beyond it."""
    with contextlib.suppress(OSError, ValueError):  # the process itself says what it lacks, and judges
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ctypes.CDLL(None).prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)


def _keep_memory_lock() -> None:
    """Of root's capabilities this one and no other, over the next exec; nothing, if root had none."""
    library, only = ctypes.CDLL(None), 1 << _CAPABILITY_LOCK
    library.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), struct.pack("=6I", only, only, only, 0, 0, 0))
    library.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, _CAPABILITY_LOCK, 0, 0)


def die_with_parent() -> None:
    """In a child, before it becomes another program: SIGKILL when its parent dies, however that dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
