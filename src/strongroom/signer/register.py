"""Takes what was signed into the journal: destinations, payouts, runs. Each is verified here, for itself.

Answers row by row, so that one bad row doesn't fail the others. The same request again is answered as the first was;
another one for the same payout is refused for ever.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TypeVar

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import BeneficiaryId, Maker, RunId
from strongroom.domain.instant import MINUTE_MS
from strongroom.domain.permissions import Permission
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.client_request import Ask, Request
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.entry import Kind, Reading
from strongroom.protocol.identifier import beneficiary_id, run_id
from strongroom.protocol.intent import PayoutIntent, read_beneficiary, read_destination, read_payout, read_seal
from strongroom.protocol.request import Evidence, maker_of, read_request
from strongroom.protocol.run_tree import Seal, SealError, check_seal, item_leaf, run_root
from strongroom.protocol.signature_base import SignatureError
from strongroom.protocol.webauthn import WebauthnError
from strongroom.signer.book import Payments, intent_row
from strongroom.signer.due import check_debt, debts_of
from strongroom.signer.notary import Notary
from strongroom.signer.rules import Refused, Rule, refuse

AHEAD_MAXIMUM_MS = MINUTE_MS
ROWS_MAXIMUM = 250
"""Of one entry of the journal."""
_SCOPES = {
    Ask.PAYOUT: Permission.PAYOUTS_CREATE, Ask.RUN: Permission.PAYOUTS_CREATE, Ask.SEAL: Permission.PAYOUTS_CREATE,
    Ask.BENEFICIARY: Permission.BENEFICIARIES_CREATE, Ask.DESTINATION: Permission.BENEFICIARIES_CREATE,
}

Row = dict[str, JsonValue]
Asked = tuple[Request, Maker]
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def register_destinations(notary: Notary, payments: Payments, evidence: list[Evidence]) -> list[Row]:
    """Declared destinations; first seen is now. A row: `digest`, or the refusal."""
    clock = notary.reading()
    new: dict[str, tuple[bytes, Maker]] = {}
    changed: set[str] = set()

    def take(asked: Asked) -> Row:
        request, maker = asked
        record = _destination(payments, request, maker)
        raw = record.encode()
        digest = destination_digest(raw)
        if digest not in payments.destinations and digest not in new:
            versions = payments.versions.get(record.beneficiary, ())
            if record.beneficiary in changed or record.version != len(versions) + 1:
                refuse(Rule.DESTINATION_KNOWN, f"{record.beneficiary} has another version {record.version} already")
            changed.add(record.beneficiary)
            new[digest] = (raw, maker)
        return {"digest": digest}

    asks = Ask.BENEFICIARY, Ask.DESTINATION
    rows = _rows(lambda each: _verified(notary, payments, each, clock, *asks), take, evidence)
    kept: list[JsonValue] = [[b64encode(raw).decode(), maker] for raw, maker in new.values()]
    _keep(notary, payments, Kind.DESTINATIONS, kept, clock)
    return rows


def register_intents(notary: Notary, payments: Payments, evidence: list[Evidence]) -> list[Row]:
    """Payouts of their own. A row: `payout`, or the refusal."""
    clock = notary.reading()
    new: dict[str, tuple[Request, PayoutIntent]] = {}
    debts: set[tuple[str, ...]] = set()

    def take(asked: Asked) -> Row:
        request, maker = asked
        intent = read_payout(request.fields(), payments.standing.organisation, maker, request.idempotency_key)
        first = payments.intents.get(intent.id)
        digest = first.digest if first is not None else new[intent.id][0].digest if intent.id in new else None
        if digest is not None:
            if digest != request.digest:
                refuse(Rule.INTENT_FIRST, f"{intent.id} was asked for by another request first")
            return {"payout": intent.id}
        _check_new(payments, intent, debts, clock)
        new[intent.id] = (request, intent)
        return {"payout": intent.id}

    rows = _rows(lambda each: _verified(notary, payments, each, clock, Ask.PAYOUT), take, evidence)
    kept: list[JsonValue] = [intent_row(made.digest, made.key_id, intent) for made, intent in new.values()]
    _keep(notary, payments, Kind.INTENTS, kept, clock)
    return rows


def register_run(notary: Notary, payments: Payments, evidence: Evidence) -> Row:
    """A sealed run, by the request that seals it: one call with all items, or the seal of one sent in parts."""
    clock = notary.reading()
    request, maker = _verified(notary, payments, evidence, clock, Ask.RUN, Ask.SEAL)
    organisation = payments.standing.organisation
    if request.ask is Ask.SEAL:
        run, seal = RunId(request.object), read_seal(request.fields())
    else:
        run = run_id(organisation, maker, request.idempotency_key)
        seal = _seal_of_call(request, run)
    known = payments.runs.get(run)
    if known is not None:
        if (known.client, known.seal) != (maker, seal):
            refuse(Rule.INTENT_FIRST, f"{run} was sealed otherwise first")
        return {"run": run}
    totals: dict[str, JsonValue] = {asset: str(minor) for asset, minor in seal.totals.items()}
    notary.write(Kind.RUN, {
        "client": maker, "count": seal.count, "digest": request.digest, "key": request.key_id,
        "organisation": organisation, "root": seal.root.hex(), "run": run, "totals": totals,
    }, clock)
    notary.commit()
    return {"run": run}


def _keep(notary: Notary, payments: Payments, kind: Kind, rows: Sequence[JsonValue], clock: Reading) -> None:
    """In as few entries as take them; the longest rows that there can be fit."""
    for first in range(0, len(rows), ROWS_MAXIMUM):
        part = list(rows[first : first + ROWS_MAXIMUM])
        notary.write(kind, {kind.value: part, "organisation": payments.standing.organisation}, clock)
    if rows:
        notary.commit()


def _verified(notary: Notary, payments: Payments, evidence: Evidence, clock: Reading, *asks: Ask) -> Asked:
    """A request that somebody signed lately who may ask so, and who it is. Raises: Refused."""
    book, standing = notary.book, payments.standing
    try:
        request = read_request(evidence, book.deployment, standing.organisation)
        if request.ask not in asks:
            refuse(Rule.INTENT_SIGNED, f"a request to {request.ask.value} isn't one for this")
        scope, party = _SCOPES[request.ask], book.genesis.relying_party
        maker = maker_of(evidence, request, scope, standing, party, clock.at_least)
    except (SignatureError, WebauthnError, DocumentError) as fault:
        raise Refused(Rule.INTENT_SIGNED, str(fault)) from fault
    if maker is None:
        refuse(Rule.INTENT_SCOPE, f"{request.key_id} isn't enrolled for this, or is revoked or suspended")
    age_ms = clock.at_most - request.created
    if age_ms > payments.standing.policy.intent_maximum_age_ms or request.created > clock.wall + AHEAD_MAXIMUM_MS:
        refuse(Rule.INTENT_YOUNG, f"the request is {age_ms} ms old")
    if payments.lost is not None and request.created <= payments.lost.at_most:
        refuse(Rule.INTENT_YOUNG, "it was asked for before some of the journal was lost: nobody knows if it was paid")
    return request, maker


def _check_new(payments: Payments, intent: PayoutIntent, debts: set[tuple[str, ...]], clock: Reading) -> None:
    """A payout that wasn't seen before is for a destination in force, and for a debt that nobody pays yet."""
    known = payments.destinations.get(intent.destination_digest)
    if known is None or known.record.beneficiary != intent.beneficiary:
        refuse(Rule.DESTINATION_KNOWN, f"{intent.id}: its destination wasn't declared here for its beneficiary")
    newest = payments.in_force(intent.beneficiary, clock.at_least)
    if newest is not None and newest.record.version > known.record.version:
        refuse(Rule.DESTINATION_CURRENT, f"{intent.id}: version {newest.record.version} of it is in force")
    if intent.id in payments.paid:
        refuse(Rule.INTENT_FIRST, f"{intent.id} was paid as an item of a run")
    check_debt(payments, intent, known)
    if not debts.isdisjoint(owed := debts_of(intent, known)):
        refuse(Rule.DEBT_ONCE, f"{intent.external_id!r} is asked for twice")
    debts.update(owed)


def _destination(payments: Payments, request: Request, maker: Maker) -> DestinationRecord:
    organisation = payments.standing.organisation
    if request.ask is Ask.BENEFICIARY:
        return read_beneficiary(
            request.fields(), organisation, beneficiary_id(organisation, maker, request.idempotency_key)
        )
    versions = payments.versions.get(BeneficiaryId(request.object), [])
    if not versions or versions[-1].declared_by != maker:
        refuse(Rule.DESTINATION_KNOWN, f"{request.object} isn't a beneficiary that {maker} declared")
    return read_destination(request.fields(), [each.record for each in versions])


def _seal_of_call(request: Request, run: RunId) -> Seal:
    """The seal in a run of one call, which must say what its items say."""
    body = parse_object(request.body)
    seal = read_seal(Fields(body.get("seal"), "seal"))
    items = body.get("items")
    leaves: list[bytes] = []
    totals: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else []):
        if not isinstance(item, dict):
            raise DocumentError(f"items[{index}]", "must be an object")
        fields = Fields(item, f"items[{index}]")
        asset = fields.text("asset")
        totals[asset] = totals.get(asset, 0) + fields.minor("amount")
        leaves.append(item_leaf(item, run, index))
    try:
        check_seal(seal, len(leaves), totals, run_root(leaves))
    except SealError as fault:
        raise DocumentError(f"seal.{fault.field}", fault.reason) from fault
    return seal


def _rows(verify: Callable[[Evidence], Asked], take: Callable[[Asked], Row], evidence: Sequence[Evidence]) -> list[Row]:
    """All signatures first: they are most of the work, and quicker when nothing else comes in between."""
    verified = [_row(verify, each) for each in evidence]
    return [each if isinstance(each, dict) else _row(take, each) for each in verified]


def _row(make: Callable[[_Given], _Made], given: _Given) -> _Made | Row:
    try:
        return make(given)
    except Refused as fault:
        return {"refused": {"reason": fault.reason, "rule": fault.rule.value}}
    except (DocumentError, CanonicalError) as fault:
        return {"refused": {"reason": str(fault), "rule": Rule.INTENT_SIGNED.value}}
