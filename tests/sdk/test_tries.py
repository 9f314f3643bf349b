"""Tries again: when, how often, after how long, and always under the same key."""

import asyncio
import base64
import hashlib
import threading
from typing import Any

import pytest
from tests.sdk.honest import payout_of, problem, told
from tests.sdk.hostile import Asked, Server, Told, answering, in_turn
from tests.sdk.test_lying_server import ASKED

from strongroom.domain.errors import CATALOGUE, Code
from strongroom.sdk import (
    ApiError,
    AuthenticationError,
    Client,
    ConflictError,
    HeldError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    TransportError,
    client,
    exchange,
)
from strongroom.sdk.errors import api_error

AGAIN = [Code.RATE_LIMITED, Code.IN_PROGRESS, Code.TIMEOUT, Code.UNAVAILABLE, Code.INTERNAL]


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the SDK would have slept; it sleeps none."""
    seconds: list[float] = []
    monkeypatch.setattr(client.time, "sleep", seconds.append)
    return seconds


def once_failing(*failures: Told) -> Any:
    """Fails in turn, then answers as an honest server."""
    left = list(failures)
    return lambda asked: left.pop(0) if left else told(201, payout_of(asked))


@pytest.mark.parametrize("code", AGAIN)
def test_a_passing_fault_is_tried_again_under_the_same_key_and_body(code: Code) -> None:
    failing = once_failing(problem(CATALOGUE[code].status, code))
    with answering(failing) as server, server.client() as api:
        api.payouts.create(**ASKED)
    first, second = server.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body


@pytest.mark.parametrize("code", sorted(set(CATALOGUE) - set(AGAIN)))
def test_a_refusal_is_never_tried_again(code: Code) -> None:
    refusal = problem(CATALOGUE[code].status, code, "amount")
    with answering(lambda _: refusal) as server, server.client() as api, pytest.raises(ApiError) as caught:
        api.payouts.create(**ASKED)
    assert len(server.asked) == 1
    assert (caught.value.code, caught.value.field, caught.value.request_id) == (code, "amount", "req_1")
    assert caught.value.idempotency_key == server.keys[0]


def test_tries_end_at_their_maximum(slept: list[float]) -> None:
    with answering(lambda _: problem(503, "unavailable")) as server, server.client() as api, pytest.raises(ServerError):
        api.payouts.create(**ASKED)
    assert len(server.asked) == exchange.TRIES_MAXIMUM
    assert len(set(server.keys)) == 1
    assert len(slept) == exchange.TRIES_MAXIMUM - 1


def test_a_connection_cut_in_the_answer_is_tried_again_under_the_same_key() -> None:
    def cut(asked: Asked) -> Told:
        return Told(201, payout_of(asked), cut=20 if len(server.asked) == 1 else None)

    with answering(cut) as server, server.client() as api:
        assert api.payouts.create(**ASKED)["external_id"] == "trip 4711"
    assert len(set(server.keys)) == 1
    assert len(server.keys) == 2


def test_who_cannot_be_reached_is_said_with_the_key_to_ask_again(slept: list[float]) -> None:
    with answering(lambda _: Told()) as server:
        pass
    with server.client() as api, pytest.raises(TransportError) as caught:
        api.payouts.create(**ASKED)
    assert caught.value.idempotency_key is not None
    assert len(slept) == exchange.TRIES_MAXIMUM - 1


def test_every_call_has_a_key_of_its_own() -> None:
    with answering(once_failing()) as server, server.client() as api:
        api.payouts.create(**ASKED)
        api.payouts.create(**ASKED)
    assert len(set(server.keys)) == 2


def test_a_key_of_ones_own_is_kept() -> None:
    with answering(once_failing()) as server, server.client() as api:
        api.payouts.create(**ASKED, idempotency_key="trip-4711")
    assert server.keys == ["trip-4711"]


def test_retry_after_is_waited_for_and_not_by_all_in_the_same_moment(slept: list[float]) -> None:
    busy = problem(429, "rate_limited", retry_after="7")

    def every_second_time(asked: Asked) -> Told:
        return busy if len(server.asked) % 2 else told(201, payout_of(asked))

    with answering(every_second_time) as server, server.client() as api:
        for _ in range(20):
            api.payouts.create(**ASKED)
    assert len(slept) == 20
    assert min(slept) >= 7
    assert max(slept) < 8
    assert len(set(slept)) > 1


def test_pauses_grow_with_jitter_and_have_a_maximum(slept: list[float]) -> None:
    with answering(lambda _: problem(503, "unavailable")) as server, server.client() as api:
        for _ in range(20):
            with pytest.raises(ServerError):
                api.payouts.create(**ASKED)
    by_try = [slept[place :: exchange.TRIES_MAXIMUM - 1] for place in range(exchange.TRIES_MAXIMUM - 1)]
    assert sum(by_try[0]) < sum(by_try[1]) < sum(by_try[2]) < sum(by_try[3])
    assert max(slept) <= exchange.BACKOFF_MAXIMUM_S * 1.5
    assert len(set(by_try[0])) > 1


def test_a_server_that_asks_for_hours_of_patience_gets_none(slept: list[float]) -> None:
    refusal = problem(429, "rate_limited", retry_after="86400")
    with answering(lambda _: refusal) as server, server.client() as api, pytest.raises(RateLimitedError) as caught:
        api.payouts.create(**ASKED)
    assert caught.value.retry_after_s == 86400
    assert slept == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("after", ["", "-1", "1.5", "²", "٣", "soon", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_that_is_no_number_is_passed_over(after: str) -> None:
    sent = after.encode().decode("latin-1")
    failing = once_failing(problem(503, "unavailable", retry_after=sent))
    with answering(failing) as server, server.client() as api:
        api.payouts.create(**ASKED)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "refusal",
    [b"<html>", b"[]", b"", b"\xff", b"[" * 100_000, 7],
    ids=range(6),
)
def test_a_refusal_that_is_no_problem_document_keeps_its_status(refusal: Any) -> None:
    told_so = Told(404, refusal)
    with answering(lambda _: told_so) as server, server.client() as api, pytest.raises(NotFoundError) as caught:
        api.payouts.get("po_1")
    assert (caught.value.status, caught.value.code) == (404, "unknown")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.SIGNATURE_INVALID, AuthenticationError), (Code.KEY_REVOKED, AuthenticationError),
        (Code.SCOPE_MISSING, AuthenticationError), (Code.ADDRESS_NOT_ALLOWED, AuthenticationError),
        (Code.INVALID, InvalidRequestError), (Code.MALFORMED, InvalidRequestError),
        (Code.IDEMPOTENCY_KEY_REUSED, IdempotencyKeyReusedError), (Code.NOT_FOUND, NotFoundError),
        (Code.DUPLICATE_EXTERNAL_ID, ConflictError), (Code.TOO_LATE, ConflictError),
        (Code.INSUFFICIENT_FUNDS, HeldError), (Code.BENEFICIARY_COOLING, HeldError), (Code.FROZEN, HeldError),
        (Code.LIMIT_WINDOW, HeldError), (Code.HELD, HeldError), (Code.RATE_LIMITED, RateLimitedError),
        (Code.UNAVAILABLE, ServerError), (Code.INTERNAL, ServerError),
    ],
)
def test_each_code_has_its_error(code: Code, kind: type[ApiError]) -> None:
    assert type(api_error({"code": code}, CATALOGUE[code].status, None)) is kind


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_no_code_of_the_catalogue_is_without_a_kind(code: Code) -> None:
    assert type(api_error({"code": code}, CATALOGUE[code].status, None)) is not ApiError


def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ANSWER_MAXIMUM", 1000)
    endless = Told(200, b"x" * 5000)
    with answering(lambda _: endless) as server, server.client() as api, pytest.raises(TransportError, match="longer"):
        api.payouts.get("po_1")


def test_an_answer_that_drips_for_ever_is_left() -> None:
    clock = iter([0.0, 1.0, exchange.ANSWER_TIMEOUT_S + 1])
    parts = exchange.Parts(lambda: next(clock))
    parts.add(b"{")
    with pytest.raises(exchange.httpx.ReadError, match="took longer"):
        parts.add(b"}")


def test_a_silent_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUTS", exchange.httpx.Timeout(0.05))
    monkeypatch.setattr(exchange, "TRIES_MAXIMUM", 2)
    wait = threading.Event()

    def silent(_: Asked) -> Told:
        wait.wait(5)
        return Told()

    with answering(silent) as server, server.client() as api:
        with pytest.raises(TransportError, match="timed out"):
            api.payouts.get("po_1")
        wait.set()
    assert len(server.asked) == 2


def test_a_compressed_answer_that_is_broken_is_a_transport_error() -> None:
    broken = Told(200, b"not gzip", {"content-encoding": "gzip"})
    with answering(lambda _: broken) as server, server.client() as api, pytest.raises(TransportError):
        api.payouts.get("po_1")


def test_a_redirect_is_never_followed() -> None:
    elsewhere = Told(307, b"", {"location": "http://127.0.0.1:1/"})
    with answering(lambda _: elsewhere) as server, server.client() as api, pytest.raises(ApiError) as caught:
        api.payouts.create(**ASKED)
    assert caught.value.status == 307
    assert len(server.asked) == 1


def test_the_asynchronous_client_tries_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("strongroom.sdk.async_client.asyncio.sleep", sleep)

    async def ask(server: Server) -> None:
        async with server.async_client() as api:
            payout = await api.payouts.create(**ASKED)
            assert payout["external_id"] == "trip 4711"
            rows = [row["id"] async for row in api.payouts.list()]
            assert rows == ["po_1", "po_2"]

    pages = in_turn(
        Told(200, {"data": [{"id": "po_1"}], "next_cursor": "c"}),
        Told(200, {"data": [{"id": "po_2"}], "next_cursor": None}),
    )
    failing = once_failing(problem(429, "rate_limited", retry_after="3"), problem(503, "unavailable"))
    with answering(lambda asked: failing(asked) if asked.method == "POST" else pages(asked)) as server:
        asyncio.run(ask(server))
    assert len(set(server.keys[:3])) == 1
    assert len(slept) == 2
    assert slept[0] >= 3
    assert server.asked[4].path == "/v1/payouts?cursor=c"


def test_what_is_signed_is_what_is_sent() -> None:
    with answering(once_failing()) as server, server.client() as api:
        api.payouts.create(**ASKED)
    asked = server.asked[0]
    digest = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
    assert asked.headers["content-digest"] == f"sha-256=:{digest}:"
    assert '"idempotency-key"' in asked.headers["signature-input"]


def test_private_keys_do_not_show() -> None:
    with Client("http://127.0.0.1:9", "0" * 16, "org_1", "cl_1", "ak_1", bytes(range(32))) as api:
        shown = repr(api.credentials) + repr(vars(api))
    assert bytes(range(32)).hex() not in shown
    assert repr(bytes(range(32))) not in shown


@pytest.mark.parametrize(
    "url", ["http://example.com", "ftp://127.0.0.1", "http://127.0.0.1.example.com", "127.0.0.1:80"]
)
def test_plain_http_is_for_loopback_only(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Client(url, "0" * 16, "org_1", "cl_1", "ak_1", bytes(32))
