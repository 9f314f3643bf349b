"""Reading runs. Always within one organisation."""

from collections.abc import Mapping

import asyncpg

from strongroom.domain.ids import ClientId, OrganisationId, RunId
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import JsonValue, parse_object
from strongroom.protocol.run_tree import Seal
from strongroom.store.payouts import LIST_MAXIMUM
from strongroom.store.record import RunRecord
from strongroom.store.session import Session

_SELECT = """
SELECT r.id, r.organisation, r.client, r.external_id, r.created_at, r.leaf, c.summary,
    s.count AS sealed_count, s.totals AS sealed_totals, s.root, s.created_at AS sealed_at,
    EXISTS (SELECT FROM strongroom.cancel_requests x WHERE x.object = r.id) AS cancel_requested
FROM strongroom.runs r
CROSS JOIN LATERAL (SELECT * FROM strongroom.run_calls c WHERE c.run = r.id ORDER BY first_index DESC LIMIT 1) c
LEFT JOIN strongroom.run_seals s ON s.run = r.id
"""


async def read(connection: Session, organisation: OrganisationId, run: RunId) -> RunRecord | None:
    """The run as it is now, with the holds that its items have now."""
    row = await connection.fetchrow(f"{_SELECT} WHERE r.organisation = $1 AND r.id = $2", organisation, run)
    if row is None:
        return None
    rows = await connection.fetch(
        "SELECT hold, count(*) AS items FROM strongroom.payouts WHERE run = $1 AND hold IS NOT NULL GROUP BY 1", run
    )
    return run_record(row, {each["hold"]: each["items"] for each in rows})


async def read_at_intake(connection: Session, organisation: OrganisationId, run: RunId) -> RunRecord | None:
    """The run with the holds that its items had when they were recorded; for the writer, without reading them."""
    row = await connection.fetchrow(f"{_SELECT} WHERE r.organisation = $1 AND r.id = $2", organisation, run)
    return None if row is None else run_record(row, None)


async def read_after_call(
    connection: Session, organisation: OrganisationId, run: RunId, first_index: int
) -> RunRecord | None:
    """The run as it was answered after the call that began at `first_index`."""
    row = await connection.fetchrow(
        """
        SELECT r.id, r.organisation, r.client, r.external_id, r.created_at, r.leaf, c.summary, s.count AS sealed_count,
            s.totals AS sealed_totals, s.root, s.created_at AS sealed_at, false AS cancel_requested
        FROM strongroom.runs r JOIN strongroom.run_calls c ON c.run = r.id AND c.first_index = $3
        LEFT JOIN strongroom.run_seals s ON s.run = r.id AND s.evidence = c.evidence
        WHERE r.organisation = $1 AND r.id = $2
        """,
        organisation, run, first_index,
    )
    return None if row is None else run_record(row, None)


async def find(
    connection: Session, organisation: OrganisationId, after: int, limit: int
) -> list[RunRecord]:
    """In the order recorded; holds as at intake."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE r.organisation = $1 AND r.leaf > $2 ORDER BY r.leaf LIMIT $3",
        organisation, after, min(limit, LIST_MAXIMUM),
    )
    return [run_record(row, None) for row in rows]


def run_record(row: asyncpg.Record, held: Mapping[str, int] | None) -> RunRecord:
    summary = parse_object(row["summary"].encode())
    seal = None
    if row["root"] is not None:
        totals = parse_object(row["sealed_totals"].encode())
        seal = Seal(row["sealed_count"], _integers(totals), row["root"])
    return RunRecord(
        id=RunId(row["id"]),
        organisation=OrganisationId(row["organisation"]),
        client=ClientId(row["client"]),
        external_id=row["external_id"],
        created_at=Instant(row["created_at"]),
        count=int(str(summary["count"])),
        totals=_integers(summary["totals"]),
        held=_integers(summary["held"]) if held is None else held,
        position=row["leaf"],
        seal=seal,
        sealed_at=row["sealed_at"],
        cancel_requested=row["cancel_requested"],
    )


def _integers(value: JsonValue) -> dict[str, int]:
    """Counts and sums as they stand in a summary, in which sums are strings."""
    return {name: int(str(each)) for name, each in value.items()} if isinstance(value, Mapping) else {}
