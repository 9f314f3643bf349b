"""What the console's pages read: the queue of approvals, what was paid before, sums by hour. One organisation each.

Every query goes by an index: tests/console reads the plans.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.store.session import Session

PAST_MAXIMUM: Final = 30


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for people. `people` have answered; `items` are the payouts that wait for it."""

    position: int
    request_hash: str
    subject: str
    request: bytes
    signature: bytes
    approvals: int
    groups: int
    created_at: Instant
    items: int
    people: tuple[tuple[str, Instant], ...]
    reference_minor: int
    is_newest: bool = True


@dataclass(frozen=True, slots=True)
class Past:
    """A payout to the same beneficiary, the newest first."""

    id: str
    amount: int
    asset: str
    reference_minor: int
    state: str
    address: str
    network: str
    external_id: str
    created_at: Instant


@dataclass(frozen=True, slots=True)
class Version:
    """A destination of a beneficiary, and who declared it."""

    digest: str
    version: int
    address: str
    network: str
    destination_class: str
    declared_by: str
    created_at: Instant
    cooling_until: Instant


_WAITING: Final = """
SELECT r.*, s.items, s.reference::text AS reference,
    (SELECT array_agg(a.person ORDER BY a.person, a.created_at) FROM strongroom.approval_assertions a
        WHERE a.request_hash = r.request_hash) AS people,
    (SELECT array_agg(a.created_at ORDER BY a.person, a.created_at) FROM strongroom.approval_assertions a
        WHERE a.request_hash = r.request_hash) AS times
FROM (SELECT coalesce(p.run, p.id) AS subject, count(*) AS items, sum(p.reference_minor) AS reference
    FROM strongroom.payouts p WHERE p.organisation = $1 AND p.state = 'awaiting_approval' GROUP BY 1) s
CROSS JOIN LATERAL (SELECT * FROM strongroom.approval_requests q WHERE q.subject = s.subject
    ORDER BY q.id DESC LIMIT 1) r
"""


async def waiting(connection: Session, organisation: OrganisationId, after: int, limit: int) -> list[Waiting]:
    """What waits for people, the oldest first."""
    rows = await connection.fetch(f"{_WAITING} WHERE r.id > $2 ORDER BY r.id LIMIT $3", organisation, after, limit)
    return [_waiting(row) for row in rows]


async def waiting_count(connection: Session, organisation: OrganisationId) -> int:
    """How many subjects wait: payouts by themselves, and runs."""
    count: int = await connection.fetchval(
        "SELECT count(DISTINCT coalesce(run, id)) FROM strongroom.payouts WHERE organisation = $1 "
        "AND state = 'awaiting_approval'",
        organisation,
    )
    return count


async def request(connection: Session, organisation: OrganisationId, request_hash: str) -> Waiting | None:
    """One request, whether it still waits or not."""
    row = await connection.fetchrow(
        "SELECT r.*, (SELECT count(*) FROM strongroom.payouts p WHERE (p.id = r.subject OR p.run = r.subject) "
        "AND p.state = 'awaiting_approval') AS items, "
        "(SELECT coalesce(sum(p.reference_minor), 0)::text FROM strongroom.payouts p "
        "WHERE p.id = r.subject OR p.run = r.subject) AS reference, "
        "(SELECT array_agg(a.person ORDER BY a.person, a.created_at) FROM strongroom.approval_assertions a "
        "WHERE a.request_hash = r.request_hash) AS people, "
        "(SELECT array_agg(a.created_at ORDER BY a.person, a.created_at) FROM strongroom.approval_assertions a "
        "WHERE a.request_hash = r.request_hash) AS times, "
        "NOT EXISTS (SELECT FROM strongroom.approval_requests n WHERE n.subject = r.subject AND n.id > r.id) AS newest "
        "FROM strongroom.approval_requests r WHERE r.organisation = $1 AND r.request_hash = $2",
        organisation, request_hash,
    )
    return None if row is None else _waiting(row, is_newest=row["newest"])


async def past(connection: Session, beneficiary: str, before: int) -> list[Past]:
    """The last payouts to a beneficiary before a leaf of the audit log, at most `PAST_MAXIMUM`."""
    rows = await connection.fetch(
        "SELECT p.id, p.amount::text AS amount, p.asset, p.reference_minor::text AS reference, p.state, d.address, "
        "d.network, p.external_id, p.created_at FROM strongroom.payouts p "
        "JOIN strongroom.destinations d ON d.digest = p.destination_digest "
        "WHERE p.beneficiary = $1 AND p.leaf < $2 ORDER BY p.leaf DESC LIMIT $3",
        beneficiary, before, PAST_MAXIMUM,
    )
    return [
        Past(
            row["id"], int(row["amount"]), row["asset"], int(row["reference"]), row["state"], row["address"],
            row["network"], row["external_id"], Instant(row["created_at"]),
        )
        for row in rows
    ]


async def versions(connection: Session, beneficiary: str) -> list[Version]:
    """All destinations that a beneficiary ever had, the newest first."""
    rows = await connection.fetch(
        "SELECT * FROM strongroom.destinations WHERE beneficiary = $1 ORDER BY version DESC", beneficiary
    )
    return [
        Version(
            row["digest"], row["version"], row["address"], row["network"], row["class"], row["declared_by"],
            Instant(row["created_at"]), Instant(row["cooling_until"]),
        )
        for row in rows
    ]


async def addresses_ending(
    connection: Session, organisation: OrganisationId, network: str, end: str
) -> list[tuple[str, str]]:
    """(address, name) of what this organisation pays on a network, of addresses that end so, in small letters."""
    rows = await connection.fetch(
        "SELECT d.address, b.name FROM strongroom.destinations d JOIN strongroom.beneficiaries b "
        "ON b.id = d.beneficiary WHERE d.organisation = $1 AND d.network = $2 "
        "AND lower(right(d.address, 3)) = $3 LIMIT 1000",
        organisation, network, end,
    )
    return [(row["address"], row["name"]) for row in rows]


async def signed_since(
    connection: Session, organisation: OrganisationId, since: Instant
) -> list[tuple[str, int, int, int]]:
    """(asset, hour, minor, payouts) of what was signed from then on, by the hour of its signature."""
    rows = await connection.fetch(
        "SELECT p.asset, a.signed_at / $3 AS hour, sum(p.amount)::text AS minor, count(*) AS payouts "
        "FROM strongroom.attempts a JOIN strongroom.attempt_payouts m USING (chain_transaction) "
        "JOIN strongroom.payouts p ON p.id = m.payout "
        "WHERE a.organisation = $1 AND a.signed_at >= $2 AND a.state <> 'dropped' GROUP BY 1, 2 ORDER BY 1, 2",
        organisation, since, HOUR_MS,
    )
    return [(row["asset"], row["hour"], int(row["minor"]), row["payouts"]) for row in rows]


async def reference_since(connection: Session, organisation: OrganisationId, since: Instant) -> int:
    """What was signed from then on is worth at the most, in reference units."""
    total: str = await connection.fetchval(
        "SELECT coalesce(sum(p.reference_minor), 0)::text FROM strongroom.attempts a "
        "JOIN strongroom.attempt_payouts m USING (chain_transaction) JOIN strongroom.payouts p ON p.id = m.payout "
        "WHERE a.organisation = $1 AND a.signed_at >= $2 AND a.state <> 'dropped'",
        organisation, since,
    )
    return int(total)


async def counts_by_state(connection: Session, organisation: OrganisationId) -> Mapping[str, int]:
    """Of the states in which somebody may have to do something."""
    rows = await connection.fetch(
        "SELECT state, count(*) AS payouts FROM strongroom.payouts WHERE organisation = $1 "
        "AND state IN ('held', 'awaiting_approval', 'failed', 'returned') GROUP BY 1",
        organisation,
    )
    return {row["state"]: row["payouts"] for row in rows}


async def run_items(connection: Session, run: str) -> tuple[list[bytes], list[bytes]]:
    """The leaves of a run in their order, and each destination record that its items name."""
    leaves = await connection.fetch(
        "SELECT leaf FROM strongroom.run_items WHERE run = $1 ORDER BY run_index", run
    )
    records = await connection.fetch(
        "SELECT d.record FROM strongroom.destinations d WHERE d.digest IN "
        "(SELECT p.destination_digest FROM strongroom.payouts p WHERE p.run = $1) ORDER BY d.digest",
        run,
    )
    return [row["leaf"] for row in leaves], [row["record"] for row in records]


async def leaf_of(connection: Session, subject: str) -> int | None:
    """The audit leaf of a payout or run."""
    leaf: int | None = await connection.fetchval(
        "SELECT coalesce((SELECT leaf FROM strongroom.payouts WHERE id = $1), "
        "(SELECT leaf FROM strongroom.runs WHERE id = $1))",
        subject,
    )
    return leaf


def _waiting(row: asyncpg.Record, *, is_newest: bool = True) -> Waiting:
    given: dict[str, Instant] = {}
    for person, at in zip(row["people"] or (), row["times"] or (), strict=True):
        given.setdefault(person, Instant(at))
    return Waiting(
        row["id"], row["request_hash"], row["subject"], row["request"], row["signature"], row["approvals"],
        row["groups"], Instant(row["created_at"]), row["items"], tuple(given.items()), int(row["reference"] or 0),
        is_newest,
    )
