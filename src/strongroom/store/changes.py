"""Changes of policy and roster that people propose, as tools see them and as the engine hands them on.

An assertion was verified against the mirrored roster before it came here, so that nonsense isn't kept, and counts only
when the signer has verified it again by its own. Writes by the functions of migration 0019.
"""

from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.store.engine import DETAIL_MAXIMUM
from strongroom.store.session import Session

OPEN_MAXIMUM: Final = 20
"""Of one organisation: more than that are taken back or run out first."""
PROPOSED: Final = "proposed"
ENDS: Final = frozenset({"in_force", "vetoed", "superseded", "expired"})


class AlteredError(Exception):
    """The record isn't what was proposed, or holds a later version: nothing was changed."""


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A document that somebody wants in force. `change` is its hash; `state` is `proposed`, or as the newest step says,
    with its `detail`; `due_at` when a pending one is in force at the earliest. `assertions` are as they came."""

    change: str
    organisation: OrganisationId
    document: str
    raw: bytes
    proposer: PersonId
    created_at: Instant
    expires_at: Instant
    state: str
    detail: str
    due_at: Instant | None
    moved_at: Instant
    people: tuple[PersonId, ...]
    assertions: tuple[str, ...]
    position: int

    @property
    def is_open(self) -> bool:
        return self.state not in ENDS


@dataclass(frozen=True, slots=True)
class Running:
    """The newest version of a document that the database mirrors."""

    version: int
    raw: bytes
    created_at: Instant


_SELECT: Final = """
SELECT p.*, s.state, s.detail, s.due_at, coalesce(s.created_at, p.created_at) AS moved_at, a.people, a.assertions
FROM strongroom.proposed_changes p
LEFT JOIN LATERAL (SELECT * FROM strongroom.change_steps s WHERE s.change = p.change ORDER BY s.id DESC LIMIT 1) s
    ON true
LEFT JOIN LATERAL (SELECT array_agg(DISTINCT a.person) AS people,
    array_agg(a.assertion ORDER BY a.created_at, a.person, a.credential) AS assertions
    FROM strongroom.change_assertions a WHERE a.change = p.change) a ON true
"""
_NOT_ENDED: Final = """
NOT EXISTS (SELECT FROM strongroom.change_steps e
    WHERE e.change = p.change AND e.state IN ('in_force', 'vetoed', 'superseded', 'expired'))
"""
"""`ENDS`."""
_RUNNING: Final = {
    "policy": "SELECT version, document, created_at FROM strongroom.policies WHERE organisation = $1 "
              "ORDER BY version DESC LIMIT 1",
    "roster": "SELECT version, document, created_at FROM strongroom.rosters WHERE organisation = $1 "
              "ORDER BY version DESC LIMIT 1",
}


async def read(connection: Session, organisation: OrganisationId, change: str) -> StoredChange | None:
    row = await connection.fetchrow(_SELECT + " WHERE p.organisation = $1 AND p.change = $2", organisation, change)
    return None if row is None else _change(row)


async def organisation_of(connection: Session, change: str) -> OrganisationId | None:
    found = await connection.fetchval("SELECT organisation FROM strongroom.proposed_changes WHERE change = $1", change)
    return None if found is None else OrganisationId(found)


async def find(connection: Session, organisation: OrganisationId, after: int, limit: int) -> list[StoredChange]:
    """Oldest first."""
    rows = await connection.fetch(
        _SELECT + " WHERE p.organisation = $1 AND p.id > $2 ORDER BY p.id LIMIT $3", organisation, after, limit
    )
    return [_change(row) for row in rows]


async def open_changes(connection: Session) -> list[StoredChange]:
    """Of all organisations, oldest first; each has at most `OPEN_MAXIMUM`."""
    rows = await connection.fetch(f"{_SELECT} WHERE {_NOT_ENDED} ORDER BY p.id")
    return [_change(row) for row in rows]


async def count_open(connection: Session, organisation: OrganisationId) -> int:
    rows = await connection.fetch(f"{_SELECT} WHERE p.organisation = $1 AND {_NOT_ENDED}", organisation)
    return len(rows)


async def propose(
    connection: Session, organisation: OrganisationId, document: str, raw: bytes, change: str, proposer: PersonId,
    expires_at: Instant, at: Instant,
) -> bool:
    """Whether it wasn't proposed before."""
    added: bool = await connection.fetchval(
        "SELECT strongroom.change_propose($1, $2, $3, $4, $5, $6, $7)",
        change, organisation, document, raw, proposer, expires_at, at,
    )
    return added


async def give(
    connection: Session, change: str, person: PersonId, credential: str, assertion: str, at: Instant
) -> bool:
    """Keep an assertion; False if this credential's is there already."""
    added: bool = await connection.fetchval(
        "SELECT strongroom.change_assert($1, $2, $3, $4, $5)", change, person, credential, assertion, at
    )
    return added


async def move(
    connection: Session, change: str, state: str, detail: str, at: Instant, due_at: Instant | None = None
) -> None:
    """What became of it, but for coming into force."""
    await connection.execute(
        "SELECT strongroom.engine_change($1, $2, $3, $4, $5)", change, state, detail[:DETAIL_MAXIMUM], due_at, at
    )


async def adopt(connection: Session, change: str, at: Instant) -> None:
    """The signer says that it is in force: policies, rosters and clients' keys follow. Raises: AlteredError."""
    try:
        await connection.execute("SELECT strongroom.engine_adopt($1, $2)", change, at)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as fault:
        raise AlteredError(str(fault)) from fault


async def read_running(connection: Session, organisation: OrganisationId, document: str) -> Running:
    (row,) = await connection.fetch(_RUNNING[document], organisation)
    return Running(row["version"], row["document"], row["created_at"])


def _change(row: asyncpg.Record) -> StoredChange:
    return StoredChange(
        row["change"], OrganisationId(row["organisation"]), row["document"], row["raw"], PersonId(row["proposer"]),
        row["created_at"], row["expires_at"], row["state"] or PROPOSED, row["detail"] or "", row["due_at"],
        row["moved_at"], tuple(row["people"] or ()), tuple(row["assertions"] or ()), row["id"],
    )
