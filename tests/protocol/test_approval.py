"""Approvals: the request's bytes, whose assertion over them holds, and assertions as they cross a boundary."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.people import ADA, CLEO, STRANGER, policy, roster

from strongroom.domain.document import DocumentError, Fields
from strongroom.protocol.approval import (
    APPROVAL_REQUEST_TYPE,
    ASSERTIONS_MAXIMUM,
    Heard,
    PersonAssertion,
    approval_request,
    assertion_document,
    hear,
    take_assertions,
)
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import Mode
from strongroom.protocol.negative import NEGATIVE_TYPE
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import CredentialClass
from strongroom.protocol.standing import open_standing
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

PARTY = RelyingParty(RELYING_PARTY_ID, {ORIGIN})
STANDING = open_standing(policy(), write_roster(roster()), Mode.SANDBOX)


def approves(record: bytes) -> PersonAssertion:
    return PersonAssertion(CLEO.id, b"c", CLEO.passkey.asserts(record_hash(APPROVAL_REQUEST_TYPE, record)))


def test_a_request_is_subject_and_terms_in_canonical_form() -> None:
    raw = approval_request({"payout": "po", "type": "mine"}, {"ticket": "ab"})
    assert raw == rfc8785.dumps({"payout": "po", "ticket": "ab", "type": APPROVAL_REQUEST_TYPE})


def test_one_person_is_heard_with_class_and_groups() -> None:
    heard = hear(b"record", APPROVAL_REQUEST_TYPE, approves(b"record"), STANDING, PARTY)
    assert heard == Heard(CLEO.id, b"c", CredentialClass.SOFTWARE, frozenset({"officers"}))


@pytest.mark.parametrize(
    ("given_assertion", "field"),
    [
        (PersonAssertion(STRANGER.id, b"s", approves(b"record").assertion), "credential"),
        (PersonAssertion(ADA.id, b"c", approves(b"record").assertion), "credential"),
        (PersonAssertion(CLEO.id, b"x", approves(b"record").assertion), "credential"),
        (PersonAssertion(ADA.id, b"a", approves(b"record").assertion), "signature"),
        (approves(b"another record"), "client_data.challenge"),
        (CLEO.asserts(b"record"), "client_data.challenge"),
    ],
)
def test_an_assertion_of_another_person_record_or_type_isnt_heard(given_assertion: PersonAssertion, field: str) -> None:
    assert NEGATIVE_TYPE != APPROVAL_REQUEST_TYPE
    with pytest.raises(WebauthnError) as refusal:
        hear(b"record", APPROVAL_REQUEST_TYPE, given_assertion, STANDING, PARTY)
    assert refusal.value.field == field


DOCUMENT: dict[str, Any] = {
    "authenticator_data": "01", "client_data": "02", "credential": "03", "person": CLEO.id, "signature": "04",
}


def test_assertions_are_written_and_read_back() -> None:
    several = [approves(b"one"), CLEO.asserts(b"two"), ADA.asserts(b"two")]
    read = take_assertions(Fields({"given": [assertion_document(each) for each in several]}), "given")
    assert list(read) == several
    assert assertion_document(take_assertions(Fields({"given": [DOCUMENT]}), "given")[0]) == DOCUMENT


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "given"),
        ([DOCUMENT] * (ASSERTIONS_MAXIMUM + 1), "given"),
        ([1], "given[0]"),
        ([DOCUMENT, DOCUMENT | {"person": "pe_"}], "given[1].person"),
        ([DOCUMENT | {"credential": ""}], "given[0].credential"),
        ([DOCUMENT | {"client_data": "00" * 8_193}], "given[0].client_data"),
        ([DOCUMENT | {"authenticator_data": "0"}], "given[0].authenticator_data"),
        ([DOCUMENT | {"signature": "AB"}], "given[0].signature"),
        ([DOCUMENT | {"x": 1}], "given[0].x"),
    ],
)
def test_assertions_of_another_form_are_refused_by_the_field_at_fault(value: Any, field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        take_assertions(Fields({"given": value}), "given")
    assert refusal.value.field == field


@given(st.sampled_from(sorted(DOCUMENT)), st.none() | st.integers() | st.text(max_size=6) | st.lists(st.none()))
def test_only_the_readers_own_error_escapes(name: str, value: Any) -> None:
    try:
        (read,) = take_assertions(Fields({"given": [DOCUMENT | {name: value}]}), "given")
    except DocumentError:
        return
    assert assertion_document(read) == DOCUMENT | {name: value}
