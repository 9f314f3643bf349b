"""Puts leaves in their order, grows the tree over them, and records a checkpoint: one step, in one transaction.

Only `watch` may. A leaf's id is drawn before its transaction commits, so a small id can become visible after a
larger one. Whoever writes leaves holds a shared lock until it ends; taking it alone for an instant shows an id
up to which nothing can be missing.

What was signed last may be one step ahead of the record: its transaction didn't commit. Its leaves are there, so
the same step is made again, and must come to the same root; no size is ever signed with two roots.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.instant import Instant
from strongroom.domain.invariant import InvariantError
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import Node, frontier_nodes, root_at
from strongroom.store.audit import read_nodes

WORD: Final = re.compile("(?:org|po|ben|run|pe|cl|ak|se|inv)_[a-z2-7]{26}|strongroom/event/[a-z-]{1,64}/v1")
"""What a leaf is found by."""

STEP_MAXIMUM: Final = 10_000
SEQUENCER_LOCK: Final = 7163829168

SignCheckpoint = Callable[[int, bytes], str]
"""(size, root) to the signed note."""


class SequencerTakenError(Exception):
    """Another sequencer is at work on this database."""


@dataclass(slots=True)
class Sequencer:
    """Keeps the frontier of the tree; thrown away with its connection."""

    connection: asyncpg.Connection
    sign: SignCheckpoint
    frontier: Frontier
    last_id: int
    _owed: tuple[int, bytes] | None = None
    """Size and root of the step that was signed and not recorded."""

    @classmethod
    async def start(
        cls, connection: asyncpg.Connection, sign: SignCheckpoint, verify: Callable[[str], tuple[int, bytes]],
        signed: tuple[int, bytes] | None,
    ) -> "Sequencer":
        """Take the sequencer's place, and check that the stored tree is the one that was signed last.

        `verify` gives the size and root of a note of ours; `signed` is what we know from elsewhere that we signed
        last. Raises: SequencerTakenError, InvariantError.
        """
        if not await connection.fetchval(f"SELECT pg_try_advisory_lock({SEQUENCER_LOCK})"):
            raise SequencerTakenError("another sequencer is at work on this database")
        row = await connection.fetchrow(
            "SELECT count(*) AS size, coalesce(max(leaf_id), 0) AS last_id FROM strongroom.audit_sequence"
        )
        if row is None:
            raise InvariantError("an aggregate has no row")
        size = row["size"]
        nodes = await _nodes(connection, size)
        roots = [nodes[node] for node in frontier_nodes(size)]
        sequencer = cls(connection, sign, Frontier(size, roots), row["last_id"])
        note = await connection.fetchval("SELECT note FROM strongroom.audit_checkpoints ORDER BY size DESC LIMIT 1")
        if note is None and size:
            raise InvariantError(f"the audit tree has {size} leaves and no checkpoint")
        if note is not None and verify(note) != (size, sequencer.frontier.root()):
            raise InvariantError("the stored audit tree isn't the one that the newest checkpoint signs")
        if signed is not None:
            await sequencer._check_signed(*signed)
        return sequencer

    async def step(self, now: Instant) -> int:
        """Sequence what can be, at most `STEP_MAXIMUM` leaves; how many it was.

        Raises: asyncpg's errors, InvariantError when the step that was signed last can't be made again.
        """
        rows = await self._next(STEP_MAXIMUM if self._owed is None else self._owed[0] - self.frontier.size)
        if not rows and self._owed is None:
            return 0
        first = self.frontier.size
        grown = Frontier(first, self.frontier.roots)
        nodes = grown.append(leaf_hash(row["leaf"].encode()) for row in rows)
        if self._owed not in (None, (grown.size, grown.root())):
            raise InvariantError(f"the leaves after {first} aren't those that were signed last")
        note = self.sign(grown.size, grown.root())
        async with self.connection.transaction():
            await self.connection.execute(
                "INSERT INTO strongroom.audit_sequence SELECT * FROM unnest($1::bigint[], $2::bigint[])",
                list(range(first, grown.size)), [row["id"] for row in rows],
            )
            await self.connection.execute("SELECT strongroom.watch_words($1, $2)", *_words(first, rows))
            await self.connection.execute(
                "INSERT INTO strongroom.audit_nodes SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])",
                [level for level, _, _ in nodes],
                [position for _, position, _ in nodes],
                [digest for _, _, digest in nodes],
            )
            await self.connection.execute(
                "INSERT INTO strongroom.audit_checkpoints VALUES ($1, $2, $3)", grown.size, note, now
            )
        self.frontier, self.last_id, self._owed = grown, rows[-1]["id"], None
        return len(rows)

    async def _check_signed(self, size: int, root: bytes) -> None:
        """That the record continues what was signed last, or lacks its last step and no more."""
        if size - self.frontier.size > STEP_MAXIMUM:
            raise InvariantError(f"the audit tree has {self.frontier.size} leaves, and {size} were signed")
        if size > self.frontier.size:
            self._owed = (size, root)
            return
        nodes = await _nodes(self.connection, size)
        if root_at(size, nodes.__getitem__) != root:
            raise InvariantError(f"the first {size} leaves of the audit tree aren't those that were signed last")

    async def _next(self, maximum: int) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.connection.fetch(
            "SELECT id, leaf FROM strongroom.audit_leaves WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3",
            self.last_id, await self._safe_id(), maximum,
        )
        return rows

    async def _safe_id(self) -> int:
        """The largest id below which every leaf is either visible now or will never be."""
        async with self.connection.transaction():
            await self.connection.execute("SELECT pg_advisory_xact_lock(strongroom.audit_lock())")
            newest: int = await self.connection.fetchval("SELECT coalesce(max(id), 0) FROM strongroom.audit_leaves")
        return newest


def _words(first: int, rows: list[asyncpg.Record]) -> tuple[list[str], list[int]]:
    """The words by which these leaves are found, each with the leaf's place."""
    found = [(word, first + place) for place, row in enumerate(rows) for word in set(WORD.findall(row["leaf"]))]
    return [word for word, _ in found], [place for _, place in found]


async def _nodes(connection: asyncpg.Connection, size: int) -> dict[Node, bytes]:
    """The stored hashes that a tree of this size is made of. Raises: InvariantError if one is missing."""
    nodes = frontier_nodes(size)
    hashes = await read_nodes(connection, nodes)
    missing = [node for node in nodes if node not in hashes]
    if missing:
        raise InvariantError(f"the audit tree of {size} leaves lacks its node {missing[0]}")
    return hashes
