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

ORGANISATION: dict[str, Any] = {"organisation": "org_" + "a" * 26, "policy": "ab" * 32, "roster": "cd" * 32}
GENESIS: dict[str, Any] = {
    "checkpoint_key": "0f" * 32,
    "created_ms": 1_795_500_000_000,
    "mode": "sandbox",
    "organisations": [ORGANISATION],
    "type": "strongroom/genesis/v1",
}


def test_a_genesis_record_is_read_and_written_the_same() -> None:
    raw = rfc8785.dumps(GENESIS)
    read = parse_genesis(raw)
    founding = FoundingOrganisation(parse_organisation_id(ORGANISATION["organisation"]), "ab" * 32, "cd" * 32)
    assert read == Genesis(Mode.SANDBOX, GENESIS["created_ms"], b"\x0f" * 32, (founding,))
    assert read.encode() == raw


def test_the_deployment_is_the_start_of_the_hash() -> None:
    raw = rfc8785.dumps(GENESIS)
    assert deployment_id(raw) == hashlib.sha256(b"strongroom/genesis/v1\0" + raw).hexdigest()[:16]
    assert deployment_id(raw) != deployment_id(rfc8785.dumps(GENESIS | {"mode": "production"}))


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
    assert read.encode() == raw
