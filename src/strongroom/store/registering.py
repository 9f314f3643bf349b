"""What clients signed and the signer hasn't seen yet, and what it said when it was shown.

Writes by the functions of migration 0007.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.request import Evidence
from strongroom.store.engine import DETAIL_MAXIMUM, ROWS_MAXIMUM, DuePayout, evidence_of
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Something that a client signed and that the signer hasn't acknowledged yet; it was refused `tries` times."""

    object: str
    organisation: OrganisationId
    evidence: Evidence
    tries: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the signer said to something unregistered, and when it is shown it again."""

    object: str
    rule: str
    reason: str
    tries: int
    due_at: Instant


async def unregistered_destinations(connection: Session, now: Instant) -> list[Unregistered]:
    """Oldest first, so that a version never comes before the one that it follows."""
    rows = await connection.fetch(
        "SELECT d.digest AS object, d.organisation, e.signature_base, e.signature, e.body, r.tries "
        "FROM strongroom.destinations d JOIN strongroom.evidence e ON e.id = d.evidence "
        "LEFT JOIN LATERAL (SELECT f.tries, f.due_at FROM strongroom.refusals f WHERE f.object = d.digest "
        "ORDER BY f.id DESC LIMIT 1) r ON true WHERE NOT EXISTS "
        "(SELECT FROM strongroom.registrations r WHERE r.object = d.digest) "
        "AND coalesce(r.due_at, 0) <= $2 ORDER BY d.evidence LIMIT $1",
        ROWS_MAXIMUM, now,
    )
    return [_unregistered(row) for row in rows]


async def unregistered_payouts(connection: Session, now: Instant) -> list[Unregistered]:
    """Payouts of their own, whose destination the signer knows."""
    rows = await connection.fetch(
        "SELECT p.id AS object, p.organisation, e.signature_base, e.signature, e.body, r.tries "
        "FROM strongroom.payouts p JOIN strongroom.evidence e ON e.id = p.evidence "
        "LEFT JOIN LATERAL (SELECT f.tries, f.due_at FROM strongroom.refusals f WHERE f.object = p.id "
        "ORDER BY f.id DESC LIMIT 1) r ON true WHERE p.run IS NULL AND p.state IN ('received', 'held') "
        "AND NOT EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.id) "
        "AND EXISTS (SELECT FROM strongroom.registrations r WHERE r.object = p.destination_digest) "
        "AND coalesce(r.due_at, 0) <= $2 ORDER BY p.leaf LIMIT $1",
        ROWS_MAXIMUM, now,
    )
    return [_unregistered(row) for row in rows]


async def unregistered_runs(connection: Session, now: Instant) -> list[Unregistered]:
    """Sealed ones."""
    rows = await connection.fetch(
        "SELECT s.run AS object, u.organisation, e.signature_base, e.signature, e.body, r.tries "
        "FROM strongroom.run_seals s JOIN strongroom.runs u ON u.id = s.run "
        "JOIN strongroom.evidence e ON e.id = s.evidence "
        "LEFT JOIN LATERAL (SELECT f.tries, f.due_at FROM strongroom.refusals f WHERE f.object = s.run "
        "ORDER BY f.id DESC LIMIT 1) r ON true WHERE NOT EXISTS "
        "(SELECT FROM strongroom.registrations r WHERE r.object = s.run) "
        "AND coalesce(r.due_at, 0) <= $1 ORDER BY s.evidence LIMIT 20",
        now,
    )
    return [_unregistered(row) for row in rows]


async def refusal_of(connection: Session, payout: DuePayout) -> Refusal | None:
    """Why the signer doesn't know it, if that was refused: its destination, itself, or its run."""
    row = await connection.fetchrow(
        "SELECT * FROM strongroom.refusals r WHERE r.object = ANY ($1) AND NOT EXISTS "
        "(SELECT FROM strongroom.registrations g WHERE g.object = r.object) ORDER BY r.id DESC LIMIT 1",
        [payout.digest, payout.subject],
    )
    return None if row is None else Refusal(row["object"], row["rule"], row["reason"], row["tries"], row["due_at"])


async def register(connection: Session, organisation: OrganisationId, objects: Sequence[str], at: Instant) -> None:
    await connection.execute("SELECT strongroom.engine_register($1, $2, $3)", list(objects), organisation, at)


async def refuse(connection: Session, organisation: OrganisationId, refusals: Sequence[Refusal], at: Instant) -> None:
    await connection.execute(
        "SELECT strongroom.engine_refuse($1, $2, $3, $4, $5, $6, $7)", [each.object for each in refusals], organisation,
        [each.rule for each in refusals], [each.reason[:DETAIL_MAXIMUM] for each in refusals],
        [each.tries for each in refusals], [each.due_at for each in refusals], at,
    )


def _unregistered(row: asyncpg.Record) -> Unregistered:
    return Unregistered(row["object"], OrganisationId(row["organisation"]), evidence_of(row), row["tries"] or 0)
