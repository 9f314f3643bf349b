"""The Merkle tree against published vectors and the recursive definition of RFC 6962."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.vectors import load

from strongroom.protocol.merkle import (
    EMPTY_ROOT,
    MerkleError,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import (
    Node,
    consistency_proof,
    frontier_nodes,
    inclusion_proof,
    root_at,
)

VECTORS = load("protocol_merkle.json")
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
NODES = {
    (level, position): bytes.fromhex(digest)
    for level, row in enumerate(VECTORS["nodes"])
    for position, digest in enumerate(row)
}

sizes = st.integers(1, 300)
HASHES = [leaf_hash(str(index).encode()) for index in range(300)]


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word, over leaf hashes."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def naive_path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(hashes) == 1:
        return []
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if index < split:
        return [*naive_path(index, hashes[:split]), naive_root(hashes[split:])]
    return [*naive_path(index - split, hashes[split:]), naive_root(hashes[:split])]


def naive_subproof(first: int, hashes: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if first == len(hashes):
        return [] if whole else [naive_root(hashes)]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if first <= split:
        return [*naive_subproof(first, hashes[:split], whole), naive_root(hashes[split:])]
    return [*naive_subproof(first - split, hashes[split:], False), naive_root(hashes[:split])]


def stored(hashes: Sequence[bytes]) -> dict[Node, bytes]:
    return {(level, position): digest for level, position, digest in Frontier().append(hashes)}


ALL = stored(HASHES)


def test_published_nodes_and_roots() -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    assert stored(hashes) == NODES
    assert ROOTS[0] == EMPTY_ROOT
    for size, root in enumerate(ROOTS):
        assert root_of(hashes[:size]) == root
        assert root_at(size, NODES.__getitem__) == root


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["name"])
def test_published_inclusion_proofs(case: dict[str, Any]) -> None:
    arguments = (
        bytes.fromhex(case["leafHash"]), case["leafIdx"], case["treeSize"],
        [bytes.fromhex(each) for each in case["proof"]], bytes.fromhex(case["root"]),
    )
    if case["wantErr"]:
        with pytest.raises(MerkleError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)
        if case["treeSize"] <= len(LEAVES):
            assert inclusion_proof(case["leafIdx"], case["treeSize"], NODES.__getitem__) == arguments[3]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["name"])
def test_published_consistency_proofs(case: dict[str, Any]) -> None:
    """Stricter than the vectors in two ways: that everything continues an empty tree proves nothing, so size 0 is
    refused; and so are roots that aren't 32 bytes, where a vector doesn't care."""
    first, second = case["size1"], case["size2"]
    roots = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
    proof = [bytes.fromhex(each) for each in case["proof"]]
    if case["wantErr"] or first == 0 or len(roots[0]) != 32:
        with pytest.raises(MerkleError):
            verify_consistency(first, second, *roots, proof)
    else:
        verify_consistency(first, second, *roots, proof)
        if second <= len(LEAVES) and roots[1] == ROOTS[second]:
            assert consistency_proof(first, second, NODES.__getitem__) == proof


@given(sizes)
def test_root_equals_the_recursive_definition(size: int) -> None:
    assert root_of(HASHES[:size]) == root_at(size, ALL.__getitem__) == naive_root(HASHES[:size])


@given(sizes, st.data())
def test_inclusion_proofs_equal_the_definition_and_prove(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, ALL.__getitem__)
    assert proof == naive_path(index, HASHES[:size])
    verify_inclusion(HASHES[index], index, size, proof, naive_root(HASHES[:size]))


@given(sizes, st.data())
def test_consistency_proofs_equal_the_definition_and_prove(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(first, second, ALL.__getitem__)
    assert proof == naive_subproof(first, HASHES[:second], True)
    verify_consistency(first, second, naive_root(HASHES[:first]), naive_root(HASHES[:second]), proof)


@given(st.integers(2, 300), st.data())
def test_a_changed_proof_proves_nothing(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = root_of(HASHES[:size])
    proof = inclusion_proof(index, size, ALL.__getitem__)
    place = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof]
    changed[place] = hashlib.sha256(proof[place]).digest()
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index))
    for leaf, where, path in (
        (HASHES[index], index, changed), (HASHES[index], index, proof[:-1]), (HASHES[index], index, [*proof, root]),
        (HASHES[other], index, proof), (HASHES[index], other, proof),
    ):
        with pytest.raises(MerkleError):
            verify_inclusion(leaf, where, size, path, root)


@given(st.integers(2, 300), st.data())
def test_a_rewritten_history_has_no_consistency_proof(second: int, data: st.DataObject) -> None:
    """The attacker has the log and wants to change a leaf that a checkpoint covers; the bound is no proof at all."""
    first = data.draw(st.integers(1, second - 1))
    changed_at = data.draw(st.integers(0, first - 1))
    rewritten = [*HASHES[:second]]
    rewritten[changed_at] = leaf_hash(b"rewritten")
    proof = consistency_proof(first, second, stored(rewritten).__getitem__)
    with pytest.raises(MerkleError):
        verify_consistency(first, second, root_of(HASHES[:first]), root_of(rewritten), proof)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_in_parts_is_that_of_the_whole(parts: list[int]) -> None:
    frontier, completed, start = Frontier(), [], 0
    for part in parts:
        completed += frontier.append(HASHES[start : start + part][:part])
        start = min(start + part, len(HASHES))
        frontier = Frontier(frontier.size, frontier.roots)
    assert frontier.size == start
    assert frontier.root() == root_of(HASHES[:start])
    assert completed == Frontier().append(HASHES[:start])
    assert list(frontier.roots) == [ALL[node] for node in frontier_nodes(start)]


hashlike = st.binary(max_size=33) | st.binary(min_size=32, max_size=32)


@given(hashlike, st.integers(-3, 70), st.integers(-3, 70), st.lists(hashlike, max_size=70))
def test_only_its_own_error_escapes_verification(digest: bytes, one: int, two: int, proof: list[bytes]) -> None:
    for verify in (
        lambda: verify_inclusion(digest, one, two, proof, digest),
        lambda: verify_consistency(one, two, digest, digest, proof),
    ):
        try:
            verify()
        except MerkleError:
            continue
        assert (one, two) == (0, 1) or one == two


def test_places_outside_of_the_tree_are_refused() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(MerkleError, match="isn't in a tree"):
            inclusion_proof(index, size, ALL.__getitem__)
    for first, second in ((0, 5), (6, 5), (-1, 5)):
        with pytest.raises(MerkleError, match="no proof"):
            consistency_proof(first, second, ALL.__getitem__)


def test_a_frontier_is_made_only_from_as_many_roots_as_its_size_has() -> None:
    for size, roots in ((3, HASHES[:1]), (-1, [])):
        with pytest.raises(MerkleError, match="complete subtrees"):
            Frontier(size, roots)


def test_leaves_and_nodes_are_hashed_apart() -> None:
    assert leaf_hash(HASHES[0] + HASHES[1]) != node_hash(HASHES[0], HASHES[1])
