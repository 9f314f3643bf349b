"""The locked signer, seen from inside and outside. Each attempt first succeeds without the lock."""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import coincurve
import pytest
from nacl.signing import VerifyKey

from strongroom.domain.ids import OrganisationId
from strongroom.journal.journal import FileDisk, Journal
from strongroom.signer import hardening
from strongroom.signer.hardening import HardeningError, lock_down
from strongroom.signer.keys import KeyStore, Secret

PROGRAM = Path(__file__).with_name("locked_process.py")
NOBODY = 65_534
USER = NOBODY if os.geteuid() == 0 else os.geteuid()


def expected_missing() -> list[str]:
    """Without the capability memory is locked only where the limit may be lifted."""
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except ValueError:
            os._exit(1)
        os._exit(0)
    return ["memory locked: not allowed to raise maximum limit"] if os.waitpid(child, 0)[1] else []


MISSING = expected_missing()


def unmeasured() -> dict[str, str]:
    """The environment without coverage's: it writes a file when a process ends, which a locked one may not."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


class Locked:
    """The small signer in a process of its own; as root it runs as nobody."""

    def __init__(self, folder: Path, mode: str, attempt: str, capability: str) -> None:
        self.folder = folder
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "engine.sock"))
        (folder / "engine.sock").chmod(0o666)
        listener.listen(8)
        arguments = [sys.executable, PROGRAM, str(folder), mode, attempt, str(os.geteuid()), capability]

        def raise_limit() -> None:
            os.dup2(listener.fileno(), 3)
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(3,), preexec_fn=raise_limit,
            env=unmeasured(),
        )
        listener.close()

    def line(self) -> dict[str, object]:
        if self.process.stdout is None:
            return {}
        raw = self.process.stdout.readline()
        return dict(json.loads(raw)) if raw else {}

    def end(self) -> int:
        self.process.wait(20)
        return self.process.returncode


@contextmanager
def locked(mode: str, attempt: str, capability: str = "none") -> Iterator[Locked]:
    with tempfile.TemporaryDirectory(prefix="sr") as name:
        Path(name).chmod(0o755)
        folder = Path(name, "signer")
        folder.mkdir(mode=0o700)
        FileDisk(str(folder), create=True).close()
        for path in (folder, folder / "journal"):
            os.chown(path, USER, -1)
        running = Locked(folder, mode, attempt, capability)
        try:
            yield running
        finally:
            running.process.kill()
            running.process.communicate()


KILLED = [
    "socket", "unix socket", "connect", "send a descriptor", "execve", "fork", "thread", "kill", "ptrace",
    "become dumpable", "executable memory", "another ioctl", "unlock memory", "raise limits", "memfd", "unlink",
]
REFUSED = ["open /etc/passwd", "create own", "create elsewhere", "read /proc/self/mem"]


@pytest.mark.parametrize("attempt", [*KILLED, *REFUSED, "open own"])
def test_what_is_tried_below_works_without_the_lock(attempt: str) -> None:
    with locked("free", attempt) as running:
        assert running.line()["missing"] == []
        outcome = running.line()
        assert "done" in outcome or (attempt == "execve" and outcome == {}), outcome
        assert running.end() == 0
    Path("/tmp/strongroom-locked").unlink(missing_ok=True)


@pytest.mark.parametrize("attempt", KILLED)
def test_a_call_that_is_not_listed_ends_the_process(attempt: str) -> None:
    with locked("locked", attempt) as running:
        assert running.line()["missing"] == MISSING
        assert running.line() == {}
        assert running.end() == -signal.SIGSYS


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_file_outside_of_its_folder_and_a_new_one_can_not_be_opened(attempt: str) -> None:
    with locked("locked", attempt) as running:
        assert running.line()["missing"] == MISSING
        assert running.line() == {"error": "PermissionError"}


def test_a_file_in_its_folder_can_be_opened() -> None:
    with locked("locked", "open own") as running:
        running.line()
        assert running.line() == {"done": "None"}


def ask(stream: socket.socket, raw: bytes) -> dict[str, object]:
    stream.sendall(len(raw).to_bytes(4) + raw)
    length = int.from_bytes(stream.recv(4, socket.MSG_WAITALL))
    return dict(json.loads(stream.recv(length, socket.MSG_WAITALL)))


@pytest.mark.parametrize("mode", ["locked", "no-landlock"])
def test_a_locked_signer_accepts_journals_syncs_and_signs(mode: str) -> None:
    keys = KeyStore(Secret(bytes(32)))
    organisation = OrganisationId("org_aaaaaaaaaaaaaaaaaaaaaaaaaa")
    with locked(mode, "serve") as running:
        running.line()
        for number, raw in enumerate([b"x" * 1_000_000, b"second", b"done"], start=1):
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(str(running.folder / "engine.sock"))
                answer = ask(stream, raw)
            head = bytes.fromhex(str(answer["statement"]))
            assert (answer["length"], answer["entries"]) == (number, number)
            assert len(head) == 64
        assert running.line() == {"done": "'served'"}
        assert running.end() == 0
        os.chown(running.folder, os.geteuid(), -1)
        os.chown(running.folder / "journal", os.geteuid(), -1)
        disk = FileDisk(str(running.folder))
        journal = Journal.load(disk)
        assert list(journal.entries())[1:] == [b"second", b"done"]
        VerifyKey(keys.statement_public_key).verify(journal.head, bytes.fromhex(str(answer["statement"])))
        signature = bytes.fromhex(str(answer["wallet"]))
        public_key = keys.wallet_public_key(organisation, "sim:sandbox", 0, 3)
        assert public_key in [
            coincurve.PublicKey.from_signature_and_message(signature + bytes([each]), journal.head, None).format()
            for each in (0, 1)
        ]
        disk.close()


def test_an_error_after_the_lock_still_leaves_its_trace() -> None:
    with locked("locked", "an error's trace") as running:
        running.line()
        _, trace = running.process.communicate(timeout=20)
        assert running.process.returncode == 1
        assert trace.decode().rstrip().endswith("ZeroDivisionError: integer division or modulo by zero")


def outside(act: str, pid: int) -> str:
    """What a process of the same user gets when it reaches for the signer's memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.write(writing, _reach(act, pid).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        return answer.read()


def _reach(act: str, pid: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if act == "ptrace":
            if libc.ptrace(16, pid, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")
            os.waitpid(pid, 0)
            libc.ptrace(17, pid, None, None)
        elif act == "process_vm_readv":
            buffer = ctypes.create_string_buffer(8)
            mine = struct.pack("@QQ", ctypes.addressof(buffer), 8)
            if libc.process_vm_readv(pid, mine, 1, struct.pack("@QQ", _mapped(pid), 8), 1, 0) != 8:
                raise OSError(ctypes.get_errno(), "process_vm_readv")
        else:
            os.close(os.open(f"/proc/{pid}/{act}", os.O_RDONLY))
    except OSError as fault:
        return type(fault).__name__
    return "got in"


def _mapped(pid: int) -> int:
    return int(Path(f"/proc/{pid}/maps").read_text().split("-")[0], 16)


REACHES = ["ptrace", "process_vm_readv", "mem", "environ", "maps", "fd/0"]


@pytest.mark.parametrize("act", REACHES)
def test_its_memory_can_be_reached_by_its_own_user_without_the_lock(act: str) -> None:
    with locked("free", "stay") as running:
        assert outside(act, int(str(running.line()["pid"]))) == "got in"


@pytest.mark.parametrize("act", REACHES)
def test_its_memory_can_not_be_reached_by_its_own_user(act: str) -> None:
    with locked("locked", "stay") as running:
        assert outside(act, int(str(running.line()["pid"]))) == "PermissionError"


def test_no_core_is_written_and_memory_is_locked() -> None:
    with locked("locked", "stay", "lock") as running:
        line = running.line()
        pid = line["pid"]
        assert line["missing"] == ([] if os.geteuid() == 0 else MISSING)
        limits = Path(f"/proc/{pid}/limits").read_text()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        assert (int(status["VmLck"].split()[0]) > 10_000) == (line["missing"] == [])
        assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def test_without_landlock_it_says_so_and_opens_nothing_at_all() -> None:
    with locked("no-landlock", "open own") as running:
        assert running.line()["missing"] == [*MISSING, "Landlock: [Errno 95] Operation not supported"]
        assert running.line() == {"error": "PermissionError"}


def test_production_runs_locked_and_not_at_all_where_something_is_missing() -> None:
    for capability in ("lock", "none"):
        with locked("production", "open /etc/passwd", capability) as running:
            missing = [] if os.geteuid() == 0 and capability == "lock" else MISSING
            line = running.line()
            if missing:
                _, trace = running.process.communicate(timeout=20)
                assert line == {}
                assert f"HardeningError: the process can't be locked down: {missing[0]}" in trace.decode()
            else:
                assert line["missing"] == []
                assert running.line() == {"error": "PermissionError"}


class Machine:
    """What the steps ask of the machine, answered by a test; nothing reaches this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: set[str] = set()
        self.threads = ["1"]
        self.machine = "x86_64"
        self.capabilities = 0
        self.limits: list[int] = []
        self.calls: list[str] = []
        self.unsynchronised = 0
        self.landlock = 7
        self.attributes = b""
        monkeypatch.setattr(hardening, "_call", self.call)
        monkeypatch.setattr(resource, "setrlimit", lambda which, _: self.limits.append(which))
        monkeypatch.setattr(os, "listdir", lambda _: self.threads)
        monkeypatch.setattr(os, "open", lambda *_: os.memfd_create("folder"))
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=self.machine))

    def call(self, function: str, *arguments: object) -> int:
        name = function if function != "syscall" else f"syscall {arguments[0]}"
        name += f" {arguments[1:3]}" if name == "syscall 444" and arguments[1] is None else ""
        self.calls.append(name)
        if name in self.failing:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if function == "capget":
            struct.pack_into("=I", arguments[1], 0, self.capabilities)  # type: ignore[arg-type]  # it is a buffer
        if name.startswith("syscall 444"):
            if arguments[1] is None:
                return self.landlock
            self.attributes = bytes(arguments[1])  # type: ignore[arg-type]  # it is a packed structure
            return os.memfd_create("ruleset")
        return self.unsynchronised if name in ("syscall 317", "syscall 277") else 0


NOT_IMPLEMENTED = "[Errno 38] Function not implemented"


@pytest.mark.parametrize(
    ("failing", "missing"),
    [
        ("mlockall", "memory locked"), ("capget", "memory locked"), ("syscall 445", "Landlock"),
        ("syscall 446", "Landlock"), ("syscall 444 (None, 0)", "Landlock"), ("syscall 317", "seccomp"),
    ],
)
def test_what_the_kernel_does_not_do_is_said_and_an_error_in_production(
    failing: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    machine.failing = {failing}
    assert lock_down("folder", is_production=False) == (f"{missing}: {NOT_IMPLEMENTED}",)
    with pytest.raises(HardeningError, match=f"can't be locked down: {missing}"):
        lock_down("folder", is_production=True)


def test_everything_that_is_missing_is_said_and_the_rest_still_done(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.failing = {"prctl", "mlockall", "syscall 444 (None, 0)"}
    missing = lock_down("folder", is_production=False)
    assert [each.split(":")[0] for each in missing] == [
        "memory not readable by its own user", "memory locked", "no new privileges", "Landlock",
    ]
    assert machine.calls[-1] == "syscall 317"


def test_another_thread_and_another_machine_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.threads = ["1", "2"]
    machine.unsynchronised = 2
    assert lock_down("folder", is_production=False) == (
        "one thread: another thread is running", "seccomp: a thread couldn't be restricted",
    )
    machine.threads, machine.machine = ["1"], "riscv64"
    assert lock_down("folder", is_production=False) == ("seccomp: no list of system calls for riscv64",)


@pytest.mark.parametrize(
    ("version", "files", "rest"),
    [(1, 13, ()), (2, 14, ()), (3, 15, ()), (4, 15, (3,)), (5, 16, (3,)), (6, 16, (3, 3)), (9, 16, (3, 3))],
)
def test_landlock_handles_every_right_that_the_kernel_knows(
    version: int, files: int, rest: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    machine.landlock = version
    assert lock_down("folder", is_production=True) == ()
    assert struct.unpack(f"={1 + len(rest)}Q", machine.attributes) == (2**files - 1, *rest)


def test_the_limit_is_lifted_unless_the_capability_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert lock_down("folder", is_production=True) == ()
    assert machine.limits == [resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK]
    machine.limits, machine.capabilities = [], 1 << 14
    assert lock_down("folder", is_production=True) == ()
    assert machine.limits == [resource.RLIMIT_CORE]


def test_a_call_of_the_c_library_that_fails_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        hardening._call("close", -1)
    assert hardening._call("getpid") == os.getpid()


ARCHITECTURES = {0: 0xC000003E, 1: 0xC00000B7}
KILL, ALLOW, DENY = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EACCES


def run_filter(column: int, opening: int, call: int, arguments: tuple[int, ...] = (), architecture: int = 0) -> int:
    """The kernel's classic BPF, as far as the filter uses it."""
    program = hardening._filter(ARCHITECTURES[column], column, opening)
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", call, architecture or ARCHITECTURES[column], 0, *padded)
    accumulator = position = 0
    while True:
        operation, if_true, if_false, operand = program[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                position += if_true if accumulator == operand else if_false
            case 0x45:
                position += if_true if accumulator & operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(operation)


@pytest.mark.parametrize("column", ARCHITECTURES)
def test_the_filter_allows_what_is_listed_and_kills_the_rest(column: int) -> None:
    listed = {numbers[column]: name for name, numbers in hardening._CALLS.items() if numbers[column] is not None}
    for call in range(1_024):
        expected = ALLOW if call in listed and listed[call] != "ioctl" else KILL
        assert run_filter(column, ALLOW, call) == expected, (call, listed.get(call))
        assert run_filter(column, ALLOW, call | 0x40000000) == KILL  # the x32 way to call
        assert run_filter(column, ALLOW, call, architecture=ARCHITECTURES[1 - column]) == KILL


@pytest.mark.parametrize("column", ARCHITECTURES)
def test_the_filter_looks_at_arguments(column: int) -> None:
    number = {name: numbers[column] or 0 for name, numbers in hardening._CALLS.items()}
    for name in ("mmap", "mprotect"):
        assert [run_filter(column, ALLOW, number[name], (0, 0, bits)) for bits in (3, 4, 7)] == [ALLOW, KILL, KILL]
    assert run_filter(column, ALLOW, number["ioctl"], (0, 0x5421)) == ALLOW
    assert run_filter(column, ALLOW, number["ioctl"], (0, 0x5412)) == KILL
    assert run_filter(column, DENY, number["openat"]) == DENY


def test_the_filter_lists_no_call_that_reaches_out() -> None:
    names = set(hardening._CALLS)
    assert not names & {
        "open", "socket", "socketpair", "connect", "bind", "listen", "sendmsg", "sendmmsg", "recvmsg", "execve",
        "execveat", "fork", "vfork", "clone", "clone3", "ptrace", "process_vm_readv", "kill", "tkill", "tgkill",
        "prctl", "setuid", "mount", "unlink", "unlinkat", "rename", "memfd_create", "pidfd_open", "io_uring_setup",
        "bpf", "keyctl", "setrlimit", "prlimit64", "munlockall", "munlock", "seccomp", "openat2",
    }
    assert len(names) < 59
