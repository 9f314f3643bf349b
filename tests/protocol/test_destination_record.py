"""Destination records: their bytes, their digest, and what isn't one."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import DestinationDigest, parse_beneficiary_id, parse_organisation_id
from strongroom.protocol.destination_record import (
    BankAccountRecord,
    DestinationRecord,
    destination_digest,
    parse_destination_record,
)

ADDRESS: dict[str, Any] = {
    "address": "0x52908400098527886E0F7030069857D2E4169EE7",
    "beneficiary": "ben_" + "b" * 26,
    "class": "declared",
    "name": "Ren\u00e9 Example",
    "network": "eip155:31337",
    "organisation": "org_" + "c" * 26,
    "previous": None,
    "type": "strongroom/destination/v1",
    "version": 1,
}
ACCOUNT: dict[str, Any] = {
    **{name: value for name, value in ADDRESS.items() if name != "address"},
    "account": {"account_holder": "Ren\u00e9 Example", "country": "DE", "iban": "DE89370400440532013000"},
    "network": "sepa",
    "previous": "ab" * 32,
    "version": 2,
}


def test_an_address_is_read_and_written() -> None:
    raw = rfc8785.dumps(ADDRESS)
    record = parse_destination_record(raw)
    assert record == DestinationRecord(
        organisation=parse_organisation_id(ADDRESS["organisation"]),
        beneficiary=parse_beneficiary_id(ADDRESS["beneficiary"]),
        name=ADDRESS["name"],
        destination_class=DestinationClass.DECLARED,
        network="eip155:31337",
        where=ADDRESS["address"],
        version=1,
        previous=None,
    )
    assert record.encode() == raw
    assert record.address == ADDRESS["address"]


def test_an_account_is_read_and_written() -> None:
    raw = rfc8785.dumps(ACCOUNT)
    record = parse_destination_record(raw)
    assert record.where == BankAccountRecord("Ren\u00e9 Example", "DE", "DE89370400440532013000")
    assert record.previous == DestinationDigest("ab" * 32)
    assert record.encode() == raw
    assert record.address == "DE89370400440532013000"


def test_the_digest_is_that_of_an_independent_computation() -> None:
    raw = rfc8785.dumps(ADDRESS)
    assert destination_digest(raw) == hashlib.sha256(b"strongroom/destination/v1\0" + raw).hexdigest()
    assert destination_digest(raw) == "e64328201f34a5754b0ea9d36286b4fdd38a00b52af7bb3140ab880e02f946b2"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "strongroom/destination/v2"}, "type"),
        ({"extra": 1}, "extra"),
        ({"class": "trusted"}, "class"),
        ({"organisation": "org_x"}, "organisation"),
        ({"beneficiary": "org_" + "b" * 26}, "beneficiary"),
        ({"name": ""}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"network": 1}, "network"),
        ({"address": None}, "address"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"version": 2}, "previous"),
        ({"previous": "ab" * 32}, "previous"),
        ({"version": 2, "previous": "AB" * 32}, "previous"),
        ({"version": 2, "previous": "zz" * 32}, "previous"),
        ({"version": 2, "previous": "ab" * 31}, "previous"),
        ({"account": ACCOUNT["account"]}, "address"),
        ({"account": "DE89370400440532013000"}, "account"),
        ({"account": {**ACCOUNT["account"], "country": "DEU"}}, "account.country"),
        ({"account": {**ACCOUNT["account"], "bic": "X"}}, "account.bic"),
    ],
)
def test_a_record_with_a_wrong_field_is_refused_by_its_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        parse_destination_record(rfc8785.dumps(ADDRESS | change))
    assert refusal.value.field == field


@pytest.mark.parametrize("name", sorted(ADDRESS))
def test_no_field_may_be_missing(name: str) -> None:
    record = {each: value for each, value in ADDRESS.items() if each != name}
    with pytest.raises(DocumentError) as refusal:
        parse_destination_record(rfc8785.dumps(record))
    assert refusal.value.field == name


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (rfc8785.dumps(ADDRESS) + b" ", "canonical form"),
        (rfc8785.dumps(ADDRESS).replace(b"\xc3\xa9", b"\\u00e9"), "canonical form"),
        (b'{"a":1,"a":1}', "a: the key 'a' stands there twice"),
        (b"[]", "must be a JSON object"),
    ],
)
def test_only_canonical_bytes_are_a_record(raw: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        parse_destination_record(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(ADDRESS)), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*sorted(ADDRESS), "account"]), json_values, st.booleans())
def test_only_its_own_error_escapes_and_what_is_read_is_written_the_same(name: str, value: Any, bank: bool) -> None:
    raw = rfc8785.dumps((ACCOUNT if bank else ADDRESS) | {name: value})
    try:
        record = parse_destination_record(raw)
    except DocumentError:
        return
    assert record.encode() == raw


@given(st.binary(max_size=80))
def test_bytes_are_no_record(raw: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_destination_record(raw)
