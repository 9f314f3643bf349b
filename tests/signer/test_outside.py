"""The locked signer as its machine sees it: what it holds, opens, loads and shows, while it does all that it does.

It is started as the sandbox starts it, in its own environment and, as root, as a user of its own. What its interpreter
does is seen by an audit hook from its first line on; what its libraries do below Python is seen in /proc, and once
locked the kernel holds them to it (test_hardening).
"""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rules.cases import propose_roster
from tests.signer import world as worlds
from tests.signer.test_locked_signer import COOLING_MS, LINK, LockedWorld
from tests.signer.world import ADA, BEN, CLEO, ORGANISATION, AskRefused, policy_document
from tools.signer_modules import listed

from strongroom.formats import simulated
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.environment import FOLDER, ROOT, VARIABLES, core_command
from strongroom.sandbox.process import Child
from strongroom.signer.desk import ADMIN, ENGINE
from strongroom.signer.keys import Secret, make_key_file

IS_ROOT = os.geteuid() == 0
USER = 64_990 if IS_ROOT else None
ENVIRONMENT = ROOT / FOLDER
DELAY_MS = 100
LIBRARIES = (
    "ld-linux", "libc.so", "libm.so", "libz.so", "libexpat.so", "libcrypto.so", "libffi.so", "libgcc_s.so",
    "libpthread.so", "libdl.so", "libutil.so", "librt.so", "libpython3", "gconv-modules.cache",
)
"""Of the system: the C library's and Python's own, and what hashlib and ctypes are made with. No libssl, no libnss."""


class OutsideWorld(LockedWorld):
    """The signer as the sandbox starts it; `watched` puts it under the audit hook."""

    watched = False

    def found(self) -> None:
        super().found()
        base = self.folder.parent
        base.chmod(0o711)
        raw = make_key_file(Secret(b"\5" * 32), [str(self.identity.to_public())])
        (self.folder / "keys.age").write_bytes(raw)
        identity = base / "identity"
        identity.write_text(f"{self.identity}\n")
        identity.chmod(0o600)

    def start(self) -> None:
        base = self.folder.parent
        self.record = base / f"record-{time.monotonic_ns()}"
        self.listeners = {name: self._listen(name) for name in (ENGINE, ADMIN, LINK)}
        with (base / "identity").open() as identity, self.record.open("wb") as record:
            config = base / "signer.json"
            config.write_text(json.dumps({
                "folder": str(self.folder), "identity": identity.fileno(), "engine_user": os.geteuid(),
                "admin_user": os.geteuid(), **{name: each.fileno() for name, each in self.listeners.items()},
            }))
            config.chmod(0o644)
            inherited = [identity.fileno(), *(each.fileno() for each in self.listeners.values())]
            command = core_command("strongroom.signer.main", str(config))
            if self.watched:
                command = [*command[:3], str(self.program()), str(config), str(record.fileno())]
                inherited.append(record.fileno())
            if USER is not None:
                for each in (self.folder, *self.folder.iterdir()):
                    os.chown(each, USER, USER)
            self.child = Child(
                "signer", command, base / "signer.log", USER, VARIABLES, inherited=inherited,
                rewound=(identity.fileno(),), locks_memory=True,
            )
            self.child.start()
        assert self.child.process is not None
        self.process = self.child.process
        threading.Thread(target=self._relay, daemon=True).start()
        self.streams = {name: self._connect(name) for name in (ENGINE, ADMIN)}
        self.ask(Ask.STATUS)

    def program(self) -> Path:
        """A copy where any user can read it."""
        copy = self.folder.parent / "watched_signer.py"
        shutil.copy(Path(__file__).with_name(copy.name), copy)
        copy.chmod(0o644)
        return copy

    def restart(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()
        for name in (ENGINE, ADMIN, LINK):
            (self.folder.parent / name).unlink()
        self.start()

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.process.pid}")

    @property
    def log(self) -> str:
        return (self.folder.parent / "signer.log").read_text()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[OutsideWorld]:
    monkeypatch.setattr(worlds, "START", time.time_ns() // 1_000_000)
    monkeypatch.setattr(worlds, "COOLING_MS", COOLING_MS)
    base = Path(tempfile.mkdtemp(prefix="sr"))
    (base / "signer").mkdir(mode=0o700)
    made = OutsideWorld(base / "signer", policy_document(
        cooling_off_ms=dict.fromkeys(("declared", "payee_verified", "allowlisted"), COOLING_MS),
        governance={"group": "officers", "delay_ms": DELAY_MS},
    ))
    made.found()
    made.watched = "watched" in request.node.name
    made.start()
    yield made
    made.end()
    shutil.rmtree(base)


def use_all_of_it(world: OutsideWorld) -> None:
    """Registers, asks people, signs, refuses, hands out addresses, changes its roster, freezes, and starts again."""
    record = world.cooled()
    small, larger = world.intent(record, 20_000), world.intent(record, 900_000)
    raw, _ = world.transaction([world.output(small)])
    signed = world.sign([small], raw=raw)
    with pytest.raises(AskRefused, match="approval-requested"):
        world.sign([larger])
    assert world.sign([larger], approvals=[world.approved(larger, ADA, BEN)])
    assert world.ask(Ask.ADDRESSES, network=simulated.NETWORK, first=0, generation=0, count=3)
    before = world.payments.standing.roster
    people = tuple(replace(each, name=each.name + " Jr") if each.id == ADA.id else each for each in before.people)
    propose_roster(world, people=people)
    time.sleep(3 * DELAY_MS / 1_000)
    status = world.ask(Ask.STATUS)
    assert world.payments.standing.roster.version == before.version + 1
    assert status["organisations"][ORGANISATION]["roster"] == world.payments.standing.roster_hash
    payout = world.intent(record, 20_000)
    world.restart()
    assert world.sign([small], raw=raw) == signed
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    with pytest.raises(AskRefused, match=r"frozen|control|freeze"):
        world.sign([payout])


def test_it_holds_its_journal_its_inherited_sockets_and_standard_input_and_outputs(world: OutsideWorld) -> None:
    use_all_of_it(world)
    if not IS_ROOT:  # nobody of its own user even sees them
        with pytest.raises(PermissionError):
            list((world.proc / "fd").iterdir())
        return
    held = {int(each.name): os.readlink(each) for each in (world.proc / "fd").iterdir()}
    assert {number: held.pop(number) for number in (0, 1, 2)} == {
        0: "/dev/null", 1: str(world.folder.parent / "signer.log"), 2: str(world.folder.parent / "signer.log"),
    }
    sockets = [what for what in held.values() if what.startswith("socket:")]
    assert [what for what in held.values() if what not in sockets] == [str(world.folder / "journal")]
    assert len(sockets) == len(world.listeners) + len(world.streams) + 1  # link's connection


def test_it_maps_its_environment_and_a_few_named_libraries(world: OutsideWorld) -> None:
    if not IS_ROOT:
        with pytest.raises(PermissionError):
            (world.proc / "maps").read_text()
        return
    mapped = {line.split(maxsplit=5)[5] for line in (world.proc / "maps").read_text().splitlines() if "/" in line}
    own = (
        ENVIRONMENT, Path(sys.executable).resolve(), Path(os.__file__).parent / "lib-dynload", Path("/usr/lib/locale"),
    )
    foreign = {path for path in mapped if not any(Path(path).is_relative_to(each) for each in own)}
    assert {path for path in foreign if not Path(path).name.startswith(LIBRARIES)} == set()
    assert any(Path(path).is_relative_to(ENVIRONMENT) for path in mapped)


def test_its_memory_is_locked_it_is_not_dumpable_and_leaves_no_core(world: OutsideWorld) -> None:
    use_all_of_it(world)
    status = dict(line.split(":", 1) for line in (world.proc / "status").read_text().splitlines())
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")
    locked_kib, resident_kib = (int(status[name].split()[0]) for name in ("VmLck", "VmRSS"))
    if IS_ROOT:
        assert "not locked down" not in world.log
        assert locked_kib > resident_kib // 2 > 0
        assert int(status["CapEff"], 16) & ~(1 << 14) == 0  # none, or that one
    assert status["Uid"].split() == [str(os.geteuid() if USER is None else USER)] * 4
    if IS_ROOT:
        core = next(line for line in (world.proc / "limits").read_text().splitlines() if "core file" in line)
        assert core.split()[4:6] == ["0", "0"]
    world.process.send_signal(signal.SIGABRT)
    ended = os.waitid(os.P_PID, world.process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, signal.SIGABRT)  # and not CLD_DUMPED


def test_watched_from_its_first_line_it_opens_connects_and_loads_nothing_else(world: OutsideWorld) -> None:
    records = [world.record]
    use_all_of_it(world)
    records.append(world.record)
    assert records[0] != records[1]
    for record in records:
        before, _, after = record.read_text().partition("LOCKED\n")
        check_before(world, events(before))
        check_after(world, events(after))


def events(text: str) -> list[list[str]]:
    found = [line.split("\t") for line in text.splitlines()]
    assert found
    return found


def check_before(world: OutsideWorld, told: list[list[str]]) -> None:
    """Until it is locked: what it is made of, its configuration and its folder; of sockets those that it inherited."""
    roots = (ROOT / "src/strongroom", ENVIRONMENT, world.folder, Path(os.__file__).parent, Path("/proc/self/task"))
    opened = {each[1] for each in told if each[0] == "open" and not each[1].isdigit()}
    config = str(world.folder.parent / "signer.json")
    assert {path for path in opened if not any(Path(path).is_relative_to(root) for root in roots)} == {
        config, "journal",  # below the descriptor of its folder
    }
    imported = {each[1] for each in told if each[0] == "import"}
    assert {"strongroom.signer.gate", "cryptography"} <= imported
    assert not {name for name in imported if name.partition(".")[0] in ("urllib", "asyncio", "subprocess", "http")}
    assert not {each[0] for each in told} & NEVER
    families = {each[1] for each in told if each[0] == "socket.__new__"}
    assert families <= {"-1", str(int(socket.AF_UNIX))}  # -1 is by descriptor, which tells the family


NEVER = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "os.exec",
    "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen", "os.rename", "os.remove", "os.link",
    "os.symlink", "os.chmod", "os.chown", "os.putenv", "urllib.Request", "http.client.connect", "pickle.find_class",
}


def check_after(world: OutsideWorld, told: list[list[str]]) -> None:
    names = {each[0] for each in told}
    assert names <= {"socket.__new__", "open"}, names
    assert {each[1] for each in told if each[0] == "socket.__new__"} == {str(int(socket.AF_UNIX))}
    assert all(Path(each[1]).is_relative_to(world.folder) for each in told if each[0] == "open")


@pytest.mark.parametrize(
    "event",
    ["open\t/etc/passwd", "socket.__new__\t2", "import\turllib.request", "socket.connect\t('10.0.0.1', 80)", "os.fork"],
)
def test_watched_one_event_too_many_would_be_seen(world: OutsideWorld, event: str) -> None:
    before, _, after = world.record.read_text().partition("LOCKED\n")
    assert world.ask(Ask.STATUS)
    check_before(world, events(before))
    with pytest.raises(AssertionError):
        check_before(world, [*events(before), event.split("\t")])
    with pytest.raises(AssertionError):
        check_after(world, [*events(after), event.split("\t")])


def test_watched_it_has_loaded_what_is_listed_by_the_time_it_is_locked(world: OutsideWorld) -> None:
    before, _, after = world.record.read_text().partition("LOCKED\n")
    imported = {each[1] for each in events(before) if each[0] == "import"}
    # An import that was tried and isn't there, as of an accelerator, is told too; all of ours are there.
    assert {name for name in imported if name.startswith("strongroom")} <= listed()
    assert "import" not in {line.partition("\t")[0] for line in after.splitlines()}
