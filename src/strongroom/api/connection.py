"""One connection of a client, before there is a request: what comes ahead of the body is bounded in size and time.

The server beneath reads a request's first line and headers for as long as they come, and waits for them for ever;
both are for strangers to use up. Whatever can't be a request gets a problem, as every other answer of the API.
"""

import asyncio
import resource
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from strongroom.api.exchange import in_one_piece
from strongroom.api.problems import PROBLEM_TYPE, new_request_id, problem, retry_after_s
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.instant import SECOND_MS

HEAD_MAXIMUM: Final = 64 * 1024
"""Bytes of the first line and the headers; what arrived in one piece with them is let by."""

FILES_KEPT: Final = 100
"""Of those that the process may have open: for the database, the log and what else it needs."""

_TOO_MANY: Final = Refusal(Code.UNAVAILABLE, "too many connections are open: come again", None, SECOND_MS)
_TOO_LARGE: Final = Refusal(Code.TOO_LARGE, f"the headers may have {HEAD_MAXIMUM} bytes")
_UNREADABLE: Final = Refusal(Code.MALFORMED, "this isn't a request of HTTP/1.1")


class Connection(HttpToolsProtocol):
    """As uvicorn's, with the two bounds, and one on how many there are."""

    def __init__(self, *, head_timeout_s: float, connections_maximum: int, **made_by_the_server: Any) -> None:
        super().__init__(**made_by_the_server)
        self.head_timeout_s: Final = head_timeout_s
        self.connections_maximum: Final = connections_maximum
        self._head_bytes = 0
        self._is_in_head = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if len(self.connections) > self.connections_maximum:
            self._end(_TOO_MANY)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAXIMUM:
                self._end(_TOO_LARGE)
            elif self._head_timer is None:  # a head that came in one piece needs no timer
                self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(in_one_piece, app, cycle))

    def send_400_response(self, msg: str) -> None:
        self._end(_UNREADABLE)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._end(Refusal(Code.TIMEOUT, f"the headers took longer than {self.head_timeout_s:g} s"))
        else:
            self.transport.close()  # who says nothing is told nothing

    def _end(self, refusal: Refusal) -> None:
        """Answer and close; an answer that is under way is given first, and nothing more is read."""
        self._stop_timer()
        self._is_in_head = False
        if self.transport.is_closing():
            return
        if not getattr(self.cycle, "response_complete", True):  # there may be no request yet
            self.cycle.keep_alive = False
            self.transport.pause_reading()
            return
        self.transport.write(_bytes(refusal))
        self.transport.close()


def connections(head_timeout_s: float, connections_maximum: int) -> Callable[..., Connection]:
    """What a server makes its connections by: as many at once as the process may have files open, within a maximum."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    maximum = max(1, min(connections_maximum, files - FILES_KEPT))

    def make(**made_by_the_server: Any) -> Connection:
        return Connection(head_timeout_s=head_timeout_s, connections_maximum=maximum, **made_by_the_server)

    return make


def _bytes(refusal: Refusal) -> bytes:
    request_id = new_request_id()
    body = problem(refusal, request_id)
    lines = (
        b"HTTP/1.1 %d Refused" % refusal.row.status, b"request-id: " + request_id.encode(),
        b"content-type: " + PROBLEM_TYPE, b"content-length: %d" % len(body), b"cache-control: no-store",
        b"x-content-type-options: nosniff", b"connection: close",
        *((b"retry-after: %d" % seconds,) if (seconds := retry_after_s(refusal)) else ()),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
