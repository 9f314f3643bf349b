"""link between real sockets: carries frames, changes none, and cut off on either side nothing is cosigned."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.guard.process import GuardProcess, Process, Wire, certificate, eventually, free_port, listening
from tests.guard.world import Signer, World
from tests.protocol.people import CLEO

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.link.main import read_config
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import FRAME_MAXIMUM, Reason
from strongroom.protocol.negative import Action


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, now=Instant(time.time_ns() // 1_000_000))


class SignersEnd:
    """The signer's listening socket, and the connection that link made to it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.wire: Wire | None = None

    def exchange(self, frame: bytes) -> bytes:
        """As the signer does: a broken connection is dropped and the next one tried."""
        if self.wire is None:
            self.wire = Wire(self.listener.accept()[0])
        try:
            return self.wire.exchange(frame)
        except (OSError, EOFError):
            self.drop()
            raise

    def drop(self) -> None:
        if self.wire is not None:
            self.wire.close()
        self.wire = None


@contextmanager
def linked(world: World, port: int, **config: Any) -> Iterator[tuple[SignersEnd, Process]]:
    """link as a process, between a signer's socket and a port."""
    path = world.folder / "link.socket"
    file = world.folder / "link.json"
    file.write_text(json.dumps({"signer_socket": str(path), "guard_host": "127.0.0.1", "guard_port": port} | config))
    with listening(path) as listener, Process("strongroom.link.main", file) as link:
        end = SignersEnd(listener)
        yield end, link
        end.drop()


def enrolled(world: World, end: SignersEnd, guard: GuardProcess) -> Signer:
    signer = Signer(world, end.exchange)
    signer.found()
    assert signer.sync().is_cosigned
    assert guard.beat() == "all"
    return signer


def test_the_signer_and_guard_agree_through_link(world: World) -> None:
    with GuardProcess(world) as guard, linked(world, guard.ready().signer_port) as (end, _):
        signer = enrolled(world, end, guard)
        for _ in range(20):
            signer.spend()
            assert signer.sync().is_cosigned
        assert guard.give(world.negative(Action.FREEZE, "organisation", CLEO))[0] == 202
        signer.spend()
        assert signer.sync().reason is Reason.CONTROL
        assert list(signer.fetch(0).entries) == signer.entries[:-1]


def test_large_frames_go_through(world: World) -> None:
    with GuardProcess(world) as guard, linked(world, guard.ready().signer_port) as (end, _):
        signer = enrolled(world, end, guard)
        for _ in range(4):
            signer.write(Kind.RESUMED, filling="x" * 1_000_000)
        assert signer.sync().is_cosigned
        assert sum(map(len, signer.fetch(2).entries)) > 3_000_000


def test_with_guard_cut_off_nothing_is_cosigned_and_back_it_goes_on(world: World) -> None:
    with GuardProcess(world) as guard:
        port = guard.ready().signer_port
        with linked(world, port) as (end, link):
            signer = enrolled(world, end, guard)
            guard.kill()
            signer.spend()
            end.listener.settimeout(1)
            for _ in range(3):
                with pytest.raises((OSError, EOFError)):
                    signer.sync()
            assert link.process.poll() is None
            end.listener.settimeout(20)
            with GuardProcess(world, signer_listen=f"127.0.0.1:{port}") as again:
                assert eventually(lambda: is_agreed(signer, again))
                assert list(signer.fetch(0).entries) == signer.entries


def is_agreed(signer: Signer, guard: GuardProcess) -> bool:
    try:
        if guard.call("GET", "/v1/status")[1]["lease"] != "all":
            guard.beat()
        return signer.sync().is_cosigned
    except (OSError, EOFError):
        return False


def test_with_link_killed_nothing_is_cosigned(world: World) -> None:
    with GuardProcess(world) as guard, linked(world, guard.ready().signer_port) as (end, link):
        signer = enrolled(world, end, guard)
        link.kill()
        signer.spend()
        end.listener.settimeout(1)
        with pytest.raises((OSError, EOFError)):
            signer.sync()
        assert guard.call("GET", "/v1/status")[1]["journal"]["length"] == len(signer.entries) - 1


def test_a_signer_that_starts_again_is_found_again(world: World) -> None:
    with GuardProcess(world) as guard, linked(world, guard.ready().signer_port) as (end, _):
        signer = enrolled(world, end, guard)
        for _ in range(3):
            end.drop()
            signer.write(Kind.RESUMED)
            assert signer.sync().is_cosigned


@contextmanager
def hostile_guard(answers: list[bytes]) -> Iterator[int]:
    """Something that listens where guard should, and answers each frame with the next of these bytes."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with Wire(connection) as end:
                    end.receive()
                    connection.sendall(answer)
                    end.ends()

        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        thread.join(20)


def framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4) + raw


def test_what_a_false_guard_answers_the_signer_believes_not(world: World) -> None:
    """The attacker has link's network and wants a cosignature: forged, altered or replayed, it opens as none."""
    signer = Signer(world, lambda frame: b"")
    signer.found()
    answer = wire.encode_sync_answer(
        wire.SyncAnswer(
            bytes(32), True, signer.head, signer.control, (), wire.Lease.ALL, 120_000, world.now, Reason.COSIGNED
        )
    )
    forged = wire.sign_frame(world.statement_key, answer, wire.SYNC_ANSWER_TYPE)
    altered = wire.sign_frame(world.guard_key, answer, wire.SYNC_ANSWER_TYPE).replace(b"true", b"false")
    replayed = wire.sign_frame(world.guard_key, answer, wire.SYNC_ANSWER_TYPE)
    with hostile_guard([framed(forged), framed(altered), framed(replayed)]) as port, linked(world, port) as (end, _):
        signer.exchange = end.exchange
        for refusal in (DocumentError, DocumentError, AssertionError):
            with pytest.raises(refusal):
                signer.sync()
            end.drop()
        assert signer.guard == 0


def test_a_frame_of_no_length_or_too_long_ends_both_connections(world: World) -> None:
    answers = [(0).to_bytes(4), (FRAME_MAXIMUM + 1).to_bytes(4)]
    with hostile_guard(answers) as port, linked(world, port) as (end, link):
        for _ in answers:
            with pytest.raises((OSError, EOFError)):
                end.exchange(b"x")
        assert eventually(lambda: f"a frame of {FRAME_MAXIMUM + 1} bytes" in link.log)
        assert link.process.poll() is None


def test_over_tls_link_talks_to_the_pinned_guard_alone(world: World, tmp_path: Path) -> None:
    guards, links, others = (certificate(tmp_path, name) for name in ("guard", "link", "other"))
    own = {"certificate_file": links[0], "key_file": links[1]}
    tls = {"certificate_file": guards[0], "key_file": guards[1], "peer_file": links[0]}
    with GuardProcess(world, signer_tls=tls) as guard:
        guard.ready()
        with linked(world, guard.signer_port, guard_certificate_file=others[0], **own) as (end, link):
            assert eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in link.log)
            end.listener.settimeout(0.5)
            with pytest.raises(TimeoutError):
                end.exchange(b"x")
        (world.folder / "link.socket").unlink()
        with linked(world, guard.signer_port, guard_certificate_file=guards[0]) as (end, link):
            with pytest.raises((OSError, EOFError)):
                end.exchange(b"x")
            assert link.process.poll() is None
        (world.folder / "link.socket").unlink()
        with linked(world, guard.signer_port, guard_certificate_file=guards[0], **own) as (end, _):
            signer = enrolled(world, end, guard)
            for _ in range(5):
                signer.spend()
                assert signer.sync().is_cosigned


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("{", "truncated"),
        ('{"signer_socket": "x", "guard_host": "127.0.0.1", "guard_port": 1, "more": 1}', "more"),
        ('{"signer_socket": "x", "guard_host": "10.1.2.3", "guard_port": 1}', "beyond loopback"),
        ('{"signer_socket": "x", "guard_host": "guard.example", "guard_port": 1}', "guard.example"),
    ],
)
def test_a_configuration_that_cant_be_used_is_said(tmp_path: Path, text: str | None, reason: str) -> None:
    file = tmp_path / "link.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises((OSError, ValueError)):
        read_config(file)
    with Process("strongroom.link.main", file) as link:
        assert link.wait() == 1
        assert reason in link.log
