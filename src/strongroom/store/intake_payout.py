"""Payouts through intake: look a batch up, decide about each, and record those that were admitted.

Two statements for a batch, however large. Between them the decision is pure (`domain.admission`), against
windows and funds that earlier payouts of the same batch have already used.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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
from strongroom.domain.destination import Destination
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import PayoutId, RunId
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import OnHold, PayoutRequest, State
from strongroom.domain.policy import ASSETS_MAXIMUM
from strongroom.protocol.canonical import encode
from strongroom.store.intake_state import IntakeState, KnownDestination
from strongroom.store.record import Caller, Evidence, PayoutRecord

PREDECESSOR_RETRY_MS: Final = MINUTE_MS
"""When to look again for a destination that waits until payouts to the version before have ended."""

REPLACEABLE: Final = frozenset({State.FAILED, State.RETURNED, State.EXPIRED, State.CANCELLED, State.DECLINED})

LOOK_UP: Final = "SELECT * FROM strongroom.intake_lookup($1, $2, $3, $4, $5, $6, $7)"

_EVIDENCE: Final = {
    "evidence": "bigint", "organisation": "text", "client": "text", "key_id": "text", "method": "text", "path": "text",
    "authority": "text", "idempotency_key": "text", "signature_base": "bytea", "signature": "bytea", "body": "bytea",
    "received_at": "bigint",
}
"""The columns that `strongroom.intake_evidence` takes, in its order, and their types."""
_PAYOUTS: Final = {
    "id": "text", "organisation": "text", "client": "text", "key_id": "text", "idempotency_key": "text",
    "evidence": "bigint", "run": "text", "run_index": "integer", "item": "bytea", "beneficiary": "text",
    "destination_digest": "text", "asset": "text", "amount": "text", "reference_minor": "text", "external_id": "text",
    "remittance_information": "text", "activities": "text", "not_before": "bigint", "expires_at": "bigint",
    "replaces": "text", "actor": "text", "metadata": "text", "approvals": "smallint", "approval_groups": "smallint",
    "limit_name": "text", "counted": "boolean", "hold": "text", "retry_at": "bigint", "created_at": "bigint",
    "event": "text", "debit": "bigint", "credit": "bigint",
}
"""The same of `strongroom.intake_payouts`."""

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Recording:
    """A statement that records rows: `$1` is how many, `$2` the epoch; then come the columns `names`, each once.

    A column whose rows are all the same is sent as one value (`shared`): what a row costs is mostly its columns.
    """

    sql: str
    names: tuple[str, ...]

    @classmethod
    def by(cls, **functions: Mapping[str, str]) -> "Recording":
        types = {name: kind for columns in functions.values() for name, kind in columns.items()}
        places = {name: f"${place}::{kind}[]" for place, (name, kind) in enumerate(types.items(), 3)}
        spread = {
            name: f"CASE cardinality({place}) WHEN 1 THEN array_fill(({place})[1], ARRAY[$1::integer]) ELSE {place} END"
            for name, place in places.items()
        }
        calls = [
            f"strongroom.{function}({', '.join(spread[name] for name in columns)})"
            for function, columns in functions.items()
        ]
        return cls(f"SELECT strongroom.intake_enter($2), {', '.join(calls)}", tuple(types))

    def rows(self, columns: Columns) -> "Rows":
        return Rows(len(columns[self.names[0]]), [shared(columns[name]) for name in self.names])

    async def record(self, connection: asyncpg.Connection, epoch: int, rows: "Rows") -> None:
        await connection.execute(self.sql, rows.row_count, epoch, *rows.values)


class Rows(NamedTuple):
    """What a recording is given: how many rows, and its columns in their order."""

    row_count: int
    values: list[list[Any] | None]


def shared(column: list[Any]) -> list[Any] | None:
    """One value if all rows have it, and none if they have none. There is at least one row."""
    first = column[0]
    if column[-1] != first or column.count(first) != len(column):
        return column
    return None if first is None else [first]


SINGLES: Final = Recording.by(intake_evidence=_EVIDENCE, intake_payouts=_PAYOUTS)
REQUEST: Final = Recording.by(intake_evidence=_EVIDENCE)
PAYOUTS: Final = Recording.by(intake_payouts=_PAYOUTS)

_VERSIONS = """
SELECT d.digest, d.version, d.cooling_until, EXISTS (
    SELECT FROM strongroom.payouts p WHERE p.beneficiary = d.beneficiary AND p.destination_digest = d.digest
    AND p.state NOT IN ('settled', 'declined', 'cancelled', 'expired', 'failed', 'returned')) AS has_open
FROM strongroom.destinations d WHERE d.beneficiary = $1 ORDER BY d.version
"""


class Ask(NamedTuple):
    """One payout asked for. `evidence` is the number of the request that asks; `item` the leaf of a run's item."""

    caller: Caller
    request: PayoutRequest
    evidence: int
    signed_sha256: str
    run: RunId | None = None
    run_index: int | None = None
    item: bytes | None = None
    run_total_reference_minor: int | None = None


class Taken(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Found:
    """What the record says about a batch. `again` maps a place in the batch to the last payout of that debt."""

    recorded: frozenset[str]
    again: Mapping[int, str]
    revoked: frozenset[str]
    frozen: frozenset[str]
    wallets: Mapping[tuple[str, str], tuple[int, int]]
    """(organisation, asset) to (account, available base units)."""


async def look_up(connection: asyncpg.Connection, state: IntakeState, asks: Sequence[Ask]) -> Found:
    """All that a decision needs to know; one statement, and one more for destinations seen the first time."""
    requests = [ask.request for ask in asks]
    callers = [ask.caller for ask in asks]
    await state.find_destinations(connection, {request.destination_digest for request in requests})
    row = await connection.fetchrow(
        LOOK_UP,
        [request.id for request in requests],
        [caller.client for caller in callers],
        [request.external_id for request in requests],
        [request.beneficiary for request in requests],
        [request.destination_digest for request in requests],
        list({caller.key_id for caller in callers}),
        list({caller.organisation for caller in callers}),
    )
    if row is None:
        raise InvariantError("the lookup has no answer")
    again = zip(row["again"] or (), row["again_payout"] or (), strict=True)
    names = zip(row["wallet_organisation"] or (), row["wallet_asset"] or (), strict=True)
    funds = zip(row["wallet"] or (), map(int, row["wallet_available"] or ()), strict=True)
    return Found(
        recorded=frozenset(row["recorded"] or ()),
        again={ordinal - 1: payout for ordinal, payout in again},
        revoked=frozenset(row["revoked"] or ()),
        frozen=frozenset(row["frozen"] or ()),
        wallets=dict(zip(names, funds, strict=True)),
    )


class Batch:
    """Decides about asks one after the other; each admitted one uses windows and funds."""

    def __init__(
        self, connection: asyncpg.Connection, state: IntakeState, found: Found, now: Instant,
        used: Mapping[int, int] | None = None,
    ) -> None:
        """`used` is what a batch that was decided, and not recorded when this one was looked up, takes from wallets."""
        self._connection = connection
        self.state = state
        self._found = found
        self._now = now
        self._used_before: Mapping[int, int] = used or {}
        self.used: Counter[int] = Counter()
        self._debts: dict[tuple[str, str, str, str], PayoutId] = {}
        self.taken: list[Taken] = []

    async def decide(self, place: int, ask: Ask) -> PayoutRecord | Refusal:
        """`place` is where the ask stands in what was looked up. Raises: AlreadyRecordedError, RevokedError."""
        if ask.caller.key_id in self._found.revoked:
            raise RevokedError
        if ask.request.id in self._found.recorded:
            raise AlreadyRecordedError
        answer = await self.assess(place, ask)
        if isinstance(answer, Refusal):
            return answer
        subject, admitted = answer
        if admitted.hold is not None and ask.request.on_hold is OnHold.REFUSE:
            refusal = refusal_of_hold(admitted.hold, self._now)
            if refusal is not None:
                return refusal
        count(subject, admitted, self.state.windows_of(ask.caller.organisation), self._now)
        wallet, _ = self._wallet(ask)
        if admitted.counted:
            self.used[wallet] += ask.request.amount.minor
        payout = _payout(ask, subject.destination, admitted, self._now)
        self._debts[_debt(ask, subject.destination)] = payout.id
        self.taken.append(Taken(ask, subject, admitted, payout, wallet))
        return payout

    def is_plain(self, ask: Ask) -> bool:
        """What was looked up is enough to decide about it: `decide` won't ask the database for more."""
        known = self._known(ask)
        return known is not None and known.is_only and ask.request.replaces is None

    def take_back(self) -> None:
        """Give back the room that this batch used in the windows: nothing of it will be recorded."""
        for taken in self.taken:
            windows = self.state.windows_of(taken.ask.caller.organisation)
            take_back(taken.subject, taken.admitted, windows, self._now)
        self.taken.clear()
        self._debts.clear()

    async def assess(self, place: int, ask: Ask) -> tuple[Subject, Admitted] | Refusal:
        """The decision alone; nothing is counted. The contract fixes the order of refusals."""
        request, caller = ask.request, ask.caller
        policy = self.state.policy_of(caller.organisation)
        known = self._known(ask)
        if known is None and not await self._beneficiary_is_known(ask):
            return Refusal(Code.NOT_FOUND, f"there is no beneficiary {request.beneficiary}", "beneficiary")
        refusal = refuse_amount(policy, request.amount, known.destination.network if known else None)
        if refusal is not None:
            return refusal
        if known is None:
            detail = "isn't the digest of a destination of this beneficiary"
            return Refusal(Code.DESTINATION_MISMATCH, detail, "destination_digest")
        payable_from = known.destination.cooling_until
        if not known.is_only:
            in_force = await self._payable_from(known.destination)
            if in_force is None:
                detail = "names a destination that a newer one has replaced"
                return Refusal(Code.DESTINATION_MISMATCH, detail, "destination_digest")
            payable_from = in_force
        refusal = await self._refuse_duplicate(place, ask, known.destination)
        if refusal is not None:
            return refusal
        subject = Subject(
            client=caller.client,
            key=caller.key_id,
            amount=request.amount,
            destination=known.destination,
            payable_from=payable_from,
            not_before=request.not_before,
            run_total_reference_minor=ask.run_total_reference_minor,
        )
        wallet, available = self._wallet(ask)
        available -= self.used[wallet] + self._used_before.get(wallet, 0)
        funds = Funds(available, caller.organisation in self._found.frozen)
        admitted = admit(policy, subject, funds, self.state.windows_of(caller.organisation), self._now)
        return admitted if isinstance(admitted, Refusal) else (subject, admitted)

    def _known(self, ask: Ask) -> KnownDestination | None:
        known = self.state.destinations.get(ask.request.destination_digest)
        if known is None or known.destination.organisation != ask.caller.organisation:
            return None
        return known if known.destination.beneficiary == ask.request.beneficiary else None

    def _wallet(self, ask: Ask) -> tuple[int, int]:
        """The account of the wallet that pays, and what it had when looked up."""
        found = self._found.wallets.get((ask.caller.organisation, ask.request.amount.asset))
        if found is None:
            raise InvariantError(f"{ask.caller.organisation} has no wallet for {ask.request.amount.asset}")
        return found

    async def _beneficiary_is_known(self, ask: Ask) -> bool:
        found: bool = await self._connection.fetchval(
            "SELECT EXISTS (SELECT FROM strongroom.beneficiaries WHERE id = $1 AND organisation = $2)",
            ask.request.beneficiary, ask.caller.organisation,
        )
        return found

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

    async def _refuse_duplicate(self, place: int, ask: Ask, destination: Destination) -> Refusal | None:
        taken = self._debts.get(_debt(ask, destination))
        if taken is not None:  # another item of this run, perhaps to the same address under another name
            detail = f"is used for payout {taken} to this destination in the same call"
            return Refusal(Code.DUPLICATE_EXTERNAL_ID, detail, "external_id")
        replaces, duplicate = ask.request.replaces, self._found.again.get(place)
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


def _debt(ask: Ask, destination: Destination) -> tuple[str, str, str, str]:
    """What must be paid once: an external id of one client to one place, whichever beneficiary it goes under."""
    return ask.caller.client, ask.request.external_id, destination.network, destination.address


def rows_of_singles(state: IntakeState, taken: Sequence[tuple[Taken, Evidence]]) -> Rows:
    """Payouts that each came in a request of its own, as they will be recorded. There is at least one."""
    requests = [(each.ask.evidence, each.ask.caller, evidence) for each, evidence in taken]
    return SINGLES.rows(_evidence_columns(requests) | _payout_columns(state, [each for each, _ in taken]))


async def record_singles(connection: asyncpg.Connection, epoch: int, rows: Rows) -> None:
    """One statement, so one database transaction."""
    await SINGLES.record(connection, epoch, rows)


async def record_evidence(
    connection: asyncpg.Connection, epoch: int, number: int, caller: Caller, evidence: Evidence
) -> None:
    """The request as it came, under its number."""
    await REQUEST.record(connection, epoch, REQUEST.rows(_evidence_columns([(number, caller, evidence)])))


async def record_payouts(
    connection: asyncpg.Connection, state: IntakeState, epoch: int, taken: Sequence[Taken]
) -> None:
    """Payouts, reservations, audit leaves and outbox rows, in one statement."""
    await PAYOUTS.record(connection, epoch, PAYOUTS.rows(_payout_columns(state, taken)))


def _evidence_columns(requests: Sequence[tuple[int, Caller, Evidence]]) -> Columns:
    callers = [caller for _, caller, _ in requests]
    each = [evidence for _, _, evidence in requests]
    return {
        "evidence": [number for number, _, _ in requests],
        "organisation": [caller.organisation for caller in callers],
        "client": [caller.client for caller in callers],
        "key_id": [caller.key_id for caller in callers],
        "method": [evidence.method for evidence in each],
        "path": [evidence.path for evidence in each],
        "authority": [evidence.authority for evidence in each],
        "idempotency_key": [evidence.idempotency_key for evidence in each],
        "signature_base": [evidence.signature_base for evidence in each],
        "signature": [evidence.signature for evidence in each],
        "body": [evidence.body for evidence in each],
        "received_at": [evidence.received_at for evidence in each],
    }


def _payout_columns(state: IntakeState, taken: Sequence[Taken]) -> Columns:
    asks = [each.ask for each in taken]
    callers = [ask.caller for ask in asks]
    requests = [ask.request for ask in asks]
    admitted = [each.admitted for each in taken]
    accounts = state.payouts_accounts
    return {
        "id": [request.id for request in requests],
        "organisation": [caller.organisation for caller in callers],
        "client": [caller.client for caller in callers],
        "key_id": [caller.key_id for caller in callers],
        "idempotency_key": [request.idempotency_key for request in requests],
        "evidence": [ask.evidence for ask in asks],
        "run": [ask.run for ask in asks],
        "run_index": [ask.run_index for ask in asks],
        "item": [ask.item for ask in asks],
        "beneficiary": [request.beneficiary for request in requests],
        "destination_digest": [request.destination_digest for request in requests],
        "asset": [request.amount.asset for request in requests],
        "amount": [str(request.amount.minor) for request in requests],
        "reference_minor": [str(each.reference_minor) for each in admitted],
        "external_id": [request.external_id for request in requests],
        "remittance_information": [request.remittance_information for request in requests],
        "activities": [encode(each.activities).decode() if each.activities else None for each in requests],
        "not_before": [request.not_before for request in requests],
        "expires_at": [request.expires_at for request in requests],
        "replaces": [request.replaces for request in requests],
        "actor": [request.actor for request in requests],
        "metadata": [request.metadata for request in requests],
        "approvals": [each.tier.approvals for each in admitted],
        "approval_groups": [each.tier.groups for each in admitted],
        "limit_name": [each.limit for each in admitted],
        "counted": [each.counted for each in admitted],
        "hold": [None if each.hold is None else each.hold.reason.value for each in admitted],
        "retry_at": [None if each.hold is None else each.hold.retry_at for each in admitted],
        "created_at": [each.payout.created_at for each in taken],
        "event": [_event(each) for each in taken],
        "debit": [accounts[each.payout.organisation, each.payout.amount.asset] for each in taken],
        "credit": [each.wallet for each in taken],
    }


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
    """What the audit log says of an admitted payout, in canonical form.

    Written out, for it is said of every payout: ids, digests and hold reasons need no escaping, and an asset's name
    is encoded once.
    """
    payout = taken.payout
    hold = "null" if payout.hold is None else f'"{payout.hold.reason.value}"'
    run = "null" if payout.run is None else f'"{payout.run}"'
    return (
        f'{{"amount":"{payout.amount.minor}","asset":{_quoted(payout.amount.asset)},"at":{payout.created_at},'
        f'"beneficiary":"{payout.beneficiary}","client":"{payout.client}",'
        f'"destination_digest":"{payout.destination.digest}","hold":{hold},"id":"{payout.id}",'
        f'"organisation":"{payout.organisation}","run":{run},"signed_sha256":"{taken.ask.signed_sha256}",'
        f'"type":"strongroom/event/payout-recorded/v1"}}'
    )


@functools.lru_cache(maxsize=ASSETS_MAXIMUM)
def _quoted(text: str) -> str:
    return encode(text).decode()
