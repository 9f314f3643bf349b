"""Whatever strangers and clients send is answered as the contract says: never by a fault, never by silence."""

import json
import socket
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.raw import read_answer, signed_bytes
from tests.api.server import ApiProcess
from tests.api.signer import JSON, Unsigned
from tests.api.world import USDC, Organisation, declaration, fresh_key, item, payout

from strongroom.domain.errors import CATALOGUE

SETTINGS = settings(
    max_examples=120, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REFUSALS = {row.status for row in CATALOGUE.values() if row.status < 500}
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT
    | st.sampled_from(["0", "1", "-1", USDC, "sepa", "2026-02-30T00:00:00Z", "9" * 78, "\0", "\u202e", "a" * 64])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8)


@pytest.fixture(scope="module")
def to(world: Organisation) -> dict[str, Any]:
    return world.declared()


def check_answered(answer: httpx.Response) -> None:
    assert answer.status_code in REFUSALS | {200, 201, 202}, answer.text
    assert answer.headers["request-id"].startswith("req_")
    if answer.status_code >= 400:
        assert answer.json()["status"] == answer.status_code
        assert len(answer.content) < 4_000


def bodies(to: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("/v1/payouts", payout(to)), ("/v1/payouts/preview", payout(to)), ("/v1/beneficiaries", declaration()),
        ("/v1/payout-runs", {"items": [item(to)], "seal": {"count": 1, "totals": {USDC: "1"}, "root": "0" * 64}}),
        ("/v1/payout-runs/preview", {"items": [item(to)]}),
        (f"/v1/beneficiaries/{to['id']}/destinations", {
            **declaration()["destination"], "version": 2, "previous": to["destination"]["digest"]}),
    ]


@SETTINGS
@given(data=st.data())
def test_a_body_with_any_value_in_any_place_is_answered(
    world: Organisation, to: dict[str, Any], data: st.DataObject
) -> None:
    path, body = data.draw(st.sampled_from(bodies(to)))
    where: Any = body
    while True:
        place = data.draw(st.sampled_from([*where, "new"] if isinstance(where, dict) else [0]))
        inner = where.get(place) if isinstance(where, dict) else where[place]
        if not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        where = inner
    where[place] = data.draw(VALUES)
    client = world.declarer if "beneficiaries" in path else world.payer
    raw = json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    check_answered(client.post(path, raw, fresh_key()))


@SETTINGS
@given(raw=st.binary(max_size=200), content_type=st.sampled_from([JSON, "text/csv"]))
def test_a_body_of_any_bytes_is_answered(
    world: Organisation, to: dict[str, Any], raw: bytes, content_type: str
) -> None:
    check_answered(world.payer.post("/v1/payout-runs/preview", raw, None, content_type))
    good = json.dumps(payout(to)).encode()
    check_answered(world.payer.post("/v1/payouts", good[:-len(raw) or None] + raw, fresh_key()))


@SETTINGS
@given(query=st.text(st.characters(codec="ascii", exclude_characters=" #\x7f", min_codepoint=33), max_size=40))
def test_any_query_is_answered(world: Organisation, query: str) -> None:
    for path in ("/v1/payouts", "/v1/audit/entries"):
        check_answered(world.payer.get(path, query))


@settings(SETTINGS, max_examples=60)
@given(data=st.data())
def test_a_request_with_any_bytes_changed_is_answered_and_changes_nothing(
    world: Organisation, to: dict[str, Any], data: st.DataObject
) -> None:
    """The attacker stands on the way and changes a signed request: whatever it changes, nothing is paid by it."""
    body = json.dumps(payout(to)).encode()
    raw = bytearray(signed_bytes(Unsigned("POST", "/v1/payouts", "", body, JSON, fresh_key()), world.payer.profile))
    places = st.integers(0, len(raw) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        raw[place] = data.draw(st.integers(0, 255).filter(lambda byte, was=raw[place]: byte != was))
    before = world.owner.value("SELECT count(*) FROM strongroom.payouts")
    status = _status(world.payer.api, bytes(raw))
    assert status in REFUSALS | {201}
    after = world.owner.value("SELECT count(*) FROM strongroom.payouts")
    assert after - before == (status == 201)
    if status == 201:  # what was changed is of no matter: the bytes that were signed are what is recorded
        stored = world.owner.value("SELECT body FROM strongroom.evidence ORDER BY id DESC LIMIT 1")
        assert stored == body


def _status(api: ApiProcess, raw: bytes) -> int:
    """A request that asks for more than it brings is given up by the API, not by us."""
    host, port = api.authority.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(raw)
        return read_answer(connection).status


def test_after_all_this_it_is_ready_and_has_logged_no_fault(world: Organisation, http: httpx.Client) -> None:
    assert http.get("/readyz").status_code == 200
    assert "Traceback" not in world.payer.api.log.read_text()


def test_what_follows_a_request_takes_its_answer_from_nobody(world: Organisation, to: dict[str, Any]) -> None:
    """Without its length a request has no body, and what was its body is rubbish that follows."""
    body = json.dumps(payout(to)).encode()
    whole = signed_bytes(Unsigned("POST", "/v1/payouts", "", body, JSON, fresh_key()), world.payer.profile)
    assert _status(world.payer.api, whole.replace(b"Content-Length", b"Content-Lengths")) == 401
