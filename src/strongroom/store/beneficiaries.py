"""Reading beneficiaries with all versions of their destinations. Always within one organisation."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final

import asyncpg

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.destination import Destination
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.payouts import LIST_MAXIMUM
from strongroom.store.record import BeneficiaryRecord, DestinationVersion
from strongroom.store.session import Session

_BENEFICIARIES: Final = """
SELECT id, organisation, client, external_id, name, created_at, leaf FROM strongroom.beneficiaries
"""


async def read(
    connection: Session, organisation: OrganisationId, beneficiary: BeneficiaryId
) -> BeneficiaryRecord | None:
    rows = await connection.fetch(f"{_BENEFICIARIES} WHERE organisation = $1 AND id = $2", organisation, beneficiary)
    found = await _with_destinations(connection, rows)
    return found[0] if found else None


async def find(
    connection: Session, organisation: OrganisationId, external_id: str | None, after: int, limit: int
) -> list[BeneficiaryRecord]:
    """In the order recorded; 1 to `LIST_MAXIMUM` of them after the cursor."""
    rows = await connection.fetch(
        f"{_BENEFICIARIES} WHERE organisation = $1 AND ($2::text IS NULL OR external_id = $2)"
        " AND leaf > $3 ORDER BY leaf LIMIT $4",
        organisation, external_id, after, min(limit, LIST_MAXIMUM),
    )
    return await _with_destinations(connection, rows)


async def newest_digests(
    connection: Session, organisation: OrganisationId, wanted: Collection[str]
) -> dict[str, str]:
    """The digest of the newest destination of each of these that is a beneficiary."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (beneficiary) beneficiary, digest FROM strongroom.destinations "
        "WHERE organisation = $1 AND beneficiary = ANY($2) ORDER BY beneficiary, version DESC",
        organisation, list(wanted),
    )
    return {row["beneficiary"]: row["digest"] for row in rows}


async def _with_destinations(connection: Session, rows: list[asyncpg.Record]) -> list[BeneficiaryRecord]:
    versions: defaultdict[str, list[DestinationVersion]] = defaultdict(list)
    for row in await connection.fetch(
        "SELECT * FROM strongroom.destinations WHERE beneficiary = ANY($1) ORDER BY beneficiary, version",
        [row["id"] for row in rows],
    ):
        versions[row["beneficiary"]].append(DestinationVersion(destination(row), row["record"]))
    return [
        BeneficiaryRecord(
            id=BeneficiaryId(row["id"]),
            organisation=OrganisationId(row["organisation"]),
            client=ClientId(row["client"]),
            external_id=row["external_id"],
            name=row["name"],
            created_at=Instant(row["created_at"]),
            destinations=tuple(versions[row["id"]]),
            position=row["leaf"],
        )
        for row in rows
    ]


def destination(row: asyncpg.Record) -> Destination:
    return Destination(
        digest=DestinationDigest(row["digest"]),
        organisation=OrganisationId(row["organisation"]),
        beneficiary=BeneficiaryId(row["beneficiary"]),
        declared_by=ClientId(row["declared_by"]),
        version=row["version"],
        destination_class=DestinationClass(row["class"]),
        network=row["network"],
        address=row["address"],
        created_at=Instant(row["created_at"]),
        cooling_until=Instant(row["cooling_until"]),
    )
