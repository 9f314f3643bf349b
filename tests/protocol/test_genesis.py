"""The genesis record: read, written, and what names a deployment."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import parse_organisation_id
from strongroom.domain.instant import INSTANT_MAXIMUM
from strongroom.protocol.genesis import FoundingOrganisation, Genesis, Mode, deployment_id, parse_genesis
from strongroom.protocol.record_writer import write_genesis
from strongroom.protocol.webauthn import RelyingParty

ORGANISATION: dict[str, Any] = {"organisation": "org_" + "a" * 26, "policy": "ab" * 32, "roster": "cd" * 32}
GENESIS: dict[str, Any] = {
    "checkpoint_key": "0f" * 32,
    "created_ms": 1_795_500_000_000,
    "guard_key": "1f" * 32,
    "mode": "sandbox",
    "organisations": [ORGANISATION],
    "relying_party": {"id": "localhost", "origins": ["http://station.localhost:8422"]},
    "statement_key": "2f" * 32,
    "type": "strongroom/genesis/v1",
}
PRODUCTION: dict[str, Any] = GENESIS | {
    "mode": "production", "relying_party": {"id": "example.com", "origins": ["https://approve.example.com"]},
}


def test_a_genesis_record_is_read_and_written_the_same() -> None:
    raw = rfc8785.dumps(GENESIS)
    read = parse_genesis(raw)
    founding = FoundingOrganisation(parse_organisation_id(ORGANISATION["organisation"]), "ab" * 32, "cd" * 32)
    relying_party = RelyingParty("localhost", frozenset({"http://station.localhost:8422"}))
    keys = (b"\x0f" * 32, b"\x2f" * 32, b"\x1f" * 32)
    assert read == Genesis(Mode.SANDBOX, GENESIS["created_ms"], *keys, relying_party, (founding,))
    assert write_genesis(read) == raw


def test_the_deployment_is_the_start_of_the_hash() -> None:
    raw = rfc8785.dumps(GENESIS)
    assert deployment_id(raw) == hashlib.sha256(b"strongroom/genesis/v1\0" + raw).hexdigest()[:16]
    assert deployment_id(raw) != deployment_id(rfc8785.dumps(PRODUCTION))
    assert parse_genesis(rfc8785.dumps(PRODUCTION)).mode is Mode.PRODUCTION


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "strongroom/genesis/v2"}, "type"),
        ({"mode": "test"}, "mode"),
        ({"mode": None}, "mode"),
        ({"created_ms": -1}, "created_ms"),
        ({"created_ms": INSTANT_MAXIMUM + 1}, "created_ms"),
        ({"created_ms": "1"}, "created_ms"),
        ({"checkpoint_key": "0f" * 31}, "checkpoint_key"),
        ({"checkpoint_key": "0F" * 32}, "checkpoint_key"),
        ({"organisations": [ORGANISATION, ORGANISATION]}, "organisations"),
        ({"organisations": [ORGANISATION | {"policy": "ab"}]}, "organisations[0].policy"),
        ({"organisations": [ORGANISATION | {"x": 1}]}, "organisations[0].x"),
        ({"organisations": [ORGANISATION | {"organisation": "x"}]}, "organisations[0].organisation"),
        ({"extra": 1}, "extra"),
        ({"guard_key": "1f"}, "guard_key"),
        ({"statement_key": None}, "statement_key"),
        ({"relying_party": None}, "relying_party"),
        ({"relying_party": {"id": "localhost", "origins": []}}, "relying_party.origins"),
        ({"relying_party": {"id": "localhost", "origins": ["b", "a"]}}, "relying_party.origins"),
        ({"relying_party": {"id": "localhost", "origins": ["a"], "x": 1}}, "relying_party.x"),
        ({"mode": "production"}, "relying_party.origins"),
        (PRODUCTION | {"relying_party": {"id": "x", "origins": ["https://localhost:1"]}}, "relying_party.origins"),
        (PRODUCTION | {"relying_party": {"id": "x", "origins": ["http://example.com"]}}, "relying_party.origins"),
    ],
)
def test_a_wrong_genesis_record_is_refused_by_the_field_at_fault(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        parse_genesis(rfc8785.dumps(GENESIS | change))
    assert refusal.value.field == field


values = st.none() | st.integers(0, 2**53 - 1) | st.text(max_size=5) | st.just("production")


@given(st.sampled_from(sorted(GENESIS)), values)
def test_only_its_own_error_escapes_and_what_is_read_is_written_the_same(name: str, value: Any) -> None:
    raw = rfc8785.dumps(GENESIS | {name: value})
    try:
        read = parse_genesis(raw)
    except DocumentError:
        return
    assert write_genesis(read) == raw
