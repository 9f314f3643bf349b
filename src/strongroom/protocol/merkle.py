"""The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1): hashing, and what a proof proves.

Verification trusts its root and nothing else. `merkle_frontier` keeps a tree that grows, `merkle_proof` makes proofs.
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


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """From the left: two complete subtrees of one size that stand side by side become one."""
    roots: list[bytes] = []
    for count, digest in enumerate(leaf_hashes, start=1):
        roots.append(digest)
        for _ in range((count & -count).bit_length() - 1):
            roots[-2:] = [node_hash(*roots[-2:])]
    return fold(roots)


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
