"""Proofs of RFC 6962 §2.1 for any size of the tree, put together from the hashes of complete subtrees.

Only complete subtrees have hashes that never change; they are named by (level, position) and kept by whoever has room
for them.
"""

from collections.abc import Callable, Sequence

from strongroom.protocol.merkle import PROOF_MAXIMUM, MerkleError, check_hashes, fold, node_hash

Node = tuple[int, int]
"""(level, position): the subtree over leaves position·2^level to (position+1)·2^level - 1."""
NodeHash = Callable[[Node], bytes]


def frontier_nodes(size: int) -> list[Node]:
    """The complete subtrees that a tree of `size` leaves is made of, from the left: one for each bit of `size`."""
    levels = range(size.bit_length() - 1, -1, -1)
    return [(level, (size >> level) - 1) for level in levels if size >> level & 1]


def root_at(size: int, node: NodeHash) -> bytes:
    """The root of the first `size` leaves."""
    return fold([node(each) for each in frontier_nodes(size)])


def inclusion_proof(index: int, size: int, node: NodeHash) -> list[bytes]:
    """RFC 6962 §2.1.1: siblings from the leaf up. `node` gives hashes of complete subtrees.

    Raises: MerkleError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise MerkleError(f"leaf {index} isn't in a tree of {size}")
    return _siblings(index, size, 0, node)


def consistency_proof(first: int, second: int, node: NodeHash) -> list[bytes]:
    """RFC 6962 §2.1.2: that the first `first` leaves of a tree of `second` are unchanged.

    Raises: MerkleError unless 0 < first <= second.
    """
    if not 0 < first <= second:
        raise MerkleError(f"there is no proof from size {first} to {second}")
    if first == second:
        return []
    level = (first & -first).bit_length() - 1
    proof = _siblings(first - 1, second, level, node)
    return proof if first.bit_count() == 1 else [node((level, (first >> level) - 1)), *proof]


def _siblings(index: int, size: int, level: int, node: NodeHash) -> list[bytes]:
    """The proof for the subtree of `level` that leaf `index` is the last or only one of, from below.

    The highest bit in which `index` and `size` differ is the level of the complete subtree that the leaf is in:
    first siblings inside it, then all to its right as one hash, then the subtrees to its left, nearest first.
    """
    top = (index ^ size).bit_length() - 1
    proof = [node((each, index >> each ^ 1)) for each in range(level, top)]
    subtrees = frontier_nodes(size)
    place = (size >> top + 1).bit_count()
    if place + 1 < len(subtrees):
        proof.append(fold([node(each) for each in subtrees[place + 1 :]]))
    proof += [node(each) for each in reversed(subtrees[:place])]
    return proof


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 §2.1.4.2. Raises: MerkleError."""
    if not 0 < first <= second or len(proof) > PROOF_MAXIMUM + 1:
        raise MerkleError(f"there is no proof from size {first} to {second}, or it is too long")
    check_hashes(first_root, second_root, *proof)
    if first == second:
        if proof or first_root != second_root:
            raise MerkleError("trees of one size must have one root, and need no proof")
        return
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not path:
        raise MerkleError("the consistency proof is empty")
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MerkleError("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old != first_root or new != second_root:
        raise MerkleError(f"the tree of {second} isn't a continuation of the tree of {first}")
