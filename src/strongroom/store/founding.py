"""Writes a deployment and its organisations into the database, each once, by the owner; other documents are refused."""

import asyncpg

from strongroom.domain.instant import Instant
from strongroom.store.organisations import NewOrganisation, create_organisation, record_deployment

LOCK = 7163829171
"""One founder at a time."""


class OtherDocumentsError(Exception):
    """Something else is there already; nothing was written. The message says what."""


async def found(owner_dsn: str, deployment: str, genesis: bytes, new: NewOrganisation, at: Instant) -> bool:
    """Whether the organisation wasn't there yet. Raises: OtherDocumentsError."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        async with owner.transaction():
            await owner.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            row = await owner.fetchrow("SELECT deployment, genesis FROM strongroom.deployment")
            if row is None:
                await record_deployment(owner, deployment, genesis, at)
            elif (row["deployment"], row["genesis"]) != (deployment, genesis):
                raise OtherDocumentsError(f"this database is of the deployment {row['deployment']}")
            if await owner.fetchval("SELECT EXISTS (SELECT FROM strongroom.organisations WHERE id = $1)", new.id):
                await _check_same(owner, new)
                return False
            await create_organisation(owner, new, at)
            return True
    finally:
        await owner.close()


async def _check_same(owner: asyncpg.Connection, new: NewOrganisation) -> None:
    """What was written first is what is given now. Raises: OtherDocumentsError."""
    policy = await owner.fetchval(
        "SELECT document FROM strongroom.policies WHERE organisation = $1 AND version = 1", new.id
    )
    roster = await owner.fetchval(
        "SELECT document FROM strongroom.rosters WHERE organisation = $1 AND version = 1", new.id
    )
    if (policy, roster) != (new.policy, new.roster):
        raise OtherDocumentsError(f"{new.id} is there with another {'roster' if policy == new.policy else 'policy'}")
    rows = await owner.fetch(
        "SELECT a.asset, p.amount::text FROM strongroom.ledger_postings p JOIN strongroom.ledger_accounts a "
        "ON a.id = p.debit_account WHERE a.organisation = $1 AND p.entry = $2", new.id, new.opening_entry,
    )
    opening = {row["asset"]: int(row["amount"]) for row in rows}
    if opening != {asset: amount for asset, amount in new.opening.items() if amount}:
        raise OtherDocumentsError(f"{new.id} is there with another opening: {opening or 'none'}")
