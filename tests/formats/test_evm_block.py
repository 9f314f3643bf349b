"""Roots, headers, receipts and blooms without a node; published blocks are read in tests/rails/test_evm_wire.py."""

from dataclasses import replace
from functools import partial

import pytest

from strongroom.formats.evm_block import EvmBlockError, Header, Receipt, bloom_of, may_hold, receipts_root
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_trie import ordered_root
from strongroom.formats.hot_vault import Log

WORD = bytes(range(32))
HEADER = Header(
    WORD, WORD, bytes(20), WORD, WORD, WORD, bytes(256), 0, 1, 2, 3, 4, b"", WORD, bytes(8), (7, WORD, 0, 0, WORD, WORD)
)
LOGS = (Log(bytes([7] * 20), (WORD,), b"data"), Log(bytes([8] * 20), (), b""))


def test_no_values_have_the_root_of_an_empty_trie() -> None:
    """As every block without chain transactions shows it."""
    assert ordered_root([]).hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


def test_every_value_and_its_place_is_under_the_root() -> None:
    """From one node to leaves behind extensions, and values that are short enough to stand in a branch."""
    for count in (1, 2, 3, 17, 127, 128, 129, 257, 300):
        for size in (1, 40):
            values = [index.to_bytes(2) * size for index in range(count)]
            root = ordered_root(values)
            for place in {0, count // 2, count - 1}:
                changed = [*values[:place], b"\xff" + values[place][1:], *values[place + 1 :]]
                assert ordered_root(changed) != root
            assert ordered_root(values[:-1]) != root
            assert ordered_root([*values, values[0]]) != root
            if count > 1:
                assert ordered_root([values[1], values[0], *values[2:]]) != root


def test_the_first_payment_of_the_main_chain_makes_the_root_of_its_block() -> None:
    """Block 46147, as explorers show it: one chain transaction."""
    raw = bytes.fromhex(
        "f86780862d79883d2000825208945df9b87991262f6ba471f09758cde1c0fc1de734827a69801ca088ff6cf0fefd94db46111149ae4bfc179e"
        "9b94721fffd821d38d16464b3f71d0a045e0aff800961cfce805daef7016b9b675c137a6a41a548f7b60a3484c06a33a"
    )
    assert keccak256(raw).hex() == "5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060"
    assert ordered_root([raw]).hex() == "4513310fcb9f6f616972a3b948dc5d547f280849a87ebb5af0191f98b87be598"


def test_every_field_is_in_the_hash() -> None:
    others = {
        name: bytes(len(value) - 1) + b"\x01" if isinstance(value, bytes) else value + 1
        for name in Header.__slots__
        if name != "later" and isinstance(value := getattr(HEADER, name), bytes | int) and name != "extra"
    }
    changed = [replace(HEADER, **{name: value}) for name, value in others.items()]  # type: ignore[arg-type]  # by its name
    changed += [replace(HEADER, extra=b"x"), replace(HEADER, later=()), replace(HEADER, later=HEADER.later[:-1])]
    assert len({each.block_hash for each in [HEADER, *changed]}) == len(others) + 4 == 18


def test_a_base_fee_is_the_first_of_what_forks_have_added() -> None:
    assert HEADER.base_fee == 7
    assert replace(HEADER, later=()).base_fee is None
    assert replace(HEADER, later=(WORD,)).base_fee is None


@pytest.mark.parametrize("fields", [{"parent": b""}, {"mix": bytes(33)}, {"beneficiary": bytes(32)}, {"bloom": b""}])
def test_a_header_of_another_form_is_refused(fields: dict[str, bytes]) -> None:
    with pytest.raises(EvmBlockError, match="must have"):
        replace(HEADER, **fields)  # type: ignore[arg-type]  # by its name


def test_every_part_of_a_receipt_is_under_the_root() -> None:
    good = Receipt(2, True, 21_000, LOGS)
    others = [
        replace(good, kind=0), replace(good, gas_used=1), replace(good, logs=LOGS[:1]), replace(good, logs=LOGS[::-1]),
        Receipt(2, False, 21_000, ()), Receipt(2, True, 21_000, ()),
        replace(good, logs=(replace(LOGS[0], data=b"date"), LOGS[1])),
        replace(good, logs=(replace(LOGS[0], topics=()), LOGS[1])),
        replace(good, logs=(replace(LOGS[0], address=bytes(20)), LOGS[1])),
        replace(good, later=(1,)), replace(good, later=(1, 1)),
    ]
    assert len({receipts_root([each]) for each in [good, *others]}) == 12


@pytest.mark.parametrize(
    "made", [partial(Receipt, -1, True, 0, ()), partial(Receipt, 128, True, 0, ()), partial(Receipt, 0, False, 0, LOGS)]
)
def test_a_receipt_that_there_can_not_be_is_refused(made: partial[Receipt]) -> None:
    with pytest.raises(EvmBlockError, match=r"kind|failed"):
        made()


def test_a_bloom_never_denies_what_it_holds() -> None:
    bloom = bloom_of(LOGS)
    assert may_hold(bloom, LOGS[0].address, WORD)
    assert may_hold(bloom, LOGS[1].address)
    absent = [bytes([index] * 20) for index in range(100) if index not in (7, 8)]
    assert not any(may_hold(bloom, LOGS[0].address, each) for each in absent)
    assert bloom_of([]) == bytes(256)
