"""One request and its answer, between the server beneath and the application.

The server's own way of sending takes an answer in pieces and examines every header by itself, which costs as much as
all of our other work on a connection. Ours are whole when they are sent, so they are written at once. What else the
server keeps about a request, such as whether the client is still there, stays with it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from strongroom.domain.invariant import InvariantError

WHOLE_BODY: Final = "strongroom.whole_body"
"""Where the scope has the body if all of it came before the application was called, else None."""

_CLOSE: Final = (b"connection", b"close")

Application = Callable[..., Awaitable[None]]


async def in_one_piece(app: Application, cycle: RequestResponseCycle, scope: Any, receive: Any, _: Any) -> None:
    """Call the application with a `send` that writes its answer at once."""
    scope[WHOLE_BODY] = None if cycle.more_body or cycle.disconnected else bytes(cycle.body)
    await app(scope, receive, _Answer(cycle).send)


class _Answer:
    """What the application sends is a start and one body."""

    __slots__ = ("_cycle", "_start")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._start: Any = None

    async def send(self, message: Any) -> None:
        cycle = self._cycle
        if self._start is None:
            self._start = message
            return
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        body = message["body"]
        headers = [*cycle.default_headers, *self._start["headers"], (b"content-length", b"%d" % len(body))]
        if _CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(_CLOSE)
        head = head_bytes(self._start["status"], headers)
        cycle.response_started = True
        cycle.transport.write(head if cycle.scope["method"] == "HEAD" else head + body)
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def head_bytes(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The first line and the headers. Raises: InvariantError if a header holds a line of its own."""
    head = STATUS_LINE[status] + b"".join([b"%s: %s\r\n" % header for header in headers]) + b"\r\n"
    if head.count(b"\n") != len(headers) + 2 or head.count(b"\r") != len(headers) + 2:
        raise InvariantError("a header of an answer has a line feed")
    return head
