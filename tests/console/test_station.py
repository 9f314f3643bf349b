"""What the station's routes take: nothing that isn't asserted by somebody of the roster, from nowhere but the station.

The attacker reaches the console and forges whatever a browser would say of itself; they want rows, or what waits for
others. The bound is nothing.
"""

import json
from typing import Any

import pytest
from tests.console.filled import fill
from tests.console.world import STATION, World

from strongroom.cli.passkey import SoftwarePasskey, software_passkey
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.request import INTENT_TYPE

PARTY = {"id": "station.localhost", "origin": STATION}


def passkey(world: World, login: str) -> SoftwarePasskey:
    return software_passkey({"people": world.made.document["people"], "relying_party": PARTY}, login)


def record_of(world: World, login: str) -> bytes:
    return encode({
        "body": {"amount": "1"}, "created_ms": world.now, "deployment": world.config.deployment,
        "idempotency_key": "k", "organisation": world.made.new.id, "path": "/v1/payouts",
        "person": world.person(login)["id"], "type": INTENT_TYPE,
    })


def asked(world: World, value: dict[str, Any], origin: str = STATION) -> int:
    return world.visitor().json("/station/intent", value, origin=origin).status_code


def test_what_nobody_asserted_leaves_no_row(world: World) -> None:
    record, other = record_of(world, "eve"), record_of(world, "ada")
    good = assertion_document(passkey(world, "eve").asserts(record, INTENT_TYPE))
    whole: dict[str, Any] = {"assertion": good, "confirmed": [], "record": record.decode()}
    before = world.owner.counts()
    assert asked(world, whole, origin="http://console.localhost:8421") == 403
    assert asked(world, {**whole, "record": other.decode()}) == 403
    assert asked(world, {**whole, "assertion": {**good, "person": world.person("ada")["id"]}}) == 403
    assert asked(world, {**whole, "more": 1}) == 422
    assert asked(world, {**whole, "confirmed": "no list"}) == 422
    assert world.owner.counts() == before


@pytest.mark.parametrize("origin", ["http://evil.localhost", "null", "http://console.localhost:8421"])
def test_nobody_but_the_station_may_ask_to_post(world: World, origin: str) -> None:
    answer = world.visitor().send("OPTIONS", "/station/approve", headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.headers["access-control-allow-origin"] == STATION


def test_a_page_for_people_answers_no_preflight(world: World) -> None:
    assert world.visitor().send("OPTIONS", "/payouts/ask", headers={"origin": STATION}).status_code == 405


def test_items_of_a_run_are_read_by_their_link_alone(world: World) -> None:
    assert world.visitor().get("/station/items/guessed").status_code == 403


def test_an_approval_over_other_bytes_is_refused_and_kept_nowhere(world: World) -> None:
    fill(world)
    row = world.owner.fetch("SELECT request, request_hash FROM strongroom.approval_requests LIMIT 1")[0]
    given = passkey(world, "ada").asserts(row["request"] + b" ", "strongroom/approval-request/v1")
    value = {"assertion": assertion_document(given), "confirmed": [], "request": row["request_hash"]}
    answer = world.visitor().json("/station/approve", value, origin=STATION)
    assert answer.status_code == 403
    assert "doesn't hold" in json.loads(answer.content)["detail"]
    assert world.owner.value("SELECT count(*) FROM strongroom.approval_assertions") == 0
