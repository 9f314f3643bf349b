"""What people ask for: the record `strongroom/intent/v1` with its assertion, which goes the road of a client's request.

The record holds path and body as a client would send them, so it is read and recorded by the same calls; the person
stands in the client's place, in ids and limits too. Who asks needs the role operator, and somebody else always
approves. The signer verifies record and assertion again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from strongroom.api import beneficiaries, payouts, people
from strongroom.api.call import JSON_TYPE, Call, Reply
from strongroom.api.people_schemas import PersonIntentBody
from strongroom.api.reading import read_body, read_object, refuse
from strongroom.api.service import Service
from strongroom.domain.document import DocumentError
from strongroom.domain.errors import Code, RefusalError
from strongroom.domain.ids import IdError, OrganisationId, parse_organisation_id
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion, assertion_document
from strongroom.protocol.canonical import CanonicalError, encode, parse_object
from strongroom.protocol.client_request import Ask, Request
from strongroom.protocol.request import INTENT_TYPE, PersonEvidence, read_request
from strongroom.protocol.signature_base import SignatureError
from strongroom.store import approvals
from strongroom.store.organisations import ClientKey
from strongroom.store.record import Evidence

AGE_MAXIMUM_MS: Final = 15 * MINUTE_MS
AHEAD_MAXIMUM_MS: Final = MINUTE_MS
BODY_MAXIMUM: Final = 2**20


@dataclass(frozen=True, slots=True)
class Asked:
    """A person's record, read: what it asks, and the call that a client would have sent, with what was read of it."""

    request: Request
    call: Call
    asked: Any


async def sign_in(service: Service, _: tuple[str, ...], body: bytes) -> ClientKey:
    """The person whose record it is, in the place of a client. Raises: RefusalError."""
    value = read_object(body)
    asked = read_body(value, PersonIntentBody)
    raw, given = asked.record.encode(), people.read_given(value["assertion"], "assertion")
    organisation = _organisation_of(raw)
    async with service.pool.acquire() as connection:
        if not await approvals.knows(connection, organisation):
            raise refuse(Code.NOT_FOUND, f"there is no organisation {organisation}", "record.organisation")
        genesis, standing = await people.running(connection, organisation)
    people.check_assertion(raw, INTENT_TYPE, given, genesis, standing)
    _read(raw, given, service.deployment, organisation, service.clock())
    if not standing.may_ask(given.person, Permission.PAYOUTS_CREATE, service.clock()):
        raise refuse(Code.SCOPE_MISSING, f"{given.person} isn't an operator, who alone asks for this", "person")
    return people.signed_in(given.person, organisation, Permission.PAYOUTS_CREATE)


async def ask(service: Service, call: Call, asked: Asked) -> Reply:
    """As the client's own call would be answered. Raises: RefusalError."""
    reply: Reply = await _CALLS[asked.request.ask][1](service, asked.call, asked.asked)
    return reply


def read_intent(call: Call) -> Asked:
    """The call that a client would have sent. Raises: RefusalError."""
    body = read_body(call.value, PersonIntentBody)
    raw, given = body.record.encode(), people.read_given(call.value["assertion"], "assertion")
    request = _read(raw, given, str(parse_object(raw)["deployment"]), call.key.organisation, call.now)
    evidence = Evidence(
        "POST", _path(raw), "", request.idempotency_key, raw, encode(assertion_document(given)), request.body, call.now
    )
    parameters = (request.object,) if request.object else ()
    as_client = Call(
        call.key, "POST", evidence.path, parameters, {}, JSON_TYPE, request.body, parse_object(request.body),
        request.idempotency_key, evidence, call.now,
    )
    try:
        return Asked(request, as_client, _CALLS[request.ask][0](as_client))
    except RefusalError as fault:
        raise RefusalError(fault.refusal.within("record.body")) from fault


def _read(raw: bytes, given: PersonAssertion, deployment: str, organisation: OrganisationId, now: Instant) -> Request:
    """Raises: RefusalError."""
    try:
        request = read_request(PersonEvidence(raw, given), deployment, organisation)
    except DocumentError as fault:
        raise refuse(Code.INVALID, fault.reason, f"record.{fault.field}" if fault.field else "record") from fault
    except SignatureError as fault:
        raise refuse(Code.INVALID, str(fault), "record.path") from fault
    if request.ask not in _CALLS:
        raise refuse(Code.INVALID, f"people ask for no {request.ask.value.replace('_', ' ')} here", "record.path")
    if not now - AGE_MAXIMUM_MS <= request.created <= now + AHEAD_MAXIMUM_MS:
        raise refuse(Code.INVALID, f"must be now: the record is {now - request.created} ms old", "record.created_ms")
    return request


def _path(raw: bytes) -> str:
    return str(parse_object(raw)["path"])


def _organisation_of(raw: bytes) -> OrganisationId:
    """Raises: RefusalError."""
    try:
        return parse_organisation_id(str(parse_object(raw).get("organisation")))
    except CanonicalError as fault:
        raise refuse(Code.INVALID, fault.reason, f"record.{fault.field}" if fault.field else "record") from fault
    except IdError as fault:
        raise refuse(Code.INVALID, str(fault), "record.organisation") from fault


_CALLS: Final[dict[Ask, tuple[Callable[[Call], Any], Callable[..., Awaitable[Reply]]]]] = {
    Ask.PAYOUT: (payouts.read_payout, payouts.create),
    Ask.BENEFICIARY: (beneficiaries.read_beneficiary, beneficiaries.create),
    Ask.DESTINATION: (beneficiaries.read_destination, beneficiaries.add_destination),
}
"""What people may ask for here. A run they can't yet; and what shall not be paid they decline or cancel at guard."""
