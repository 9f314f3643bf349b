"""The signer's process from its first line to the lock, in this process: what it opens, says, and can't begin with.

Locking down would end the tests' own process, so it alone is left out here: test_locked_signer, test_hardening and
test_outside start the real one.
"""

import gc
import json
import os
import socket
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage
import pytest
from tests.signer.test_locked_signer import receive
from tests.signer.world import World

from strongroom.protocol.entry import Kind
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask
from strongroom.signer import main
from strongroom.signer.hardening import HardeningError
from strongroom.signer.keys import Secret, make_key_file
from strongroom.signer.server import Server

SOCKETS = ("engine", "admin", "link")


@dataclass
class Machine:
    """A folder with all that a signer is given, and guard at the other end of its link."""

    world: World
    base: Path
    config: Path
    locked: list[tuple[str, bool]]

    def link(self, *, drops: int = 0) -> threading.Thread:
        """Carries frames to guard; the first `drops` connections end at once."""

        def carry() -> None:
            for number in range(drops + 1):
                with closing(self.connect("link")) as stream, suppress(OSError):
                    while number == drops and (frame := receive(stream)):
                        answer = self.world.guard.exchange(frame)
                        stream.sendall(len(answer).to_bytes(4) + answer)

        thread = threading.Thread(target=carry)
        thread.start()
        return thread

    def connect(self, name: str) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(self.base / name))
        return stream

    def give(self, **changes: Any) -> None:
        self.config.write_text(json.dumps(json.loads(self.config.read_text()) | changes))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    world = World(folder)
    world.notary.agree()
    world.journal.close()
    identity = pyrage.x25519.Identity.generate()
    (folder / main.KEY_FILE).write_bytes(make_key_file(Secret(b"\5" * 32), [str(identity.to_public())]))
    reading, writing = os.pipe()
    os.write(writing, str(identity).encode())
    os.close(writing)
    listeners = [socket.socket(socket.AF_UNIX) for _ in SOCKETS]
    for name, listener in zip(SOCKETS, listeners, strict=True):
        listener.bind(str(tmp_path / name))
        listener.listen(8)
    config = tmp_path / "signer.json"
    inherited = {name: listener.detach() for name, listener in zip(SOCKETS, listeners, strict=True)}
    config.write_text(json.dumps({
        "folder": str(folder), "identity": reading, "engine_user": os.geteuid(), "admin_user": os.geteuid(),
        **inherited,
    }))
    locked: list[tuple[str, bool]] = []

    def lock_down(folder: str, *, is_production: bool) -> tuple[str, ...]:
        locked.append((folder, is_production))
        return ("memory locked: not permitted",)

    monkeypatch.setattr(main, "lock_down", lock_down)
    monkeypatch.setattr(main, "RETRY_S", 0)
    monkeypatch.setattr(sys, "argv", ["main", str(config)])
    yield Machine(world, tmp_path, config, locked)
    for number in (reading, *inherited.values()):
        with suppress(OSError):
            os.close(number)


def served(machine: Machine, server: Server) -> Any:
    with closing(machine.connect("admin")) as stream:
        frame = write_ask(Ask.STATUS, {})
        stream.sendall(len(frame).to_bytes(4) + frame)
        for _ in range(3):
            server.turn()
        return read_answer(receive(stream))


def close(server: Server) -> None:
    """What the process's end would close."""
    desk = server._handle.__self__  # type: ignore[attr-defined]  # the handler is the desk's method
    desk._notary._journal.close()
    desk._notary._guard._link._drop()
    for listener in (*(each.listener for each in server._channels.values()), desk._notary._guard._link._listener):
        listener.close()
    for connection in server._connections.values():
        connection.stream.close()


def begin(machine: Machine, monkeypatch: pytest.MonkeyPatch, *, drops: int = 0) -> tuple[Server, Any]:
    """By `main` itself, whose server answers once instead of for ever; the server, and the answer."""
    ran: list[Server] = []
    monkeypatch.setattr(Server, "run", lambda server: ran.append(server))
    thread = machine.link(drops=drops)
    main.main()
    (server,) = ran
    answer = served(machine, server)
    close(server)
    thread.join(10)
    return server, answer


def test_it_begins_a_life_in_its_journal_locks_down_and_answers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    length = machine.world.guard.head.length
    _, answer = begin(machine, monkeypatch)
    assert machine.locked == [(str(machine.world.folder), False)]
    assert answer["journal_length"] == length + 1
    assert answer["deployment"] == machine.world.book.deployment
    said = capfd.readouterr().err
    assert "signer: not locked down: memory locked: not permitted\n" in said
    assert said.endswith(f"signer: ready at {length + 1} entries\n")
    assert Kind.RESUMED.value in (machine.world.folder / "journal").read_bytes().decode("latin-1")


def test_it_waits_for_guard_and_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, answer = begin(machine, monkeypatch, drops=2)
    assert answer["lease"] in ("none", "all")
    assert capfd.readouterr().err.count("signer: waiting for guard: guard can't be reached") == 2


def test_the_identity_is_closed_when_the_keys_are_open(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = json.loads(machine.config.read_text())["identity"]
    begin(machine, monkeypatch)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(identity)


def no_config(machine: Machine, _: pytest.MonkeyPatch) -> None:
    machine.config.unlink()


def no_keys(machine: Machine, _: pytest.MonkeyPatch) -> None:
    (machine.world.folder / main.KEY_FILE).unlink()


def other_keys(machine: Machine, _: pytest.MonkeyPatch) -> None:
    other = pyrage.x25519.Identity.generate()
    raw = make_key_file(Secret(b"\5" * 32), [str(other.to_public())])
    (machine.world.folder / main.KEY_FILE).write_bytes(raw)


def no_journal(machine: Machine, _: pytest.MonkeyPatch) -> None:
    (machine.world.folder / "journal").unlink()


def empty_journal(machine: Machine, _: pytest.MonkeyPatch) -> None:
    (machine.world.folder / "journal").write_bytes(b"")


def no_lock(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: str, *, is_production: bool) -> tuple[str, ...]:
        raise HardeningError("the process can't be locked down: seccomp")

    monkeypatch.setattr(main, "lock_down", fail)
    machine.link()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("wrong", "reason"), [
    (no_config, "No such file"), (no_keys, "No such file"), (other_keys, "the key file can't be opened"),
    (no_journal, "the journal can't be opened"), (empty_journal, "a signer begins with the genesis ceremony"),
    (no_lock, "the process can't be locked down: seccomp"),
])
def test_what_it_cant_begin_with_is_one_sentence_and_the_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], wrong: Any, reason: str
) -> None:
    wrong(machine, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    said = capfd.readouterr().err
    assert said.splitlines()[-1].startswith("signer: can't begin: ")
    assert reason in said
    assert "Traceback" not in said
    assert b64encode(b"\5" * 32).decode() not in said
    gc.collect()  # the sockets that the process's end would close
