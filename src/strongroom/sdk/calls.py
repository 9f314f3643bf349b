"""The calls of the API as plain descriptions, shared by both clients, with what each answer must satisfy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strongroom.sdk.canonical import derived_id, destination_digest, run_leaf, tree_root
from strongroom.sdk.errors import MismatchError
from strongroom.sdk.exchange import body_of, new_key
from strongroom.sdk.signing import Credentials

Check = Callable[[Any], None]


@dataclass
class CallPlan:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    idempotency_key: str | None = None
    check: Check | None = None
    content_type: str = "application/json"


def create_payout(credentials: Credentials, key: str | None, fields: Mapping[str, Any]) -> CallPlan:
    key = key or new_key()
    expected = derived_id("po_", "payout", credentials.organisation, credentials.client_id, key)

    def check(answer: Any) -> None:
        _same("payout id", answer["id"], expected)
        for name in ("beneficiary", "asset", "external_id"):
            _same(name, answer[name], fields[name])
        _same("amount", answer["amount"], str(fields["amount"]))
        _same("destination digest", answer["destination"]["digest"], fields["destination_digest"])

    return CallPlan("POST", "/v1/payouts", body=body_of(fields), idempotency_key=key, check=check)


def create_beneficiary(credentials: Credentials, key: str | None, fields: Mapping[str, Any]) -> CallPlan:
    key = key or new_key()
    expected = derived_id("ben_", "beneficiary", credentials.organisation, credentials.client_id, key)
    record = _record(credentials.organisation, expected, fields["name"], fields["destination"], 1, None)

    def check(answer: Any) -> None:
        _same("beneficiary id", answer["id"], expected)
        _same("destination digest", answer["destinations"][0]["digest"], destination_digest(record))

    return CallPlan("POST", "/v1/beneficiaries", body=body_of(fields), idempotency_key=key, check=check)


def add_destination(
    credentials: Credentials, key: str | None, beneficiary: str, name: str, fields: Mapping[str, Any]
) -> CallPlan:
    record = _record(
        credentials.organisation, beneficiary, name, fields, int(fields["version"]), str(fields["previous"])
    )

    def check(answer: Any) -> None:
        digests = [each["digest"] for each in answer["destinations"]]
        if destination_digest(record) not in digests:
            raise MismatchError("the destination recorded isn't the one that was asked for")

    path = f"/v1/beneficiaries/{beneficiary}/destinations"
    return CallPlan("POST", path, body=body_of(fields), idempotency_key=key or new_key(), check=check)


def run_of(credentials: Credentials, key: str) -> str:
    return derived_id("run_", "run", credentials.organisation, credentials.client_id, key)


def seal_of(run: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Count, totals and root of all items of a run, as sent."""
    totals: dict[str, int] = {}
    for item in items:
        totals[item["asset"]] = totals.get(item["asset"], 0) + int(item["amount"])
    root = tree_root(run_leaf(item, run, index) for index, item in enumerate(items))
    return {"count": len(items), "root": root, "totals": {asset: str(total) for asset, total in totals.items()}}


def run_item(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it will be sent: amounts as text, an idempotency key of its own."""
    if isinstance(fields["amount"], float):
        raise TypeError("a float can't say an amount exactly: use an int or a string of base units")
    item = {name: value for name, value in fields.items() if value is not None}
    return {**item, "amount": str(fields["amount"]), "idempotency_key": fields.get("idempotency_key") or new_key()}


def check_run(run: str, count: int) -> Check:
    def check(answer: Any) -> None:
        _same("run id", answer["id"], run)
        _same("count", answer["count"], count)

    return check


def _record(
    organisation: str, beneficiary: str, name: str, destination: Mapping[str, Any], version: int, previous: str | None
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "beneficiary": beneficiary, "class": "declared", "name": name, "network": destination["network"],
        "organisation": organisation, "previous": previous, "type": "strongroom/destination/v1", "version": version,
    }
    if destination["network"] == "sepa":
        record["account"] = {part: destination[part] for part in ("account_holder", "country", "iban")}
    else:
        record["address"] = destination["address"]
    return record


def _same(what: str, given: Any, expected: Any) -> None:
    if given != expected:
        raise MismatchError(f"the {what} in the answer is {given}, and must be {expected}")
