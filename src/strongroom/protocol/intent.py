"""The bodies of what clients ask for, as signer and guard read them: who is paid what, and where people are paid.

Only what decides about money is taken; what else the API allows is known by name and let by, and what nobody knows is
refused. Ids are derived from what was signed, never taken from anybody's word.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.bounds import EXTERNAL_ID_MAXIMUM, RUN_ITEMS_MAXIMUM
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import (
    BeneficiaryId,
    DestinationDigest,
    IdempotencyKey,
    Maker,
    OrganisationId,
    PayoutId,
    RunId,
    parse_beneficiary_id,
    parse_destination_digest,
    parse_idempotency_key,
    parse_payout_id,
    parse_run_id,
)
from strongroom.domain.instant import Instant, parse_instant
from strongroom.domain.money import Amount, AssetId
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord, destination_digest
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.record import parse_fields
from strongroom.protocol.run_tree import RUN_ITEM_TYPE, Seal, SealError, parse_seal

_SEPA: Final = "sepa"
_LET_BY: Final = frozenset({"remittance_information", "activities", "on_hold", "actor", "metadata"})
ASSET_MAXIMUM: Final = 120
VERSION_MAXIMUM: Final = 1_000


class PayoutIntent(NamedTuple):
    """One payout as its maker signed it; for an item of a run, `run` and `run_index` say where it stands."""

    id: PayoutId
    client: Maker
    beneficiary: BeneficiaryId
    destination_digest: DestinationDigest
    amount: Amount
    external_id: str
    not_before: Instant | None
    expires_at: Instant | None
    replaces: PayoutId | None
    run: RunId | None = None
    run_index: int | None = None


def read_payout(fields: Fields, organisation: OrganisationId, client: Maker, key: IdempotencyKey) -> PayoutIntent:
    """Of the body of `POST /v1/payouts`. Raises: DocumentError."""
    return fields.done(_payout(fields, payout_id(organisation, client, key), client))


def read_run_item(leaf: bytes, organisation: OrganisationId, client: Maker) -> PayoutIntent:
    """Of a leaf of a run's tree (`run_tree.item_leaf`). Raises: DocumentError."""
    fields = parse_fields(leaf)
    fields.exactly("type", RUN_ITEM_TYPE)
    key = fields.parsed("idempotency_key", parse_idempotency_key)
    run, index = fields.parsed("run", parse_run_id), fields.integer("index", 0, RUN_ITEMS_MAXIMUM - 1)
    return fields.done(_payout(fields, payout_id(organisation, client, key), client, run, index))


def read_seal(fields: Fields) -> Seal:
    """Of the body of a seal, or of the seal inside a run's. Raises: DocumentError."""
    totals = fields.inner("totals")
    names = totals.names()
    try:
        seal = parse_seal(
            fields.integer("count", 1, RUN_ITEMS_MAXIMUM), {name: totals.text(name) for name in names},
            fields.text("root"),
        )
    except SealError as fault:
        raise DocumentError(fields.path(fault.field), fault.reason) from fault
    fields.close()
    return seal


def read_beneficiary(fields: Fields, organisation: OrganisationId, beneficiary: BeneficiaryId) -> DestinationRecord:
    """The first destination, of the body of `POST /v1/beneficiaries`. Raises: DocumentError."""
    name = fields.text("name")
    destination = fields.inner("destination")
    if fields.has("external_id"):
        fields.take("external_id")
    network, where = _where(destination)
    destination.close()
    fields.close()
    return DestinationRecord(organisation, beneficiary, name, DestinationClass.DECLARED, network, where, 1, None)


def read_destination(fields: Fields, versions: Sequence[DestinationRecord]) -> DestinationRecord:
    """A later version, of the body of `POST …/destinations`; `versions` are those there are, from 1.

    A class never falls, so a client can only follow what a client declared. Raises: DocumentError.
    """
    network, where = _where(fields)
    version = fields.integer("version", 2, VERSION_MAXIMUM)
    previous = fields.parsed("previous", parse_destination_digest)
    fields.close()
    if version > len(versions) + 1:
        raise DocumentError("version", f"there are {len(versions)} versions before it")
    before = versions[version - 2]
    if previous != destination_digest(before.encode()):
        raise DocumentError("previous", f"isn't the digest of version {version - 1}")
    if before.destination_class is not DestinationClass.DECLARED:
        raise DocumentError("version", "a client can't declare what follows it")
    return DestinationRecord(
        before.organisation, before.beneficiary, before.name, DestinationClass.DECLARED, network, where, version,
        previous,
    )


def _payout(
    fields: Fields, payout: PayoutId, client: Maker, run: RunId | None = None, index: int | None = None
) -> PayoutIntent:
    for name in _LET_BY.intersection(fields.names()):
        fields.take(name)
    amount = Amount(fields.minor("amount"), AssetId(fields.text("asset", ASSET_MAXIMUM)))
    return PayoutIntent(
        payout, client, beneficiary=fields.parsed("beneficiary", parse_beneficiary_id),
        destination_digest=fields.parsed("destination_digest", parse_destination_digest), amount=amount,
        external_id=fields.text("external_id", EXTERNAL_ID_MAXIMUM), run=run, run_index=index,
        not_before=fields.parsed("not_before", parse_instant) if fields.has("not_before") else None,
        expires_at=fields.parsed("expires_at", parse_instant) if fields.has("expires_at") else None,
        replaces=fields.parsed("replaces", parse_payout_id) if fields.has("replaces") else None,
    )


def _where(fields: Fields) -> tuple[str, str | BankAccountRecord]:
    """What isn't for the network may only be null."""
    network = fields.text("network")
    for name in ("address",) if network == _SEPA else ("account_holder", "country", "iban"):
        if fields.has(name):
            raise DocumentError(fields.path(name), f"isn't for {network}")
    if network != _SEPA:
        return network, fields.text("address")
    return network, BankAccountRecord(
        fields.text("account_holder", 140), fields.text("country", 2), fields.text("iban", 34)
    )
