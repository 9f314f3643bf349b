"""What stands between the server beneath and the application: one answer to a request, whole, and nothing besides."""

import socket

import httpx
import pytest
from tests.api.raw import read_answer
from tests.api.server import ApiProcess

from strongroom.api.exchange import head_bytes
from strongroom.domain.invariant import InvariantError


def open_connection(api: ApiProcess) -> socket.socket:
    host, port = api.authority.split(":")
    return socket.create_connection((host, int(port)), 20)


def ask(api: ApiProcess, method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {api.authority}", *headers, "", "")).encode()


def test_an_answer_to_head_has_no_body_and_the_next_answer_follows(api: ApiProcess) -> None:
    with open_connection(api) as connection:
        connection.sendall(ask(api, "HEAD", "/livez"))
        head = connection.recv(65_536)
        assert head.startswith(b"HTTP/1.1 405 ")
        assert head.endswith(b"\r\n\r\n")
        assert b"content-length: " in head
        connection.sendall(ask(api, "GET", "/livez"))
        assert read_answer(connection).json() == {"status": "alive"}


def test_requests_sent_together_are_answered_in_their_order(api: ApiProcess) -> None:
    with open_connection(api) as connection:
        connection.sendall(ask(api, "GET", "/livez") + ask(api, "GET", "/nowhere", "Connection: close"))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    first, second = received.index(b"HTTP/1.1 200 "), received.index(b"HTTP/1.1 404 ")
    assert first < second
    assert received.count(b"HTTP/1.1 ") == 2


def test_a_client_that_asks_to_close_is_told_and_closed(api: ApiProcess) -> None:
    with open_connection(api) as connection:
        connection.sendall(ask(api, "GET", "/livez", "Connection: close"))
        answer = read_answer(connection)
        assert answer.headers["connection"] == "close"
        assert connection.recv(1) == b""


def test_the_metrics_say_how_long_they_are(api: ApiProcess) -> None:
    answer = httpx.get(api.metrics_url, trust_env=False)
    assert int(answer.headers["content-length"]) == len(answer.content) > 0


@pytest.mark.parametrize("value", [b"GET\r\nset-cookie: a=b", b"GET\nx", b"GET\rx"])
def test_a_header_that_holds_a_line_of_its_own_is_never_written(value: bytes) -> None:
    """The attacker got a value of its choice into a header, and wants to write the lines after it."""
    with pytest.raises(InvariantError):
        head_bytes(405, [(b"allow", value)])
