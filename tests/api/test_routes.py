"""What the API can do is exactly this table; each call needs its permission, whatever key comes with it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api.raw import exchange
from tests.api.server import ApiProcess, Owner
from tests.api.signer import JSON, Unsigned, sign
from tests.api.world import Organisation, create_world, declaration, fresh_key, item, payout, refused

from strongroom.api.routes import PUBLIC, ROUTES
from strongroom.domain.permissions import Permission

TABLE = {
    "POST /v1/beneficiaries": "beneficiaries:create",
    "GET /v1/beneficiaries": "beneficiaries:read",
    "GET /v1/beneficiaries/{beneficiary}": "beneficiaries:read",
    "POST /v1/beneficiaries/{beneficiary}/destinations": "beneficiaries:create",
    "POST /v1/payouts": "payouts:create",
    "POST /v1/payouts/preview": "payouts:preview",
    "GET /v1/payouts": "payouts:read",
    "GET /v1/payouts/{payout}": "payouts:read",
    "GET /v1/payouts/{payout}/evidence": "payouts:read",
    "GET /v1/payouts/{payout}/receipt": "payouts:read",
    "POST /v1/payouts/{payout}/cancel": "payouts:cancel",
    "POST /v1/payout-runs": "payouts:create",
    "POST /v1/payout-runs/preview": "payouts:preview",
    "GET /v1/payout-runs": "payouts:read",
    "GET /v1/payout-runs/{run}": "payouts:read",
    "GET /v1/payout-runs/{run}/items": "payouts:read",
    "POST /v1/payout-runs/{run}/items": "payouts:create",
    "POST /v1/payout-runs/{run}/seal": "payouts:create",
    "POST /v1/payout-runs/{run}/cancel": "payouts:cancel",
    "POST /v1/person-intents": "payouts:create",
    "GET /v1/approvals": "approvals:read",
    "POST /v1/approvals/{request}/assertions": "approvals:give",
    "GET /v1/policy": "limits:read",
    "GET /v1/roster": "approvals:read",
    "GET /v1/changes": "approvals:read",
    "GET /v1/changes/{change}": "approvals:read",
    "POST /v1/changes": "approvals:give",
    "POST /v1/changes/{change}/assertions": "approvals:give",
    "GET /v1/balances": "balances:read",
    "GET /v1/wallets": "balances:read",
    "GET /v1/audit/checkpoint": "audit:read",
    "GET /v1/audit/entries": "audit:read",
    "GET /v1/audit/proofs/inclusion": "audit:read",
    "GET /v1/audit/proofs/consistency": "audit:read",
}
ASSERTED = {
    "POST /v1/approvals/{request}/assertions", "POST /v1/changes", "POST /v1/changes/{change}/assertions",
    "POST /v1/person-intents",
}
"""A passkey signs such a call in; tests/e2e shows it at work."""
QUERIES = {
    "/v1/audit/entries": "start=0&end=0", "/v1/audit/proofs/inclusion": "leaf_index=0&size=1",
    "/v1/audit/proofs/consistency": "first=1&second=1",
}
OWN_ERRORS = {"GET /v1/payouts/{payout}/receipt": "in_progress", "GET /v1/audit/checkpoint": "not_found",
              "GET /v1/changes/{change}": "not_found",
              "GET /v1/audit/proofs/inclusion": "not_found", "GET /v1/audit/proofs/consistency": "not_found"}
"""What the owner itself is told here, where nobody sequences the log."""


def test_the_routes_are_exactly_these_and_each_names_its_permission() -> None:
    assert {f"{route.method} {route.path}": route.permission.value for route in ROUTES} == TABLE
    assert len(ROUTES) == len(TABLE)
    assert {"/livez", "/readyz", "/openapi.json"} == PUBLIC


def test_every_write_that_is_recorded_needs_an_idempotency_key() -> None:
    keyed = {f"{route.method} {route.path}" for route in ROUTES if route.keyed}
    assert keyed == {
        call for call in TABLE if call.startswith("POST") and not call.endswith("/preview") and call not in ASSERTED
    }
    assert {f"{route.method} {route.path}" for route in ROUTES if route.asserted} == ASSERTED


class Objects:
    """One beneficiary, payout and open run of an organisation, with the keys that made them."""

    def __init__(self, world: Organisation) -> None:
        self.to = world.declared()
        self.payout_key, self.run_key = fresh_key(), fresh_key()
        made = world.payer.post("/v1/payouts", payout(self.to), self.payout_key)
        run = world.payer.post("/v1/payout-runs", {"items": [item(self.to)]}, self.run_key)
        assert (made.status_code, run.status_code) == (201, 201), (made.text, run.text)
        self.names = {"beneficiary": self.to["id"], "payout": made.json()["id"], "run": run.json()["id"],
                      "change": "0" * 64}

    def body(self, call: str) -> dict[str, Any]:
        """A body that passes every check of fields, so that only the key decides."""
        digest = self.to["destination"]["digest"]
        return {
            "POST /v1/beneficiaries": declaration(),
            "POST /v1/beneficiaries/{beneficiary}/destinations": {
                **declaration()["destination"], "version": 2, "previous": digest},
            "POST /v1/payouts": payout(self.to),
            "POST /v1/payouts/preview": payout(self.to),
            "POST /v1/payouts/{payout}/cancel": {"idempotency_key": self.payout_key},
            "POST /v1/payout-runs": {"items": [item(self.to)]},
            "POST /v1/payout-runs/preview": {"items": [item(self.to)]},
            "POST /v1/payout-runs/{run}/items": {"first_index": 1, "items": [item(self.to)]},
            "POST /v1/payout-runs/{run}/seal": {"count": 9, "totals": {"a": "1"}, "root": "0" * 64},
            "POST /v1/payout-runs/{run}/cancel": {"idempotency_key": self.run_key},
        }[call]

    def request(self, call: str) -> Unsigned:
        method, path = call.split(" ")
        path = re.sub(r"\{(\w+)\}", lambda match: self.names[match[1]], path)
        if method == "GET":
            return Unsigned("GET", path, QUERIES.get(path, ""))
        return Unsigned("POST", path, "", json.dumps(self.body(call)).encode(), JSON, fresh_key())


@pytest.fixture(scope="module")
def objects(world: Organisation) -> Objects:
    return Objects(world)


@pytest.fixture(scope="module")
def stranger(api: ApiProcess, owner: Owner, http: httpx.Client) -> Organisation:
    return create_world(api, owner, http)


def kinds(world: Organisation) -> Iterator[tuple[str, frozenset[str]]]:
    for name, client in world.clients.items():
        scopes = world.owner.value(
            "SELECT scopes FROM strongroom.client_keys WHERE key_id = $1", client.profile.key_id)
        yield name, frozenset(scopes)


@pytest.mark.parametrize("call", [call for call in TABLE if call not in ASSERTED])
def test_every_call_by_every_kind_of_key(
    world: Organisation, stranger: Organisation, objects: Objects, http: httpx.Client, call: str
) -> None:
    permission, is_read = TABLE[call], call.startswith("GET")
    for name, scopes in kinds(world):
        if permission not in scopes:
            answer = world.clients[name].send(objects.request(call))
            refused(answer, "scope_missing")
            assert permission in answer.json()["detail"]
    # the same call without a signature, and with a token that may only read
    request = objects.request(call)
    bare = {} if is_read else {name: value for name, value in sign(request, world.payer.profile).items()
                               if not name.startswith("Signature")}
    refused(world.payer.send(request, bare), "signature_missing")
    with_token = world.payer.send(request, {**bare, "Authorization": f"Bearer {world.bearer}"})
    if is_read:
        expect(with_token, call)
    else:
        refused(with_token, "signature_missing")
    # somebody else's key, with the same scopes
    other = stranger.clients["beneficiaries" if permission == "beneficiaries:create" else "payouts"]
    by_stranger = other.send(objects.request(call))
    if "{" in call or call in ("POST /v1/payouts", "POST /v1/payouts/preview", "POST /v1/payout-runs"):
        assert by_stranger.status_code == 404, by_stranger.text
        assert by_stranger.json()["code"] == "not_found"
    # and the one that may
    mine = world.clients["beneficiaries" if permission == "beneficiaries:create" else "payouts"]
    expect(mine.send(objects.request(call)), call)


def expect(answer: httpx.Response, call: str) -> None:
    """What a key with the permission gets."""
    status = next(route.status for route in ROUTES if f"{route.method} {route.path}" == call)
    if call == "POST /v1/payout-runs/{run}/seal":
        refused(answer, "seal_mismatch", "count")
    elif call in OWN_ERRORS and answer.status_code != status:
        refused(answer, OWN_ERRORS[call])
    else:
        assert answer.status_code == status, answer.text


def test_a_stranger_sees_no_row_of_another_organisation(
    stranger: Organisation, objects: Objects, world: Organisation
) -> None:
    for path in ("/v1/payouts", "/v1/payout-runs", "/v1/beneficiaries"):
        assert world.payer.get(path).json()["data"] != []
        assert {each["organisation"] for each in stranger.payer.get(path).json()["data"]} <= {stranger.id}
        for query in (f"beneficiary={objects.names['beneficiary']}", f"run={objects.names['run']}"):
            if path == "/v1/payouts":
                assert stranger.payer.get(path, query).json()["data"] == []
    preview = stranger.payer.post("/v1/payout-runs/preview", {"items": [item(objects.to)]})
    assert [row["problem"]["code"] for row in preview.json()["rows"]] == ["not_found"]


def test_a_client_of_the_same_organisation_cant_touch_what_another_made(
    world: Organisation, objects: Objects
) -> None:
    other, before = world.clients["payouts2"], world.owner.counts()
    for call in ("POST /v1/payouts/{payout}/cancel", "POST /v1/payout-runs/{run}/items",
                 "POST /v1/payout-runs/{run}/seal", "POST /v1/payout-runs/{run}/cancel"):
        refused(other.send(objects.request(call)), "not_found")
    assert world.owner.counts() == before


PATHS = [
    "/", "/v1", "/v1/", "/v1/payout", "/v1/payouts/", "/V1/payouts", "/v1//payouts", "/v1/payouts/%70o_a",
    "//v1/payouts",
    "/v1/payouts/po_a/evidence/x", "/v1/./payouts", "/v1/payouts/../balances", "/metrics", "/v1/payouts;a=b",
    "/v1/payouts/" + "a" * 65, "/v1/payouts/po-a", "/v2/payouts", "/livez/", "/v1/livez", "/v1/payouts/po_a%00",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_isnt_there_is_not_found(api: ApiProcess, path: str) -> None:
    answer = exchange(api, f"GET {path} HTTP/1.1\r\nHost: {api.authority}\r\n\r\n".encode())
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/payouts", "GET, POST"), ("DELETE", "/v1/payouts", "GET, POST"),
        ("PATCH", "/v1/payouts", "GET, POST"),
        ("OPTIONS", "/v1/payouts", "GET, POST"), ("GET", "/v1/payouts/preview", "POST"),
        ("POST", "/v1/balances", "GET"), ("POST", "/v1/payouts/po_a", "GET"),
        ("GET", "/v1/payouts/po_a/cancel", "POST"),
        ("DELETE", "/v1/payout-runs/run_a/items", "GET, POST"), ("POST", "/livez", "GET"), ("PUT", "/readyz", "GET"),
        ("POST", "/openapi.json", "GET"),
    ],
)
def test_a_path_with_another_method_says_which_it_has(
    http: httpx.Client, method: str, path: str, allow: str
) -> None:
    answer = http.request(method, path)
    refused(answer, "method_not_allowed")
    assert answer.headers["allow"] == allow


def test_head_is_no_way_around(api: ApiProcess, http: httpx.Client) -> None:
    answer = http.head("/v1/payouts")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET, POST", b"")
    assert exchange(api, f"TRACE /v1/payouts HTTP/1.1\r\nHost: {api.authority}\r\n\r\n".encode()).status in (400, 405)


def test_anybody_may_ask_whether_it_lives_and_what_it_is(api: ApiProcess, http: httpx.Client) -> None:
    assert http.get("/livez").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}
    assert http.get("/openapi.json").json()["openapi"] == "3.1.0"


def test_every_answer_has_its_id_and_keeps_caches_and_sniffers_out(world: Organisation, http: httpx.Client) -> None:
    ids = set()
    for answer in (http.get("/livez"), http.get("/nowhere"), world.payer.get("/v1/payouts"), http.put("/v1/payouts")):
        assert re.fullmatch("req_[a-z2-7]{26}", answer.headers["request-id"])
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
        ids.add(answer.headers["request-id"])
    assert len(ids) == 4


def test_limited_answers_say_how_much_is_left(world: Organisation) -> None:
    answer = world.payer.get("/v1/payouts")
    assert answer.headers["ratelimit-policy"] == '"address";q=100000;w=1, "key";q=100000;w=1'
    assert re.fullmatch(r'"address";r=\d+;t=1, "key";r=\d+;t=1', answer.headers["ratelimit"])


def test_metrics_stand_on_a_port_of_their_own(api: ApiProcess, http: httpx.Client) -> None:
    http.get("/v1/payouts")
    found = httpx.get(api.metrics_url, trust_env=False)
    assert found.status_code == 200
    assert re.search(r'strongroom_api_requests_total\{method="GET",status="401"\} \d+', found.text)
    assert httpx.get(api.metrics_url.replace("/metrics", "/"), trust_env=False).status_code == 404


def test_permissions_that_no_call_needs_yet_are_named() -> None:
    waiting = {Permission.ACTIVITIES_CREATE}
    assert {route.permission for route in ROUTES} | waiting == set(Permission)
    assert waiting & {route.permission for route in ROUTES} == set()
