"""The CSV of a payout run: every fault is named by its place."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.payee_file import ROWS_MAXIMUM, PayeeFileError, parse_payee_file

HEADER = "name,network,address,asset,amount,external_id"
ROW = "Ada,eip155:1,0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed,USDC,125,trip 1"


def test_rows_by_name_and_rows_by_beneficiary() -> None:
    header = f"{HEADER},beneficiary,remittance_information"
    rows = parse_payee_file(f"{header}\n{ROW},,\n,,,USDC,5,t2,ben_x,thanks\n".encode())
    assert [row.number for row in rows] == [2, 3]
    assert rows[0].fields["address"] == "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert "beneficiary" not in rows[0].fields
    assert rows[1].fields == {
        "asset": "USDC", "amount": "5", "external_id": "t2", "beneficiary": "ben_x", "remittance_information": "thanks",
    }
    assert not rows[0].fault


@pytest.mark.parametrize("raw", [
    f"\ufeff{HEADER}\n{ROW}".encode(), f"{HEADER}\r\n{ROW}\r\n".encode(), f"{HEADER}\n\n{ROW}\n\n".encode(),
    f'{HEADER}\n"Ada"{ROW[3:]}\n'.encode(),
])
def test_spreadsheets_own_ways_are_read(raw: bytes) -> None:
    rows = parse_payee_file(raw)
    assert [row.fields["name"] for row in rows] == ["Ada"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "isn't UTF-8 at byte 0"),
        (f"{HEADER}\n{ROW}\0".encode(), "zero byte"),
        (HEADER.replace(",", ";").encode(), "semicolons"),
        (f"{HEADER},colour\n".encode(), "a column 'colour'"),
        (f"{HEADER},asset\n".encode(), "asset twice"),
        (b"name,network,asset,amount,external_id\n", "lacks the column address"),
        (b"beneficiary,asset,amount\n", "lacks the column external_id"),
        (f'{HEADER}\n"Ada,{ROW}'.encode(), "isn't CSV"),
        ((HEADER + f"\n{ROW}" * (ROWS_MAXIMUM + 1)).encode(), "10001 rows"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(PayeeFileError, match=reason):
        parse_payee_file(raw)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("Ada,eip155:1", "has 2 fields, and the header has 7"),
        (f"{ROW},ben_x", "either beneficiary, or name"),
        (",,,USDC,1,t,", "either beneficiary, or name"),
        ("Ada,eip155:1,,USDC,1,t,", "lacks address"),
        (",,,USDC,,t,ben_x", "lacks amount"),
        (f"{'a' * 501},eip155:1,x,USDC,1,t,", "name is longer"),
    ],
)
def test_one_bad_row_among_good_ones_is_named(row: str, fault: str) -> None:
    rows = parse_payee_file(f"{HEADER},beneficiary\n{ROW},\n{row}\n{ROW},\n".encode())
    assert [each.number for each in rows if each.fault] == [3]
    assert fault in rows[1].fault
    assert len(parse_payee_file((HEADER + f"\n{ROW}" * ROWS_MAXIMUM).encode())) == ROWS_MAXIMUM


@given(st.binary() | st.text().map(lambda text: f"{HEADER}\n{text}".encode()))
def test_only_its_own_error_escapes(raw: bytes) -> None:
    with contextlib.suppress(PayeeFileError):
        assert all(row.number >= 2 for row in parse_payee_file(raw))
