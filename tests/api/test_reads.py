"""Reading over HTTP: filters, cursors over several pages, the state of a payout, its evidence, its beneficiary."""

import base64
import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.api.server import ApiProcess, Owner
from tests.api.signer import content_digest
from tests.api.world import EVM, USDC, Organisation, address, create_world, declaration, fresh_key, payout, refused

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import BeneficiaryId, OrganisationId
from strongroom.protocol.destination_record import DestinationRecord, destination_digest


@pytest.fixture(scope="module")
def to(world: Organisation) -> dict[str, Any]:
    return world.declared()


def pages(world: Organisation, path: str, query: str = "", limit: int = 2) -> list[list[dict[str, Any]]]:
    """All pages of a list."""
    found: list[list[dict[str, Any]]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = world.payer.get(path, f"limit={limit}{query}{cursor}")
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["data"])
        following = answer.json()["next_cursor"]
        cursor = following and f"&cursor={following.replace('=', '%3D')}"
        assert len(found) < 100
    return found


def test_pages_hold_everything_once_and_in_order(api: ApiProcess, owner: Owner, http: httpx.Client) -> None:
    world = create_world(api, owner, http)
    to = world.declared()
    made = [world.paid(to)["id"] for _ in range(7)]
    for limit, sizes in ((2, [2, 2, 2, 1]), (3, [3, 3, 1]), (7, [7, 0]), (200, [7])):
        found = pages(world, "/v1/payouts", limit=limit)
        assert [len(page) for page in found] == sizes
        assert [each["id"] for page in found for each in page] == made
    first = world.payer.get("/v1/payouts", "limit=3").json()
    world.paid(to)  # what is added meanwhile comes at the end, and moves nothing
    rest = world.payer.get("/v1/payouts", f"limit=3&cursor={first['next_cursor'].replace('=', '%3D')}").json()
    assert [each["id"] for each in rest["data"]] == made[3:6]
    assert len(world.payer.get("/v1/payouts").json()["data"]) == 8
    declared = [to["id"], *(world.declared()["id"] for _ in range(4))]
    assert [each["id"] for page in pages(world, "/v1/beneficiaries") for each in page] == declared


def test_payouts_are_found_by_each_filter_and_by_several(world: Organisation, to: dict[str, Any]) -> None:
    other = world.declared()
    one = world.paid(to, external_id="debt of July")
    two = world.paid(other, not_before="2040-01-01T00:00:00Z")
    three = world.paid(other, external_id="debt of July")

    def found(query: str) -> list[str]:
        return [each["id"] for each in world.payer.get("/v1/payouts", query).json()["data"]]

    assert found(f"beneficiary={to['id']}") == [one["id"]]
    assert found("external_id=debt%20of%20July") == [one["id"], three["id"]]
    assert found("external_id=debt+of+July") == [one["id"], three["id"]]
    assert found(f"external_id=debt%20of%20July&beneficiary={other['id']}") == [three["id"]]
    assert found(f"state=held&beneficiary={other['id']}") == [two["id"]]
    assert found(f"state=settled&beneficiary={other['id']}") == []
    assert found(f"beneficiary={other['id']}&created_after={one['created_at']}") == [two["id"], three["id"]]
    assert found("created_after=2040-01-01T00:00:00Z") == []
    assert found("chain_transaction=abc") == []
    assert found("run=run_" + "a" * 26) == []


def test_a_payout_says_where_it_stands(world: Organisation, to: dict[str, Any]) -> None:
    full = payout(
        to, remittance_information="July — Grüße", activities=["trip 1"], expires_at="2041-01-01T00:00:00.5Z",
        not_before="2040-01-01T00:00:00Z", metadata={"team": "a"}, amount="300000000",
        actor={"id": "u1", "session_id": "s1", "ip": "2001:db8::1", "mfa_at": "2026-11-24T09:00:00Z"},
    )
    made = world.payer.post("/v1/payouts", full, fresh_key()).json()
    shown = world.payer.get(f"/v1/payouts/{made['id']}").json()
    assert shown == made
    for name in ("beneficiary", "asset", "amount", "external_id", "remittance_information", "activities", "metadata"):
        assert shown[name] == full[name], name
    assert (shown["organisation"], shown["client"]) == (world.id, world.payer.client_id)
    assert (shown["not_before"], shown["expires_at"]) == ("2040-01-01T00:00:00.000Z", "2041-01-01T00:00:00.500Z")
    assert (shown["state"], shown["hold"]) == (
        "held", {"reason": "not_before", "retry_at": "2040-01-01T00:00:00.000Z"})
    assert set(shown["explanation"]) == {"text_for_payee", "next_step", "eta"}
    assert [(step["name"], step["result"]) for step in shown["checkpoints"]] == [
        ("intake", "passed"), ("destination", "passed"), ("limits", "passed"), ("approval", "pending"),
        ("bytes", "pending"), ("broadcast", "pending"), ("settlement", "pending")]
    assert shown["destination"]["address"] == to["destination"]["address"]
    assert (shown["cancel_requested"], shown["status_reason"], shown["chain_transactions"]) == (False, None, [])
    assert shown["attempts"] == []
    stored = world.owner.value("SELECT actor FROM strongroom.payouts WHERE id = $1", made["id"])
    assert json.loads(stored) == full["actor"]


def test_evidence_verifies_offline(world: Organisation, to: dict[str, Any]) -> None:
    key, body = fresh_key(), json.dumps(payout(to)).encode()
    made = world.payer.post("/v1/payouts", body, key).json()
    evidence = world.payer.get(f"/v1/payouts/{made['id']}/evidence").json()
    raw = {name: base64.b64decode(evidence[name]) for name in ("public_key", "signature_base", "signature", "body")}
    Ed25519PublicKey.from_public_bytes(raw["public_key"]).verify(raw["signature"], raw["signature_base"])
    assert raw["public_key"] == world.payer.profile.private_key.public_key().public_bytes_raw()
    assert raw["body"] == body
    base = raw["signature_base"].decode()
    assert f'"content-digest": {content_digest(body)}\n' in base
    assert f'"idempotency-key": {key}\n' in base
    assert '"@query": ?\n' in base
    assert (evidence["method"], evidence["path"], evidence["idempotency_key"]) == ("POST", "/v1/payouts", key)
    assert (evidence["key_id"], evidence["authority"]) == (world.payer.profile.key_id, world.payer.profile.authority)


def test_a_cancel_sets_the_wish_and_not_the_state(world: Organisation, to: dict[str, Any]) -> None:
    key = fresh_key()
    made = world.payer.post("/v1/payouts", payout(to), key).json()
    path = f"/v1/payouts/{made['id']}/cancel"
    refused(world.payer.post(path, {"idempotency_key": "another"}, fresh_key()), "invalid", "idempotency_key")
    refused(world.payer.post(path, {}, fresh_key()), "invalid", "idempotency_key")
    answer = world.payer.post(path, {"idempotency_key": key}, fresh_key())
    assert (answer.status_code, answer.json()) == (
        202, {"id": made["id"], "state": "received", "cancel_requested": True})
    shown = world.payer.get(f"/v1/payouts/{made['id']}").json()
    assert (shown["state"], shown["cancel_requested"]) == ("received", True)
    assert "cancel" in shown["explanation"]["next_step"]
    world.owner.execute("UPDATE strongroom.payouts SET state = 'planned' WHERE id = $1", made["id"])
    refused(world.payer.post(path, {"idempotency_key": key}, fresh_key()), "too_late")


def test_a_replacement_names_the_last_that_ended_without_paying(world: Organisation, to: dict[str, Any]) -> None:
    first = world.paid(to)
    again = {"external_id": first["external_id"]}
    refused(world.payer.post("/v1/payouts", payout(to, **again), fresh_key()), "duplicate_external_id", "external_id")
    replacing = payout(to, **again, replaces=first["id"])
    refused(world.payer.post("/v1/payouts", replacing, fresh_key()), "duplicate_external_id", "replaces")
    world.owner.execute("UPDATE strongroom.payouts SET state = 'failed' WHERE id = $1", first["id"])
    made = world.payer.post("/v1/payouts", replacing, fresh_key())
    assert (made.status_code, made.json()["replaces"]) == (201, first["id"])
    refused(world.payer.post("/v1/payouts", {**replacing, "amount": "5"}, fresh_key()), "invalid", "replaces")
    # to another beneficiary at the same address it is the same debt
    twin = world.declared(destination={"network": EVM, "address": to["destination"]["address"]})
    refused(world.payer.post("/v1/payouts", payout(twin, **again), fresh_key()), "duplicate_external_id", "external_id")


def test_a_beneficiary_keeps_the_history_of_its_destinations(world: Organisation) -> None:
    made = world.declared(external_id="driver 7", name="Ada Exámple")
    first = made["destination"]
    record = DestinationRecord(
        OrganisationId(world.id), BeneficiaryId(made["id"]), "Ada Exámple", DestinationClass.DECLARED, EVM,
        first["address"], 1, None)
    assert destination_digest(record.encode()) == first["digest"]
    path = f"/v1/beneficiaries/{made['id']}/destinations"
    new = {"network": EVM, "address": address(), "version": 2, "previous": first["digest"]}
    for changes, code, field in (
        ({"version": 3}, "destination_mismatch", "version"), ({"version": 1}, "invalid", "version"),
        ({"previous": "0" * 64}, "destination_mismatch", "previous"), ({"version": "2"}, "invalid", "version"),
        ({"address": new["address"].lower()}, "address_invalid", "address"), ({"name": "Eve"}, "invalid", "name"),
    ):
        refused(world.declarer.post(path, {**new, **changes}, fresh_key()), code, field)
    answer = world.declarer.post(path, new, fresh_key())
    assert (answer.status_code, answer.json()["destination"]["version"]) == (202, 2)
    shown = world.payer.get(f"/v1/beneficiaries/{made['id']}").json()
    assert [each["version"] for each in shown["destinations"]] == [1, 2]
    assert (shown["destinations"][0], shown["destination"]) == (first, shown["destinations"][1])
    assert shown["name"] == "Ada Exámple"
    found = world.payer.get("/v1/beneficiaries", "external_id=driver%207").json()["data"]
    assert [each["id"] for each in found] == [made["id"]]
    refused(world.payer.post("/v1/payouts", payout(made), fresh_key()), "destination_mismatch", "destination_digest")
    assert world.payer.post("/v1/payouts", payout(shown), fresh_key()).status_code == 201


def test_balances_are_reserved_by_what_was_asked(api: ApiProcess, owner: Owner, http: httpx.Client) -> None:
    world = create_world(api, owner, http, opening=5_000_000)
    to = world.declared()
    world.paid(to, amount="2000000")
    world.paid(to, amount="4000000")  # held: there is no money for it, so nothing is reserved
    found = world.payer.get("/v1/balances").json()
    hot = next(each for each in found["data"] if (each["account"], each["asset"]) == ("wallet:hot", USDC))
    assert (hot["available"], hot["reserved"]) == ("3000000", "2000000")
    assert found["next_cursor"] is None


def test_a_wallet_is_told_by_the_ledger_and_by_what_watch_found(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    world = create_world(api, owner, http, opening=5_000_000)
    (told,) = [each for each in world.payer.get("/v1/wallets").json()["data"] if each["asset"] == USDC]
    assert (told["ledger"], told["chain"], told["is_whole"]) == ("5000000", None, None)
    owner.execute(
        "INSERT INTO strongroom.reconciliations (organisation, network, asset, height, block_hash, chain, ledger, "
        "expected, is_whole, created_at) VALUES ($1, 'eip155:31337', $2, 7, 'ab', 4000000, 5000000, 4000000, true, 0)",
        world.id, USDC,
    )
    (told,) = [each for each in world.payer.get("/v1/wallets").json()["data"] if each["asset"] == USDC]
    assert told == {
        "asset": USDC, "ledger": "5000000", "network": "eip155:31337", "chain": "4000000", "under_way": "1000000",
        "is_whole": True, "height": 7, "block_hash": "ab", "changed_at": "1970-01-01T00:00:00.000Z",
    }


def test_names_in_every_script_are_taken_as_they_are(world: Organisation) -> None:
    for name in ("Ядвига Пример", "例 太郎", "مثال", "Zoë Ørsted-Müller", "O'Neil & Co. 🚕"):
        assert world.declared(name=name)["name"] == name
        raw = json.dumps(declaration(name=name), ensure_ascii=False).encode()
        answer = world.declarer.post("/v1/beneficiaries", raw, fresh_key())
        assert (answer.status_code, answer.json()["name"]) == (201, name)
