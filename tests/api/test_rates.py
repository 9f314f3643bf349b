"""So many requests a second from one address, and so many with one key; the rest is refused unread."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.api.server import ApiProcess, Owner, api_process
from tests.api.signer import JSON, Unsigned, sign
from tests.api.world import Organisation, create_world, declaration, fresh_key, payout, refused

from strongroom.store.postgres import Cluster

PER_ADDRESS, PER_KEY = 24, 8
ATTEMPTS = 20


@pytest.fixture
def slow(postgres_cluster: Cluster, tmp_path: Path) -> Iterator[tuple[ApiProcess, Owner, httpx.Client]]:
    config = {"per_address_per_second": PER_ADDRESS, "per_key_per_second": PER_KEY}
    with (
        api_process(postgres_cluster, tmp_path, "api_slow", **config) as (api, owner),
        httpx.Client(base_url=api.url, timeout=30, trust_env=False) as client,
    ):
        yield api, owner, client


def within_one_second(ask: Callable[[], list[httpx.Response]]) -> list[httpx.Response]:
    """The windows are the seconds of the monotonic clock, which all processes share: begin with one, and again if
    the machine was too slow to end in it."""
    for _ in range(ATTEMPTS):
        time.sleep(1.01 - time.monotonic() % 1)
        second = int(time.monotonic())
        answers = ask()
        if int(time.monotonic()) == second:
            return answers
    raise AssertionError("the machine is too slow to ask so often within one second")


def test_ten_times_the_rate_is_refused_by_key_and_by_address(slow: tuple[ApiProcess, Owner, httpx.Client]) -> None:
    api, owner, client = slow
    world = create_world(api, owner, client)
    to = world.declared()
    by_key = within_one_second(lambda: [
        *(world.payer.get("/v1/payouts") for _ in range(PER_KEY + 4)), world.declarer.get("/v1/beneficiaries"),
    ])
    other = by_key.pop()
    assert other.status_code == 200  # another key of the same address still has its own
    assert [answer.status_code for answer in by_key] == [200] * PER_KEY + [429] * 4
    problem = refused(by_key[-1], "rate_limited")
    assert "key" in problem["detail"]
    assert by_key[-1].headers["retry-after"] == "1"
    assert by_key[0].headers["ratelimit-policy"] == f'"address";q={PER_ADDRESS};w=1, "key";q={PER_KEY};w=1'
    assert by_key[0].headers["ratelimit"] == f'"address";r={PER_ADDRESS - 1};t=1, "key";r={PER_KEY - 1};t=1'
    _address_before_everything(world, client)
    _key_before_the_body(world)
    time.sleep(1)
    assert world.payer.post("/v1/payouts", payout(to), fresh_key()).status_code == 201


def _address_before_everything(world: Organisation, client: httpx.Client) -> None:
    """Above the address's rate neither path, size nor signature is looked at."""
    before = world.owner.counts()
    answers = within_one_second(lambda: [
        *(client.get("/v1/nowhere") for _ in range(PER_ADDRESS)), client.get("/v1/nowhere"), client.put("/v1/payouts"),
        client.post("/v1/payouts", content=b" " * (2**20 + 1)), client.get("/v1/payouts"),
        world.declarer.post("/v1/beneficiaries", declaration(), fresh_key()),
    ])
    for answer in answers[PER_ADDRESS:]:
        problem = refused(answer, "rate_limited")
        assert "address" in problem["detail"]
    assert world.owner.counts() == before
    assert client.get("/livez").status_code == 200


def _key_before_the_body(world: Organisation) -> None:
    """`rate_limited` per key comes after the signature and before anything of the body."""
    forged = sign(Unsigned("POST", "/v1/payouts", "", b"x", JSON, "k"), world.payer.profile)
    request = Unsigned("POST", "/v1/payouts", "", b"{", JSON, "k")
    answers = within_one_second(lambda: [
        *(world.payer.send(request, forged) for _ in range(PER_KEY)),  # who can't sign uses up nobody's rate
        *(world.payer.get("/v1/payouts") for _ in range(PER_KEY)),
        world.payer.post("/v1/payouts", b"{", None), world.payer.send(request, forged),
    ])
    for answer in (*answers[:PER_KEY], answers[-1]):
        refused(answer, "signature_invalid")
    assert [answer.status_code for answer in answers[PER_KEY:-2]] == [200] * PER_KEY
    refused(answers[-2], "rate_limited")
