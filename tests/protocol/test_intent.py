"""What signer and guard take from a client's body, and what they refuse in it."""

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.bounds import RUN_ITEMS_MAXIMUM
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import BeneficiaryId, ClientId, IdempotencyKey, OrganisationId, RunId
from strongroom.domain.money import Amount, AssetId
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord, destination_digest
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.intent import (
    PayoutIntent,
    read_beneficiary,
    read_destination,
    read_payout,
    read_run_item,
    read_seal,
)
from strongroom.protocol.run_tree import RUN_ITEM_TYPE, item_leaf

ORGANISATION = OrganisationId("org_" + "a" * 26)
CLIENT = ClientId("cl_" + "p" * 26)
BENEFICIARY = BeneficiaryId("ben_" + "b" * 26)
RUN = RunId("run_" + "r" * 26)
KEY = IdempotencyKey("key-1")
BODY: dict[str, Any] = {
    "amount": "5000", "asset": "sim:sandbox/slip44:1", "beneficiary": BENEFICIARY, "destination_digest": "ab" * 32,
    "external_id": "trip-1",
}
BANK = {"network": "sepa", "account_holder": "A Payee", "country": "DE", "iban": "DE89370400440532013000"}
LEAF = item_leaf({"idempotency_key": KEY, **BODY}, RUN, 3)


def payout(**changes: Any) -> PayoutIntent:
    return read_payout(Fields(BODY | changes), ORGANISATION, CLIENT, KEY)


def first(**where: Any) -> DestinationRecord:
    destination = where or {"network": "sim:sandbox", "address": "sim1x"}
    return read_beneficiary(Fields({"name": "A Payee", "destination": destination}), ORGANISATION, BENEFICIARY)


def follow(before: DestinationRecord, **changes: Any) -> DestinationRecord:
    body = {
        "network": "sim:sandbox", "address": "sim1y", "version": 2, "previous": destination_digest(before.encode()),
    }
    return read_destination(Fields(body | changes), [before])


def test_a_payout_is_who_is_paid_what_under_an_id_that_is_derived() -> None:
    replaced = "po_" + "z" * 26
    made = payout(not_before="2027-01-15T08:00:00Z", expires_at="2027-01-15T08:00:01Z", replaces=replaced)
    assert made.id == payout_id(ORGANISATION, CLIENT, KEY)
    assert made.amount == Amount(5_000, AssetId("sim:sandbox/slip44:1"))
    assert (made.beneficiary, made.destination_digest, made.external_id) == (BENEFICIARY, "ab" * 32, "trip-1")
    assert (made.not_before, made.expires_at, made.replaces) == (1_800_000_000_000, 1_800_000_001_000, replaced)
    assert (made.run, made.run_index) == (None, None)


def test_what_the_api_allows_besides_changes_nothing() -> None:
    besides = {"remittance_information": "May", "activities": [], "on_hold": "fail", "actor": {}, "metadata": {"a": 1}}
    assert payout(**besides) == payout() == payout(not_before=None, expires_at=None, replaces=None)


def test_an_item_of_a_run_says_where_it_stands() -> None:
    made = read_run_item(LEAF, ORGANISATION, CLIENT)
    assert (made.id, made.run, made.run_index) == (payout_id(ORGANISATION, CLIENT, KEY), RUN, 3)


def test_a_seal_is_count_totals_and_root() -> None:
    seal = read_seal(Fields({"count": 2, "totals": {"a": "3", "b": "4"}, "root": "cd" * 32}))
    assert (seal.count, seal.totals, seal.root) == (2, {"a": 3, "b": 4}, bytes.fromhex("cd" * 32))


def test_a_first_destination_is_declared_by_the_client() -> None:
    record = DestinationRecord(
        ORGANISATION, BENEFICIARY, "A Payee", DestinationClass.DECLARED, "sim:sandbox", "sim1x", 1, None
    )
    assert first() == record
    destination = {"network": "sim:sandbox", "address": "sim1x", "iban": None}
    named = Fields({"name": "A Payee", "destination": destination, "external_id": "payee-7"})
    assert read_beneficiary(named, ORGANISATION, BENEFICIARY) == record
    assert first(**BANK).where == BankAccountRecord("A Payee", "DE", "DE89370400440532013000")


def test_a_later_version_names_the_one_before() -> None:
    before = first()
    after = follow(before)
    assert (after.version, after.previous, after.where) == (2, destination_digest(before.encode()), "sim1y")
    assert (after.name, after.beneficiary, after.destination_class) == ("A Payee", BENEFICIARY, "declared")


def allowlisted() -> DestinationRecord:
    return DestinationRecord(
        ORGANISATION, BENEFICIARY, "A Payee", DestinationClass.ALLOWLISTED, "sim:sandbox", "sim1x", 1, None
    )


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: payout(memo="x"), "memo: is unknown"),
    (lambda: payout(run=RUN), "run: is unknown"),
    (lambda: payout(amount=5_000), "amount: must be a string"),
    (lambda: payout(amount="0"), "amount: "),
    (lambda: payout(asset=""), "asset: must be a string"),
    (lambda: payout(beneficiary="pe_x"), "beneficiary: "),
    (lambda: payout(destination_digest="AB" * 32), "destination_digest: "),
    (lambda: payout(external_id=""), "external_id: "),
    (lambda: payout(not_before="tomorrow"), "not_before: "),
    (lambda: payout(expires_at=1), "expires_at: "),
    (lambda: payout(replaces="x"), "replaces: "),
    (lambda: read_run_item(b"{", ORGANISATION, CLIENT), "JSON"),
    (lambda: read_run_item(encode({"type": "strongroom/run/v1"}), ORGANISATION, CLIENT), RUN_ITEM_TYPE),
    (lambda: read_run_item(item_leaf({"idempotency_key": KEY, **BODY, "memo": 1}, RUN, 0), ORGANISATION, CLIENT),
     "memo: is unknown"),
    (lambda: read_run_item(item_leaf({"idempotency_key": KEY, **BODY}, RUN, RUN_ITEMS_MAXIMUM), ORGANISATION, CLIENT),
     "index: must be an integer"),
    (lambda: read_seal(Fields({"count": 0, "totals": {"a": "1"}, "root": "cd" * 32})), "count: must be an integer"),
    (lambda: read_seal(Fields({"count": 1, "totals": {}, "root": "cd" * 32})), "totals: must name 1 to"),
    (lambda: read_seal(Fields({"count": 1, "totals": {"a": "x"}, "root": "cd" * 32}, "seal")), "seal.totals.a: "),
    (lambda: read_seal(Fields({"count": 1, "totals": {"a": "1"}, "root": "cd"})), "root: must be 64"),
    (lambda: read_seal(Fields({"count": 1, "totals": {"a": "1"}, "root": "cd" * 32, "x": 1})), "x: is unknown"),
    (lambda: first(network="sim:sandbox", address="sim1x", iban="DE89370400440532013000"),
     "destination.iban: isn't for sim:sandbox"),
    (lambda: first(**BANK, address="sim1x"), "destination.address: isn't for sepa"),
    (lambda: first(network="sim:sandbox"), "destination.address: is missing"),
    (lambda: first(network="sim:sandbox", address="sim1x", memo="x"), "destination.memo: is unknown"),
    (lambda: follow(first(), version=1), "version: must be an integer from 2"),
    (lambda: follow(first(), version=3), "version: there are 1 versions before it"),
    (lambda: follow(first(), previous="ab" * 32), "previous: isn't the digest of version 1"),
    (lambda: follow(first(), name="Another"), "name: is unknown"),
    (lambda: follow(allowlisted()), "version: a client can't declare what follows it"),
]


@pytest.mark.parametrize(("read", "reason"), REFUSED, ids=[str(each[1]) for each in REFUSED])
def test_what_is_wrong_is_refused_by_its_field(read: Callable[[], object], reason: str) -> None:
    with pytest.raises(DocumentError) as fault:
        read()
    assert reason in str(fault.value)
