"""What watch follows and saw on chains of accounts: calls of vaults, and what vaults did with each item of a batch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.session import Session

FOLLOWED_MAXIMUM: Final = 1_000
SETTLED_MAXIMUM: Final = 200
"""So many of the newest that are settled are followed on: a reorg takes the newest."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """What is so of an attempt. `status` is empty if nothing was seen; `height` and `block_hash` of a mined one are
    its block's, of a replaced one those of the block after which its nonce was used. `fee` is None but for mined ones.
    """

    status: str
    height: int | None = None
    block_hash: str | None = None
    depth: int = 0
    conflicts_with: str | None = None
    fee: int | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class FollowedCall:
    chain_transaction: str
    organisation: OrganisationId
    last: CallReport


@dataclass(frozen=True, slots=True)
class CallBytes:
    """`unsigned` is a VaultCall, `signed` what a node is given."""

    unsigned: bytes
    signed: bytes


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What is so of an item. `fate` as in the table `batch_reports`."""

    fate: str
    received: int | None = None
    taken_by: str | None = None
    height: int | None = None
    block_hash: str | None = None
    is_final: bool = False
    detail: str | None = None


_FOLLOWED: Final = """
SELECT a.chain_transaction, a.organisation, r.status, r.height, r.block_hash, r.depth, r.conflicts_with,
    r.fee::text AS fee, r.is_final
FROM (
    (SELECT chain_transaction, organisation FROM strongroom.attempts WHERE network = $1 AND signed IS NOT NULL
        AND state NOT IN ('dropped', 'settled') ORDER BY created_at LIMIT $2)
    UNION ALL
    (SELECT chain_transaction, organisation FROM strongroom.attempts WHERE network = $1 AND signed IS NOT NULL
        AND state = 'settled' ORDER BY updated_at DESC LIMIT $3)
) a LEFT JOIN LATERAL (
    SELECT * FROM strongroom.chain_reports c WHERE c.chain_transaction = a.chain_transaction ORDER BY c.id DESC LIMIT 1
) r ON true
"""


async def followed_calls(connection: Session, network: str) -> list[FollowedCall]:
    """Every attempt that was signed and has no end yet, oldest first, then the newest of those that are settled."""
    rows = await connection.fetch(_FOLLOWED, network, FOLLOWED_MAXIMUM, SETTLED_MAXIMUM)
    return [
        FollowedCall(row["chain_transaction"], OrganisationId(row["organisation"]), CallReport(
            row["status"] or "", row["height"], row["block_hash"], row["depth"] or 0, row["conflicts_with"],
            None if row["fee"] is None else int(row["fee"]), row["is_final"] or False,
        ))
        for row in rows
    ]


async def read_calls(connection: Session, chain_transactions: Collection[str]) -> dict[str, CallBytes]:
    rows = await connection.fetch(
        "SELECT chain_transaction, unsigned, signed FROM strongroom.attempts WHERE chain_transaction = ANY ($1) "
        "AND signed IS NOT NULL",
        list(chain_transactions),
    )
    return {row["chain_transaction"]: CallBytes(row["unsigned"], row["signed"]) for row in rows}


async def calls_of_batches(
    connection: Session, network: str, batches: Collection[str]
) -> dict[str, tuple[str, OrganisationId]]:
    """By the batch's name a signed attempt that pays it, and whose it is."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (batch) batch, chain_transaction, organisation FROM strongroom.attempts "
        "WHERE network = $1 AND batch = ANY ($2) AND signed IS NOT NULL",
        network, list(batches),
    )
    return {row["batch"]: (row["chain_transaction"], OrganisationId(row["organisation"])) for row in rows}


async def report_calls(connection: Session, seen: Sequence[tuple[str, CallReport]], at: Instant) -> None:
    await connection.executemany(
        "INSERT INTO strongroom.chain_reports "
        "(chain_transaction, status, height, block_hash, depth, conflicts_with, fee, is_final, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9)",
        [
            (name, each.status, each.height, each.block_hash, each.depth, each.conflicts_with,
             None if each.fee is None else str(each.fee), each.is_final, at)
            for name, each in seen
        ],
    )


async def last_fates(connection: Session, network: str, batches: Collection[str]) -> dict[tuple[str, int], ItemReport]:
    """By batch and item; without those of which nothing was seen."""
    rows = await connection.fetch(
        "SELECT batch, item, fate, received::text AS received, taken_by, height, block_hash, is_final, detail "
        "FROM strongroom.batch_fates WHERE network = $1 AND batch = ANY ($2)",
        network, list(batches),
    )
    return {
        (row["batch"], row["item"]): ItemReport(
            row["fate"], None if row["received"] is None else int(row["received"]), row["taken_by"], row["height"],
            row["block_hash"], row["is_final"], row["detail"],
        )
        for row in rows
    }


async def report_fates(
    connection: Session, network: str, seen: Sequence[tuple[str, int, ItemReport]], at: Instant
) -> None:
    await connection.executemany(
        "INSERT INTO strongroom.batch_reports (network, batch, item, fate, received, taken_by, height, block_hash, "
        "is_final, detail, created_at) VALUES ($1, $2, $3, $4, $5::text::numeric, $6, $7, $8, $9, $10, $11)",
        [
            (network, batch, item, each.fate, None if each.received is None else str(each.received), each.taken_by,
             each.height, each.block_hash, each.is_final, each.detail, at)
            for batch, item, each in seen
        ],
    )
