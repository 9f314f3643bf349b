"""An organisation for tests of the store, and requests as its clients would make them."""

import itertools
import json
import secrets
from base64 import b32encode
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from tests.domain.policy_document import NETWORK, USDC, policy_document

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import (
    BeneficiaryId,
    ClientId,
    DestinationDigest,
    IdempotencyKey,
    KeyId,
    OrganisationId,
)
from strongroom.domain.instant import Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import PayoutRequest
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id
from strongroom.store.intake import Intake
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation, create_organisation
from strongroom.store.record import BeneficiaryRecord, BeneficiaryRequest, Caller, Evidence

START = 1_800_000_000_000
RICH = 10**15

_numbers = itertools.count(1)


def fresh_id(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]


@dataclass
class Clock:
    """Stands still until it is told to move."""

    now: int = START

    def __call__(self) -> Instant:
        return Instant(self.now)


@dataclass
class Organisation:
    """One organisation with two clients that pay and one that declares."""

    id: OrganisationId
    payer: Caller
    other_payer: Caller
    declarer: Caller
    numbers: Any = field(default_factory=lambda: itertools.count(1))


def evidence_of(key: str, body: bytes, path: str = "/v1/payouts", at: int = START) -> Evidence:
    """A request as a client would have signed it; the store never verifies signatures."""
    base = b'"@path": ' + path.encode() + b" " + key.encode() + b" " + body
    return Evidence(
        "POST", path, "127.0.0.1:8420", IdempotencyKey(key), base, bytes(64), body, Instant(at)
    )


async def create(owner_dsn: str, opening_minor: int = RICH, at: int = START, **policy: Any) -> Organisation:
    organisation = OrganisationId(fresh_id("org_"))
    callers = [Caller(organisation, ClientId(fresh_id("cl_")), KeyId(fresh_id("ak_"))) for _ in range(3)]
    document = policy_document(organisation=organisation, **policy)
    new = NewOrganisation(
        organisation, "Example Rides", json.dumps(document).encode(), b"{}",
        [
            NewClient(caller.client, f"client {number}", [NewKey(caller.key_id, secrets.token_bytes(32), scopes)])
            for number, (caller, scopes) in enumerate(
                zip(callers, (["payouts:create"], ["payouts:create"], ["beneficiaries:create"]), strict=True)
            )
        ],
        {USDC: opening_minor},
    )
    owner = await asyncpg.connect(owner_dsn)
    try:
        await create_organisation(owner, new, Instant(at))
    finally:
        await owner.close()
    return Organisation(organisation, *callers)


def declaration(
    organisation: Organisation, key: str, address: str | None = None
) -> tuple[BeneficiaryRequest, Evidence]:
    caller = organisation.declarer
    beneficiary = beneficiary_id(caller.organisation, caller.client, IdempotencyKey(key))
    record = DestinationRecord(
        organisation.id, beneficiary, f"Payee {key}", DestinationClass.DECLARED, NETWORK,
        address or f"0x{next(_numbers):040x}", 1, None,
    )
    body = encode({"destination": {"address": record.address, "network": NETWORK}, "name": record.name})
    return (
        BeneficiaryRequest(beneficiary, IdempotencyKey(key), None, record),
        evidence_of(key, body, "/v1/beneficiaries"),
    )


async def declared(
    intake: Intake, organisation: Organisation, key: str, address: str | None = None
) -> BeneficiaryRecord:
    record = await intake.declare(organisation.declarer, *declaration(organisation, key, address))
    assert isinstance(record, BeneficiaryRecord), record
    return record


def request(
    caller: Caller, key: str, beneficiary: BeneficiaryId, digest: DestinationDigest, minor: int = 1_000_000,
    **changes: Any,
) -> tuple[PayoutRequest, Evidence]:
    values: dict[str, Any] = {
        "id": payout_id(caller.organisation, caller.client, IdempotencyKey(key)),
        "idempotency_key": IdempotencyKey(key),
        "beneficiary": beneficiary,
        "destination_digest": digest,
        "amount": Amount(minor, AssetId(USDC)),
        "external_id": f"debt {key}",
    }
    asked = PayoutRequest(**{**values, **changes})
    body = {
        "amount": str(asked.amount.minor), "asset": asked.amount.asset, "beneficiary": beneficiary,
        "destination_digest": digest, "external_id": asked.external_id,
    }
    return asked, evidence_of(key, encode(body))


def pays(
    caller: Caller, key: str, to: BeneficiaryRecord, minor: int = 1_000_000, **changes: Any
) -> tuple[PayoutRequest, Evidence]:
    return request(caller, key, to.id, to.destinations[-1].destination.digest, minor, **changes)


def digest_of(record: DestinationRecord) -> DestinationDigest:
    return destination_digest(record.encode())
