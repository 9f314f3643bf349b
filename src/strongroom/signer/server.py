"""The signer's only doors: listening Unix sockets that it inherited, each a channel for peers with known user ids.

A frame is its length in four bytes, big-endian, and the bytes. One thread, one frame at a time, in turn, so that nobody
can keep the others waiting for more than a frame; a frame that is too long or too slow ends its connection. What a
frame says is the handler's to judge. An error that isn't `HangUpError` ends the process: the signer stops, it doesn't
guess. Creates no socket.
"""

import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

FRAME_MAXIMUM: Final = 8 * 2**20
CONNECTIONS_MAXIMUM: Final = 8
"""Of each channel; one more is closed at once."""
FRAME_TIMEOUT_MS: Final = 5_000
"""For the rest of a frame or of an answer, or for `_CHUNK` bytes of it: the handler may have taken long itself."""
IDLE_MS: Final = 200

_CHUNK: Final = 65_536
_LENGTH: Final = 4
_PEER = struct.Struct("3i")


class HangUpError(Exception):
    """Raised by the handler for a frame that deserves no answer: its connection ends, and the process goes on."""


@dataclass(frozen=True, slots=True)
class Channel:
    """`peers` are the user ids that may connect."""

    name: str
    listener: socket.socket
    peers: frozenset[int]
    frame_maximum: int = FRAME_MAXIMUM


Handle = Callable[[str, bytes], bytes]
"""The answer to a frame of the named channel."""


@dataclass(slots=True)
class _Connection:
    """`frame` is whole and not answered yet; `since` is when a frame or answer under way was first seen."""

    channel: Channel
    stream: socket.socket
    inbound: bytearray = field(default_factory=bytearray)
    frame: bytes = b""
    outbound: memoryview = field(default_factory=lambda: memoryview(b""))
    since: int | None = None

    def mask(self) -> int:
        """What to wait for. Nothing more is read before a frame was answered, and a hang-up is always told."""
        if self.outbound:
            return select.POLLOUT
        return 0 if self.frame else select.POLLIN

    def move(self, events: int) -> None:
        """Send or receive what is possible now. Raises: HangUpError."""
        moved = 0
        try:
            if self.outbound and events:
                moved = self.stream.send(self.outbound)
                self.outbound = self.outbound[moved:]
            elif events & select.POLLIN:
                chunk = self.stream.recv(_CHUNK)
                if not chunk:
                    raise HangUpError
                self.inbound += chunk
                moved = len(chunk)
            elif events:
                raise HangUpError
            if moved >= _CHUNK:
                self.since = None
        except BlockingIOError:
            return
        except ConnectionError as fault:
            raise HangUpError from fault

    def take_frame(self) -> None:
        """Raises: HangUpError for a length that isn't allowed."""
        if self.frame or self.outbound or len(self.inbound) < _LENGTH:
            return
        end = _LENGTH + int.from_bytes(self.inbound[:_LENGTH])
        if not _LENGTH < end <= _LENGTH + self.channel.frame_maximum:
            raise HangUpError
        if len(self.inbound) >= end:
            self.frame = bytes(self.inbound[_LENGTH:end])
            del self.inbound[:end]
            self.since = None

    def check_time(self, now: int) -> None:
        """Raises: HangUpError when the peer is too slow."""
        if not self.outbound and (self.frame or not self.inbound):
            self.since = None
        elif self.since is None:
            self.since = now
        elif now - self.since > FRAME_TIMEOUT_MS:
            raise HangUpError


class Server:
    """`idle` is called `IDLE_MS` after it last ended, frames or not; `now_ms` is monotonic."""

    def __init__(
        self, channels: Sequence[Channel], handle: Handle, idle: Callable[[], None], now_ms: Callable[[], int]
    ) -> None:
        self._handle, self._idle, self._now_ms = handle, idle, now_ms
        self._idled = now_ms()
        self._poller = select.poll()
        self._channels = {channel.listener.fileno(): channel for channel in channels}
        self._connections: dict[int, _Connection] = {}
        for channel in channels:
            channel.listener.setblocking(False)
            self._poller.register(channel.listener, select.POLLIN)

    def run(self) -> NoReturn:
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for at most `IDLE_MS`, then move what can be moved and handle at most one frame of each connection."""
        is_due = any(each.frame for each in self._connections.values())
        ready = dict(self._poller.poll(0 if is_due else IDLE_MS))
        for descriptor in ready.keys() & self._channels.keys():
            self._accept(self._channels[descriptor])
        now = self._now_ms()
        if now - self._idled >= IDLE_MS:
            self._idle()
            self._idled = self._now_ms()
        for descriptor, connection in list(self._connections.items()):
            try:
                connection.move(ready.get(descriptor, 0))
                self._serve(connection)
                connection.check_time(now)
                self._poller.register(descriptor, connection.mask())
            except HangUpError:
                self._poller.unregister(descriptor)
                self._connections.pop(descriptor).stream.close()

    def _serve(self, connection: _Connection) -> None:
        connection.take_frame()
        if connection.frame:
            answer = self._handle(connection.channel.name, connection.frame)
            connection.frame = b""
            connection.outbound = memoryview(len(answer).to_bytes(_LENGTH) + answer)
            connection.move(select.POLLOUT)
            connection.take_frame()

    def _accept(self, channel: Channel) -> None:
        try:
            stream, _ = channel.listener.accept()
        except BlockingIOError:
            return
        _, user, _ = _PEER.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        count = sum(each.channel is channel for each in self._connections.values())
        if user not in channel.peers or count >= CONNECTIONS_MAXIMUM:
            stream.close()
            return
        stream.setblocking(False)
        self._connections[stream.fileno()] = _Connection(channel, stream)
        self._poller.register(stream, select.POLLIN)
