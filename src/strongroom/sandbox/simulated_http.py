"""HTTP/1.1 with JSON for one small server on loopback, so that it can hang up in the middle when a fault is ordered.

No TLS, no accounts, no chunks. Requests have bounds in size, number and time; a client that says nonsense, too much or
nothing is hung up on.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object

HEAD_MAXIMUM: Final = 16_384
BODY_MAXIMUM: Final = 1_048_576
IDLE_TIMEOUT_S: Final = 60
CONNECTIONS_MAXIMUM: Final = 256

Json = dict[str, JsonValue]

_REQUEST_LINE = re.compile("(GET|POST|DELETE) (/[!-~]{0,200}) HTTP/1\\.1")
_LENGTH = re.compile("\\s*([0-9]{1,9})\\s*")


class BadRequest(ValueError):
    """Answered 400, with the sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Written after `delay_ms`; with `is_cut` the connection ends instead."""

    status: HTTPStatus
    body: Json
    delay_ms: int = 0
    is_cut: bool = False


class Server:
    """Answers by `answer`, from method, path and the body's object; it may raise BadRequest."""

    def __init__(self, answer: Callable[[str, str, Json], Answer]) -> None:
        self._answer = answer
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for as many requests as it likes."""
        self._open += 1
        try:
            while self._open <= CONNECTIONS_MAXIMUM and await self._one(reader, writer):
                pass
        except (ConnectionError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            return  # gone, silent, or without an end: nobody to answer
        finally:
            self._open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            request = _REQUEST_LINE.fullmatch(head[0])
            length = _body_length(head[1:])
            if request is None or length is None or length > BODY_MAXIMUM:
                await _write(writer, Answer(HTTPStatus.BAD_REQUEST, {"error": "no request that is served here"}))
                return False
            body = await reader.readexactly(length)
        try:
            answer = self._answer(request[1], request[2], parse_object(body) if body else {})
        except (BadRequest, CanonicalError) as fault:
            answer = Answer(HTTPStatus.BAD_REQUEST, {"error": str(fault)})
        if answer.delay_ms:
            await asyncio.sleep(answer.delay_ms / 1_000)
        if answer.is_cut:
            return False
        await _write(writer, answer)
        return True


def _body_length(headers: list[str]) -> int | None:
    """None when it isn't said in a way that is served here."""
    lengths = []
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "transfer-encoding":
            return None
        if name.lower() == "content-length":
            lengths.append(_LENGTH.fullmatch(value))
    if not lengths:
        return 0
    return int(lengths[0][1]) if len(lengths) == 1 and lengths[0] is not None else None


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    body = encode(answer.body)
    head = (
        f"HTTP/1.1 {answer.status} {answer.status.phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
