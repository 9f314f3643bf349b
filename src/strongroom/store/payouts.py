"""Reading payouts: one, many by filter, and what proves them. Always within one organisation."""

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.destination import Destination
from strongroom.domain.errors import Refusal
from strongroom.domain.ids import (
    BeneficiaryId,
    ClientId,
    DestinationDigest,
    IdempotencyKey,
    OrganisationId,
    PayoutId,
    RunId,
)
from strongroom.domain.instant import Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import Hold, HoldReason, State
from strongroom.protocol.canonical import parse
from strongroom.store import replay
from strongroom.store.record import Evidence, PayoutRecord
from strongroom.store.session import Session

LIST_MAXIMUM: Final = 200

_SELECT = """
SELECT p.id, p.organisation, p.client, p.idempotency_key, p.beneficiary, p.destination_digest, p.asset,
    p.amount::text AS amount, p.external_id, p.remittance_information, p.activities, p.not_before, p.expires_at,
    p.replaces, p.metadata, p.run, p.run_index, p.approvals, p.approval_groups, p.limit_name, p.intake_hold,
    p.intake_retry_at, p.state, p.hold, p.retry_at, p.created_at, p.updated_at, p.evidence, p.leaf,
    d.declared_by, d.version, d.class, d.network, d.address, d.created_at AS destination_at, d.cooling_until,
    EXISTS (SELECT FROM strongroom.cancel_requests c WHERE c.object = p.id OR c.object = p.run) AS cancel_requested
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
"""
_SIGNED_IN: Final = """
SELECT m.payout FROM strongroom.attempt_payouts m JOIN strongroom.attempts a USING (chain_transaction)
WHERE a.signed IS NOT NULL AND (a.chain_transaction = $9 OR a.chain_transaction IN
    (SELECT n.chain_transaction FROM strongroom.chain_names n WHERE n.chain_name = $9))
"""
"""By either name."""


@dataclass(frozen=True, slots=True)
class PayoutFilter:
    """What a list is narrowed to; None means whatever."""

    beneficiary: str | None = None
    external_id: str | None = None
    run: str | None = None
    state: str | None = None
    created_after: int | None = None
    chain_transaction: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """A request as it came, and for an item of a run its leaf and place."""

    evidence: Evidence
    key_id: str
    public_key: bytes | None
    run: str | None
    run_index: int | None
    item: bytes | None


async def read(connection: Session, organisation: OrganisationId, payout: PayoutId) -> PayoutRecord | None:
    """The payout as it is now."""
    row = await connection.fetchrow(f"{_SELECT} WHERE p.organisation = $1 AND p.id = $2", organisation, payout)
    return None if row is None else payout_record(row)


async def read_at_intake(
    connection: Session, organisation: OrganisationId, payout: PayoutId
) -> PayoutRecord | None:
    """The payout as it was answered when it was recorded, from columns that never change."""
    row = await connection.fetchrow(f"{_SELECT} WHERE p.organisation = $1 AND p.id = $2", organisation, payout)
    if row is None:
        return None
    held = row["intake_hold"] is not None
    original = {
        "state": State.HELD if held else State.RECEIVED,
        "hold": row["intake_hold"],
        "retry_at": row["intake_retry_at"],
        "updated_at": row["created_at"],
        "cancel_requested": False,
    }
    return payout_record({**row, **original})


async def first_difference(connection: Session, payout: PayoutId, evidence: Evidence) -> Refusal | None:
    """None if this is the request that made the payout."""
    number = await connection.fetchval("SELECT evidence FROM strongroom.payouts WHERE id = $1", payout)
    return await replay.difference(connection, number, evidence)


async def find(
    connection: Session, organisation: OrganisationId, filters: PayoutFilter, after: int, limit: int
) -> list[PayoutRecord]:
    """In the order recorded; 1 to `LIST_MAXIMUM` of them after the cursor."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE p.organisation = $1 AND ($2::text IS NULL OR p.beneficiary = $2)"
        " AND ($3::text IS NULL OR p.external_id = $3) AND ($4::text IS NULL OR p.run = $4)"
        " AND ($5::text IS NULL OR p.state = $5) AND ($6::bigint IS NULL OR p.created_at > $6)"
        f" AND p.leaf > $7 AND ($9::text IS NULL OR p.id IN ({_SIGNED_IN})) ORDER BY p.leaf LIMIT $8",
        organisation, filters.beneficiary, filters.external_id, filters.run, filters.state, filters.created_after,
        after, min(limit, LIST_MAXIMUM), filters.chain_transaction,
    )
    return [payout_record(row) for row in rows]


async def read_evidence(
    connection: Session, organisation: OrganisationId, payout: PayoutId
) -> StoredEvidence | None:
    row = await connection.fetchrow(
        "SELECT e.*, k.public_key, p.run, p.run_index, i.leaf AS item FROM strongroom.payouts p "
        "JOIN strongroom.evidence e ON e.id = p.evidence "
        "LEFT JOIN strongroom.client_keys k ON k.key_id = e.key_id "
        "LEFT JOIN strongroom.run_items i ON i.run = p.run AND i.run_index = p.run_index "
        "WHERE p.organisation = $1 AND p.id = $2",
        organisation, payout,
    )
    if row is None:
        return None
    evidence = Evidence(
        row["method"], row["path"], row["authority"], IdempotencyKey(row["idempotency_key"]), row["signature_base"],
        row["signature"], row["body"], Instant(row["received_at"]),
    )
    return StoredEvidence(evidence, row["key_id"], row["public_key"], row["run"], row["run_index"], row["item"])


async def read_leaf_id(connection: Session, organisation: OrganisationId, payout: PayoutId) -> int | None:
    """The audit leaf that tells of this payout."""
    found: int | None = await connection.fetchval(
        "SELECT leaf FROM strongroom.payouts WHERE organisation = $1 AND id = $2", organisation, payout
    )
    return found


def payout_record(row: asyncpg.Record | dict[str, Any]) -> PayoutRecord:
    organisation = OrganisationId(row["organisation"])
    beneficiary = BeneficiaryId(row["beneficiary"])
    return PayoutRecord(
        id=PayoutId(row["id"]),
        organisation=organisation,
        client=ClientId(row["client"]),
        idempotency_key=IdempotencyKey(row["idempotency_key"]),
        beneficiary=beneficiary,
        destination=Destination(
            digest=DestinationDigest(row["destination_digest"]),
            organisation=organisation,
            beneficiary=beneficiary,
            declared_by=ClientId(row["declared_by"]),
            version=row["version"],
            destination_class=DestinationClass(row["class"]),
            network=row["network"],
            address=row["address"],
            created_at=Instant(row["destination_at"]),
            cooling_until=Instant(row["cooling_until"]),
        ),
        amount=Amount(int(row["amount"]), AssetId(row["asset"])),
        external_id=row["external_id"],
        remittance_information=row["remittance_information"],
        activities=_texts(row["activities"]),
        not_before=row["not_before"],
        expires_at=row["expires_at"],
        replaces=row["replaces"],
        metadata=row["metadata"],
        run=None if row["run"] is None else RunId(row["run"]),
        run_index=row["run_index"],
        approvals=row["approvals"],
        approval_groups=row["approval_groups"],
        limit=row["limit_name"],
        state=State(row["state"]),
        hold=None if row["hold"] is None else Hold(HoldReason(row["hold"]), row["retry_at"]),
        created_at=Instant(row["created_at"]),
        updated_at=Instant(row["updated_at"]),
        cancel_requested=row["cancel_requested"],
        position=row["leaf"],
    )


def _texts(stored: str | None) -> tuple[str, ...]:
    value = parse(stored.encode()) if stored is not None else ()
    return tuple(str(each) for each in value) if isinstance(value, list) else ()
