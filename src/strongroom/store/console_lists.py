"""Lists for the console's pages, the newest first, by cursor; each within one organisation and by an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.store.session import Session

NO_CURSOR: Final = 2**62
WEEK_HOURS: Final = 168
EPOCH_HOUR_OF_WEEK: Final = 72
"""The first of January 1970 was a Thursday; weeks begin with Monday."""


@dataclass(frozen=True, slots=True)
class ListedPayout:
    """A row of a list; `position` is the cursor."""

    id: str
    position: int
    beneficiary: str
    name: str
    amount: int
    asset: str
    network: str
    external_id: str
    state: str
    hold: str | None
    reason: str | None
    run: str | None
    created_at: Instant
    updated_at: Instant


@dataclass(frozen=True, slots=True)
class ListedBeneficiary:
    id: str
    position: int
    name: str
    external_id: str | None
    versions: int
    address: str
    network: str
    destination_class: str
    cooling_until: Instant
    created_at: Instant


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A client's key. `last_used` by the last request that was recorded; None if none ever was."""

    key_id: str
    client: str
    name: str
    kind: str
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]
    created_at: Instant
    revoked_at: Instant | None
    last_used: Instant | None


@dataclass(frozen=True, slots=True)
class ListedLeaf:
    index: int
    leaf: str


_PAYOUTS: Final = """
SELECT p.id, p.leaf, p.beneficiary, b.name, p.amount::text AS amount, p.asset, d.network, p.external_id, p.state,
    p.hold, p.status_detail, p.run, p.created_at, p.updated_at
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
JOIN strongroom.beneficiaries b ON b.id = p.beneficiary
"""


_FOUND: Final = """
WHERE p.organisation = $1 AND p.id IN (SELECT u.id FROM (
    SELECT $2 AS id
    UNION SELECT x.id FROM strongroom.payouts x WHERE x.organisation = $1 AND x.external_id = $2
    UNION SELECT x.id FROM strongroom.payouts x WHERE x.run = $2
    UNION SELECT x.id FROM strongroom.payouts x WHERE x.beneficiary = $2
    UNION SELECT x.id FROM strongroom.beneficiaries y JOIN strongroom.payouts x ON x.beneficiary = y.id
        WHERE y.organisation = $1 AND y.external_id = $2
    UNION SELECT x.id FROM strongroom.beneficiaries y JOIN strongroom.payouts x ON x.beneficiary = y.id
        WHERE y.organisation = $1 AND lower(y.name) = lower($2)
    UNION SELECT m.payout FROM strongroom.attempt_payouts m WHERE m.chain_transaction = $2
    UNION SELECT m.payout FROM strongroom.chain_names n JOIN strongroom.attempt_payouts m USING (chain_transaction)
        WHERE n.chain_name = $2) u LIMIT 100)
"""
"""The limit tells PostgreSQL that it is worth going by indexes."""


async def payouts(
    connection: Session, organisation: OrganisationId, states: Sequence[str], before: int, limit: int,
    beneficiary: str | None = None, run: str | None = None,
) -> list[ListedPayout]:
    """All states if `states` is empty."""
    rows = await connection.fetch(
        f"{_PAYOUTS} WHERE p.organisation = $1 AND p.leaf < $2 AND (cardinality($3::text[]) = 0 OR p.state = ANY ($3)) "
        "AND ($5::text IS NULL OR p.beneficiary = $5) AND ($6::text IS NULL OR p.run = $6) "
        "ORDER BY p.leaf DESC LIMIT $4",
        organisation, before, list(states), limit, beneficiary, run,
    )
    return [_payout(row) for row in rows]


async def exceptions(connection: Session, organisation: OrganisationId, before: int, limit: int) -> list[ListedPayout]:
    """What is held, failed or came back."""
    rows = await connection.fetch(
        f"{_PAYOUTS} WHERE p.organisation = $1 AND p.state IN ('held', 'failed', 'returned') AND p.leaf < $2 "
        "ORDER BY p.leaf DESC LIMIT $3",
        organisation, before, limit,
    )
    return [_payout(row) for row in rows]


async def exception_counts(connection: Session, organisation: OrganisationId) -> list[tuple[str, str, int]]:
    """(state, reason, how many)."""
    rows = await connection.fetch(
        "SELECT state, coalesce(hold, status_code, 'no reason given') AS reason, count(*) AS payouts "
        "FROM strongroom.payouts WHERE organisation = $1 AND state IN ('held', 'failed', 'returned') "
        "GROUP BY 1, 2 ORDER BY 3 DESC",
        organisation,
    )
    return [(row["state"], row["reason"], row["payouts"]) for row in rows]


async def find_payouts(connection: Session, organisation: OrganisationId, text: str, limit: int) -> list[ListedPayout]:
    """By its id, external id, run, chain transaction, or its payee's id or external id, all to the letter."""
    rows = await connection.fetch(f"{_PAYOUTS} {_FOUND} ORDER BY p.leaf DESC LIMIT $3", organisation, text, limit)
    return [_payout(row) for row in rows]


async def beneficiaries(
    connection: Session, organisation: OrganisationId, text: str | None, before: int, limit: int
) -> list[ListedBeneficiary]:
    """With their newest destination; `text` is the beginning of a name in any case, or an external id."""
    rows = await connection.fetch(
        "SELECT b.id, b.leaf, b.name, b.external_id, b.created_at, d.version, d.address, d.network, d.class, "
        "d.cooling_until FROM strongroom.beneficiaries b CROSS JOIN LATERAL (SELECT * FROM strongroom.destinations e "
        "WHERE e.beneficiary = b.id ORDER BY e.version DESC LIMIT 1) d WHERE b.organisation = $1 AND b.leaf < $2 "
        "AND ($3::text IS NULL OR lower(b.name) LIKE lower($3) || '%' OR b.external_id = $3 OR b.id = $3) "
        "ORDER BY b.leaf DESC LIMIT $4",
        organisation, before, text, limit,
    )
    return [
        ListedBeneficiary(
            row["id"], row["leaf"], row["name"], row["external_id"], row["version"], row["address"], row["network"],
            row["class"], Instant(row["cooling_until"]), Instant(row["created_at"]),
        )
        for row in rows
    ]


async def keys(connection: Session, organisation: OrganisationId) -> list[ListedKey]:
    rows = await connection.fetch(
        "SELECT k.*, c.name, r.created_at AS revoked_at, (SELECT e.received_at FROM strongroom.evidence e "
        "WHERE e.key_id = k.key_id ORDER BY e.id DESC LIMIT 1) AS last_used FROM ("
        "SELECT key_id, client, scopes, allowed_addresses, created_at, 'signing' AS kind FROM strongroom.client_keys "
        "UNION ALL SELECT key_id, client, scopes, ARRAY[]::text[], created_at, 'bearer' FROM strongroom.bearer_keys"
        ") k JOIN strongroom.clients c ON c.id = k.client "
        "LEFT JOIN strongroom.key_revocations r ON r.key_id = k.key_id WHERE c.organisation = $1 "
        "ORDER BY c.name, k.created_at",
        organisation,
    )
    return [
        ListedKey(
            row["key_id"], row["client"], row["name"], row["kind"], tuple(row["scopes"]),
            tuple(row["allowed_addresses"]), Instant(row["created_at"]), row["revoked_at"], row["last_used"],
        )
        for row in rows
    ]


async def client_names(connection: Session, organisation: OrganisationId) -> dict[str, str]:
    rows = await connection.fetch("SELECT id, name FROM strongroom.clients WHERE organisation = $1", organisation)
    return {row["id"]: row["name"] for row in rows}


async def acts_by_hour_of_week(connection: Session, person: str, since: Instant) -> Mapping[int, int]:
    """How often somebody did something in each hour of the week, 0 being Monday's first in UTC."""
    rows = await connection.fetch(
        "SELECT (created_at / $3 + $4) % $5 AS hour, count(*) AS acts FROM strongroom.console_acts "
        "WHERE person = $1 AND created_at >= $2 GROUP BY 1",
        person, since, HOUR_MS, EPOCH_HOUR_OF_WEEK, WEEK_HOURS,
    )
    return {row["hour"]: row["acts"] for row in rows}


async def leaves(
    connection: Session, organisation: OrganisationId, word: str | None, before: int, limit: int
) -> list[ListedLeaf]:
    """Leaves that tell of this organisation, the newest first; `word` is an id or a kind of event, to the letter."""
    if word is None:
        rows = await connection.fetch(
            "SELECT w.leaf_index, l.leaf FROM strongroom.audit_words w JOIN strongroom.audit_sequence s USING "
            "(leaf_index) JOIN strongroom.audit_leaves l ON l.id = s.leaf_id "
            "WHERE w.word = $1 AND w.leaf_index < $2 ORDER BY w.leaf_index DESC LIMIT $3",
            organisation, before, limit,
        )
    else:
        rows = await connection.fetch(
            "SELECT w.leaf_index, l.leaf FROM strongroom.audit_words w JOIN strongroom.audit_words o ON "
            "o.leaf_index = w.leaf_index AND o.word = $1 JOIN strongroom.audit_sequence s ON "
            "s.leaf_index = w.leaf_index JOIN strongroom.audit_leaves l ON l.id = s.leaf_id "
            "WHERE w.word = $4 AND w.leaf_index < $2 ORDER BY w.leaf_index DESC LIMIT $3",
            organisation, before, limit, word,
        )
    return [ListedLeaf(row["leaf_index"], row["leaf"]) for row in rows]


def _payout(row: asyncpg.Record) -> ListedPayout:
    return ListedPayout(
        row["id"], row["leaf"], row["beneficiary"], row["name"], int(row["amount"]), row["asset"], row["network"],
        row["external_id"], row["state"], row["hold"], row["status_detail"], row["run"], Instant(row["created_at"]),
        Instant(row["updated_at"]),
    )
