"""Payouts through intake: look a batch up, decide about each, and record those that were admitted.

Two statements for a batch, however large. Between them the decision is pure (`domain.admission`), against
windows and funds that earlier payouts of the same batch have already used.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from strongroom.domain.admission import (
    Admitted,
    Funds,
    Subject,
    admit,
    count,
    refusal_of_hold,
    refuse_amount,
    take_back,
)
from strongroom.domain.beneficiary import Destination, DestinationClass
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, PayoutId, RunId
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.payout import OnHold, PayoutRequest, State
from strongroom.protocol.canonical import encode
from strongroom.store.intake_state import IntakeState
from strongroom.store.record import Caller, Evidence, PayoutRecord

PREDECESSOR_RETRY_MS: Final = MINUTE_MS
"""When to look again for a destination that waits until payouts to the version before have ended."""

REPLACEABLE: Final = frozenset({State.FAILED, State.RETURNED, State.EXPIRED, State.CANCELLED, State.DECLINED})

def _call(function: str, first: int, count: int) -> str:
    return f"strongroom.{function}({', '.join(f'${number}' for number in range(first, first + count))})"


LOOK_UP: Final = "SELECT * FROM strongroom.intake_lookup($1, $2, $3, $4, $5, $6, $7, $8)"
RECORD_SINGLES: Final = (
    f"SELECT {_call('intake_enter', 1, 1)}, {_call('intake_evidence', 2, 12)}, {_call('intake_payouts', 14, 32)}"
)
_EVIDENCE = f"SELECT {_call('intake_evidence', 1, 12)}"
_PAYOUTS = f"SELECT {_call('intake_payouts', 1, 32)}"

_VERSIONS = """
SELECT d.digest, d.version, d.cooling_until, EXISTS (
    SELECT FROM strongroom.payouts p WHERE p.beneficiary = d.beneficiary AND p.destination_digest = d.digest
    AND p.state NOT IN ('settled', 'declined', 'cancelled', 'expired', 'failed', 'returned')) AS has_open
FROM strongroom.destinations d WHERE d.beneficiary = $1 ORDER BY d.version
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One payout asked for. `evidence` is the number of the request that asks; `item` the leaf of a run's item."""

    caller: Caller
    request: PayoutRequest
    evidence: int
    signed_sha256: str
    run: RunId | None = None
    run_index: int | None = None
    item: bytes | None = None
    run_total_reference_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """An ask that was admitted, with what has to be written for it."""

    ask: Ask
    subject: Subject
    admitted: Admitted
    payout: PayoutRecord
    wallet: int


class AlreadyRecordedError(Exception):
    """The payout is there already: answer from the record."""


class RevokedError(Exception):
    """The key was revoked since the signature was checked."""


def signed_sha256(evidence: Evidence) -> str:
    """Names a signed request in audit leaves; the signature base covers the body by its digest."""
    return hashlib.sha256(evidence.signature_base).hexdigest()


async def look_up(connection: asyncpg.Connection, asks: Sequence[Ask]) -> list[asyncpg.Record]:
    """What the record says about each ask, in their order."""
    requests = [ask.request for ask in asks]
    callers = [ask.caller for ask in asks]
    return await connection.fetch(
        LOOK_UP,
        [request.id for request in requests],
        [caller.organisation for caller in callers],
        [caller.client for caller in callers],
        [caller.key_id for caller in callers],
        [request.beneficiary for request in requests],
        [request.destination_digest for request in requests],
        [request.external_id for request in requests],
        [request.amount.asset for request in requests],
    )


class Batch:
    """Decides about asks one after the other; each admitted one uses windows and funds."""

    def __init__(self, connection: asyncpg.Connection, state: IntakeState, now: Instant) -> None:
        self._connection = connection
        self._state = state
        self._now = now
        self._available: dict[int, int] = {}
        self.taken: list[Taken] = []

    async def decide(self, ask: Ask, row: asyncpg.Record) -> PayoutRecord | Refusal:
        """Raises: AlreadyRecordedError, RevokedError."""
        if row["key_is_revoked"]:
            raise RevokedError
        if row["is_recorded"]:
            raise AlreadyRecordedError
        answer = await self.assess(ask, row)
        if isinstance(answer, Refusal):
            return answer
        subject, admitted = answer
        if admitted.hold is not None and ask.request.on_hold is OnHold.REFUSE:
            refusal = refusal_of_hold(admitted.hold, self._now)
            if refusal is not None:
                return refusal
        organisation = ask.caller.organisation
        count(self._state.policy_of(organisation), subject, admitted, self._state.windows_of(organisation), self._now)
        if admitted.counted:
            self._available[row["wallet"]] -= ask.request.amount.minor
        payout = _payout(ask, subject.destination, admitted, self._now)
        self.taken.append(Taken(ask, subject, admitted, payout, row["wallet"]))
        return payout

    def take_back(self) -> None:
        """Give back the room that this batch used in the windows: nothing of it will be recorded."""
        for taken in self.taken:
            organisation = taken.ask.caller.organisation
            policy, windows = self._state.policy_of(organisation), self._state.windows_of(organisation)
            take_back(policy, taken.subject, taken.admitted, windows, self._now)
        self.taken.clear()

    async def assess(self, ask: Ask, row: asyncpg.Record) -> tuple[Subject, Admitted] | Refusal:
        """The decision alone; nothing is counted. The contract fixes the order of refusals."""
        request, caller = ask.request, ask.caller
        policy = self._state.policy_of(caller.organisation)
        if not row["beneficiary_is_known"]:
            return Refusal(Code.NOT_FOUND, f"there is no beneficiary {request.beneficiary}", "beneficiary")
        destination = _destination(ask, row)
        refusal = refuse_amount(policy, request.amount, destination.network if destination else None)
        if refusal is not None:
            return refusal
        if destination is None:
            detail = "isn't the digest of a destination of this beneficiary"
            return Refusal(Code.DESTINATION_MISMATCH, detail, "destination_digest")
        payable_from = destination.cooling_until
        if destination.version > 1 or row["has_newer"]:
            in_force = await self._payable_from(destination)
            if in_force is None:
                detail = "names a destination that a newer one has replaced"
                return Refusal(Code.DESTINATION_MISMATCH, detail, "destination_digest")
            payable_from = in_force
        refusal = await self._refuse_duplicate(ask, row)
        if refusal is not None:
            return refusal
        subject = Subject(
            client=caller.client,
            key=caller.key_id,
            amount=request.amount,
            destination=destination,
            payable_from=payable_from,
            not_before=request.not_before,
            run_total_reference_minor=ask.run_total_reference_minor,
        )
        available = self._available.setdefault(row["wallet"], int(row["available"]))
        funds = Funds(available, row["is_frozen"])
        windows = self._state.windows_of(caller.organisation)
        admitted = admit(policy, subject, funds, windows, self._now)
        return admitted if isinstance(admitted, Refusal) else (subject, admitted)

    async def _payable_from(self, destination: Destination) -> Instant | None:
        """When this version is in force: cooled off, and none before it has an open payout. None: replaced."""
        earlier_open = False
        in_force = 1
        from_instant = {}
        for row in await self._connection.fetch(_VERSIONS, destination.beneficiary):
            cooled = row["cooling_until"] <= self._now
            if cooled and (row["version"] == 1 or not earlier_open):
                in_force = row["version"]
            waits = self._now + PREDECESSOR_RETRY_MS if earlier_open else 0
            from_instant[row["version"]] = max(row["cooling_until"], waits)
            earlier_open = earlier_open or row["has_open"]
        if destination.version < in_force:
            return None
        return Instant(from_instant[destination.version])

    async def _refuse_duplicate(self, ask: Ask, row: asyncpg.Record) -> Refusal | None:
        replaces, duplicate = ask.request.replaces, row["duplicate"]
        if duplicate is None and replaces is None:
            return None
        if replaces is None:
            detail = f"was used for payout {duplicate} to this destination; a new attempt says replaces"
            return Refusal(Code.DUPLICATE_EXTERNAL_ID, detail, "external_id")
        if duplicate != replaces:
            detail = "must name the last payout of this client to this destination with this external_id"
            return Refusal(Code.INVALID, detail, "replaces")
        state = await self._connection.fetchval("SELECT state FROM strongroom.payouts WHERE id = $1", replaces)
        if State(state) not in REPLACEABLE:
            detail = f"payout {replaces} is {state}: only one that ended without paying can be replaced"
            return Refusal(Code.DUPLICATE_EXTERNAL_ID, detail, "replaces")
        return None


async def record_singles(
    connection: asyncpg.Connection, state: IntakeState, epoch: int, taken: Sequence[tuple[Taken, Evidence]]
) -> None:
    """Payouts that each came in a request of its own: one statement, so one database transaction."""
    requests = [(each.ask.evidence, each.ask.caller, evidence) for each, evidence in taken]
    columns = (*_evidence_columns(requests), *_payout_columns(state, [each for each, _ in taken]))
    await connection.execute(RECORD_SINGLES, epoch, *columns)


async def record_evidence(connection: asyncpg.Connection, number: int, caller: Caller, evidence: Evidence) -> None:
    """The request as it came, under its number."""
    await connection.execute(_EVIDENCE, *_evidence_columns([(number, caller, evidence)]))


async def record_payouts(connection: asyncpg.Connection, state: IntakeState, taken: Sequence[Taken]) -> None:
    """Payouts, reservations, audit leaves and outbox rows, in one statement."""
    await connection.execute(_PAYOUTS, *_payout_columns(state, taken))


def _evidence_columns(requests: Sequence[tuple[int, Caller, Evidence]]) -> tuple[list[object], ...]:
    callers = [caller for _, caller, _ in requests]
    each = [evidence for _, _, evidence in requests]
    return (
        [number for number, _, _ in requests],
        [caller.organisation for caller in callers],
        [caller.client for caller in callers],
        [caller.key_id for caller in callers],
        [evidence.method for evidence in each],
        [evidence.path for evidence in each],
        [evidence.authority for evidence in each],
        [evidence.idempotency_key for evidence in each],
        [evidence.signature_base for evidence in each],
        [evidence.signature for evidence in each],
        [evidence.body for evidence in each],
        [evidence.received_at for evidence in each],
    )


def _payout_columns(state: IntakeState, taken: Sequence[Taken]) -> tuple[list[object], ...]:
    asks = [each.ask for each in taken]
    callers = [ask.caller for ask in asks]
    requests = [ask.request for ask in asks]
    admitted = [each.admitted for each in taken]
    accounts = state.payouts_accounts
    return (
        [request.id for request in requests],
        [caller.organisation for caller in callers],
        [caller.client for caller in callers],
        [caller.key_id for caller in callers],
        [request.idempotency_key for request in requests],
        [ask.evidence for ask in asks],
        [ask.run for ask in asks],
        [ask.run_index for ask in asks],
        [ask.item for ask in asks],
        [request.beneficiary for request in requests],
        [request.destination_digest for request in requests],
        [request.amount.asset for request in requests],
        [str(request.amount.minor) for request in requests],
        [str(each.reference_minor) for each in admitted],
        [request.external_id for request in requests],
        [request.remittance_information for request in requests],
        [encode(request.activities).decode() if request.activities else None for request in requests],
        [request.not_before for request in requests],
        [request.expires_at for request in requests],
        [request.replaces for request in requests],
        [request.actor for request in requests],
        [request.metadata for request in requests],
        [each.tier.approvals for each in admitted],
        [each.tier.groups for each in admitted],
        [each.limit for each in admitted],
        [each.counted for each in admitted],
        [None if each.hold is None else each.hold.reason.value for each in admitted],
        [None if each.hold is None else each.hold.retry_at for each in admitted],
        [each.payout.created_at for each in taken],
        [_event(each) for each in taken],
        [accounts[each.payout.organisation, each.payout.amount.asset] for each in taken],
        [each.wallet for each in taken],
    )


def _destination(ask: Ask, row: asyncpg.Record) -> Destination | None:
    if row["version"] is None:
        return None
    return Destination(
        digest=DestinationDigest(ask.request.destination_digest),
        organisation=ask.caller.organisation,
        beneficiary=BeneficiaryId(ask.request.beneficiary),
        declared_by=ClientId(row["declared_by"]),
        version=row["version"],
        destination_class=DestinationClass(row["class"]),
        network=row["network"],
        address=row["address"],
        created_at=Instant(row["destination_created_at"]),
        cooling_until=Instant(row["cooling_until"]),
    )


def _payout(ask: Ask, destination: Destination, admitted: Admitted, now: Instant) -> PayoutRecord:
    request = ask.request
    return PayoutRecord(
        id=PayoutId(request.id),
        organisation=ask.caller.organisation,
        client=ask.caller.client,
        idempotency_key=request.idempotency_key,
        beneficiary=request.beneficiary,
        destination=destination,
        amount=request.amount,
        external_id=request.external_id,
        remittance_information=request.remittance_information,
        activities=request.activities,
        not_before=request.not_before,
        expires_at=request.expires_at,
        replaces=request.replaces,
        metadata=request.metadata,
        run=ask.run,
        run_index=ask.run_index,
        approvals=admitted.tier.approvals,
        approval_groups=admitted.tier.groups,
        limit=admitted.limit,
        state=State.RECEIVED if admitted.hold is None else State.HELD,
        hold=admitted.hold,
        created_at=now,
        updated_at=now,
    )


def _event(taken: Taken) -> str:
    """What the audit log says of an admitted payout."""
    payout = taken.payout
    return encode(
        {
            "amount": str(payout.amount.minor),
            "asset": payout.amount.asset,
            "at": payout.created_at,
            "beneficiary": payout.beneficiary,
            "client": payout.client,
            "destination_digest": payout.destination.digest,
            "hold": None if payout.hold is None else payout.hold.reason.value,
            "id": payout.id,
            "organisation": payout.organisation,
            "run": payout.run,
            "signed_sha256": taken.ask.signed_sha256,
            "type": "strongroom/event/payout-recorded/v1",
        }
    ).decode()
