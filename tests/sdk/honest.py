"""What an honest server would answer, computed by the product's own code and not by the SDK's."""

from typing import Any

from tests.sdk.hostile import CLIENT_ID, ORGANISATION, Asked, Told

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, IdempotencyKey, OrganisationId
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id
from strongroom.protocol.merkle import leaf_hash, root_of
from strongroom.protocol.run_tree import item_leaf

USDC = "eip155:31337/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"
NETWORK = "eip155:31337"
ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
DIGEST = "ab" * 32
BENEFICIARY = "ben_" + "d" * 26

_ORGANISATION, _CLIENT = OrganisationId(ORGANISATION), ClientId(CLIENT_ID)


def payout_of(asked: Asked) -> dict[str, Any]:
    key, body = asked.headers["idempotency-key"], asked.json()
    return {
        "id": payout_id(_ORGANISATION, _CLIENT, IdempotencyKey(key)),
        **{name: body[name] for name in ("beneficiary", "asset", "amount", "external_id")},
        "destination": {"digest": body["destination_digest"]},
        "remittance_information": body.get("remittance_information"), "metadata": body.get("metadata", {}),
        "activities": body.get("activities", []), "replaces": body.get("replaces"),
    }


def digest_of(
    beneficiary: str, name: str, destination: dict[str, str], version: int = 1, previous: str | None = None
) -> str:
    where: str | BankAccountRecord = destination.get("address", "")
    if destination["network"] == "sepa":
        where = BankAccountRecord(destination["account_holder"], destination["country"], destination["iban"])
    record = DestinationRecord(
        _ORGANISATION, BeneficiaryId(beneficiary), name, DestinationClass.DECLARED, destination["network"], where,
        version, None if previous is None else DestinationDigest(previous),
    )
    return str(destination_digest(record.encode()))


def beneficiary_of(asked: Asked) -> dict[str, Any]:
    body = asked.json()
    identifier = beneficiary_id(_ORGANISATION, _CLIENT, IdempotencyKey(asked.headers["idempotency-key"]))
    return beneficiary(identifier, body["name"], body["destination"])


def beneficiary(identifier: str, name: str, *destinations: dict[str, str]) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    previous: str | None = None
    for version, each in enumerate(destinations, start=1):
        previous = digest_of(identifier, name, each, version, previous)
        address = each.get("address") or each["iban"]
        shown.append({
            "digest": previous, "version": version, "network": each["network"], "address": address,
            "class": "declared", "cooling_until": "2027-01-01T00:00:00Z",
        })
    return {
        "id": identifier, "organisation": ORGANISATION, "client": CLIENT_ID, "name": name, "external_id": None,
        "destination": shown[-1], "destinations": shown,
    }


def run_of(asked: Asked) -> dict[str, Any]:
    """For a run sent in one call."""
    body = asked.json()
    run = run_id(_ORGANISATION, _CLIENT, IdempotencyKey(asked.headers["idempotency-key"]))
    leaves = [item_leaf(item, run, index) for index, item in enumerate(body["items"])]
    totals: dict[str, int] = {}
    for item in body["items"]:
        totals[item["asset"]] = totals.get(item["asset"], 0) + int(item["amount"])
    seal = {
        "count": len(leaves), "root": root_of([leaf_hash(leaf) for leaf in leaves]).hex(),
        "totals": {asset: str(total) for asset, total in totals.items()},
    }
    return {"id": run, "count": len(leaves), "seal": seal, "state": "sealed"}


def told(status: int, body: Any) -> Told:
    return Told(status, body)


def problem(status: int, code: str, field: str | None = None, **headers: str) -> Told:
    body: dict[str, Any] = {"code": code, "detail": "no", "status": status, "title": "no", "request_id": "req_1"}
    if field is not None:
        body["field"] = field
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Told(status, body, {"content-type": "application/problem+json", **sent})
