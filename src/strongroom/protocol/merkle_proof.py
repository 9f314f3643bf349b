"""Proofs of RFC 6962 §2.1 for any size of the tree, put together from the hashes of complete subtrees.

Only complete subtrees have hashes that never change; they are named by (level, position) and kept by whoever has room
for them.
"""

from collections.abc import Callable

from strongroom.protocol.merkle import MerkleError, fold

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
