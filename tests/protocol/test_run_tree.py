"""Runs: leaves, roots, slices and seals."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.ids import parse_run_id
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.merkle import leaf_hash, verify_inclusion
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import inclusion_proof
from strongroom.protocol.run_tree import (
    ASSETS_PER_RUN_MAXIMUM,
    Seal,
    SealError,
    check_seal,
    item_leaf,
    parse_seal,
    run_root,
)

RUN = parse_run_id("run_" + "a" * 26)
ITEM: dict[str, JsonValue] = {"amount": "1", "asset": "iso4217:EUR", "idempotency_key": "k"}
ROOT = hashlib.sha256(b"root").digest()
SEAL = Seal(2, {"iso4217:EUR": 5, "iso4217:USD": 7}, ROOT)


def test_a_leaf_is_the_item_as_sent_with_its_place() -> None:
    assert item_leaf(ITEM, RUN, 17) == (
        b'{"amount":"1","asset":"iso4217:EUR","idempotency_key":"k","index":17,'
        b'"run":"run_aaaaaaaaaaaaaaaaaaaaaaaaaa","type":"strongroom/run-item/v1"}'
    )


@pytest.mark.parametrize("field", ["index", "run", "type"])
def test_an_item_cannot_bring_its_own_place(field: str) -> None:
    with pytest.raises(CanonicalError) as refusal:
        item_leaf({**ITEM, field: "x"}, RUN, 0)
    assert refusal.value.field == field


@given(st.integers(1, 40), st.data())
def test_a_slice_is_proven_without_the_rest(count: int, data: st.DataObject) -> None:
    leaves = [item_leaf({**ITEM, "amount": str(index + 1)}, RUN, index) for index in range(count)]
    frontier = Frontier()
    split = data.draw(st.integers(0, count))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    nodes = frontier.append(hashes[:split]) + frontier.append(hashes[split:])
    root = run_root(leaves)
    assert frontier.root() == root
    stored = {(level, position): digest for level, position, digest in nodes}
    index = data.draw(st.integers(0, count - 1))
    verify_inclusion(hashes[index], index, count, inclusion_proof(index, count, stored.__getitem__), root)
    assert parse_object(leaves[index])["index"] == index


def test_a_seal_is_read() -> None:
    assert parse_seal(2, {"iso4217:EUR": "5", "iso4217:USD": "7"}, ROOT.hex()) == SEAL


@pytest.mark.parametrize(
    ("count", "totals", "root", "field"),
    [
        (0, {"iso4217:EUR": "5"}, ROOT.hex(), "count"),
        (-1, {"iso4217:EUR": "5"}, ROOT.hex(), "count"),
        (1, {}, ROOT.hex(), "totals"),
        (1, {f"asset {index}": "1" for index in range(ASSETS_PER_RUN_MAXIMUM + 1)}, ROOT.hex(), "totals"),
        (1, {"iso4217:EUR": "0"}, ROOT.hex(), "totals.iso4217:EUR"),
        (1, {"iso4217:EUR": "05"}, ROOT.hex(), "totals.iso4217:EUR"),
        (1, {"iso4217:EUR": "-5"}, ROOT.hex(), "totals.iso4217:EUR"),
        (1, {"iso4217:EUR": "5"}, ROOT.hex().upper(), "root"),
        (1, {"iso4217:EUR": "5"}, "", "root"),
    ],
)
def test_what_is_no_seal_is_refused_by_its_field(count: int, totals: dict[str, str], root: str, field: str) -> None:
    with pytest.raises(SealError) as refusal:
        parse_seal(count, totals, root)
    assert refusal.value.field == field
    assert refusal.value.reason


def test_a_seal_that_says_what_the_items_say_holds() -> None:
    check_seal(SEAL, 2, {"iso4217:USD": 7, "iso4217:EUR": 5}, ROOT)


@pytest.mark.parametrize(
    ("count", "totals", "root", "field"),
    [
        (3, {"iso4217:EUR": 5, "iso4217:USD": 7}, ROOT, "count"),
        (2, {"iso4217:EUR": 5, "iso4217:USD": 8}, ROOT, "totals.iso4217:USD"),
        (2, {"iso4217:EUR": 5}, ROOT, "totals.iso4217:USD"),
        (2, {"iso4217:EUR": 5, "iso4217:USD": 7, "iso4217:CHF": 1}, ROOT, "totals.iso4217:CHF"),
        (2, {"iso4217:EUR": 5, "iso4217:USD": 7}, bytes(32), "root"),
    ],
)
def test_a_seal_names_what_differs(count: int, totals: dict[str, int], root: bytes, field: str) -> None:
    with pytest.raises(SealError) as refusal:
        check_seal(SEAL, count, totals, root)
    assert refusal.value.field == field


@given(st.integers(), st.dictionaries(st.text(), st.text()), st.text())
def test_only_its_own_error_escapes(count: int, totals: dict[str, str], root: str) -> None:
    with pytest.raises(SealError):
        parse_seal(count, totals, root + "x")
