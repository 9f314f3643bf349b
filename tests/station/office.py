"""A station as it is served, and what stands around it: a console that takes what is handed over, and a real signer."""

import json
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.browser.browser import Browser
from tests.guard.process import eventually
from tests.ports import free_port
from tests.signer.world import Human, World

from strongroom.protocol import station_link
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.station_bundle import BUNDLE_PATH
from strongroom.protocol.station_link import Asked, station_url
from strongroom.station.app import BUNDLE, App, read_files
from strongroom.station.config import Config, parse_listen, read_config

TOKEN = "t" * 22
STATION_HOST, CONSOLE_HOST = "station.localhost", "console.localhost"


@dataclass
class Console:
    """Its routes for the station: what came, and what it serves. `refuses` is the problem that it answers with."""

    origin: str
    allowed: str
    taken: list[tuple[str, Any]] = field(default_factory=list)
    items: bytes = b""
    refuses: str = ""

    def of(self, kind: str) -> list[Any]:
        return [body for path, body in self.taken if path == f"/station/{kind}"]


@contextmanager
def console(allowed: str) -> Iterator[Console]:
    """On a port of its own; it lets pages of the origin `allowed` speak to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self._answer(204, b"")

        def do_GET(self) -> None:
            self._answer(200, made.items) if self.path == f"/station/items/{TOKEN}" else self._answer(404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/json"
            assert self.headers["cookie"] is None
            if made.refuses:
                self._answer(409, json.dumps({"detail": made.refuses}).encode())
                return
            made.taken.append((self.path, json.loads(body)))
            self._answer(201, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("access-control-allow-origin", made.allowed)
            self.send_header("access-control-allow-headers", "content-type")
            self.send_header("cross-origin-resource-policy", "cross-origin")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Console(f"http://{CONSOLE_HOST}:{server.server_address[1]}", allowed)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Office:
    """Everything: `world` is the signer's, whose genesis names this station; it can be opened for its people."""

    origin: str
    console: Console
    world: World

    def asked(self, person: Human) -> Asked:
        ids = [each.id for each in person.person().credentials]
        return Asked(person.id, person.name, ids)

    def request(self, subject: str) -> tuple[bytes, bytes]:
        """The signer's request, and its signature."""
        answer = self.world.ask(Ask.REQUEST, subject=subject)
        return b64decode(answer["request"]), bytes.fromhex(answer["signature"])

    def link(self, person: Human, subject: str, **more: Any) -> str:
        raw, signature = self.request(subject)
        return station_url(self.origin, station_link.approve(self.asked(person), raw, signature, **more))

    def papers(self) -> dict[str, bytes]:
        return {"policy": self.world.policy, "roster": self.world.roster}

    def send_items(self, items: list[dict[str, Any]], records: list[DestinationRecord]) -> None:
        texts = sorted({each.encode().decode() for each in records})
        self.console.items = json.dumps({"items": items, "destinations": texts}).encode()

    def hand_passkey(self, browser: Browser, page: Any, person: Human, number: int = 0) -> None:
        credential = person.person().credentials[number]
        seed = int.from_bytes(person.id.encode()) % 10**30 + 7 + number  # as the person's own passkey
        hand_key(browser, page, seed, credential.id, person.id)


def hand_key(browser: Browser, page: Any, seed: int, credential: bytes, person: str) -> None:
    """The P-256 passkey of this number into the page's authenticator."""
    key = derive_private_key(seed, SECP256R1())
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    browser.passkey(page, STATION_HOST, credential, secret, person.encode())


def config_of(origin: str, console_origin: str, guard_origin: str, world: World) -> dict[str, Any]:
    return {
        "listen": f"127.0.0.1:{origin.rpartition(':')[2]}", "origin": origin, "console_origin": console_origin,
        "guard_origin": guard_origin, "relying_party_id": STATION_HOST, "deployment": world.book.deployment,
        "statement_public_key": world.store.statement_public_key.hex(),
    }


def served(config: Mapping[str, Any]) -> dict[str, bytes]:
    """What an honest station with this configuration serves."""
    return read_files(BUNDLE, Config(**config))


class _Lying(App):
    """Serves what it is told, and says of itself what it is told."""

    def __init__(self, config: Config, files: Mapping[str, bytes], bundle: bytes) -> None:
        super().__init__(config, files)
        self._files[BUNDLE_PATH] = bundle


@contextmanager
def serving(
    config: Mapping[str, Any], folder: Path, files: Mapping[str, bytes] | None = None, bundle: bytes | None = None
) -> Iterator[str]:
    """The station's own application and files, in a thread; its origin. The process is for `test_server`."""
    file = folder / "station.json"
    file.write_text(json.dumps(config))
    parsed = read_config(file)
    given = read_files(BUNDLE, parsed) if files is None else files
    app = App(parsed, given) if bundle is None else _Lying(parsed, given, bundle)
    server = uvicorn.Server(uvicorn.Config(
        app, *parse_listen(parsed.listen), ws="none", lifespan="off", log_config=None, access_log=False,
    ))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield parsed.origin
    finally:
        server.should_exit = True
        thread.join()


def free_origin(host: str) -> str:
    return f"http://{host}:{free_port()}"
