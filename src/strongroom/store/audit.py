"""Reading the audit log: leaves, checkpoints and proofs, made from the stored hashes of complete subtrees.

Proofs are given for the size of a checkpoint that exists: a reader believes the checkpoint's signature and nothing
else that is read here.
"""

from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.protocol.merkle_proof import Node, consistency_proof, inclusion_proof
from strongroom.store.session import Session

ENTRIES_MAXIMUM: Final = 1_000

_LEAVES: Final = """
SELECT s.leaf_index, l.leaf FROM strongroom.audit_sequence s JOIN strongroom.audit_leaves l ON l.id = s.leaf_id
"""

_CHECKPOINTS: Final = """
SELECT c.size, c.note || coalesce(g.line, '') AS note FROM strongroom.audit_checkpoints c
LEFT JOIN strongroom.audit_cosignatures g ON g.size = c.size
"""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """`note` has guard's line too, if guard cosigned it."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A leaf, its place, and the proof that it is in the tree that the note signs."""

    leaf_index: int
    leaf: str
    size: int
    proof: list[bytes]
    note: str


class _Collector:
    """Stands in for the stored hashes and notes which of them a proof wants."""

    def __init__(self) -> None:
        self.wanted: list[Node] = []

    def __call__(self, node: Node) -> bytes:
        self.wanted.append(node)
        return bytes(32)


async def read_checkpoint(connection: Session) -> StoredCheckpoint | None:
    """The newest."""
    row = await connection.fetchrow(f"{_CHECKPOINTS} ORDER BY c.size DESC LIMIT 1")
    return None if row is None else StoredCheckpoint(row["size"], row["note"])


async def read_witnessed(connection: Session, minimum: int = 0) -> StoredCheckpoint | None:
    """The newest that guard cosigned, if it has so many leaves; else the newest that there is."""
    row = await connection.fetchrow(f"{_CHECKPOINTS} WHERE g.size >= $1 ORDER BY g.size DESC LIMIT 1", minimum)
    return await read_checkpoint(connection) if row is None else StoredCheckpoint(row["size"], row["note"])


async def read_cosigned_size(connection: Session) -> int:
    """Of the newest checkpoint that guard cosigned; 0 if there is none."""
    size: int = await connection.fetchval("SELECT coalesce(max(size), 0) FROM strongroom.audit_cosignatures")
    return size


async def keep_cosignature(connection: Session, size: int, line: str, now: Instant) -> None:
    """Guard's line below the checkpoint of this size; the first one stays."""
    await connection.execute(
        "INSERT INTO strongroom.audit_cosignatures VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", size, line, now
    )


async def read_entries(connection: Session, start: int, count: int) -> list[tuple[int, str]]:
    """(index, leaf) from `start` on; at most `ENTRIES_MAXIMUM`."""
    rows = await connection.fetch(
        f"{_LEAVES} WHERE s.leaf_index >= $1 ORDER BY s.leaf_index LIMIT $2",
        start, min(count, ENTRIES_MAXIMUM),
    )
    return [(row["leaf_index"], row["leaf"]) for row in rows]


async def read_block(connection: Session, start: int, count: int) -> list[tuple[int, bytes, str]]:
    """(index, hash, leaf) from `start` on, as they were recorded; a hash that isn't there any more is empty."""
    rows = await connection.fetch(
        "SELECT s.leaf_index, coalesce(n.hash, '') AS hash, l.leaf FROM strongroom.audit_sequence s "
        "JOIN strongroom.audit_leaves l ON l.id = s.leaf_id "
        "LEFT JOIN strongroom.audit_nodes n ON n.level = 0 AND n.position = s.leaf_index "
        "WHERE s.leaf_index >= $1 AND s.leaf_index < $2 ORDER BY s.leaf_index",
        start, start + count,
    )
    return [(row["leaf_index"], row["hash"], row["leaf"]) for row in rows]


async def read_inclusion(connection: Session, index: int, size: int) -> list[bytes]:
    """Raises: MerkleError unless the leaf is in the tree of that size."""
    collector = _Collector()
    inclusion_proof(index, size, collector)
    return inclusion_proof(index, size, (await read_nodes(connection, collector.wanted)).__getitem__)


async def read_consistency(connection: Session, first: int, second: int) -> list[bytes]:
    """Raises: MerkleError unless 0 < first <= second."""
    collector = _Collector()
    consistency_proof(first, second, collector)
    return consistency_proof(first, second, (await read_nodes(connection, collector.wanted)).__getitem__)


async def read_leaf_hash(connection: Session, index: int) -> bytes:
    return (await read_nodes(connection, [(0, index)]))[0, index]


async def read_receipt(connection: Session, leaf_id: int) -> Receipt | None:
    """None until the leaf is sequenced and a checkpoint covers it."""
    row = await connection.fetchrow(
        f"{_LEAVES} WHERE s.leaf_id = $1",
        leaf_id,
    )
    if row is None:
        return None
    checkpoint = await read_witnessed(connection, row["leaf_index"] + 1)
    if checkpoint is None or checkpoint.size <= row["leaf_index"]:
        return None
    proof = await read_inclusion(connection, row["leaf_index"], checkpoint.size)
    return Receipt(row["leaf_index"], row["leaf"], checkpoint.size, proof, checkpoint.note)


async def read_nodes(connection: Session, wanted: list[Node]) -> dict[Node, bytes]:
    """The stored hashes among these complete subtrees."""
    rows = await connection.fetch(
        "SELECT n.level, n.position, n.hash FROM unnest($1::smallint[], $2::bigint[]) AS asked (level, position) "
        "JOIN strongroom.audit_nodes n ON n.level = asked.level AND n.position = asked.position",
        [level for level, _ in wanted], [position for _, position in wanted],
    )
    return {(row["level"], row["position"]): row["hash"] for row in rows}
