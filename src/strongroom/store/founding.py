"""Writes a deployment and its organisations into the database, each once, by the owner; other documents are refused."""

from collections.abc import Sequence

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.organisations import (
    NewClient,
    NewOrganisation,
    create_client,
    create_organisation,
    record_deployment,
)

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


async def book_recovery(
    owner_dsn: str, deployment: str, organisation: OrganisationId, version: int, roster: bytes,
    clients: Sequence[NewClient], at: Instant,
) -> bool:
    """The roster that a recovery put into force, and its clients; no key of before signs in any more. Whether it was
    new. Raises: OtherDocumentsError."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        async with owner.transaction():
            await owner.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await _check_place(owner, deployment, organisation)
            stored = await owner.fetchrow(
                "SELECT version, document FROM strongroom.rosters WHERE organisation = $1 AND version >= $2 "
                "ORDER BY version LIMIT 1", organisation, version,
            )
            if stored is not None:
                if (stored["version"], stored["document"]) != (version, roster):
                    raise OtherDocumentsError(f"{organisation} is there with another roster {stored['version']}")
                return False
            await owner.execute("INSERT INTO strongroom.rosters VALUES ($1, $2, $3, $4)", organisation, version,
                                roster, at)
            await owner.execute(
                "INSERT INTO strongroom.key_revocations SELECT k.key_id, $2 FROM strongroom.client_keys k "
                "JOIN strongroom.clients c ON c.id = k.client WHERE c.organisation = $1 ON CONFLICT DO NOTHING",
                organisation, at,
            )
            for client in clients:
                await create_client(owner, organisation, client, at)
            await owner.fetchval(
                "SELECT strongroom.audit_append($1)",
                f'{{"at":{at},"organisation":"{organisation}","type":"strongroom/event/organisation-recovered/v1",'
                f'"version":{version}}}',
            )
            return True
    finally:
        await owner.close()


async def _check_place(owner: asyncpg.Connection, deployment: str, organisation: OrganisationId) -> None:
    """Raises: OtherDocumentsError."""
    here = await owner.fetchval("SELECT deployment FROM strongroom.deployment")
    if here != deployment:
        raise OtherDocumentsError(f"this database is of the deployment {here}")
    if not await owner.fetchval("SELECT EXISTS (SELECT FROM strongroom.organisations WHERE id = $1)", organisation):
        raise OtherDocumentsError(f"this database knows no organisation {organisation}")


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
