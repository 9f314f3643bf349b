"""The signer's end of its link, over real Unix sockets: what comes is a whole frame in time, or nothing."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.protocol.guard_wire import FRAME_MAXIMUM
from strongroom.signer import guard_link
from strongroom.signer.guard_link import LinkError, SocketLink

TIMEOUT_MS = 300


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(guard_link, "TIMEOUT_MS", TIMEOUT_MS)
    return str(tmp_path / "link")


@pytest.fixture
def link(path: str) -> Iterator[SocketLink]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        link = SocketLink(listener)
        yield link
        link._drop()


def peer(path: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream


def framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4) + raw


def asked(stream: socket.socket) -> bytes:
    return stream.recv(int.from_bytes(stream.recv(4, socket.MSG_WAITALL)), socket.MSG_WAITALL)


class Answering:
    """A thread at the other end that hears one frame and then does this."""

    def __init__(self, stream: socket.socket, act: Callable[[socket.socket], None]) -> None:
        self._stream, self._act = stream, act
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):  # the signer may have hung up, which is the point
            asked(self._stream)
            self._act(self._stream)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._stream.close()


def test_a_frame_goes_out_and_one_comes_back_over_one_connection(link: SocketLink, path: str) -> None:
    stream = peer(path)
    for number in range(3):
        with Answering(stream.dup(), lambda to: to.sendall(framed(b"answer"))):
            assert link.exchange(b"asked %d" % number) == b"answer"
    stream.close()


def test_a_frame_of_megabytes_in_both_directions_arrives_whole(link: SocketLink, path: str) -> None:
    raw = bytes(range(256)) * 8_192
    with Answering(peer(path), lambda to: to.sendall(framed(raw[::-1]))):
        assert link.exchange(raw) == raw[::-1]


def test_without_a_link_it_is_waited_for_its_time_and_no_longer(link: SocketLink) -> None:
    began = time.monotonic()
    with pytest.raises(LinkError, match="no answer within 300 ms"):
        link.exchange(b"asked")
    assert TIMEOUT_MS <= (time.monotonic() - began) * 1_000 < 10 * TIMEOUT_MS


def test_a_link_that_never_answers_holds_the_signer_no_longer_than_its_time(link: SocketLink, path: str) -> None:
    began = time.monotonic()
    with Answering(peer(path), lambda _: None), pytest.raises(LinkError, match="no answer within 300 ms"):
        link.exchange(b"asked")
    assert time.monotonic() - began < 10 * TIMEOUT_MS / 1_000


def test_a_link_that_drips_bytes_holds_the_signer_no_longer(link: SocketLink, path: str) -> None:
    """Each byte comes in time; the whole of them would take half a minute."""

    def drip(to: socket.socket) -> None:
        for byte in framed(bytes(300)):
            to.sendall(bytes([byte]))
            time.sleep(0.1)

    began = time.monotonic()
    with Answering(peer(path), drip):
        with pytest.raises(LinkError, match="no answer within 300 ms"):
            link.exchange(b"asked")
        assert time.monotonic() - began < 10 * TIMEOUT_MS / 1_000


def test_a_link_that_takes_no_bytes_holds_the_signer_no_longer(link: SocketLink, path: str) -> None:
    began = time.monotonic()
    with peer(path), pytest.raises(LinkError, match="no answer within 300 ms"):
        link.exchange(bytes(FRAME_MAXIMUM))
    assert time.monotonic() - began < 10 * TIMEOUT_MS / 1_000


@pytest.mark.parametrize("length", [0, FRAME_MAXIMUM + 1, 2**32 - 1])
def test_a_length_that_no_frame_has_ends_the_connection(link: SocketLink, path: str, length: int) -> None:
    with Answering(peer(path), lambda to: to.sendall(length.to_bytes(4))):  # noqa: SIM117 the peer lives longer
        with pytest.raises(LinkError, match=f"a frame of {length} bytes"):
            link.exchange(b"asked")


@pytest.mark.parametrize("part", [b"", b"\0\0", framed(b"answer")[:-1]])
def test_an_end_in_the_middle_is_no_answer_and_the_next_connection_is_taken(
    link: SocketLink, path: str, part: bytes
) -> None:
    def end(to: socket.socket) -> None:
        to.sendall(part)
        to.shutdown(socket.SHUT_RDWR)

    with Answering(peer(path), end), pytest.raises(LinkError, match="the connection ended"):
        link.exchange(b"asked")
    with Answering(peer(path), lambda to: to.sendall(framed(b"answer"))):
        assert link.exchange(b"asked again") == b"answer"


def test_an_answer_that_comes_too_late_is_never_taken_for_the_next(link: SocketLink, path: str) -> None:
    late = peer(path)
    with pytest.raises(LinkError, match="no answer"):
        link.exchange(b"asked")
    with suppress(BrokenPipeError):
        late.sendall(framed(b"late"))
    with Answering(peer(path), lambda to: to.sendall(framed(b"answer"))):
        assert link.exchange(b"asked again") == b"answer"
    late.close()
