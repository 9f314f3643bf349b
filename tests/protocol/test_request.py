"""What a person asks for is read as what a client asks for: the same path and body, the same digest, another maker."""

import hashlib
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.people import ADA, CLEO, ORGANISATION, PAYER, policy, roster

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import IdempotencyKey, is_person
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion, assertion_document
from strongroom.protocol.canonical import encode, record_hash
from strongroom.protocol.client_request import Ask
from strongroom.protocol.genesis import Mode
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.request import INTENT_TYPE, PersonEvidence, maker_of, read_request, take_evidence
from strongroom.protocol.roster import Role
from strongroom.protocol.signature_base import SignatureError, content_digest
from strongroom.protocol.standing import Standing, open_standing
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

DEPLOYMENT = "0123456789abcdef"
PARTY = RelyingParty(RELYING_PARTY_ID, {ORIGIN})
NOW = Instant(1_800_000_000_000)
BODY = {"amount": "5", "asset": "x"}
RECORD = {
    "body": BODY, "created_ms": NOW, "deployment": DEPLOYMENT, "idempotency_key": "k", "organisation": ORGANISATION,
    "path": "/v1/payouts", "person": ADA.id, "type": INTENT_TYPE,
}


def asked(**changes: Any) -> PersonEvidence:
    """ADA's; a change of `...` takes the field out."""
    raw = encode({name: value for name, value in (RECORD | changes).items() if value is not ...})
    return PersonEvidence(raw, PersonAssertion(ADA.id, b"a", ADA.passkey.asserts(record_hash(INTENT_TYPE, raw))))


def standing(*roles: Role) -> Standing:
    """ADA has these roles."""
    made = roster()
    people = tuple(replace(each, roles=roles) if each.id == ADA.id else each for each in made.people)
    return open_standing(policy(), write_roster(replace(made, people=people)), Mode.SANDBOX)


def test_it_is_read_as_a_clients_request_for_the_same() -> None:
    request = read_request(asked(), DEPLOYMENT, ORGANISATION)
    assert (request.ask, request.object, request.key_id, request.created) == (Ask.PAYOUT, "", ADA.id, NOW)
    assert request.idempotency_key == "k"
    assert request.body == encode(BODY)
    client_digest = hashlib.sha256(encode(["POST", "/v1/payouts", content_digest(encode(BODY))])).hexdigest()
    assert request.digest == client_digest
    mine, theirs = (payout_id(ORGANISATION, maker, IdempotencyKey("k")) for maker in (ADA.id, PAYER.id))
    assert mine != theirs
    assert is_person(ADA.id)
    assert not is_person(PAYER.id)


@pytest.mark.parametrize(("changes", "field"), [
    ({"type": "strongroom/negative/v1"}, "type"), ({"type": ...}, "type"), ({"deployment": "f" * 16}, "deployment"),
    ({"organisation": "org_" + "z" * 26}, "organisation"), ({"person": CLEO.id}, "person"), ({"body": "x"}, "body"),
    ({"body": ...}, "body"), ({"created_ms": -1}, "created_ms"), ({"created_ms": "1"}, "created_ms"),
    ({"idempotency_key": "with space"}, "idempotency_key"), ({"path": ...}, "path"), ({"memo": "x"}, "memo"),
])
def test_a_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as fault:
        read_request(asked(**changes), DEPLOYMENT, ORGANISATION)
    assert fault.value.field == field


@pytest.mark.parametrize("path", ["/v1/payouts/preview", "/v1/payouts?x=1", "/v1/Payouts", "/v1/payouts/"])
def test_only_literal_paths_that_move_money_are_asked_for(path: str) -> None:
    with pytest.raises(SignatureError, match="isn't a path that moves money"):
        read_request(asked(path=path), DEPLOYMENT, ORGANISATION)


def test_a_record_in_another_spelling_is_refused() -> None:
    evidence = asked()
    with pytest.raises(DocumentError, match="canonical form"):
        read_request(replace(evidence, record=evidence.record + b" "), DEPLOYMENT, ORGANISATION)


@pytest.mark.parametrize("scope", list(Permission))
def test_an_operator_asks_for_payouts_and_destinations_and_nothing_else(scope: Permission) -> None:
    evidence = asked()
    request = read_request(evidence, DEPLOYMENT, ORGANISATION)
    maker = maker_of(evidence, request, scope, standing(Role.OPERATOR), PARTY, NOW)
    assert maker == (ADA.id if scope in (Permission.PAYOUTS_CREATE, Permission.BENEFICIARIES_CREATE) else None)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OPERATOR])
def test_no_other_role_asks(role: Role) -> None:
    assert not standing(role).may_ask(ADA.id, Permission.PAYOUTS_CREATE, NOW)


def test_who_is_suspended_or_gone_doesnt_ask() -> None:
    ours = standing(Role.OPERATOR)
    ours.suspended[ADA.id] = NOW
    assert not ours.may_ask(ADA.id, Permission.PAYOUTS_CREATE, Instant(NOW + 72 * HOUR_MS - 1))
    assert ours.may_ask(ADA.id, Permission.PAYOUTS_CREATE, Instant(NOW + 72 * HOUR_MS))
    ours.roster = replace(ours.roster, people=())
    assert not ours.may_ask(ADA.id, Permission.PAYOUTS_CREATE, Instant(NOW + 72 * HOUR_MS))


def test_a_record_that_the_person_didnt_sign_is_nobodys() -> None:
    evidence = replace(asked(), record=asked(idempotency_key="other").record)
    request = read_request(evidence, DEPLOYMENT, ORGANISATION)
    with pytest.raises(WebauthnError, match="hash of what was to be approved"):
        maker_of(evidence, request, Permission.PAYOUTS_CREATE, standing(Role.OPERATOR), PARTY, NOW)


def test_evidence_comes_back_as_it_was_written() -> None:
    client = PAYER.cancels("k", DEPLOYMENT)
    for evidence in (asked(), client):
        assert take_evidence(evidence.document(), "evidence") == evidence


@pytest.mark.parametrize(("value", "field"), [
    ({}, "evidence[0].record"), ({"record": "x"}, "evidence[0].record"), ({"record": ""}, "evidence[0].assertion"),
    ({"record": "", "assertion": []}, "evidence[0].assertion"), ("", "evidence[0]"), (None, "evidence[0]"),
    ({"record": "", "assertion": assertion_document(asked().given), "more": 1}, "evidence[0].more"),
])
def test_evidence_in_another_form_is_refused_by_its_field(value: Any, field: str) -> None:
    with pytest.raises(DocumentError) as fault:
        take_evidence(value, "evidence[0]")
    assert fault.value.field == field


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    evidence = take_evidence(
        {"record": b64encode(raw).decode(), "assertion": assertion_document(asked().given)}, "evidence"
    )
    with pytest.raises((DocumentError, SignatureError)):
        read_request(evidence, DEPLOYMENT, ORGANISATION)
