"""The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1): hashing, and what a proof proves.

Verification trusts its root and nothing else. `merkle_frontier` keeps a tree that grows, `merkle_proof` makes proofs.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256().digest()
PROOF_MAXIMUM: Final = 64
HASH_LENGTH: Final = 32


class MerkleError(ValueError):
    """An index or size outside of the tree, or a proof that doesn't prove."""


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """From the left: two complete subtrees of one size that stand side by side become one."""
    roots: list[bytes] = []
    for count, digest in enumerate(leaf_hashes, start=1):
        roots.append(digest)
        for _ in range((count & -count).bit_length() - 1):
            roots[-2:] = [node_hash(*roots[-2:])]
    return fold(roots)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 6962 §2.1.1; `leaf` is a leaf hash. Raises: MerkleError."""
    if not 0 <= index < size or len(proof) > PROOF_MAXIMUM:
        raise MerkleError(f"leaf {index} isn't in a tree of {size}, or the proof is too long")
    check_hashes(leaf, root, *proof)
    rest = iter((*proof, b""))
    if _root_over(leaf, index, size, rest) != root or next(rest, None) != b"":
        raise MerkleError(f"the proof doesn't lead from leaf {index} to the root of {size}")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 6962 §2.1.2: the tree of `second` leaves continues that of `first`. Raises: MerkleError."""
    if not 0 < first <= second or len(proof) > PROOF_MAXIMUM + 1:
        raise MerkleError(f"there is no proof from size {first} to {second}, or it is too long")
    check_hashes(first_root, second_root, *proof)
    rest = iter((*proof, b""))
    if _roots_over(first, second, first_root, rest) != (first_root, second_root) or next(rest, None) != b"":
        raise MerkleError(f"the tree of {second} isn't a continuation of the tree of {first}")


def check_hashes(*hashes: bytes) -> None:
    if any(len(each) != HASH_LENGTH for each in hashes):
        raise MerkleError(f"every hash must be {HASH_LENGTH} bytes")


def fold(roots: Sequence[bytes]) -> bytes:
    """One hash for complete subtrees that stand side by side, largest first."""
    if not roots:
        return EMPTY_ROOT
    digest = roots[-1]
    for left in reversed(roots[:-1]):
        digest = node_hash(left, digest)
    return digest


def _left(size: int) -> int:
    """How many leaves the left one of the two subtrees of a tree has: the largest power of two below its size."""
    return 1 << (size - 1).bit_length() - 1


def _root_over(leaf: bytes, index: int, size: int, rest: Iterator[bytes]) -> bytes:
    """The root that the siblings in `rest`, from below, make with the leaf; nothing if there are too few."""
    if size == 1:
        return leaf
    left = _left(size)
    if index < left:
        return node_hash(_root_over(leaf, index, left, rest), next(rest, b""))
    right = _root_over(leaf, index - left, size - left, rest)
    return node_hash(next(rest, b""), right)


def _roots_over(first: int, second: int, whole: bytes | None, rest: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The roots of both trees as `rest` makes them; `whole` is the first one's where it stands at the left edge."""
    if first == second:
        same = whole or next(rest, b"")
        return same, same
    left = _left(second)
    if first <= left:
        old, new = _roots_over(first, left, whole, rest)
        return old, node_hash(new, next(rest, b""))
    old, new = _roots_over(first - left, second - left, None, rest)
    beside = next(rest, b"")
    return node_hash(beside, old), node_hash(beside, new)
