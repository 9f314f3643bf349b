"""Locks the signer's process down, last of all: when everything is loaded, opened and derived.

Afterwards no core is written, nobody of the same user reads its memory, its pages aren't swapped out, it gains no
privileges, opens files only below its own folder, and makes only the system calls listed here: no new socket, no
connection, no program, no process, no thread. Anything else ends the process. It doesn't keep out who is root on the
machine or owns the kernel. Numbers and layouts: linux/seccomp.h, linux/landlock.h, linux/filter.h, asm/unistd.h.
"""

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Callable
from typing import Final

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH, and the column below."""
_CALLS: Final = {
    # On files that are open, and those that Landlock lets it open.
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "pread64": (17, 67),
    "readv": (19, 65), "writev": (20, 66), "fcntl": (72, 25), "flock": (73, 32), "fsync": (74, 82),
    "fdatasync": (75, 83), "ftruncate": (77, 46), "openat": (257, 56), "newfstatat": (262, 79),
    # On sockets that it inherited or accepted.
    "poll": (7, None), "ppoll": (271, 73), "sendto": (44, 206), "recvfrom": (45, 207), "getsockname": (51, 204),
    "getpeername": (52, 205), "getsockopt": (55, 209), "accept4": (288, 242), "ioctl": (16, 29),
    # Memory, time, chance, signals, and the end.
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233), "futex": (202, 98), "sched_yield": (24, 124), "getrandom": (318, 278),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "restart_syscall": (219, 128), "getpid": (39, 172),
    "gettid": (186, 178), "geteuid": (107, 175), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "exit": (60, 93), "exit_group": (231, 94),
}
_PRCTL_DUMPABLE, _PRCTL_NO_NEW_PRIVILEGES = 4, 38
_MLOCK_ALL: Final = 1 | 2  # MCL_CURRENT | MCL_FUTURE
_CAPABILITY_VERSION, _CAPABILITY_LOCK = 0x20080522, 14
_SECCOMP: Final = (317, 277)
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_RIGHTS: Final = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 4: 2**15 - 1, 5: 2**16 - 1}
"""Every right on files that a version knows; from 5 on there are no more."""
_LANDLOCK_OURS: Final = 1 << 1 | 1 << 2 | 1 << 14  # write, read and truncate files that exist
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_PROTECTION_EXECUTE: Final = 4
_FIONBIO: Final = 0x5421


class HardeningError(Exception):
    """A production signer doesn't run where it can't be locked down."""


def lock_down(folder: str, *, is_production: bool) -> tuple[str, ...]:
    """What could not be applied here, each with its reason; empty when all was. `folder` is the signer's own.

    Raises: HardeningError instead, in production.
    """
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("no core dumps", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        ("memory not readable by its own user", lambda: _call("prctl", _PRCTL_DUMPABLE, 0, 0, 0, 0)),
        ("memory locked", _lock_memory),
        ("one thread", _check_threads),
        ("no new privileges", lambda: _call("prctl", _PRCTL_NO_NEW_PRIVILEGES, 1, 0, 0, 0)),
        ("Landlock", lambda: _restrict_files(folder)),
    )
    missing: list[str] = []
    for name, step in steps:
        _try(name, step, missing)
    has_landlock = not any(each.startswith("Landlock:") for each in missing)
    _try("seccomp", lambda: _restrict_calls(has_landlock), missing)
    if missing and is_production:
        raise HardeningError("the process can't be locked down: " + "; ".join(missing))
    return tuple(missing)


def _try(name: str, step: Callable[[], object], missing: list[str]) -> None:
    try:
        step()
    except (OSError, ValueError) as fault:
        missing.append(f"{name}: {fault}")


def _call(function: str, *arguments: object) -> int:
    """A function of the C library. Raises: OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library[function](*(ctypes.c_long(each) if type(each) is int else each for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _lock_memory() -> None:
    """Under a limit a later allocation could fail: so it must be lifted, or the capability be there to pass it."""
    capabilities = ctypes.create_string_buffer(24)
    _call("capget", struct.pack("=Ii", _CAPABILITY_VERSION, 0), capabilities)
    if not struct.unpack_from("=I", capabilities)[0] >> _CAPABILITY_LOCK & 1:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _call("mlockall", _MLOCK_ALL)


def _check_threads() -> None:
    """Landlock holds for the thread that asks for it and for those that it starts."""
    if len(os.listdir("/proc/self/task")) != 1:
        raise ValueError("another thread is running")


def _restrict_files(folder: str) -> None:
    version = _call("syscall", _LANDLOCK_CREATE, None, 0, 1)
    rights = _LANDLOCK_RIGHTS[min(version, max(_LANDLOCK_RIGHTS))]
    # From version 4 on TCP is handled as well and from 6 on signals and abstract sockets, and no rule allows any.
    attributes = struct.pack("=QQQ", rights, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _call("syscall", _LANDLOCK_CREATE, attributes, len(attributes), 0)
    below = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call("syscall", _LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", _LANDLOCK_OURS & rights, below), 0)
        _call("syscall", _LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(below)
        os.close(ruleset)


def _restrict_calls(has_landlock: bool) -> None:
    """Without Landlock nothing is opened any more, wherever it is."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise ValueError(f"no list of system calls for {machine}")
    architecture, column = _ARCHITECTURES[machine]
    filters = _filter(architecture, column, _ALLOW if has_landlock else _ERROR | errno.EACCES)
    program = b"".join(struct.pack("=HBBI", *each) for each in filters)
    kept = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HxxxxxxQ", len(filters), ctypes.addressof(kept))
    # SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC: every thread of the process, or an error.
    if _call("syscall", _SECCOMP[column], 1, 1, header) != 0:
        raise ValueError("a thread couldn't be restricted")


def _filter(architecture: int, column: int, opening: int) -> list[tuple[int, int, int, int]]:
    """Classic BPF: operation, skipped if true, skipped if false, operand. Arguments are looked at in their low half."""
    kill, allow = (_RETURN, 0, 0, _KILL), (_RETURN, 0, 0, _ALLOW)
    program = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, architecture), kill, (_LOAD, 0, 0, 0)]
    for name, numbers in _CALLS.items():
        body = [allow]
        if name == "openat":
            body = [(_RETURN, 0, 0, opening)]
        elif name in ("mmap", "mprotect"):
            body = [(_LOAD, 0, 0, 16 + 8 * 2), (_JUMP_SET, 0, 1, _PROTECTION_EXECUTE), kill, allow]
        elif name == "ioctl":
            body = [(_LOAD, 0, 0, 16 + 8 * 1), (_JUMP_EQUAL, 0, 1, _FIONBIO), allow, kill]
        number = numbers[column]
        if number is not None:
            program += [(_JUMP_EQUAL, 0, len(body), number), *body]
    return [*program, kill]
