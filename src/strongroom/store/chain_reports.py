"""What watch saw of chain transactions: a row each time that it changed, and none while it stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.store.session import Session

FOLLOWED_MAXIMUM: Final = 1_000


@dataclass(frozen=True, slots=True)
class Followed:
    """An attempt that isn't final yet, with what was last seen of it; `status` is empty if nothing was."""

    chain_transaction: str
    network: str
    status: str
    height: int | None
    depth: int


@dataclass(frozen=True, slots=True)
class Seen:
    chain_transaction: str
    status: str
    height: int | None
    block_hash: str | None
    depth: int


async def followed(connection: Session) -> list[Followed]:
    """Every attempt that was signed and isn't settled, oldest first."""
    rows = await connection.fetch(
        "SELECT a.chain_transaction, a.network, r.status, r.height, r.depth FROM strongroom.attempts a "
        "LEFT JOIN LATERAL (SELECT * FROM strongroom.chain_reports c WHERE c.chain_transaction = a.chain_transaction "
        "ORDER BY c.id DESC LIMIT 1) r ON true WHERE a.state IN ('signed', 'broadcast', 'confirmed') "
        "ORDER BY a.created_at LIMIT $1",
        FOLLOWED_MAXIMUM,
    )
    return [
        Followed(row["chain_transaction"], row["network"], row["status"] or "", row["height"], row["depth"] or 0)
        for row in rows
    ]


async def report(connection: Session, seen: Sequence[Seen], at: Instant) -> None:
    await connection.executemany(
        "INSERT INTO strongroom.chain_reports (chain_transaction, status, height, block_hash, depth, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        [(each.chain_transaction, each.status, each.height, each.block_hash, each.depth, at) for each in seen],
    )
