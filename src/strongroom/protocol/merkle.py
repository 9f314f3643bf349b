"""The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1): hashing, a frontier that only grows, and what a proof proves.

Verification trusts its root and nothing else. `merkle_proof` makes proofs.
"""

import hashlib
from collections.abc import Iterable, Sequence
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


class Frontier:
    """A tree that is appended to, as the roots of its complete subtrees, largest first."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """`roots` are those of `merkle_proof.frontier_nodes(size)`. Raises: MerkleError."""
        if size < 0 or len(roots) != size.bit_count():
            raise MerkleError(f"a tree of {size} leaves has {max(size, 0).bit_count()} complete subtrees")
        self.size = size
        self._roots = list(roots)

    def append(self, leaf_hashes: Iterable[bytes]) -> list[tuple[int, int, bytes]]:
        """Add leaves; every subtree that became complete, as (level, position, hash), children first."""
        completed: list[tuple[int, int, bytes]] = []
        roots, size, sha256 = self._roots, self.size, hashlib.sha256
        for added in leaf_hashes:
            digest, level, position = added, 0, size
            completed.append((0, position, digest))
            while position & 1:
                digest = sha256(b"\1" + roots.pop() + digest).digest()
                level += 1
                position >>= 1
                completed.append((level, position, digest))
            roots.append(digest)
            size += 1
        self.size = size
        return completed

    @property
    def roots(self) -> tuple[bytes, ...]:
        """What a frontier of this size is made from again."""
        return tuple(self._roots)

    def root(self) -> bytes:
        return fold(self._roots)


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    frontier = Frontier()
    frontier.append(leaf_hashes)
    return frontier.root()


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2; `leaf` is a leaf hash. Raises: MerkleError."""
    if not 0 <= index < size or len(proof) > PROOF_MAXIMUM:
        raise MerkleError(f"leaf {index} isn't in a tree of {size}, or the proof is too long")
    check_hashes(leaf, root, *proof)
    position, last, digest = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise MerkleError("the inclusion proof is too long")
        if position & 1 or position == last:
            digest = node_hash(sibling, digest)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or digest != root:
        raise MerkleError(f"the proof doesn't lead from leaf {index} to the root of {size}")


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
