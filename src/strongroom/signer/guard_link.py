"""The signer's end of its own link to guard: one frame out, one frame back, over a Unix socket that `link` holds open.

Blocks the signer while it waits, and no longer than `TIMEOUT_MS`: nothing may be signed without guard anyway. What
comes back is signed by guard and answers a nonce, which is for `notary` to check; here are only bytes and bounds.
"""

import socket
from typing import Final, Protocol

from strongroom.protocol.guard_wire import FRAME_MAXIMUM

TIMEOUT_MS: Final = 2_000
_LENGTH: Final = 4


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
        listener.settimeout(TIMEOUT_MS // 1_000)

    def exchange(self, frame: bytes) -> bytes:
        try:
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.settimeout(TIMEOUT_MS // 1_000)
            self._connection.sendall(len(frame).to_bytes(_LENGTH) + frame)
            length = int.from_bytes(self._receive(_LENGTH))
            if not 1 <= length <= FRAME_MAXIMUM:
                raise LinkError(f"a frame of {length} bytes")
            return self._receive(length)
        except (OSError, LinkError) as fault:
            self._drop()
            raise LinkError(f"guard can't be reached: {fault}") from fault

    def _receive(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = self._connection.recv(min(length, 2**16)) if self._connection is not None else b""
            if not part:
                raise LinkError("the connection ended")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
