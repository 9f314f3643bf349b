"""The real process, locked down, over real sockets: what it loads late or calls seldom must not end it.

Guard is the stand-in of the other tests, at the other end of a real socket; time is the machine's.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from tests.journal.disks import MemoryDisk
from tests.signer import world as worlds
from tests.signer.test_hardening import unmeasured
from tests.signer.world import ADA, BEN, CLEO, ORGANISATION, AskRefused, World, policy_document

from strongroom.domain.instant import Instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.journal.journal import Journal
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.signer.book import Book
from strongroom.signer.desk import ADMIN, ENGINE
from strongroom.signer.keys import Secret, make_key_file

LINK = "link"
COOLING_MS = 200


class RealTimes:
    """The machine's clocks, in the place of those that a test sets."""

    @property
    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def pass_by(self, ms: int) -> None:
        time.sleep(ms / 1_000)


def receive(stream: socket.socket) -> bytes:
    length = int.from_bytes(stream.recv(4, socket.MSG_WAITALL))
    return stream.recv(length, socket.MSG_WAITALL) if length else b""


class LockedWorld(World):
    """As its parent, but the signer is a process of its own; what it knows is read from its journal."""

    interpreter: tuple[str, ...] = (sys.executable, "-I")

    def environment(self) -> dict[str, str]:
        return unmeasured()

    def found(self) -> None:
        """From here on the journal is the process's."""
        self.journal.close()
        self.times = self.guard.times = RealTimes()  # type: ignore[assignment]  # it reads as the other one does
        self.identity = pyrage.x25519.Identity.generate()
        raw = make_key_file(Secret(b"\5" * 32), [str(self.identity.to_public())])
        (self.folder / "keys.age").write_bytes(raw)

    def start(self) -> None:
        self.listeners = {name: self._listen(name) for name in (ENGINE, ADMIN, LINK)}
        reading, writing = os.pipe()
        os.write(writing, str(self.identity).encode())
        os.close(writing)
        more, inherited = self.more()
        config = self.folder.parent / "signer.json"
        config.write_text(json.dumps({
            "folder": str(self.folder), "identity": reading, "engine_user": os.geteuid(), "admin_user": os.geteuid(),
            **{name: listener.fileno() for name, listener in self.listeners.items()}, **more,
        }))
        self.process = subprocess.Popen(
            [*self.interpreter, "-m", "strongroom.signer.main", str(config)], stderr=subprocess.PIPE,
            pass_fds=(reading, *inherited, *(listener.fileno() for listener in self.listeners.values())), cwd="/",
            env=self.environment(),
        )
        for each in (reading, *inherited):
            os.close(each)
        self.connect_guard()
        self.streams = {name: self._connect(name) for name in (ENGINE, ADMIN)}

    def more(self) -> tuple[dict[str, Any], list[int]]:
        """What else it is told, and the descriptors that this names."""
        return {}, []

    def connect_guard(self) -> None:
        threading.Thread(target=self._relay, daemon=True).start()

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder.parent / name))
        listener.listen(8)
        return listener

    def _connect(self, name: str) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(20)
        stream.connect(str(self.folder.parent / name))
        return stream

    def _relay(self) -> None:
        """Until the signer ends, which may be in the middle of a question."""
        with contextlib.suppress(ConnectionError), self._connect(LINK) as stream:
            stream.settimeout(None)
            while raw := receive(stream):
                answer = self.guard.exchange(raw)
                stream.sendall(len(answer).to_bytes(4) + answer)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        for stream in (*self.streams.values(), *self.listeners.values()):
            stream.close()

    @property
    def payments(self) -> Any:
        book = Book()
        for entry in Journal.load(MemoryDisk((self.folder / "journal").read_bytes())).entries():
            book.apply(entry)
        return book.organisations[ORGANISATION]

    def ask(self, ask: Ask, channel: str = ENGINE, **body: JsonValue) -> Any:
        raw = write_ask(ask, {"organisation": ORGANISATION, **body} if ask is not Ask.STATUS else body)
        stream = self.streams[channel]
        stream.sendall(len(raw).to_bytes(4) + raw)
        answered = receive(stream)
        if not answered:
            raise AssertionError(f"the signer ended: {self.process.communicate(timeout=10)[1].decode()}")
        answer = read_answer(answered)
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        return answer


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[LockedWorld]:
    monkeypatch.setattr(worlds, "START", time.time_ns() // 1_000_000)
    monkeypatch.setattr(worlds, "COOLING_MS", COOLING_MS)
    base = Path(tempfile.mkdtemp(prefix="sr"))
    (base / "signer").mkdir(mode=0o700)
    made = LockedWorld(base / "signer", policy_document(cooling_off_ms=dict.fromkeys(
        ("declared", "payee_verified", "allowlisted"), COOLING_MS)))
    made.found()
    made.start()
    yield made
    made.end()
    shutil.rmtree(base)


def later(world: LockedWorld, ms: int) -> str:
    return format_instant(Instant(world.times.wall_ms + ms))


def test_a_locked_signer_takes_a_payout_all_the_way(world: LockedWorld) -> None:
    assert world.ask(Ask.STATUS)
    record = world.cooled()
    small = world.intent(record, 20_000, not_before=later(world, -1_000), expires_at=later(world, 60_000))
    transaction, witnesses = simulated.parse_signed(world.sign([small]))
    simulated.verify_witnesses(transaction, witnesses)
    larger = world.intent(record, 900_000)
    with pytest.raises(AskRefused, match="approval-requested"):
        world.sign([larger])
    assert world.sign([larger], approvals=[world.approved(larger, ADA, BEN)])
    assert world.ask(Ask.ADDRESSES, network=simulated.NETWORK, first=0, generation=0, count=3)
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{world.process.pid}/status").read_text().splitlines()
    )
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")


def test_a_locked_signer_holds_its_journal_and_unix_sockets_and_nothing_else(world: LockedWorld) -> None:
    assert world.ask(Ask.STATUS)
    folder = Path(f"/proc/{world.process.pid}")
    if os.geteuid() != 0:  # then it isn't even to be seen
        with pytest.raises(PermissionError):
            list((folder / "fd").iterdir())
        return
    held = {os.readlink(each).split("[")[0] for each in (folder / "fd").iterdir() if int(each.name) > 2}
    assert held == {str(world.folder / "journal"), "socket:"}
    inet = {line.split()[9] for kind in ("tcp", "tcp6", "udp", "udp6")
            for line in (folder / "net" / kind).read_text().splitlines()[1:]}
    sockets = {os.readlink(each)[8:-1] for each in (folder / "fd").iterdir() if "socket" in os.readlink(each)}
    assert not sockets & inet


def test_a_locked_signer_refuses_and_goes_on(world: LockedWorld) -> None:
    record = world.beneficiary()
    with pytest.raises(AskRefused, match="expires_at"):
        world.intent(record, 20_000, expires_at="2026-02-30T00:00:00Z")
    with pytest.raises(AskRefused):
        world.ask(Ask.CHANGE)
    with pytest.raises(AskRefused):
        world.ask(Ask.ORGANISATION, channel=ADMIN, policy="!", roster="")
    with pytest.raises(AskRefused):
        world.ask(Ask.SIGN)
    for raw in (b"{", b"\xff", b'{"type":1}', b"[" * 100):
        world.streams[ENGINE].sendall(len(raw).to_bytes(4) + raw)
        assert isinstance(read_answer(receive(world.streams[ENGINE])), RefusedAnswer)
    assert world.ask(Ask.STATUS)


def test_a_locked_signer_hears_a_freeze(world: LockedWorld) -> None:
    payout = world.intent(world.cooled(), 20_000)
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    with pytest.raises(AskRefused, match=r"frozen|control|freeze"):
        world.sign([payout])
    assert world.ask(Ask.STATUS)


def test_a_killed_signer_goes_on_where_it_was(world: LockedWorld) -> None:
    record = world.cooled()
    payout = world.intent(record, 20_000)
    raw, _ = world.transaction([world.output(payout)])
    signed = world.sign([payout], raw=raw)
    world.process.send_signal(signal.SIGKILL)
    world.end()
    for name in (ENGINE, ADMIN, LINK):
        (world.folder.parent / name).unlink()
    world.start()
    assert world.sign([payout], raw=raw) == signed
    with pytest.raises(AskRefused, match="payout-once"):
        world.sign([payout])
    kinds = [json.loads(entry)["type"] for entry in world.guard.entries]
    assert kinds.count("strongroom/journal/resumed/v1") == 2
    assert b64decode(json.loads(world.guard.entries[0])["genesis"]) == world.genesis
