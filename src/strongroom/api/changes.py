"""Calls about changes of policy and roster: what is running, what is proposed, and what people assert over it.

An assertion signs itself in, as an approval does. What is checked here keeps out of the record what could never count;
the signer checks all of it again, and it alone puts anything into force.
"""

import json
from typing import Final, cast

from strongroom.advice.proposal import BYTES_MAXIMUM, TYPES, name_of, needed, read_proposal, why_not
from strongroom.api import people
from strongroom.api.call import Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.people_schemas import ChangeAnswer, ChangeBody, ChangeList, RunningAnswer
from strongroom.api.reading import read_body, read_object, refuse
from strongroom.api.schemas import AssertionBody
from strongroom.api.service import Service
from strongroom.domain.document import DocumentError
from strongroom.domain.errors import Code
from strongroom.domain.ids import IdError, OrganisationId, parse_organisation_id
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.permissions import Permission
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.approval import PersonAssertion
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.standing import Standing
from strongroom.store import approvals
from strongroom.store import changes as store
from strongroom.store.changes import OPEN_MAXIMUM, StoredChange
from strongroom.store.organisations import ClientKey
from strongroom.store.session import Session

LIFE_MS: Final = 7 * DAY_MS
"""In which a quorum has to assert it."""
BODY_MAXIMUM: Final = 2 * BYTES_MAXIMUM + 65_536
"""A document as text, with its quotes escaped, and an assertion."""


async def sign_in_proposer(service: Service, _: tuple[str, ...], body: bytes) -> ClientKey:
    """Whoever asserted the document that they propose. Raises: RefusalError."""
    value = read_object(body)
    asked = read_body(value, ChangeBody)
    raw, given = asked.raw.encode(), people.read_given(value["assertion"], "assertion")
    organisation = _organisation_of(raw)
    async with service.pool.acquire() as connection:
        return await _sign_in(connection, organisation, asked.document, raw, given)


async def sign_in_member(service: Service, parameters: tuple[str, ...], body: bytes) -> ClientKey:
    """Whoever asserted a document that somebody proposed. Raises: RefusalError."""
    value = read_object(body)
    read_body(value, AssertionBody)
    given = people.read_given(cast("JsonValue", value))
    async with service.pool.acquire() as connection:
        organisation = await store.organisation_of(connection, parameters[0])
        found = None if organisation is None else await store.read(connection, organisation, parameters[0])
        if found is None:
            raise _not_found(parameters[0])
        return await _sign_in(connection, found.organisation, found.document, found.raw, given)


async def _sign_in(
    connection: Session, organisation: OrganisationId, document: str, raw: bytes, given: PersonAssertion
) -> ClientKey:
    if not await approvals.knows(connection, organisation):
        raise refuse(Code.NOT_FOUND, f"there is no organisation {organisation}", "raw.organisation")
    genesis, running = await people.running(connection, organisation)
    people.check_assertion(raw, TYPES[document], given, genesis, running)
    reason = why_not(given.person, running)
    if reason is not None:
        raise refuse(Code.SCOPE_MISSING, f"{reason}: this assertion would never count", "person")
    return people.signed_in(given.person, organisation, Permission.APPROVALS_GIVE)


def read_proposed(call: Call) -> tuple[ChangeBody, PersonAssertion]:
    return read_body(call.value, ChangeBody), people.read_given(call.value["assertion"], "assertion")


async def propose(service: Service, call: Call, asked: tuple[ChangeBody, PersonAssertion]) -> Reply:
    """The same document again, by somebody else, is one more assertion of it."""
    body, given = asked
    raw, organisation = body.raw.encode(), call.key.organisation
    name = name_of(body.document, raw)
    async with service.pool.acquire() as connection, connection.transaction():
        found = await store.read(connection, organisation, name)
        if found is None:
            await _check_new(connection, organisation, body.document, raw)
            await store.propose(
                connection, organisation, body.document, raw, name, given.person, Instant(call.now + LIFE_MS), call.now
            )
        else:
            _check_open(found, call.now)
        added = await _keep(connection, name, given, call.value["assertion"], call.now)
        return await _reply(connection, organisation, name, added=added)


async def give(service: Service, call: Call, given: PersonAssertion) -> Reply:
    name, organisation = call.parameters[0], call.key.organisation
    async with service.pool.acquire() as connection, connection.transaction():
        _check_open(await _found(connection, organisation, name), call.now)
        added = await _keep(connection, name, given, cast("JsonValue", call.value), call.now)
        return await _reply(connection, organisation, name, added=added)


def read_assertion(call: Call) -> PersonAssertion:
    return people.read_given(cast("JsonValue", call.value))


def read_list(call: Call) -> tuple[int, int]:
    return read_page(call.query)


async def find(service: Service, call: Call, asked: tuple[int, int]) -> Reply:
    after, limit = asked
    async with service.pool.acquire() as connection:
        found = await store.find(connection, call.key.organisation, after, limit)
        if not found:
            return Reply(200, ChangeList([], None))
        _, running = await people.running(connection, call.key.organisation)
    return Reply(200, ChangeList([_answer(each, running) for each in found], page(found, limit)))


async def show(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        return await _reply(connection, call.key.organisation, call.parameters[0], status=200)


async def policy(service: Service, call: Call, _: None) -> Reply:
    return await _running(service, call, "policy")


async def roster(service: Service, call: Call, _: None) -> Reply:
    return await _running(service, call, "roster")


async def _running(service: Service, call: Call, document: str) -> Reply:
    async with service.pool.acquire() as connection:
        found = await store.read_running(connection, call.key.organisation, document)
    return Reply(200, RunningAnswer(
        document, found.version, name_of(document, found.raw), found.raw.decode(), format_instant(found.created_at)
    ))


async def _check_new(connection: Session, organisation: OrganisationId, document: str, raw: bytes) -> None:
    """Raises: RefusalError."""
    genesis, running = await people.running(connection, organisation)
    try:
        read_proposal(document, raw, running, genesis.mode)
    except DocumentError as fault:
        raise refuse(Code.INVALID, fault.reason, f"raw.{fault.field}" if fault.field else "raw") from fault
    if await store.count_open(connection, organisation) >= OPEN_MAXIMUM:
        raise refuse(Code.RATE_LIMITED, f"{OPEN_MAXIMUM} changes are open: they run out, or are vetoed, first")


def _check_open(found: StoredChange, now: Instant) -> None:
    """Raises: RefusalError."""
    if not found.is_open or found.expires_at <= now:
        state = "expired" if found.is_open else found.state
        raise refuse(Code.TOO_LATE, f"the change is {state.replace('_', ' ')}: what is asserted now changes nothing")


async def _keep(
    connection: Session, name: str, given: PersonAssertion, value: JsonValue, now: Instant
) -> bool:
    return await store.give(connection, name, given.person, given.credential.hex(), json.dumps(value), now)


async def _reply(
    connection: Session, organisation: OrganisationId, name: str, *, added: bool = True, status: int = 201
) -> Reply:
    found = await _found(connection, organisation, name)
    _, running = await people.running(connection, organisation)
    return Reply(status, _answer(found, running), replayed=not added)


async def _found(connection: Session, organisation: OrganisationId, name: str) -> StoredChange:
    found = await store.read(connection, organisation, name)
    if found is None:
        raise _not_found(name)
    return found


def _answer(found: StoredChange, running: Standing) -> ChangeAnswer:
    version = parse_object(found.raw)["version"]
    if not isinstance(version, int):
        raise InvariantError(f"{found.change} was taken without a version")
    return ChangeAnswer(
        id=found.change, document=found.document, version=version, raw=found.raw.decode(), proposer=found.proposer,
        people=list(found.people), needed=needed(running), state=found.state, detail=found.detail,
        due_at=None if found.due_at is None else format_instant(found.due_at),
        created_at=format_instant(found.created_at), expires_at=format_instant(found.expires_at),
        updated_at=format_instant(found.moved_at),
    )


def _organisation_of(raw: bytes) -> OrganisationId:
    """Raises: RefusalError."""
    try:
        return parse_organisation_id(str(parse_object(raw).get("organisation")))
    except CanonicalError as fault:
        raise refuse(Code.INVALID, fault.reason, f"raw.{fault.field}" if fault.field else "raw") from fault
    except IdError as fault:
        raise refuse(Code.INVALID, str(fault), "raw.organisation") from fault


def _not_found(name: str) -> Exception:
    return refuse(Code.NOT_FOUND, f"there is no change {name}")
