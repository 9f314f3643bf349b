"""What a sweep of a hot wallet reads and writes; from there on it is an attempt as every other (`store.engine`)."""

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.store import engine as store
from strongroom.store.engine import NoFundsError, PlannedBeforeError, StoredAttempt
from strongroom.store.session import Session

LEFT_ALONE_MS = MINUTE_MS
"""For so long the engine's process leaves a planned sweep to whoever planned it."""


async def own_transactions(connection: Session, organisation: OrganisationId) -> frozenset[str]:
    """The chain transactions that the signer signed for it: their change is ours at once."""
    rows = await connection.fetch(
        "SELECT chain_transaction FROM strongroom.attempts WHERE organisation = $1 AND signed IS NOT NULL", organisation
    )
    return frozenset(row["chain_transaction"] for row in rows)


async def keep_sweep(
    connection: asyncpg.Connection, attempt: StoredAttempt, asset: str, fee: int, swept: int, outpoints: list[str],
    at: Instant,
) -> None:
    """As planned, and what isn't signed yet lets go of its money. Raises: NoFundsError, PlannedBeforeError."""
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT strongroom.engine_sweep($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                attempt.chain_transaction, attempt.organisation, attempt.network, asset, attempt.unsigned,
                attempt.paths, str(fee), str(swept), outpoints, at,
            )
            await store.try_later(connection, attempt.chain_transaction, Instant(at + LEFT_ALONE_MS), "")
    except asyncpg.CheckViolationError as fault:
        if fault.constraint_name == store.NEVER_OVERDRAWN:
            raise NoFundsError from fault
        raise PlannedBeforeError(str(fault)) from fault


async def signed_bytes(connection: Session, chain_transaction: str) -> bytes | None:
    found: bytes | None = await connection.fetchval(
        "SELECT signed FROM strongroom.attempts WHERE chain_transaction = $1", chain_transaction
    )
    return found
