"""What the console opens the station with: each kind, byte for byte, and nothing that doesn't fit an address."""

import json
from base64 import urlsafe_b64decode

import pytest

from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.protocol import station_link
from strongroom.protocol.approval import PersonAssertion
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.negative import Action
from strongroom.protocol.station_link import FRAGMENT_MAXIMUM, Asked, LinkError, station_url
from strongroom.protocol.webauthn import Assertion

ASKED = Asked(PersonId("pe_" + "a" * 26), "Ada Example", [b"\x01\x02"])
ORGANISATION = OrganisationId("org_" + "b" * 26)
WHO = {"credentials": ["0102"], "name": "Ada Example", "person": ASKED.person}


def opened(document: dict[str, JsonValue]) -> object:
    """As the station's address says it."""
    origin, fragment = station_url("https://approve.example.com", document).split("/#")
    assert origin == "https://approve.example.com"
    raw = urlsafe_b64decode(fragment + "=" * (-len(fragment) % 4))
    assert raw == encode(document)
    return json.loads(raw)


def test_an_approval() -> None:
    assert opened(station_link.approve(ASKED, b'{"a":1}', b"\x07", policy=b"{}", items="token")) == {
        **WHO, "items": "token", "kind": "approve", "policy": "{}", "request": '{"a":1}', "roster": None,
        "signature": "07",
    }


def test_an_instruction_and_one_that_others_have_begun() -> None:
    begun = {**WHO, "action": "freeze", "assertions": [], "kind": "instruct", "object": "organisation",
             "organisation": ORGANISATION, "record": None}
    assert opened(station_link.instruct(ASKED, ORGANISATION, Action.FREEZE, "organisation")) == begun
    given = PersonAssertion(ASKED.person, b"\x03", Assertion(b"\x04", b"\x05", b"\x06"))
    joined = station_link.instruct(
        ASKED, ORGANISATION, Action.FREEZE, "organisation", record=b"{}", given=[given])
    assert opened(joined) == {**begun, "record": "{}", "assertions": [{
        "authenticator_data": "05", "client_data": "04", "credential": "03", "person": ASKED.person, "signature": "06",
    }]}


def test_a_change_an_intent_and_an_enrolment() -> None:
    assert opened(station_link.change(ASKED, "policy", b"{}", None)) == {
        **WHO, "document": "policy", "kind": "change", "previous": None, "record": "{}"}
    assert opened(station_link.intent(ASKED, b"{}", destination=b"[]")) == {
        **WHO, "destination": "[]", "items": None, "kind": "intent", "policy": None, "record": "{}"}
    assert opened(station_link.enrol(ASKED, ORGANISATION, bytes(32))) == {
        **WHO, "challenge": "00" * 32, "kind": "enrol", "organisation": ORGANISATION}


def test_what_fits_no_address_is_refused() -> None:
    with pytest.raises(LinkError, match="at most"):
        station_url("https://approve.example.com", {"record": "x" * FRAGMENT_MAXIMUM})
