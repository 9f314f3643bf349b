"""HTTP/1.1 as bytes on a socket, for what no well-behaved client would send."""

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.api.server import ApiProcess
from tests.api.signer import Profile, Unsigned, sign

TIMEOUT_S = 20


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def head(request: Unsigned, authority: str, headers: Iterable[tuple[str, str]]) -> bytes:
    target = f"{request.path}?{request.query}" if request.query else request.path
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def signed_bytes(request: Unsigned, profile: Profile, *more: tuple[str, str]) -> bytes:
    """A whole signed request; `more` headers are added as they are."""
    headers = [*sign(request, profile).items(), ("Content-Length", str(len(request.body))), *more]
    return head(request, profile.authority, headers) + request.body


def exchange(api: ApiProcess, *parts: bytes, pause_s: float = 0.0) -> RawAnswer:
    """Send the parts, with a pause before each but the first, and read one answer."""
    host, port = api.authority.split(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        for number, part in enumerate(parts):
            if number:
                time.sleep(pause_s)
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break  # the server has answered and closed already
        return read_answer(connection)


def read_answer(connection: socket.socket) -> RawAnswer:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65_536)
        assert chunk, f"the connection ended after {received!r}"
        received += chunk
    top, _, body = received.partition(b"\r\n\r\n")
    status, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        chunk = connection.recv(65_536)
        assert chunk, "the body ended too early"
        body += chunk
    return RawAnswer(int(status.split(" ")[1]), headers, body)
