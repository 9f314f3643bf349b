"""The signer's doors: who may come in, how much and how slowly they may say it, and what ends the process."""

import os
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from strongroom.domain.invariant import InvariantError
from strongroom.signer.server import (
    CONNECTIONS_MAXIMUM,
    FRAME_MAXIMUM,
    FRAME_TIMEOUT_MS,
    IDLE_MS,
    Channel,
    HangUpError,
    Server,
    _Connection,
)

NOBODY = 65_534
ADMIN_MAXIMUM = 1_000


class Doors:
    """A server on real sockets, in a thread for the test's sake. `later` is what the clock is ahead."""

    def __init__(self, folder: Path, peers: set[int]) -> None:
        self.folder = folder
        self.handled: list[tuple[str, bytes]] = []
        self.idled: list[float] = []
        self.fault: BaseException | None = None
        self.later = 0
        self.listeners = {name: self._listen(name) for name in ("engine", "link", "admin")}
        channels = [
            Channel("engine", self.listeners["engine"], frozenset(peers)),
            Channel("link", self.listeners["link"], frozenset(peers)),
            Channel("admin", self.listeners["admin"], frozenset(peers), ADMIN_MAXIMUM),
        ]
        self.server = Server(channels, self.handle, lambda: self.idled.append(time.monotonic()), self.now_ms)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / name))
        (self.folder / name).chmod(0o666)
        listener.listen(64)
        return listener

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self.server.turn()
        except Exception as fault:
            self.fault = fault

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000 + self.later

    def handle(self, channel: str, frame: bytes) -> bytes:
        self.handled.append((channel, frame))
        match frame:
            case b"hang up":
                raise HangUpError
            case b"broken":
                raise InvariantError("what can't be is")
            case b"connection":
                raise ConnectionResetError("of the handler's own making")
            case b"big":
                return b"x" * FRAME_MAXIMUM
        return channel.encode() + b":" + frame[:100]

    def connect(self, channel: str = "engine") -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(10)
        stream.connect(str(self.folder / channel))
        return stream


@contextmanager
def doors(*peers: int) -> Iterator[Doors]:
    folder = Path(tempfile.mkdtemp(prefix="sr"))
    folder.chmod(0o755)
    opened = Doors(folder, set(peers or {os.geteuid()}))
    opened.thread.start()
    try:
        yield opened
    finally:
        opened.stop.set()
        opened.thread.join(5)
        for stream in [*opened.listeners.values(), *(each.stream for each in opened.server._connections.values())]:
            stream.close()
        shutil.rmtree(folder)


def frame(raw: bytes) -> bytes:
    return len(raw).to_bytes(4) + raw


def receive(stream: socket.socket) -> bytes:
    """One frame, or what came before the end."""
    raw = b""
    while len(raw) < 4 or len(raw) < 4 + int.from_bytes(raw[:4]):
        chunk = stream.recv(4 if len(raw) < 4 else 4 + int.from_bytes(raw[:4]) - len(raw))
        if not chunk:
            return raw
        raw += chunk
    return raw[4:]


def ask(stream: socket.socket, raw: bytes) -> bytes:
    stream.sendall(frame(raw))
    return receive(stream)


def is_closed(stream: socket.socket) -> bool:
    """Whether the other side has ended it: waits for that, or for ten seconds."""
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True


def until(condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 10
    while not condition() and time.monotonic() < ends:
        time.sleep(0.005)
    return condition()


def test_a_frame_is_answered_on_its_channel() -> None:
    with doors() as opened:
        for channel in ("engine", "link", "admin"):
            with opened.connect(channel) as stream:
                assert ask(stream, b"hello") == channel.encode() + b":hello"
                assert ask(stream, b"again") == channel.encode() + b":again"
        assert opened.fault is None


def test_the_largest_frame_is_taken_and_the_largest_answer_given() -> None:
    with doors() as opened, opened.connect() as stream:
        assert ask(stream, b"y" * FRAME_MAXIMUM) == b"engine:" + b"y" * 100
        assert opened.handled[-1] == ("engine", b"y" * FRAME_MAXIMUM)
        assert ask(stream, b"big") == b"x" * FRAME_MAXIMUM


@pytest.mark.parametrize(
    ("channel", "length"),
    [("engine", FRAME_MAXIMUM + 1), ("engine", 2**32 - 1), ("engine", 0), ("admin", ADMIN_MAXIMUM + 1)],
)
def test_a_frame_that_is_too_long_or_empty_ends_its_connection_at_its_length(channel: str, length: int) -> None:
    with doors() as opened, opened.connect(channel) as stream, opened.connect(channel) as other:
        started = time.monotonic()
        stream.sendall(length.to_bytes(4))
        assert is_closed(stream)
        assert time.monotonic() - started < FRAME_TIMEOUT_MS / 2_000  # and not for being slow
        assert opened.handled == []
        assert ask(other, b"still here") == channel.encode() + b":still here"


def test_a_truncated_frame_is_never_handled() -> None:
    with doors() as opened:
        for part in (frame(b"hello")[:2], frame(b"hello")[:-1]):
            stream = opened.connect()
            stream.sendall(part)
            stream.close()
        with opened.connect() as stream:
            assert ask(stream, b"after") == b"engine:after"
        assert opened.handled == [("engine", b"after")]
        assert until(lambda: opened.server._connections == {})


def test_a_slow_frame_ends_its_connection_and_no_other() -> None:
    with doors() as opened, opened.connect() as slow, opened.connect() as patient:
        assert ask(patient, b"one") == b"engine:one"
        slow.sendall(frame(b"hello")[:-1])
        assert until(lambda: any(each.inbound for each in opened.server._connections.values()))
        time.sleep(0.05)
        opened.later = FRAME_TIMEOUT_MS + 1
        assert is_closed(slow)
        assert ask(patient, b"two") == b"engine:two"
        assert ("engine", b"hello") not in opened.handled


def test_a_frame_in_drops_is_taken_if_it_is_whole_in_time() -> None:
    with doors() as opened, opened.connect() as stream:
        for byte in frame(b"drop by drop"):
            stream.sendall(bytes([byte]))
            opened.later += FRAME_TIMEOUT_MS // 20
        assert receive(stream) == b"engine:drop by drop"


def test_a_large_frame_is_not_late_because_the_server_was_busy() -> None:
    with doors() as opened, opened.connect() as stream, opened.connect() as other:
        assert ask(stream, b"one") == b"engine:one"
        opened.stop.set()
        opened.thread.join(5)
        stream.sendall((200_000).to_bytes(4) + b"x" * 150_000)
        for _ in range(2):
            opened.later += FRAME_TIMEOUT_MS + 1  # as after a turn in which the handler waited for guard
            opened.server.turn()
        stream.sendall(b"x" * 50_000)
        opened.later += FRAME_TIMEOUT_MS - 1_000
        opened.server.turn()
        opened.server.turn()
        assert receive(stream) == b"engine:" + b"x" * 100
        stream.sendall((200_000).to_bytes(4) + b"x" * 1_000)
        opened.server.turn()
        other.sendall(frame(b"y"))
        opened.later += FRAME_TIMEOUT_MS + 1
        opened.server.turn()
        assert is_closed(stream)


def test_idle_that_takes_long_leaves_time_for_frames() -> None:
    with doors() as opened, opened.connect() as stream:
        opened.stop.set()
        opened.thread.join(5)
        slow = opened.server
        slow._idle = lambda: (time.sleep(0.3), opened.idled.append(time.monotonic()))[1]
        opened.later = 10 * IDLE_MS
        stream.sendall(b"".join(frame(b"%d" % number) for number in range(50)))
        opened.idled.clear()
        while len(opened.handled) < 50:
            slow.turn()
        assert len(opened.idled) == 1


def test_an_answer_that_nobody_takes_ends_its_connection() -> None:
    with doors() as opened, opened.connect() as stream, opened.connect() as other:
        stream.sendall(frame(b"big"))
        assert until(lambda: any(each.outbound for each in opened.server._connections.values()))
        assert ask(other, b"still here") == b"engine:still here"
        opened.later = FRAME_TIMEOUT_MS + 1
        assert until(lambda: len(opened.server._connections) == 1)


def test_a_connection_may_stay_silent_for_long() -> None:
    with doors() as opened, opened.connect() as stream:
        assert ask(stream, b"one") == b"engine:one"
        opened.later = 100 * FRAME_TIMEOUT_MS
        time.sleep(0.3)
        assert ask(stream, b"two") == b"engine:two"


def test_a_peer_that_goes_before_its_answer_harms_nobody() -> None:
    with doors() as opened, opened.connect() as other:
        stream = opened.connect()
        stream.sendall(frame(b"big"))
        assert until(lambda: any(each.outbound for each in opened.server._connections.values()))
        stream.close()
        assert until(lambda: len(opened.server._connections) == 1)
        assert ask(other, b"still here") == b"engine:still here"


def test_only_known_users_come_in() -> None:
    """As root the child becomes nobody; otherwise it stays who it is, and the door is for nobody."""
    stranger, expected = (NOBODY, os.geteuid()) if os.geteuid() == 0 else (os.geteuid(), NOBODY)
    with doors(expected) as opened:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                stream = opened.connect()
                os.write(writing, b"%d closed" % os.geteuid() if is_closed(stream) else b"open")
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"%d closed" % stranger
        os.close(reading)
        assert opened.handled == []
        assert opened.fault is None


def test_a_ninth_connection_is_closed_and_one_channel_does_not_fill_another() -> None:
    with doors() as opened:
        streams = [opened.connect() for _ in range(CONNECTIONS_MAXIMUM)]
        assert [ask(stream, b"%d" % number) for number, stream in enumerate(streams)] == [
            b"engine:%d" % number for number in range(CONNECTIONS_MAXIMUM)
        ]
        with opened.connect() as ninth:
            assert is_closed(ninth)
        with opened.connect("admin") as admin:
            assert ask(admin, b"hello") == b"admin:hello"
        streams.pop().close()
        assert until(lambda: len(opened.server._connections) < CONNECTIONS_MAXIMUM)
        with opened.connect() as again:
            assert ask(again, b"room") == b"engine:room"
        for stream in streams:
            stream.close()


def test_frames_in_one_go_are_answered_one_by_one_in_order() -> None:
    with doors() as opened, opened.connect() as stream:
        count = 3_000
        sender = threading.Thread(target=stream.sendall, args=(b"".join(frame(b"%d" % n) for n in range(count)),))
        sender.start()
        assert [receive(stream) for _ in range(count)] == [b"engine:%d" % number for number in range(count)]
        sender.join()


def test_frames_before_a_half_close_are_answered() -> None:
    with doors() as opened, opened.connect() as stream:
        stream.sendall(frame(b"one") + frame(b"two"))
        stream.shutdown(socket.SHUT_WR)
        assert [receive(stream), receive(stream)] == [b"engine:one", b"engine:two"]
        assert is_closed(stream)


def test_who_floods_does_not_keep_the_others_waiting() -> None:
    with doors() as opened, opened.connect() as flood, opened.connect("admin") as admin:
        assert ask(admin, b"before") == b"admin:before"
        opened.stop.set()
        opened.thread.join(5)
        flood.sendall(b"".join(frame(b"%d" % number) for number in range(2_000)))
        admin.sendall(frame(b"between"))
        for _ in range(3):
            opened.server.turn()
        assert receive(admin) == b"admin:between"
        assert len(opened.handled) <= 1 + 2 * 3


def test_the_next_frame_of_a_peer_that_has_gone_is_not_handled() -> None:
    with doors() as opened:
        stream = opened.connect()
        assert ask(stream, b"before") == b"engine:before"
        opened.stop.set()
        opened.thread.join(5)
        stream.sendall(frame(b"one") + frame(b"two"))
        opened.server.turn()
        stream.close()
        opened.server.turn()
        assert opened.handled[1:] == [("engine", b"one")]
        assert opened.server._connections == {}


def test_idle_is_called_in_time_with_and_without_frames() -> None:
    with doors() as opened, opened.connect() as stream:
        time.sleep(4 * IDLE_MS / 1_000)
        ends = time.monotonic() + 4 * IDLE_MS / 1_000
        while time.monotonic() < ends:
            ask(stream, b"busy")
        gaps = [later - earlier for earlier, later in zip(opened.idled, opened.idled[1:], strict=False)]
        assert len(opened.idled) >= 6
        assert max(gaps) < 2 * IDLE_MS / 1_000


def test_a_frame_that_deserves_no_answer_ends_its_connection_only() -> None:
    with doors() as opened, opened.connect() as stream, opened.connect() as other:
        stream.sendall(frame(b"hang up"))
        assert is_closed(stream)
        assert ask(other, b"still here") == b"engine:still here"


@pytest.mark.parametrize(("raw", "kind"), [(b"broken", InvariantError), (b"connection", ConnectionResetError)])
def test_any_other_error_ends_the_process(raw: bytes, kind: type[Exception]) -> None:
    with doors() as opened, opened.connect() as stream:
        stream.sendall(frame(raw))
        opened.thread.join(10)
        assert isinstance(opened.fault, kind)


def test_running_ends_only_by_an_error() -> None:
    with doors() as opened:
        opened.stop.set()
        opened.thread.join(5)
        with opened.connect() as stream:
            stream.sendall(frame(b"broken"))
            with pytest.raises(InvariantError):
                opened.server.run()


def test_a_connection_that_was_given_up_before_it_was_accepted_is_passed_over() -> None:
    with doors() as opened:
        opened.stop.set()
        opened.thread.join(5)
        (channel, *_) = opened.server._channels.values()
        opened.server._accept(channel)
        assert opened.server._connections == {}


def test_a_stream_that_is_not_ready_after_all_is_left_for_the_next_turn() -> None:
    """The kernel may say that something can be moved, and then it can't."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = _Connection(Channel("engine", ours, frozenset()), ours)
        connection.move(select.POLLIN)
        assert connection.inbound == b""
        with suppress(BlockingIOError):
            while ours.send(bytes(65_536)):
                pass
        connection.outbound = memoryview(b"answer")
        connection.move(select.POLLOUT)
        assert bytes(connection.outbound) == b"answer"
