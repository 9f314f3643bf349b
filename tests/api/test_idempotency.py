"""One key, one effect, one answer: whoever sends a request again learns what the first one did."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess
from tests.api.signer import JSON, Unsigned, sign
from tests.api.world import Client, Organisation, declaration, fresh_key, item, payout, refused

from strongroom.domain.ids import ClientId, IdempotencyKey, OrganisationId
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id

PARALLEL = 50


@pytest.fixture(scope="module")
def to(world: Organisation) -> dict[str, Any]:
    return world.declared()


@pytest.fixture
def many(api: ApiProcess) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=PARALLEL)
    with httpx.Client(base_url=api.url, timeout=30, trust_env=False, limits=limits) as client:
        yield client


def in_parallel(many: httpx.Client, by: Client, requests: list[Unsigned]) -> list[httpx.Response]:
    signed = [(request, sign(request, by.profile)) for request in requests]

    def send(one: tuple[Unsigned, dict[str, str]]) -> httpx.Response:
        return many.request(one[0].method, one[0].path, content=one[0].body, headers=one[1])

    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(send, signed))


def ask(body: dict[str, Any], key: str, path: str = "/v1/payouts") -> Unsigned:
    return Unsigned("POST", path, "", json.dumps(body).encode(), JSON, key)


def test_fifty_at_once_with_one_key_make_one_payout(
    world: Organisation, to: dict[str, Any], many: httpx.Client
) -> None:
    before, key, body = world.owner.counts(), fresh_key(), payout(to)
    answers = in_parallel(many, world.payer, [ask(body, key)] * PARALLEL)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert (replayed.count(None), replayed.count("true")) == (1, PARALLEL - 1)
    after = world.owner.counts()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "payouts": 1, "evidence": 1, "audit_leaves": 1, "outbox": 1, "ledger_postings": 1}


def test_fifty_at_once_with_one_key_and_fifty_bodies_make_one_payout(
    world: Organisation, to: dict[str, Any], many: httpx.Client
) -> None:
    before, key = world.owner.counts(), fresh_key()
    debt = fresh_key()
    bodies = [payout(to, amount=str(1_000 + number), external_id=debt) for number in range(PARALLEL)]
    answers = in_parallel(many, world.payer, [ask(body, key) for body in bodies])
    made = [answer for answer in answers if answer.status_code == 201]
    assert len(made) == 1
    for answer in answers:
        if answer.status_code != 201:
            refused(answer, "idempotency_key_reused", "amount")
    assert world.owner.counts()["payouts"] == before["payouts"] + 1
    winner = made[0].json()["amount"]
    again = world.payer.send(ask(bodies[int(winner) - 1_000], key))
    assert (again.content, again.headers["idempotent-replayed"]) == (made[0].content, "true")


def test_fifty_at_once_for_one_debt_make_one_payout(
    world: Organisation, to: dict[str, Any], many: httpx.Client
) -> None:
    before, body = world.owner.counts(), payout(to)
    answers = in_parallel(many, world.payer, [ask(body, fresh_key()) for _ in range(PARALLEL)])
    codes = [answer.json().get("code", "made") for answer in answers]
    assert (codes.count("made"), codes.count("duplicate_external_id")) == (1, PARALLEL - 1)
    assert world.owner.counts()["payouts"] == before["payouts"] + 1


@pytest.mark.parametrize("path", ["/v1/payout-runs", "/v1/beneficiaries"])
def test_twenty_at_once_with_one_key_make_one_run_or_beneficiary(
    world: Organisation, to: dict[str, Any], many: httpx.Client, path: str
) -> None:
    before, key = world.owner.counts(), fresh_key()
    is_run = path == "/v1/payout-runs"
    body = {"items": [item(to), item(to)]} if is_run else declaration()
    client = world.payer if is_run else world.declarer
    answers = in_parallel(many, client, [ask(body, key, path)] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count(None) == 1
    table = "runs" if is_run else "beneficiaries"
    assert world.owner.counts()[table] == before[table] + 1


DIFFERENT = [
    ({"amount": "2"}, "amount"), ({"external_id": "other"}, "external_id"), ({"metadata": {"a": "b"}}, "metadata"),
    ({"actor": {"id": "x"}}, "actor"), ({"remittance_information": "x"}, "remittance_information"),
    ({"on_hold": "refuse"}, "on_hold"), ({"activities": ["a"]}, "activities"),
    ({"beneficiary": "ben_" + "a" * 26}, "beneficiary"), ({"asset": "USDC"}, "asset"),
    ({"destination_digest": "0" * 64, "amount": "2"}, "amount"), ({"amount": "9" * 78}, "amount"),
]


@pytest.mark.parametrize(("changes", "field"), DIFFERENT)
def test_another_body_under_a_used_key_names_the_first_field_that_differs(
    world: Organisation, to: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    key, body = fresh_key(), payout(to)
    assert world.payer.post("/v1/payouts", body, key).status_code == 201
    before = world.owner.counts()
    refused(world.payer.post("/v1/payouts", {**body, **changes}, key), "idempotency_key_reused", field)
    assert world.owner.counts() == before


def test_other_bytes_of_the_same_values_are_another_body(world: Organisation, to: dict[str, Any]) -> None:
    key, body = fresh_key(), payout(to)
    assert world.payer.post("/v1/payouts", body, key).status_code == 201
    problem = refused(
        world.payer.post("/v1/payouts", json.dumps(body, indent=1).encode(), key), "idempotency_key_reused", "")
    assert "bytes" in problem["detail"]


def test_every_kind_of_write_is_answered_again_as_the_first_time(world: Organisation, to: dict[str, Any]) -> None:
    made = world.declared()
    payout_key, open_key = fresh_key(), fresh_key()
    first = world.payer.post("/v1/payouts", payout(made), payout_key).json()
    opened = world.payer.post("/v1/payout-runs", {"items": [item(to)]}, open_key).json()
    version = {**declaration()["destination"], "version": 2, "previous": made["destination"]["digest"]}
    payer, declarer = world.payer, world.declarer
    calls = [
        (declarer, "/v1/beneficiaries", declaration(), 201),
        (declarer, f"/v1/beneficiaries/{made['id']}/destinations", version, 202),
        (payer, "/v1/payouts", payout(to), 201),
        (payer, f"/v1/payouts/{first['id']}/cancel", {"idempotency_key": payout_key}, 202),
        (payer, "/v1/payout-runs", {"items": [item(to), item(to)]}, 201),
        (payer, f"/v1/payout-runs/{opened['id']}/items", {"first_index": 1, "items": [item(to)]}, 201),
        (payer, f"/v1/payout-runs/{opened['id']}/cancel", {"idempotency_key": open_key}, 202),
    ]
    for client, path, body, status in calls:
        key = fresh_key()
        one = client.post(path, body, key)
        assert one.status_code == status, (path, one.text)
        assert "idempotent-replayed" not in one.headers
        before = world.owner.counts()
        again = client.post(path, body, key)
        assert (again.status_code, again.content) == (status, one.content), path
        assert again.headers.get("idempotent-replayed") == "true", path
        assert world.owner.counts() == before
        refused(client.post(path, {**body, "x": 1}, key), "invalid", "x")


def test_a_replay_answers_as_the_first_time_though_the_payout_has_moved_on(
    world: Organisation, to: dict[str, Any]
) -> None:
    key, cancel_key, body = fresh_key(), fresh_key(), payout(to)
    first = world.payer.post("/v1/payouts", body, key)
    name = first.json()["id"]
    cancelled = world.payer.post(f"/v1/payouts/{name}/cancel", {"idempotency_key": key}, cancel_key)
    assert cancelled.json() == {"id": name, "state": "received", "cancel_requested": True}
    world.owner.execute("UPDATE strongroom.payouts SET state = 'settled', updated_at = 9 WHERE id = $1", name)
    assert world.payer.get(f"/v1/payouts/{name}").json()["state"] == "settled"
    again = world.payer.post("/v1/payouts", body, key)
    assert (again.status_code, again.content) == (201, first.content)
    once_more = world.payer.post(f"/v1/payouts/{name}/cancel", {"idempotency_key": key}, cancel_key)
    assert (once_more.status_code, once_more.content) == (202, cancelled.content)
    refused(world.payer.post(f"/v1/payouts/{name}/cancel", {"idempotency_key": key}, fresh_key()), "too_late")


def test_ids_are_those_that_a_client_computes(world: Organisation, to: dict[str, Any]) -> None:
    organisation = OrganisationId(world.id)
    key = IdempotencyKey(fresh_key())
    payer, declarer = ClientId(world.payer.client_id), ClientId(world.declarer.client_id)
    made = world.payer.post("/v1/payouts", payout(to), key).json()
    assert made["id"] == payout_id(organisation, payer, key)
    run = world.payer.post("/v1/payout-runs", {"items": [item(to)]}, key).json()
    assert run["id"] == run_id(organisation, payer, key)
    beneficiary = world.declarer.post("/v1/beneficiaries", declaration(), key).json()
    assert beneficiary["id"] == beneficiary_id(organisation, declarer, key)


def test_keys_are_scoped_by_client_and_kind(world: Organisation, to: dict[str, Any]) -> None:
    key = fresh_key()
    other = world.clients["payouts2"]
    one, two = (client.post("/v1/payouts", payout(to), key) for client in (world.payer, other))
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["id"] != two.json()["id"]
    run = world.payer.post("/v1/payout-runs", {"items": [item(to)]}, key)
    assert run.status_code == 201
    # an item's key is a payout's key
    taken = world.payer.post("/v1/payout-runs", {"items": [item(to), item(to, idempotency_key=key)]}, fresh_key())
    refused(taken, "idempotency_key_reused", "items[1].idempotency_key")
    inside = item(to)
    assert world.payer.post("/v1/payout-runs", {"items": [inside]}, fresh_key()).status_code == 201
    alone = {name: value for name, value in inside.items() if name != "idempotency_key"}
    problem = refused(world.payer.post("/v1/payouts", alone, inside["idempotency_key"]), "idempotency_key_reused", "")
    assert "POST /v1/payout-runs" in problem["detail"]


@pytest.mark.parametrize("key", ["k" * 255, "!", "~", "a/b?c=d&e", '"'])
def test_keys_of_visible_ascii_are_taken(world: Organisation, to: dict[str, Any], key: str) -> None:
    answer = world.payer.post("/v1/payouts", payout(to), key)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("key", ["k" * 256, "a b"])
def test_keys_of_another_form_are_invalid(world: Organisation, to: dict[str, Any], key: str) -> None:
    before = world.owner.counts()
    refused(world.payer.post("/v1/payouts", payout(to), key), "invalid", "Idempotency-Key")
    assert world.owner.counts() == before


def test_a_refused_request_uses_no_key(world: Organisation, to: dict[str, Any]) -> None:
    key = fresh_key()
    refused(world.payer.post("/v1/payouts", payout(to, amount=str(10**15)), key), "limit_exceeded", "amount")
    assert world.payer.post("/v1/payouts", payout(to), key).status_code == 201
