"""A small HTTP server on loopback that answers whatever a test wants, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from strongroom.sdk import AsyncClient, Client

ORGANISATION = "org_" + "a" * 26
CLIENT_ID = "cl_" + "b" * 26
KEY_ID = "ak_" + "c" * 26
DEPLOYMENT = "0123456789abcdef"
SEED = bytes(range(32))


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Told:
    """An answer; `cut` ends the connection after so many bytes of it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answering = Callable[[Asked], Told]


class Server:
    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []

    def client(self) -> Client:
        return Client(self.url, DEPLOYMENT, ORGANISATION, CLIENT_ID, KEY_ID, SEED)

    def async_client(self) -> AsyncClient:
        return AsyncClient(self.url, DEPLOYMENT, ORGANISATION, CLIENT_ID, KEY_ID, SEED)

    @property
    def keys(self) -> list[str | None]:
        return [each.headers.get("idempotency-key") for each in self.asked]


@contextmanager
def answering(answer: Answering) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body leave together, else each waits for the other's acknowledgement

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            server.asked.append(asked)
            told = answer(asked)
            raw = told.raw()
            self.send_response_only(told.status)
            for name, value in {"content-type": "application/json", **told.headers}.items():
                self.send_header(name, value)
            if "transfer-encoding" not in told.headers:
                self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw if told.cut is None else raw[: told.cut])
            if told.cut is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    for method in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def in_turn(*told: Told) -> Answering:
    """One answer after the other; the last one again and again."""
    left = list(told)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
