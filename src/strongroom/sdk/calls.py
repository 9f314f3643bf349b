"""The calls of the API as plain descriptions, shared by both clients, with what each answer must satisfy.

A server that lies is found by what we know ourselves: ids follow from who we are and the idempotency key, a digest
from the destination that we named, a root from the items that we sent. What only the server knows (a state, a time)
can't be checked here; the receipt and the audit log are for that.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from strongroom.sdk.canonical import derived_id, destination_digest, run_leaf, tree_root
from strongroom.sdk.errors import MismatchError
from strongroom.sdk.exchange import body_of, check_key, new_key, slices
from strongroom.sdk.signing import Credentials

PAGES_MAXIMUM: Final = 100_000
RUN_ITEMS_MAXIMUM: Final = 200_000

Check = Callable[[Any], None]

_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,77}")
_ASKED: Final = ("remittance_information", "activities", "replaces", "metadata")


@dataclass
class CallPlan:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    idempotency_key: str | None = None
    check: Check | None = None
    content_type: str = "application/json"


def get_one(path: str, identifier: str, below: str = "", check: Check | None = None) -> CallPlan:
    """A thing by its id, which the answer must have."""
    return CallPlan("GET", f"{path}/{quoted(identifier)}{below}", check=check or has("id", identifier))


def quoted(identifier: str) -> str:
    """An id as one segment of a path, whatever it holds."""
    return quote(identifier, safe="")


def cancel(path: str, identifier: str, made_with: str) -> CallPlan:
    """`made_with` is the idempotency key of what is to be cancelled."""
    check_key(made_with)
    return CallPlan(
        "POST", f"{path}/{quoted(identifier)}/cancel", body=body_of({"idempotency_key": made_with}),
        idempotency_key=new_key(), check=has("id", identifier),
    )


def create_payout(credentials: Credentials, key: str | None, fields: Mapping[str, Any]) -> CallPlan:
    key = key or new_key()
    sent = {**fields, "amount": amount_text(fields["amount"])}
    expected = derived_id("po_", "payout", credentials.organisation, credentials.client_id, key)

    def check(answer: Any) -> None:
        _same("payout id", answer["id"], expected)
        for name in ("beneficiary", "asset", "external_id", "amount"):
            _same(name, answer[name], sent[name])
        for name in _ASKED:
            if sent.get(name) is not None:
                _same(name, answer[name], sent[name])
        _same("destination digest", answer["destination"]["digest"], sent["destination_digest"])

    return CallPlan("POST", "/v1/payouts", body=body_of(sent), idempotency_key=key, check=check)


def preview_payout(fields: Mapping[str, Any]) -> CallPlan:
    body = body_of({**fields, "amount": amount_text(fields["amount"])})
    return CallPlan("POST", "/v1/payouts/preview", body=body, check=has("tier"))


def create_beneficiary(
    credentials: Credentials, key: str | None, name: str, destination: Mapping[str, Any], external_id: str | None
) -> CallPlan:
    key = key or new_key()
    expected = derived_id("ben_", "beneficiary", credentials.organisation, credentials.client_id, key)
    record = _record(credentials.organisation, expected, name, destination, 1, None)
    digest = destination_digest(record)
    known = check_beneficiary(credentials, expected)

    def check(answer: Any) -> None:
        known(answer)
        _same("name", answer["name"], name)
        _same("destination digest", answer["destinations"][0]["digest"], digest)

    body = body_of({"destination": dict(destination), "external_id": external_id, "name": name})
    return CallPlan("POST", "/v1/beneficiaries", body=body, idempotency_key=key, check=check)


def add_destination(
    credentials: Credentials, key: str | None, beneficiary: Mapping[str, Any], destination: Mapping[str, Any]
) -> CallPlan:
    """The next version after the newest of a beneficiary as it was read."""
    identifier, newest = str(beneficiary["id"]), beneficiary["destinations"][-1]
    version, previous = int(newest["version"]) + 1, str(newest["digest"])
    record = _record(credentials.organisation, identifier, beneficiary["name"], destination, version, previous)
    known = check_beneficiary(credentials, identifier)

    def check(answer: Any) -> None:
        known(answer)
        digests = [each["digest"] for each in answer["destinations"]]
        if destination_digest(record) not in digests:
            raise MismatchError("the destination recorded isn't the one that was asked for")

    path = f"/v1/beneficiaries/{quoted(identifier)}/destinations"
    body = body_of({**destination, "previous": previous, "version": version})
    return CallPlan("POST", path, body=body, idempotency_key=key or new_key(), check=check)


def check_beneficiary(credentials: Credentials, identifier: str | None) -> Check:
    """That the addresses shown are those of the digests shown, each version chained to the one before.

    A bank account's digest covers its holder and country, which this answer doesn't show: it can only be recomputed
    by who declares it.
    """

    def check(answer: Any) -> None:
        if identifier is not None:
            _same("beneficiary id", answer["id"], identifier)
        _same("organisation", answer["organisation"], credentials.organisation)
        previous: str | None = None
        for version, each in enumerate(answer["destinations"], start=1):
            _same("destination's version", each["version"], version)
            if each["network"] != "sepa":
                record = _record(
                    credentials.organisation, answer["id"], answer["name"], each, version, previous, each["class"]
                )
                _same("destination digest", each["digest"], destination_digest(record))
            previous = each["digest"]
        _same("newest destination", answer["destination"], answer["destinations"][-1])

    return check


def run_plans(
    credentials: Credentials, items: Sequence[Mapping[str, Any]], key: str, external_id: str | None
) -> list[CallPlan]:
    """A run and its seal: one call if it fits, else parts. The root is computed from what is sent.

    Items without an idempotency key get one from the run's and their place, so that the same run under the same key
    is the same request. Raises: ValueError, TypeError.
    """
    if not 1 <= len(items) <= RUN_ITEMS_MAXIMUM:
        raise ValueError(f"items: a run has 1 to {RUN_ITEMS_MAXIMUM} of them, not {len(items)}")
    run = derived_id("run_", "run", credentials.organisation, credentials.client_id, key)
    sent = [run_item(item, key, index) for index, item in enumerate(items)]
    seal = seal_of(run, sent)
    parts = list(slices(sent))
    opening: dict[str, Any] = {"items": parts[0][1], "external_id": external_id}
    if len(parts) == 1:
        opening["seal"] = seal
        return [CallPlan("POST", "/v1/payout-runs", {}, body_of(opening), key, check_run(run, seal))]
    plans = [CallPlan("POST", "/v1/payout-runs", {}, body_of(opening), key, check_run(run, None))]
    for first_index, part in parts[1:]:
        body = body_of({"first_index": first_index, "items": part})
        path, part_key = f"/v1/payout-runs/{run}/items", f"{key}/{first_index}"
        plans.append(CallPlan("POST", path, {}, body, part_key, check_run(run, None)))
    plans.append(
        CallPlan("POST", f"/v1/payout-runs/{run}/seal", {}, body_of(seal), f"{key}/seal", check_run(run, seal))
    )
    return plans


def seal_of(run: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Count, totals and root of all items of a run, as sent."""
    totals: dict[str, int] = {}
    for item in items:
        totals[item["asset"]] = totals.get(item["asset"], 0) + int(item["amount"])
    root = tree_root(run_leaf(item, run, index) for index, item in enumerate(items))
    return {"count": len(items), "root": root, "totals": {asset: str(total) for asset, total in totals.items()}}


def run_item(fields: Mapping[str, Any], run_key: str, index: int) -> dict[str, Any]:
    """An item as it will be sent: amounts as text, an idempotency key of its own."""
    item = {name: value for name, value in fields.items() if value is not None}
    try:
        amount = amount_text(fields["amount"])
    except (TypeError, ValueError) as fault:
        raise type(fault)(f"items[{index}].{fault}") from fault
    except KeyError as fault:
        raise ValueError(f"items[{index}].amount: is needed") from fault
    return {**item, "amount": amount, "idempotency_key": fields.get("idempotency_key") or f"{run_key}/item/{index}"}


def check_run(run: str, seal: Mapping[str, Any] | None) -> Check:
    def check(answer: Any) -> None:
        _same("run id", answer["id"], run)
        if seal is not None:
            for name in ("count", "root", "totals"):
                _same(f"sealed {name}", answer["seal"][name], seal[name])
            _same("count", answer["count"], seal["count"])

    return check


def amount_text(amount: object) -> str:
    """Base units as text. Raises: TypeError for what isn't an int or a string, ValueError for what isn't an amount."""
    if type(amount) is int:
        amount = str(amount) if 0 < amount < 10**78 else "out of range"
    if not isinstance(amount, str):
        kind = type(amount).__name__
        raise TypeError(f"amount: a {kind} can't say an amount exactly: use an int or a string of base units")
    if _AMOUNT.fullmatch(amount) is None:
        raise ValueError("amount: must be base units, a whole number above 0 of at most 78 digits, such as '1250000'")
    return amount


def preview_file(raw: bytes) -> CallPlan:
    return CallPlan("POST", "/v1/payout-runs/preview", body=raw, content_type="text/csv", check=has("rows"))


def has(name: str, expected: str | None = None) -> Check:
    """That the answer has a field, and where we know it, what stands there."""

    def check(answer: Any) -> None:
        found = answer[name]
        if expected is not None:
            _same(name, found, expected)

    return check


def check_page(each: Check | None) -> Check:
    """`each` checks a row. For all pages of one list: one that goes round in circles would never end."""
    seen: set[str] = set()

    def check(answer: Any) -> None:
        cursor = answer["next_cursor"]
        if not isinstance(answer["data"], list) or not all(isinstance(row, dict) for row in answer["data"]):
            raise MismatchError("a page must have a list of rows")
        if each is not None:
            for row in answer["data"]:
                each(row)
        if cursor is None:
            return
        if not isinstance(cursor, str) or cursor in seen or len(seen) >= PAGES_MAXIMUM:
            raise MismatchError("the list's pages never end: a cursor stands there twice")
        seen.add(cursor)

    return check


def _record(
    organisation: str, beneficiary: str, name: str, destination: Mapping[str, Any], version: int, previous: str | None,
    destination_class: str = "declared",
) -> dict[str, Any]:
    needed = ("network", "account_holder", "country", "iban") if destination.get("network") == "sepa" else (
        "network", "address"
    )
    for each in needed:
        if not isinstance(destination.get(each), str):
            raise ValueError(f"destination.{each}: is needed")
    record: dict[str, Any] = {
        "beneficiary": beneficiary, "class": destination_class, "name": name, "network": destination["network"],
        "organisation": organisation, "previous": previous, "type": "strongroom/destination/v1", "version": version,
    }
    if destination["network"] == "sepa":
        record["account"] = {part: destination[part] for part in ("account_holder", "country", "iban")}
    else:
        record["address"] = destination["address"]
    return record


def _same(what: str, given: Any, expected: Any) -> None:
    if type(given) is not type(expected) or given != expected:
        raise MismatchError(f"the {what} in the answer is {given!r:.200}, and must be {expected!r:.200}")
