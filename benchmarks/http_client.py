"""The load generator: a process of its own that sends requests signed beforehand over raw keep-alive connections.

It must cost little, for it shares the machine with the server that is measured: one thread, one `epoll`, no parsing
beyond the status and the length of an answer. Reads one file of requests, says `ready`, waits for a line, and then
prints what it saw as JSON. Every answer must be 201; the first that isn't ends it.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

LENGTH_BYTES = 4
ANSWER_MAXIMUM = 2**20


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    started: float = 0.0
    received: bytes = b""
    unsent: bytes = b""


def write_requests(file: Path, requests: list[bytes]) -> None:
    with file.open("wb") as handle:
        for request in requests:
            handle.write(len(request).to_bytes(LENGTH_BYTES) + request)


def read_requests(file: Path) -> deque[bytes]:
    raw = file.read_bytes()
    requests: deque[bytes] = deque()
    place = 0
    while place < len(raw):
        length = int.from_bytes(raw[place : place + LENGTH_BYTES])
        place += LENGTH_BYTES
        requests.append(raw[place : place + length])
        place += length
    return requests


def send_all(host: str, port: int, requests: deque[bytes], count: int) -> dict[str, object]:
    """All requests, over `count` connections that each wait for their answer before they send again."""
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    for _ in range(min(count, len(requests))):
        opened = socket.create_connection((host, port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        connections[opened.fileno()] = _Connection(opened)
        poll.register(opened.fileno(), select.EPOLLIN)
    waits: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()
    for connection in connections.values():
        _send(connection, requests.popleft(), poll)
    busy = len(connections)
    while busy:
        for number, event in poll.poll(30) or _too_late():
            connection = connections[number]
            if event & select.EPOLLOUT:
                _go_on(connection, poll, again=True)
                continue
            connection.received += connection.socket.recv(65_536)
            if not _is_whole(connection.received):
                continue
            if not connection.received.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(f"not recorded: {connection.received[:1_000].decode(errors='replace')}")
            waits.append(time.perf_counter() - connection.started)
            connection.received = b""
            if requests:
                _send(connection, requests.popleft(), poll)
            else:
                busy -= 1
    seconds = time.perf_counter() - started
    waits.sort()
    return {
        "answers": len(waits), "seconds": seconds, "cpu_s": time.process_time() - cpu,
        "p50_ms": waits[len(waits) // 2] * 1e3, "p99_ms": waits[len(waits) * 99 // 100] * 1e3,
    }


def _send(connection: _Connection, request: bytes, poll: select.epoll) -> None:
    connection.started = time.perf_counter()
    connection.unsent = request
    _go_on(connection, poll)


def _go_on(connection: _Connection, poll: select.epoll, *, again: bool = False) -> None:
    """Send what fits; ask to be woken when there is room for the rest."""
    try:
        sent = connection.socket.send(connection.unsent)
    except BlockingIOError:
        sent = 0
    connection.unsent = connection.unsent[sent:]
    if connection.unsent:
        poll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
    elif again:
        poll.modify(connection.socket.fileno(), select.EPOLLIN)


def _is_whole(received: bytes) -> bool:
    head = received.find(b"\r\n\r\n")
    if head < 0:
        return False
    place = received.find(b"content-length: ", 0, head)
    if place < 0:
        raise RuntimeError("an answer without a length")
    length = int(received[place + 16 : received.index(b"\r\n", place)])
    if length > ANSWER_MAXIMUM:
        raise RuntimeError(f"an answer of {length} bytes")
    return len(received) >= head + 4 + length


def _too_late() -> list[tuple[int, int]]:
    raise RuntimeError("no answer for 30 s")


def main() -> None:
    host, port, count, file = sys.argv[1:5]
    requests = read_requests(Path(file))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(send_all(host, int(port), requests, int(count))), flush=True)


if __name__ == "__main__":
    main()
