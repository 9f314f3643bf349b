"""The signer's end of its own link to guard: one frame out, one frame back, over a Unix socket that `link` holds open.

Blocks the signer while it waits, and no longer than `TIMEOUT_MS` for all of it, however the bytes drip: nothing may be
signed without guard anyway. What comes back is signed by guard and answers a nonce, which is for `notary` to check;
here are only bytes and bounds.
"""

import select
import socket
from typing import Final, Protocol

from strongroom.protocol.guard_wire import FRAME_MAXIMUM
from strongroom.signer.clock import boot_ns

TIMEOUT_MS: Final = 2_000
_LENGTH: Final = 4
_CHUNK: Final = 65_536
_MILLISECOND_NS: Final = 1_000_000


class LinkError(Exception):
    """Guard can't be reached, or what came isn't a frame."""


class Link(Protocol):
    def exchange(self, frame: bytes) -> bytes:
        """Raises: LinkError."""


class SocketLink:
    """Over a listening Unix socket; a broken connection is dropped, and the next exchange takes a new one."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connection: socket.socket | None = None
        listener.setblocking(False)

    def exchange(self, frame: bytes) -> bytes:
        ends_ns = boot_ns() + TIMEOUT_MS * _MILLISECOND_NS
        try:
            if self._connection is None:
                self._connection = _accept(self._listener, ends_ns)
            return _exchange(self._connection, frame, ends_ns)
        except (OSError, LinkError) as fault:
            self._drop()
            raise LinkError(f"guard can't be reached: {fault}") from fault

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _exchange(connection: socket.socket, frame: bytes, ends_ns: int) -> bytes:
    rest = memoryview(len(frame).to_bytes(_LENGTH) + frame)
    while rest:
        _wait(connection, select.POLLOUT, ends_ns)
        rest = rest[connection.send(rest) :]
    length = int.from_bytes(_receive(connection, _LENGTH, ends_ns))
    if not 1 <= length <= FRAME_MAXIMUM:
        raise LinkError(f"a frame of {length} bytes")
    return _receive(connection, length, ends_ns)


def _accept(listener: socket.socket, ends_ns: int) -> socket.socket:
    _wait(listener, select.POLLIN, ends_ns)
    connection, _ = listener.accept()
    connection.setblocking(False)
    return connection


def _receive(connection: socket.socket, length: int, ends_ns: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        _wait(connection, select.POLLIN, ends_ns)
        part = connection.recv(min(length - len(received), _CHUNK))
        if not part:
            raise LinkError("the connection ended")
        received += part
    return bytes(received)


def _wait(stream: socket.socket, event: int, ends_ns: int) -> None:
    """Until it is ready. A socket's own time-out would begin anew at each byte. Raises: LinkError."""
    poller = select.poll()
    poller.register(stream, event)
    left_ms = -((boot_ns() - ends_ns) // _MILLISECOND_NS)
    if left_ms <= 0 or not poller.poll(left_ms):
        raise LinkError(f"no answer within {TIMEOUT_MS} ms")
