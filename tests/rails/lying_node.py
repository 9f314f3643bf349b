"""A provider that lies: a real HTTP server between a rail and its node, which changes, cuts or delays answers.

Everything else goes through unchanged, so what it lies about stands among true answers of a real node.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Alter = Callable[[list[Any], Any], Any]
"""From a question's parameters and the true result to what is answered."""


class LyingNode:
    """`url` is where the rail asks; lies, cuts and delays are by method. What is swallowed never reaches the node."""

    def __init__(self, node_port: int) -> None:
        self.node_port = node_port
        self.lies: dict[str, Alter] = {}
        self.cuts: set[str] = set()
        self.swallows: set[str] = set()
        self.delays: set[str] = set()
        self.raw: dict[str, bytes] = {}
        self.status = 200
        self.asked: list[str] = []
        self.is_gone = False
        self.cut_each = 0
        """Not 0: each so many-th question is cut, whatever it asks."""
        self.go_on = threading.Event()
        """A delayed answer goes out when this is set."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def honest(self) -> None:
        self.lies, self.raw, self.status, self.is_gone, self.cut_each = {}, {}, 200, False, 0
        self.cuts, self.swallows, self.delays = set(), set(), set()
        self.go_on.set()
        self.go_on = threading.Event()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, question: bytes, path: str, login: str) -> bytes | None:
        """None ends the connection without one."""
        asked = json.loads(question)
        method = asked["method"]
        self.asked.append(method)
        if self.is_gone or method in self.swallows or (self.cut_each and len(self.asked) % self.cut_each == 0):
            return None
        connection = HTTPConnection("127.0.0.1", self.node_port, timeout=30)
        try:
            headers = {"Content-Type": "application/json", **({"Authorization": login} if login else {})}
            connection.request("POST", path, question, headers)
            raw = connection.getresponse().read()
        finally:
            connection.close()
        if method in self.delays:
            self.go_on.wait(30)
        if method in self.cuts:
            return None
        if method in self.raw:
            return self.raw[method]
        if method in self.lies:
            answer = json.loads(raw)
            answer = {"jsonrpc": "2.0", "id": 1, "result": self.lies[method](asked["params"], answer.get("result"))}
            raw = json.dumps(answer).encode()
        return raw


def _handler(node: LyingNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        """Or each answer takes 40 ms."""

        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"]))
            raw = node.answer(question, self.path, self.headers.get("Authorization", ""))
            if raw is None:
                self.close_connection = True
                return
            self.send_response(node.status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def handle(self) -> None:
            with contextlib.suppress(OSError, json.JSONDecodeError):  # whoever asked has gone, or in the middle of it
                super().handle()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def lying_node(node_port: int) -> Iterator[LyingNode]:
    node = LyingNode(node_port)
    try:
        yield node
    finally:
        node.close()
