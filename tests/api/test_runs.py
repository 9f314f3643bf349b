"""Runs over HTTP: in one call, in parts, sealed, cancelled; each call is taken whole or not at all."""

import json
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess, Owner
from tests.api.world import EUR, USDC, Organisation, create_world, fresh_key, item, payout, refused

from strongroom.domain.ids import ClientId, IdempotencyKey, OrganisationId, RunId
from strongroom.protocol.identifier import run_id
from strongroom.protocol.run_tree import item_leaf, run_root


@pytest.fixture(scope="module")
def to(world: Organisation) -> dict[str, Any]:
    return world.declared()


def seal_of(world: Organisation, key: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """What the client says the run is, from its own data."""
    run = run_id(OrganisationId(world.id), ClientId(world.payer.client_id), IdempotencyKey(key))
    totals: dict[str, int] = {}
    for each in items:
        totals[each["asset"]] = totals.get(each["asset"], 0) + int(each["amount"])
    root = run_root(item_leaf(each, RunId(run), index) for index, each in enumerate(items))
    return {"count": len(items), "totals": {asset: str(sum_) for asset, sum_ in totals.items()}, "root": root.hex()}


def post(world: Organisation, path: str, body: object, key: str | None = None) -> httpx.Response:
    return world.payer.post(f"/v1/payout-runs{path}", body, key or fresh_key())


def test_a_run_in_one_call_carries_its_seal(world: Organisation, to: dict[str, Any]) -> None:
    key, items = fresh_key(), [item(to, amount=str(number + 1)) for number in range(100)]
    seal = seal_of(world, key, items)
    answer = post(world, "", {"items": items, "seal": seal, "external_id": "July"}, key)
    assert answer.status_code == 201, answer.text
    run = answer.json()
    assert (run["state"], run["count"], run["totals"], run["external_id"]) == ("sealed", 100, {USDC: "5050"}, "July")
    assert run["seal"] == seal
    assert world.payer.get(f"/v1/payout-runs/{run['id']}").json() == run
    refused(post(world, f"/{run['id']}/items", {"first_index": 100, "items": [item(to)]}), "run_sealed")
    refused(post(world, f"/{run['id']}/seal", seal), "run_sealed")
    evidence = world.payer.get(f"/v1/payouts/{items_of(world, run['id'])[3]['id']}/evidence").json()
    assert (evidence["run"], evidence["run_index"]) == (run["id"], 3)


def items_of(world: Organisation, run: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = world.payer.get(f"/v1/payout-runs/{run}/items", f"limit=30{query}{cursor}").json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor'].replace('=', '%3D')}"


def test_a_run_in_parts_is_sealed_over_all_of_them(world: Organisation, to: dict[str, Any]) -> None:
    bank = world.declared(destination={
        "network": "sepa", "iban": "DE89370400440532013000", "account_holder": "Ada Example", "country": "DE"})
    key = fresh_key()
    parts = [[item(to) for _ in range(size)] for size in (3, 1, 4)]
    parts.append([item(bank, asset=EUR, amount="1250")])
    run = post(world, "", {"items": parts[0]}, key).json()["id"]
    count = 3
    for part in parts[1:]:
        refused(post(world, f"/{run}/items", {"first_index": count + 1, "items": part}), "invalid", "first_index")
        added = post(world, f"/{run}/items", {"first_index": count, "items": part})
        assert added.status_code == 201, added.text
        count += len(part)
        assert (added.json()["state"], added.json()["count"]) == ("open", count)
    whole = [each for part in parts for each in part]
    seal = seal_of(world, key, whole)
    before = world.owner.counts()
    refused(post(world, f"/{run}/seal", {**seal, "count": 8}), "seal_mismatch", "count")
    refused(post(world, f"/{run}/seal", {**seal, "totals": {USDC: "8000000"}}), "seal_mismatch", f"totals.{EUR}")
    swapped = seal_of(world, key, [whole[1], whole[0], *whole[2:]])
    refused(post(world, f"/{run}/seal", swapped), "seal_mismatch", "root")
    refused(post(world, f"/{run}/seal", {**seal, "root": seal["root"].upper()}), "invalid", "root")
    assert world.owner.counts() == before
    sealed = post(world, f"/{run}/seal", seal)
    assert (sealed.status_code, sealed.json()["state"], sealed.json()["seal"]) == (201, "sealed", seal)
    assert [each["run_index"] for each in items_of(world, run)] == list(range(9))
    assert [each["external_id"] for each in items_of(world, run)] == [each["external_id"] for each in whole]


def test_one_bad_item_of_many_keeps_all_others_out(world: Organisation, to: dict[str, Any]) -> None:
    items = [item(to) for _ in range(100)]
    before = world.owner.counts()
    for change, code, field in (
        ({"amount": "0"}, "invalid", "amount"),
        ({"destination_digest": "0" * 64}, "destination_mismatch", "destination_digest"),
        ({"amount": str(10**15)}, "limit_exceeded", "amount"),
        ({"external_id": world.paid(to)["external_id"]}, "duplicate_external_id", "external_id"),
    ):
        bad = [*items[:17], {**items[17], **change}, *items[18:]]
        refused(post(world, "", {"items": bad}), code, f"items[17].{field}")
    after = world.owner.counts()
    assert after["runs"] == before["runs"]
    assert after["payouts"] == before["payouts"] + 1  # the one that was paid on purpose
    assert post(world, "", {"items": items}).status_code == 201


def test_the_limits_room_that_a_refused_run_took_is_given_back(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    limits = [{"name": "a day", "scope": "organisation", "counts": "all", "span_ms": 86_400_000,
               "maximum_reference_minor": "1000"}]
    world = create_world(api, owner, http, limits=limits)
    to = world.declared()
    bad = {"items": [*(item(to, amount="1000000") for _ in range(9)), item(to, destination_digest="0" * 64)]}
    refused(post(world, "", bad), "destination_mismatch", "items[9].destination_digest")
    states = [world.paid(to, amount="1000000")["state"] for _ in range(11)]
    assert states == ["received"] * 10 + ["held"]


def test_ten_thousand_items_go_in_one_call_and_one_more_does_not(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    world = create_world(api, owner, http)
    to = world.declared()
    key = fresh_key()
    items = [item(to, amount="1", idempotency_key=f"k{number}", external_id=f"d{number}") for number in range(10_000)]
    more = {"items": [*items, item(to)]}
    before = owner.counts()
    problem = refused(post(world, "", more), "invalid", "items")
    assert "10000" in problem["detail"]
    assert owner.counts() == before
    answer = post(world, "", {"items": items, "seal": seal_of(world, key, items)}, key)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["count"], answer.json()["state"]) == (10_000, "sealed")
    assert owner.value("SELECT count(*) FROM strongroom.payouts WHERE run = $1", answer.json()["id"]) == 10_000


def test_a_cancelled_run_takes_no_more_and_says_so_on_every_item(world: Organisation, to: dict[str, Any]) -> None:
    key = fresh_key()
    run = post(world, "", {"items": [item(to), item(to)]}, key).json()["id"]
    refused(post(world, f"/{run}/cancel", {"idempotency_key": "another"}), "not_found")
    cancelled = post(world, f"/{run}/cancel", {"idempotency_key": key})
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancel_requested")
    assert [(each["cancel_requested"], each["state"]) for each in items_of(world, run)] == [(True, "received")] * 2
    refused(post(world, f"/{run}/items", {"first_index": 2, "items": [item(to)]}), "too_late")
    refused(post(world, f"/{run}/seal", seal_of(world, key, [])| {"count": 2, "totals": {USDC: "1"}}), "too_late")
    assert post(world, f"/{run}/cancel", {"idempotency_key": key}).status_code == 202  # asked again, nothing changes
    assert world.payer.get(f"/v1/payout-runs/{run}").json()["state"] == "cancel_requested"


def test_a_run_is_listed_and_its_items_are_filtered(world: Organisation, to: dict[str, Any]) -> None:
    later = "2040-01-01T00:00:00Z"
    body = {"items": [item(to), item(to, not_before=later), item(to)]}
    run = post(world, "", body).json()
    assert run["held"] == {"not_before": 1}
    held = items_of(world, run["id"], "&state=held")
    assert [(each["run_index"], each["hold"]) for each in held] == [
        (1, {"reason": "not_before", "retry_at": "2040-01-01T00:00:00.000Z"})]
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = world.payer.get("/v1/payout-runs", "limit=2" + cursor).json()
        listed += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor'].replace('=', '%3D')}"
    assert len(listed) == len(set(listed)) >= 5
    assert run["id"] in listed
    by_filter = world.payer.get("/v1/payouts", f"run={run['id']}").json()["data"]
    assert [each["run_index"] for each in by_filter] == [0, 1, 2]


def test_a_preview_of_a_run_says_row_by_row_and_stores_nothing(world: Organisation, to: dict[str, Any]) -> None:
    before = world.owner.counts()
    items = [item(to), item(to, amount=str(10**16)), item(to, asset="USDC"), item(to, amount="300000000"),
             item(to, amount="9" * 78)]
    answer = world.payer.post("/v1/payout-runs/preview", {"items": items})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [row["problem"] and row["problem"]["code"] for row in found["rows"]] == [
        None, "amount_out_of_range", "asset_unknown", None, "amount_out_of_range"]
    assert [row["row"] for row in found["rows"]] == [0, 1, 2, 3, 4]
    assert found["totals"] == {USDC: "301000000"}
    assert found["rows"][0]["preview"]["approvals"] == {"count": 0, "groups": 0}
    assert found["rows"][3]["preview"]["approvals"] == {"count": 2, "groups": 2}  # one, and one for its youth
    assert world.owner.counts() == before


def test_what_a_preview_says_is_what_happens(world: Organisation, to: dict[str, Any]) -> None:
    for changes in ({}, {"amount": "300000000"}, {"not_before": "2040-01-01T00:00:00Z"}, {"amount": str(10**16)}):
        body = payout(to, **changes)
        before = world.owner.counts()
        seen = world.payer.post("/v1/payouts/preview", body)
        assert world.owner.counts() == before
        made = world.payer.post("/v1/payouts", body, fresh_key())
        if seen.status_code == 200:
            assert (made.status_code, made.json()["hold"]) == (201, seen.json()["hold"])
            assert {limit["name"] for limit in seen.json()["limits"]} <= {
                "B: unattended, a day", "D: declared or young, a day", "K: one client, a day"}
        else:
            assert (made.status_code, made.json()["code"]) == (seen.status_code, seen.json()["code"])


def test_leaves_are_of_what_was_sent_not_of_what_was_read(world: Organisation, to: dict[str, Any]) -> None:
    """Fields with their default, sent or left out, make different leaves; the root tells."""
    key, bare = fresh_key(), item(to)
    spelled = {**bare, "on_hold": "hold", "metadata": {}, "activities": []}
    wrong = {"items": [spelled], "seal": seal_of(world, key, [bare])}
    refused(post(world, "", wrong, key), "seal_mismatch", "seal.root")
    right = post(world, "", {"items": [spelled], "seal": seal_of(world, key, [spelled])}, key)
    assert right.status_code == 201, right.text
    stored = world.owner.value("SELECT leaf FROM strongroom.run_items WHERE run = $1", right.json()["id"])
    assert {**spelled, "index": 0, "run": right.json()["id"], "type": "strongroom/run-item/v1"} == json.loads(stored)
