"""Derived ids against vectors that were made without this code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.vectors import load

from strongroom.domain.ids import (
    parse_beneficiary_id,
    parse_client_id,
    parse_idempotency_key,
    parse_organisation_id,
    parse_payout_id,
    parse_run_id,
)
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id

DERIVE = {"payout_id": payout_id, "beneficiary_id": beneficiary_id, "run_id": run_id}
ORGANISATION = parse_organisation_id("org_" + "a" * 26)
CLIENT = parse_client_id("cl_" + "b" * 26)

idempotency_keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@pytest.mark.parametrize("case", load("protocol_identifier.json")["cases"], ids=lambda case: case["id"])
def test_ids_are_those_of_an_independent_computation(case: dict[str, str]) -> None:
    derived = DERIVE[case["kind"]](
        parse_organisation_id(case["organisation"]),
        parse_client_id(case["client"]),
        parse_idempotency_key(case["idempotency_key"]),
    )
    assert derived == case["id"]


@given(idempotency_keys)
def test_derived_ids_are_ids_and_kinds_never_meet(text: str) -> None:
    key = parse_idempotency_key(text)
    payout = parse_payout_id(payout_id(ORGANISATION, CLIENT, key))
    beneficiary = parse_beneficiary_id(beneficiary_id(ORGANISATION, CLIENT, key))
    run = parse_run_id(run_id(ORGANISATION, CLIENT, key))
    assert len({payout[3:], beneficiary[4:], run[4:]}) == 3


def test_client_and_organisation_are_part_of_an_id() -> None:
    key = parse_idempotency_key("4711")
    other_client = parse_client_id("cl_" + "c" * 26)
    other_organisation = parse_organisation_id("org_" + "c" * 26)
    ids = {
        payout_id(ORGANISATION, CLIENT, key),
        payout_id(ORGANISATION, other_client, key),
        payout_id(other_organisation, CLIENT, key),
    }
    assert len(ids) == 3
