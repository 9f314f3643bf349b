"""Beneficiaries and destinations through intake."""

from typing import Final

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId
from strongroom.domain.instant import Instant
from strongroom.domain.invariant import InvariantError
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.store import beneficiaries, replay
from strongroom.store.intake_payout import signed_sha256
from strongroom.store.record import BeneficiaryRecord, BeneficiaryRequest, Caller, Evidence
from strongroom.store.writing import Writing

VERSIONS_MAXIMUM: Final = 1_000


async def declare(
    to: Writing, caller: Caller, request: BeneficiaryRequest, evidence: Evidence
) -> BeneficiaryRecord | Refusal:
    """A beneficiary with its first destination, or the one that this key made before."""
    earlier = await to.connection.fetchval(
        "SELECT evidence FROM strongroom.beneficiaries WHERE id = $1", request.id
    )
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier, evidence)
        return difference or await _read(to, caller, request.id, replayed=True)
    record = _payable(to, caller, request.destination, "destination.address")
    if isinstance(record, Refusal):
        return record
    number = to.state.take_evidence()
    event = encode(
        {
            "at": to.now, "client": caller.client, "id": request.id, "organisation": caller.organisation,
            "signed_sha256": signed_sha256(evidence), "type": "strongroom/event/beneficiary-declared/v1",
        }
    ).decode()
    async with to.recording(caller, evidence, number):
        await to.connection.execute(
            "SELECT strongroom.intake_beneficiary($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            request.id, caller.organisation, caller.client, request.idempotency_key, request.external_id,
            record.name, number, to.now, event,
        )
        await _record_destination(to, caller, record, number, evidence)
    return await _read(to, caller, request.id, replayed=False)


async def add_destination(
    to: Writing, caller: Caller, beneficiary: BeneficiaryId, record: DestinationRecord | Refusal, evidence: Evidence
) -> BeneficiaryRecord | Refusal:
    """The next version. It must name the one before, and come from the client that declared that one."""
    earlier = await to.other_request(caller.client, evidence.idempotency_key)
    if earlier is not None:
        difference = await replay.difference(to.connection, earlier[0], evidence)
        return difference or await _read(to, caller, beneficiary, replayed=True, version=int(earlier[1]))
    known = await beneficiaries.read(to.connection, caller.organisation, beneficiary)
    if known is None:
        return Refusal(Code.NOT_FOUND, f"there is no beneficiary {beneficiary}")
    newest = known.destinations[-1].destination
    if newest.declared_by != caller.client:
        return Refusal(Code.NOT_FOUND, "only the client that declared the last version may make the next")
    record = _payable(to, caller, record, "address")
    if isinstance(record, Refusal):
        return record
    if record.version != newest.version + 1:
        return Refusal(Code.DESTINATION_MISMATCH, f"must be {newest.version + 1}", "version")
    if record.previous != newest.digest:
        return Refusal(Code.DESTINATION_MISMATCH, "must be the digest of the version before", "previous")
    if record.version > VERSIONS_MAXIMUM:
        return Refusal(Code.INVALID, f"a beneficiary has at most {VERSIONS_MAXIMUM} destinations", "version")
    number = to.state.take_evidence()
    async with to.recording(caller, evidence, number):
        await _record_destination(to, caller, record, number, evidence)
        await to.record_other(caller, evidence, number, str(record.version))
    for version in known.destinations:
        to.state.destinations.pop(version.destination.digest, None)
    return await _read(to, caller, beneficiary, replayed=False)


def _payable(
    to: Writing, caller: Caller, record: DestinationRecord | Refusal, field: str
) -> DestinationRecord | Refusal:
    """The record, unless the edge found something wrong, nothing is ever paid on its network (a payee that is declared
    there is a mistake), or its address is one of ours or a token's contract."""
    if isinstance(record, Refusal):
        return record
    policy = to.state.policy_of(caller.organisation)
    networks = sorted({rule.network for rule in policy.assets.values()})
    if record.network not in networks:
        detail = f"isn't one that this organisation pays on: {', '.join(networks)}"
        return Refusal(Code.NETWORK_MISMATCH, detail, field.replace("address", "network"))
    own = {wallet.treasury for wallet in policy.wallets.values()}
    if record.address in own or f"{record.network}/erc20:{record.address}" in policy.assets:
        return Refusal(Code.ADDRESS_FORBIDDEN, "is a contract or wallet that must not be paid", field)
    return record


async def _record_destination(
    to: Writing, caller: Caller, record: DestinationRecord, number: int, evidence: Evidence
) -> None:
    raw = record.encode()
    digest = destination_digest(raw)
    cooling_ms = to.state.policy_of(caller.organisation).cooling_off_ms[record.destination_class]
    event = encode(
        {
            "at": to.now, "beneficiary": record.beneficiary, "client": caller.client, "digest": digest,
            "organisation": caller.organisation, "signed_sha256": signed_sha256(evidence),
            "type": "strongroom/event/destination-declared/v1", "version": record.version,
        }
    ).decode()
    await to.connection.execute(
        "SELECT strongroom.intake_destination($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        digest, caller.organisation, record.beneficiary, caller.client, record.version,
        record.destination_class.value, record.network, record.address, raw, number, to.now,
        Instant(to.now + cooling_ms), event,
    )


async def _read(
    to: Writing, caller: Caller, beneficiary: BeneficiaryId, *, replayed: bool, version: int | None = None
) -> BeneficiaryRecord:
    """As it was when that request was answered: nothing of a beneficiary changes but that versions are added."""
    found = await beneficiaries.read(to.connection, caller.organisation, beneficiary)
    if found is None:
        raise InvariantError(f"beneficiary {beneficiary} was there a moment ago")
    if replayed:
        found = found.as_answered(1 if version is None else version)
    return found
