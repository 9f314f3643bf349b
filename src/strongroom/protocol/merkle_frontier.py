"""A tree of RFC 6962 that only grows, kept as the roots of its complete subtrees. `merkle` has what verifies."""

import hashlib
from collections.abc import Iterable, Sequence

from strongroom.protocol.merkle import MerkleError, fold


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
