"""The signer's end of its own link to guard: one frame out, one frame back, over a Unix socket that `link` holds open.

Blocks the signer while it waits, and no longer than `TIMEOUT_MS` for all of it, however the bytes drip: nothing may be
signed without guard anyway. What comes back must be signed by guard and answer our nonce; what it says is for the
caller to judge.
"""

import select
import socket
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from strongroom.domain.document import DocumentError
from strongroom.protocol import guard_wire
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.guard_wire import FRAME_MAXIMUM, FetchAnswer, Sync, SyncAnswer
from strongroom.protocol.journal_chain import Head
from strongroom.signer.book import Book
from strongroom.signer.clock import MILLISECOND_NS, boot_ns

TIMEOUT_MS: Final = 2_000
_LENGTH: Final = 4
_CHUNK: Final = 65_536
_NONCE: Final = 32

Answer = TypeVar("Answer", SyncAnswer, FetchAnswer)


class LinkError(Exception):
    """Guard can't be reached, or what came isn't a frame."""


class Link(Protocol):
    def exchange(self, frame: bytes) -> bytes:
        """Raises: LinkError."""


class Partner:
    """Guard, for whoever keeps this book: what is said is signed, and what comes back is guard's answer to it."""

    def __init__(self, link: Link, sign: Callable[[bytes], bytes], random: Callable[[int], bytes], book: Book) -> None:
        self._link, self._sign, self._random, self._book = link, sign, random, book

    def sync(self, journal: Head, entries: tuple[bytes, ...], *, wants_spend: bool = False) -> SyncAnswer:
        """Raises: LinkError."""
        statement = guard_wire.head_statement(self._book.deployment, journal)
        signature = self._sign(record_hash(guard_wire.HEAD_TYPE, statement))
        nonce = self._random(_NONCE)
        raw = guard_wire.encode_sync(Sync(nonce, journal, entries, self._book.control, wants_spend, signature))
        parse = guard_wire.parse_sync_answer
        return self._ask(nonce, raw, guard_wire.SYNC_TYPE, guard_wire.SYNC_ANSWER_TYPE, parse)

    def fetch(self, first: int) -> FetchAnswer:
        """Raises: LinkError."""
        nonce = self._random(_NONCE)
        raw, parse = guard_wire.encode_fetch(nonce, first), guard_wire.parse_fetch_answer
        return self._ask(nonce, raw, guard_wire.FETCH_TYPE, guard_wire.FETCH_ANSWER_TYPE, parse)

    def _ask(self, nonce: bytes, raw: bytes, asked: str, answered: str, parse: Callable[[bytes], Answer]) -> Answer:
        try:
            frame = self._link.exchange(self._sign(record_hash(asked, raw)) + raw)
            answer = parse(guard_wire.open_frame(self._book.genesis.guard_key, frame, answered))
        except DocumentError as fault:
            raise LinkError(str(fault)) from fault
        if answer.nonce != nonce:
            raise LinkError("guard answered another question")
        return answer


class SocketLink:
    """Over a listening Unix socket; a broken connection is dropped, and the next exchange takes a new one."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connection: socket.socket | None = None
        listener.setblocking(False)

    def exchange(self, frame: bytes) -> bytes:
        ends_ns = boot_ns() + TIMEOUT_MS * MILLISECOND_NS
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
    left_ms = -((boot_ns() - ends_ns) // MILLISECOND_NS)
    if left_ms <= 0 or not poller.poll(left_ms):
        raise LinkError(f"no answer within {TIMEOUT_MS} ms")
