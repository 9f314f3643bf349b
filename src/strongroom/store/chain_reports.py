"""What watch saw of chain transactions: a row each time that it changed, and none while it stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.store.session import Session

FOLLOWED_MAXIMUM: Final = 1_000
SETTLED_MAXIMUM: Final = 200
"""So many of the newest that are settled are followed on: a reorg takes the newest."""


@dataclass(frozen=True, slots=True)
class Followed:
    """An attempt with what was last seen of it; `status` is empty if nothing was."""

    chain_transaction: str
    network: str
    status: str
    height: int | None
    block_hash: str | None
    depth: int
    conflicts_with: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """`conflicts_with` is the chain transaction that excludes it."""

    chain_transaction: str
    status: str
    height: int | None
    block_hash: str | None
    depth: int
    conflicts_with: str | None = None


_FOLLOWED: Final = """
SELECT a.chain_transaction, a.network, r.status, r.height, r.block_hash, r.depth, r.conflicts_with
FROM strongroom.attempts a LEFT JOIN LATERAL (
    SELECT * FROM strongroom.chain_reports c WHERE c.chain_transaction = a.chain_transaction ORDER BY c.id DESC LIMIT 1
) r ON true
"""


async def followed(connection: Session) -> list[Followed]:
    """Every attempt that was signed and isn't settled, oldest first, then the newest of those that are."""
    rows = await connection.fetch(
        f"{_FOLLOWED} WHERE a.state IN ('signed', 'broadcast', 'confirmed') ORDER BY a.created_at LIMIT $1",
        FOLLOWED_MAXIMUM,
    )
    rows += await connection.fetch(
        f"{_FOLLOWED} WHERE a.state = 'settled' ORDER BY a.updated_at DESC LIMIT $1", SETTLED_MAXIMUM
    )
    return [
        Followed(
            row["chain_transaction"], row["network"], row["status"] or "", row["height"], row["block_hash"],
            row["depth"] or 0, row["conflicts_with"],
        )
        for row in rows
    ]


async def report(connection: Session, seen: Sequence[Seen], at: Instant) -> None:
    await connection.executemany(
        "INSERT INTO strongroom.chain_reports "
        "(chain_transaction, status, height, block_hash, depth, conflicts_with, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            (each.chain_transaction, each.status, each.height, each.block_hash, each.depth, each.conflicts_with, at)
            for each in seen
        ],
    )
