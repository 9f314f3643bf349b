"""An alarm that guard hasn't taken is kept, and as long as it is, no heartbeat says that all is well."""

import asyncio
import http.server
import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator

import pytest
from nacl.signing import SigningKey

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.control import ALARM_TYPE
from strongroom.protocol.guard_wire import open_frame
from strongroom.protocol.watch_record import alarm_record
from strongroom.watch.alarms import Alarms
from strongroom.watch.config import Config, Node
from strongroom.watch.main import BLIND_MAXIMUM_S, Eyes, tell_guard

KEY = SigningKey(b"\x07" * 32)
DEPLOYMENT = "0123456789abcdef"
ORGANISATION = OrganisationId("org_" + "a" * 26)
NOW = Instant(1_800_000_000_000)


class Listener(http.server.ThreadingHTTPServer):
    """Stands where guard does and notes what comes; guard's own judgement has its own tests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.heard: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((self.path, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _raise(alarms: Alarms) -> bool:
    async def go() -> bool:
        try:
            return await alarms.raise_alarm(ORGANISATION, "unknown-spend.1", "detail", NOW)
        finally:
            await alarms.close()

    return asyncio.run(go())


def test_an_alarm_is_signed_by_watch(listener: Listener) -> None:
    alarms = Alarms(listener.url, DEPLOYMENT, KEY)
    assert _raise(alarms)
    ((path, body),) = listener.heard
    assert (path, body["organisation"]) == ("/v1/alarms", ORGANISATION)
    raw = open_frame(bytes(KEY.verify_key), b64decode(body["frame"]), ALARM_TYPE)
    assert raw == alarm_record("unknown-spend.1", ORGANISATION, DEPLOYMENT, NOW)
    assert alarms.undelivered == set()


@pytest.mark.parametrize(("status", "taken"), [(202, True), (409, True), (422, False), (503, False), (429, False)])
def test_only_what_guard_has_counts_as_delivered(listener: Listener, status: int, taken: bool) -> None:
    listener.status = status
    alarms = Alarms(listener.url, DEPLOYMENT, KEY)
    assert _raise(alarms) is taken
    assert bool(alarms.undelivered) is not taken


def test_where_nobody_listens_the_alarm_is_kept() -> None:
    alarms = Alarms("http://127.0.0.1:9", DEPLOYMENT, KEY)
    assert not _raise(alarms)
    assert alarms.undelivered == {(ORGANISATION, "unknown-spend.1")}


@pytest.mark.parametrize(("is_delivered", "age_s"), [(True, 0), (False, 0), (True, BLIND_MAXIMUM_S + 1)])
def test_no_heartbeat_goes_out_while_an_alarm_is_not_delivered_or_watch_is_blind(
    listener: Listener, is_delivered: bool, age_s: int
) -> None:
    nodes = {"sim:sandbox": Node("http://127.0.0.1:9", "0" * 64)}
    config = Config("", "", "", "origin", DEPLOYMENT, listener.url, nodes)

    async def go() -> None:
        alarms, stop = Alarms(listener.url, DEPLOYMENT, KEY), asyncio.Event()
        if not is_delivered:
            alarms.undelivered.add((ORGANISATION, "deficit.sim"))
        eyes = Eyes(time.monotonic() - age_s)
        beats = asyncio.create_task(tell_guard(config, listener.url, KEY, alarms, eyes, stop))
        await asyncio.sleep(0.3)
        stop.set()
        await beats
        await alarms.close()

    asyncio.run(go())
    assert bool(listener.heard) is (is_delivered and not age_s)
