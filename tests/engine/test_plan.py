"""How many of the payouts that wait go into one chain transaction: as many as coins, fee and size allow."""

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tests.rails.bitcoin_node import REGTEST

from strongroom.engine.plan import _fitting, _TooDearError, choose
from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.rails.port import ChainTransactionId, Coin

FORM = COIN_FORMATS[REGTEST]
RATE = 10_000
BITCOIN = 100_000_000


def payee(number: int) -> str:
    """P2WPKH, as most payees have."""
    return str(bitcoin_address_of(b"\x00\x14" + hashlib.sha256(b"%d" % number).digest()[:20], REGTEST))


CHANGE = str(bitcoin_address_of(b"\x51\x20" + bytes.fromhex(
    "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115"), REGTEST))


def payouts(count: int, minor: int = 10_000) -> list[Any]:
    return [SimpleNamespace(amount=minor, address=payee(each)) for each in range(count)]


def coins(*amounts: int) -> list[Coin]:
    return [
        Coin(ChainTransactionId(f"{place:064x}"), 0, amount, CHANGE, 7) for place, amount in enumerate(amounts)
    ]


def rule(fee_maximum: int) -> Any:
    return SimpleNamespace(fee_maximum_minor=fee_maximum)


def most(waiting: Sequence[Any], has: list[Coin], fee_maximum: int) -> int:
    """By trying every number."""
    good = 0
    for count in range(1, len(waiting) + 1):
        total = sum(each.amount for each in waiting[:count])
        chosen = choose(FORM, has, total, [*(each.address for each in waiting[:count]), CHANGE], RATE)
        good = count if chosen is not None and chosen[1] <= fee_maximum else good
    return good


@pytest.mark.parametrize("has", [[BITCOIN], [90_000, 80_000, 70_000], [400_000], [10_000] * 40])
@pytest.mark.parametrize("fee_maximum", [BITCOIN, 8_000, 3_000])
def test_as_many_go_as_can(has: list[int], fee_maximum: int) -> None:
    waiting, given = payouts(60), coins(*has)
    expected = most(waiting, given, fee_maximum)
    if not expected:
        assert _fitting(FORM, CHANGE, waiting, given, RATE, rule(fee_maximum)) is None
        return
    found = _fitting(FORM, CHANGE, waiting, given, RATE, rule(fee_maximum))
    assert found is not None
    assert (found[0], found[2] <= fee_maximum) == (waiting[:expected], True)


def test_where_the_fee_of_one_is_too_high_it_says_so() -> None:
    with pytest.raises(_TooDearError, match=r"a fee of \d+ > 1000"):
        _fitting(FORM, CHANGE, payouts(9), coins(BITCOIN), RATE, rule(1_000))


def test_two_thousand_go_into_one_and_a_thousand_take_31_vbytes_each() -> None:
    found = _fitting(FORM, CHANGE, payouts(2_000), coins(BITCOIN), RATE, rule(BITCOIN))
    assert found is not None
    assert len(found[0]) == 2_000
    thousand = FORM.signed_sizes([*(each.address for each in payouts(1_000)), CHANGE])([CHANGE])
    print(f"{thousand / 1_000:.3f} vbytes for each of 1,000 payouts")
    assert thousand <= 31_300


def test_what_no_node_would_relay_is_never_made() -> None:
    """Two hundred and fifty coins for two thousand payees are more than 100,000 vbytes where each is P2TR."""
    waiting = [SimpleNamespace(amount=10_000, address=CHANGE) for _ in range(2_000)]
    found = _fitting(FORM, CHANGE, waiting, coins(*[90_000] * 256), RATE, None)
    assert found is not None
    size = FORM.signed_sizes([*(each.address for each in found[0]), CHANGE])([each.address for each in found[1]])
    assert size <= FORM.size_maximum
