"""Blocks of the simulated chain: what their hash commits to, for the chain that makes them and the rail that reads.

A block commits to the one before it, so to the whole chain; to its height; to a salt, so that a block that is mined
again after a reorg has another hash; and to its transactions with their witnesses, in order. There is no work in it:
whoever runs the chain can write another.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

GENESIS_PREVIOUS: Final = bytes(32)

_TAG: Final = b"strongroom/sim-block/v1\0"


def block_hash(previous: bytes, height: int, salt: bytes, signed: Sequence[bytes]) -> bytes:
    """`previous` and `salt` have 32 bytes; `signed` are the transactions verbatim."""
    parts = (hashlib.sha256(transaction).digest() for transaction in signed)
    return hashlib.sha256(_TAG + previous + height.to_bytes(4) + salt + b"".join(parts)).digest()
