"""Identifiers: only the exact form becomes a type."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain import ids

PARSERS = {
    "org_": ids.parse_organisation_id,
    "cl_": ids.parse_client_id,
    "ak_": ids.parse_key_id,
    "pe_": ids.parse_person_id,
    "ben_": ids.parse_beneficiary_id,
    "po_": ids.parse_payout_id,
    "run_": ids.parse_run_id,
}
BODY = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("prefix", PARSERS)
def test_an_id_of_its_kind_parses_and_no_other_kind_does(prefix: str) -> None:
    text = prefix + BODY
    assert PARSERS[prefix](text) == text
    for other, parse in PARSERS.items():
        if other != prefix:
            with pytest.raises(ids.IdError, match=other):
                parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "po_", "po_" + BODY[:-1], "po_" + BODY + "a", "po_" + BODY[:-1] + "1", "po_" + BODY.upper(),
     "PO_" + BODY, "po_" + BODY + "\n", " po_" + BODY, "po_" + BODY[:-1] + "é"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ids.IdError, match="26 characters"):
        ids.parse_payout_id(text)


def test_a_destination_digest_is_64_lower_case_hex_digits() -> None:
    assert ids.parse_destination_digest("0a" * 32) == "0a" * 32
    for text in ("", "0a" * 31, "0A" * 32, "0a" * 32 + "\n", "0x" + "0a" * 31):
        with pytest.raises(ids.IdError, match="64 lower-case"):
            ids.parse_destination_digest(text)


def test_an_idempotency_key_is_visible_ascii() -> None:
    assert ids.parse_idempotency_key("!~" + "x" * 253) == "!~" + "x" * 253
    for text in ("", "x" * 256, "a b", "a\t", "é", "a\n", "\x7f"):
        with pytest.raises(ids.IdError, match="1 to 255 visible"):
            ids.parse_idempotency_key(text)


@given(st.text())
def test_only_their_own_error_escapes(text: str) -> None:
    for parse in (*PARSERS.values(), ids.parse_destination_digest, ids.parse_idempotency_key):
        with contextlib.suppress(ids.IdError):
            assert parse(text) == text
