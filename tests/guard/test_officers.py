"""The officers' listener in this process: its time-out, its limit for each address, and a peer that is gone."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.guard.process import free_port
from tests.guard.world import World

from strongroom.domain.instant import Instant
from strongroom.guard.main import Listeners
from strongroom.guard.officers import Limiter, Officers
from strongroom.journal.journal import JournalError


def test_a_limit_is_of_one_address_in_one_second() -> None:
    now = [1_000]
    limiter = Limiter(2, lambda: Instant(now[0]))
    assert [limiter.allows("a") for _ in range(3)] == [True, True, False]
    assert limiter.allows("b")
    now[0] = 1_999
    assert not limiter.allows("a")
    now[0] = 2_000
    assert limiter.allows("a")


def test_more_addresses_than_it_counts_must_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.guard.officers.ADDRESSES_MAXIMUM", 2)
    limiter = Limiter(9, lambda: Instant(0))
    assert [limiter.allows(each) for each in ("a", "b", "c", "a")] == [True, True, False, True]


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/sta", b"POST /v1/negatives HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_slow_request_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("strongroom.guard.officers.TIMEOUT_S", 0.1)
    world = World(tmp_path)
    guard = world.open()
    limiter = Limiter(9, lambda: world.now)
    officers = Officers(guard.witness, guard.log, guard.leases, guard.eyes, guard.cosigner, limiter, lambda: world.now)

    async def ask() -> bytes:
        port = free_port()
        server = await Listeners().listen(("127.0.0.1", port), None, officers.serve)
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await reader.read()
            writer.close()
        return answer

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 408 Too slow\r\n")


class Gone(asyncio.StreamWriter):
    """A connection that ended before it was looked at."""

    def __init__(self) -> None:
        self.is_closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def close(self) -> None:
        self.is_closed = True


def test_a_peer_that_is_gone_is_served_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, served = Gone(), []

    async def serve(*connection: object) -> None:
        served.append(connection)

    async def start_server(connected: object, *_: object, **__: object) -> None:
        await connected(asyncio.StreamReader(), gone)  # type: ignore[operator]  # as asyncio calls it

    monkeypatch.setattr(asyncio, "start_server", start_server)
    asyncio.run(Listeners().listen(("127.0.0.1", 1), None, serve))
    assert (gone.is_closed, served) == (True, [])


def test_the_first_fault_is_the_one_that_is_told() -> None:
    async def end() -> None:
        listeners = Listeners()
        listeners.end(JournalError("first"))
        listeners.end(JournalError("second"))
        listeners.end()
        await listeners.ended()

    with pytest.raises(JournalError, match="first"):
        asyncio.run(end())


def test_an_answer_that_nobody_reads_holds_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.guard.officers.TIMEOUT_S", 0.2)
    world = World(tmp_path)
    guard = world.open()
    limiter = Limiter(9, lambda: world.now)
    officers = Officers(guard.witness, guard.log, guard.leases, guard.eyes, guard.cosigner, limiter, lambda: world.now)
    monkeypatch.setattr(officers, "_status", lambda _: {"filling": "x" * 2**24})

    async def ask() -> int:
        port = free_port()
        server = await Listeners().listen(("127.0.0.1", port), None, officers.serve)
        async with server:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET /v1/status HTTP/1.1\r\n\r\n")
                for _ in range(100):
                    await asyncio.sleep(0.02)
                    if len(asyncio.all_tasks()) == 1:
                        break
                await asyncio.sleep(0.1)
                return await asyncio.to_thread(receive_all, connection)

    assert asyncio.run(ask()) < 2**24


def receive_all(connection: socket.socket) -> int:
    """How many bytes come until the connection ends."""
    count = 0
    try:
        while part := connection.recv(2**20):
            count += len(part)
    except ConnectionResetError:
        return count
    return count
