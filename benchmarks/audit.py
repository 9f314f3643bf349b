"""The audit log's tree: how fast it grows in batches, how fast proofs are made, and a whole step of `watch`."""

import asyncio
import time
from typing import Final

import asyncpg
from nacl.signing import SigningKey

from benchmarks.ground import Ground
from benchmarks.machine import now
from strongroom.protocol.checkpoint import Checkpoint, sign_checkpoint
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import Node, consistency_proof, inclusion_proof
from strongroom.store.audit_sequencer import STEP_MAXIMUM, Sequencer

LEAF: Final = b'{"event":{"amount":"1000000","at":1795000000000,"number":%d,"rest":"' + b"x" * 400 + b'"}}'
ORIGIN: Final = "benchmark.example/log"


def appends_per_s(count: int) -> float:
    """Leaves of a payout's size, hashed and appended in the batches that `watch` takes."""
    leaves = [LEAF % number for number in range(count)]
    frontier = Frontier()
    started = time.perf_counter()
    for first in range(0, count, STEP_MAXIMUM):
        frontier.append(leaf_hash(leaf) for leaf in leaves[first : first + STEP_MAXIMUM])
    frontier.root()
    return count / (time.perf_counter() - started)


class ProofBench:
    """A tree of a size that isn't round, and proofs from anywhere in it."""

    def __init__(self, size: int) -> None:
        self._size = size
        completed = Frontier().append(leaf_hash(b"%d" % number) for number in range(size))
        self._nodes: dict[Node, bytes] = {(level, position): digest for level, position, digest in completed}

    def proofs_per_s(self, count: int) -> float:
        """Inclusion and consistency in turn, each for another place."""
        size, node = self._size, self._nodes.__getitem__
        started = time.perf_counter()
        for number in range(count // 2):
            place = number * 7_919 % (size - 1)
            inclusion_proof(place, size, node)
            consistency_proof(place + 1, size, node)
        return count // 2 * 2 / (time.perf_counter() - started)


async def sequenced_per_s(ground: Ground, count: int) -> float:
    """Leaves read from PostgreSQL, ordered, hashed, stored with their tree, and a checkpoint signed for each step."""
    database = await ground.database()
    owner = await asyncpg.connect(ground.owner_dsn(database))
    try:
        await owner.execute(
            "INSERT INTO strongroom.audit_leaves (leaf) SELECT $1::text || each FROM generate_series(1, $2) AS each",
            (LEAF % 0).decode(), count,
        )
        key = SigningKey.generate()

        def sign(size: int, root: bytes) -> str:
            return sign_checkpoint(Checkpoint(ORIGIN, size, root), ORIGIN, key)

        sequencer = await Sequencer.start(owner, sign, lambda note: (0, b""), None)
        done, started = 0, time.perf_counter()
        while stepped := await sequencer.step(now()):
            done += stepped
        seconds = time.perf_counter() - started
    finally:
        await owner.close()
    await ground.drop(database)
    return done / seconds


def measure_sequencer(ground: Ground, count: int) -> float:
    return asyncio.run(sequenced_per_s(ground, count))
