"""Approval requests as approvers' tools see them, and assertions as they come in.

A request is the signer's, verbatim; an assertion was verified by the API against the mirrored roster so that nonsense
isn't kept, and counts only when the signer has verified it again by its own.
"""

from dataclasses import dataclass

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """`people` have answered, each once; `is_newest` of its subject. `position` orders the list."""

    request_hash: str
    organisation: OrganisationId
    subject: str
    request: bytes
    signature: bytes
    approvals: int
    groups: int
    created_at: Instant
    people: tuple[str, ...]
    is_newest: bool
    position: int


_SELECT = """
SELECT r.*, (SELECT array_agg(DISTINCT a.person) FROM strongroom.approval_assertions a
    WHERE a.request_hash = r.request_hash) AS people,
    NOT EXISTS (SELECT FROM strongroom.approval_requests n WHERE n.subject = r.subject AND n.id > r.id) AS is_newest
FROM strongroom.approval_requests r
"""

_WAITING = """
WHERE r.organisation = $1 AND r.id > $2
    AND NOT EXISTS (SELECT FROM strongroom.approval_requests n WHERE n.subject = r.subject AND n.id > r.id)
    AND EXISTS (SELECT FROM strongroom.payouts p
        WHERE (p.id = r.subject OR p.run = r.subject) AND p.state = 'awaiting_approval')
ORDER BY r.id LIMIT $3
"""


async def waiting(
    connection: Session, organisation: OrganisationId, after: int, limit: int
) -> list[StoredApproval]:
    """The newest request of every subject that still waits for people, oldest first."""
    rows = await connection.fetch(_SELECT + _WAITING, organisation, after, limit)
    return [_approval(row) for row in rows]


async def read(connection: Session, request_hash: str) -> StoredApproval | None:
    row = await connection.fetchrow(_SELECT + " WHERE r.request_hash = $1", request_hash)
    return None if row is None else _approval(row)


async def give(
    connection: Session, request_hash: str, person: str, credential: str, assertion: str, at: Instant
) -> bool:
    """Keep an assertion; False if this credential's is there already."""
    added: bool = await connection.fetchval(
        "SELECT strongroom.approve($1, $2, $3, $4, $5)", request_hash, person, credential, assertion, at
    )
    return added


async def read_documents(connection: Session, organisation: OrganisationId) -> tuple[bytes, bytes]:
    """The newest policy and roster that the database mirrors."""
    (row,) = await connection.fetch(
        "SELECT (SELECT document FROM strongroom.policies WHERE organisation = $1 ORDER BY version DESC LIMIT 1), "
        "(SELECT document FROM strongroom.rosters WHERE organisation = $1 ORDER BY version DESC LIMIT 1)",
        organisation,
    )
    return row[0], row[1]


async def knows(connection: Session, organisation: OrganisationId) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM strongroom.organisations WHERE id = $1)", organisation
    )
    return found


async def read_genesis(connection: Session) -> bytes:
    genesis: bytes = await connection.fetchval("SELECT genesis FROM strongroom.deployment")
    return genesis


def _approval(row: asyncpg.Record) -> StoredApproval:
    return StoredApproval(
        row["request_hash"], OrganisationId(row["organisation"]), row["subject"], row["request"], row["signature"],
        row["approvals"], row["groups"], row["created_at"], tuple(row["people"] or ()), row["is_newest"],
        row["id"],
    )
