"""Money: whole base units of one asset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.money import AMOUNT_MAXIMUM, Amount, AssetId, MoneyError, parse_amount_minor

BTC = AssetId("bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:0")
EUR = AssetId("iso4217:EUR")

amounts = st.integers(1, AMOUNT_MAXIMUM)


@given(amounts)
def test_every_amount_survives_its_text(minor: int) -> None:
    assert parse_amount_minor(str(minor)) == minor


@pytest.mark.parametrize(
    "text",
    ["", "0", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1.0", "1e3", "1_000", "1,000", "0x10",
     "١٢٣", "１２", "²",
     "1" * 79, "NaN", "Infinity"],
)
def test_what_is_no_plain_count_of_base_units_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="whole number of base units"):
        parse_amount_minor(text)


def test_nothing_above_256_bits() -> None:
    assert parse_amount_minor(str(2**256 - 1)) == 2**256 - 1
    with pytest.raises(MoneyError, match=r"at most 2\^256-1"):
        parse_amount_minor(str(2**256))


@given(st.text())
def test_only_its_own_error_escapes(text: str) -> None:
    try:
        assert 1 <= parse_amount_minor(text) <= AMOUNT_MAXIMUM
    except MoneyError:
        return


@pytest.mark.parametrize("minor", [0, -1, 2**256])
def test_an_amount_is_in_range(minor: int) -> None:
    with pytest.raises(MoneyError, match="from 1 to"):
        Amount(minor, BTC)


@pytest.mark.parametrize("minor", [True, 1.0, "1"])
def test_an_amount_is_an_int_and_nothing_like_it(minor: int) -> None:
    with pytest.raises(MoneyError, match="must be an int"):
        Amount(minor, BTC)


def test_amounts_of_two_assets_never_meet() -> None:
    """Nothing adds or compares amounts: who sums base units does it for one asset, by name."""
    assert Amount(1, BTC) != Amount(1, EUR)
    with pytest.raises(TypeError):
        Amount(1, BTC) < Amount(1, EUR)  # type: ignore[operator]  # noqa: B015 that it isn't there is the point
