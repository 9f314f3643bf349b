"""The root by which an EVM block's header commits to its transactions and to their receipts, in their order.

A Merkle-Patricia trie (Ethereum yellow paper, appendix D) whose keys are the RLP of 0, 1, 2, …: no such key begins
another one, so no branch has a value of its own. Only the root is made here; there are no proofs.
"""

from collections.abc import Sequence
from itertools import groupby

from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.rlp import Item, encode_number, encode_rlp

_Pair = tuple[bytes, bytes]
"""A key, a nibble a byte, and its value."""


def ordered_root(values: Sequence[bytes]) -> bytes:
    """32 bytes."""
    if not values:
        return keccak256(encode_rlp(b""))
    pairs = sorted((_nibbles(encode_rlp(encode_number(index))), value) for index, value in enumerate(values))
    return keccak256(encode_rlp(_node(pairs, 0)))


def _node(pairs: Sequence[_Pair], depth: int) -> list[Item]:
    """Of sorted pairs whose keys are the same in their first `depth` nibbles."""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_path(first[depth:], is_leaf=True), pairs[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_path(first[depth:shared], is_leaf=False), _reference(_node(pairs, shared))]
    branch: list[Item] = [b""] * 17
    for nibble, below in groupby(pairs, lambda pair: pair[0][depth]):
        branch[nibble] = _reference(_node(list(below), depth + 1))
    return branch


def _reference(node: list[Item]) -> Item:
    """A short node stands in its parent itself."""
    raw = encode_rlp(node)
    return node if len(raw) < 32 else keccak256(raw)


def _path(nibbles: bytes, *, is_leaf: bool) -> bytes:
    """Two nibbles a byte, behind a flag that says of which kind, and whether their count is odd."""
    flag = 2 * is_leaf + len(nibbles) % 2
    whole = bytes([flag]) + nibbles if len(nibbles) % 2 else bytes([flag, 0]) + nibbles
    return bytes(high << 4 | low for high, low in zip(whole[::2], whole[1::2], strict=True))


def _nibbles(key: bytes) -> bytes:
    return bytes(nibble for byte in key for nibble in (byte >> 4, byte & 15))
