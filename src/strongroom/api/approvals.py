"""Calls for approvers' tools: what waits for people, and their assertions over the signer's own bytes.

An assertion signs itself in: it is a passkey's over exactly these bytes, by a person in the roster. What is checked
here keeps out of the record what could never count; the signer checks all of it again and counts.
"""

import json
from typing import Final

from strongroom.api import people
from strongroom.api.call import Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.reading import read_body, read_object, refuse
from strongroom.api.schemas import ApprovalAnswer, ApprovalList, AssertionBody
from strongroom.api.service import Service
from strongroom.domain.errors import Code
from strongroom.domain.ids import PersonId
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.permissions import Permission
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, PersonAssertion
from strongroom.protocol.standing import Standing
from strongroom.store import approvals
from strongroom.store.approvals import StoredApproval
from strongroom.store.organisations import ClientKey
from strongroom.store.session import Session

ASSERTION_BODY_MAXIMUM: Final = 65_536


async def sign_in(service: Service, parameters: tuple[str, ...], body: bytes) -> ClientKey:
    """Who asserts: a person of the roster whose approval can count, for this one call. Raises: RefusalError."""
    value = read_object(body)
    read_body(value, AssertionBody)
    given = people.read_given(value)
    async with service.pool.acquire() as connection:
        found = await approvals.read(connection, parameters[0])
        if found is None:
            raise refuse(Code.NOT_FOUND, f"there is no approval request {parameters[0]}")
        genesis, standing = await people.running(connection, found.organisation)
    people.check_assertion(found.request, APPROVAL_REQUEST_TYPE, given, genesis, standing)
    _check_counts(given.person, found, standing)
    return people.signed_in(given.person, found.organisation, Permission.APPROVALS_GIVE)


def _check_counts(person: PersonId, found: StoredApproval, standing: Standing) -> None:
    """That this person's approval can count for this request at all. Raises: RefusalError."""
    if not standing.may_approve(person, INSTANT_MAXIMUM):
        raise refuse(Code.SCOPE_MISSING, f"{person} isn't an approver, so this approval would never count", "person")
    if person in json.loads(found.request)["excluded"]:
        reason = "speaks for who asked for it or named its destination, so this approval would never count"
        raise refuse(Code.SCOPE_MISSING, f"{person} {reason}", "person")


def read_assertion(call: Call) -> PersonAssertion:
    return people.read_given(call.value)


async def give(service: Service, call: Call, given: PersonAssertion) -> Reply:
    request_hash = call.parameters[0]
    async with service.pool.acquire() as connection:
        await _check_alive(connection, request_hash, call.now)
        text = json.dumps(call.value)
        added = await approvals.give(
            connection, request_hash, given.person, given.credential.hex(), text, call.now
        )
        found = await approvals.read(connection, request_hash)
    if found is None:
        raise InvariantError("an approval request is gone")
    return Reply(201, _answer(found), replayed=not added)


async def _check_alive(connection: Session, request_hash: str, now: Instant) -> None:
    """That the signer will still take approvals of it. Raises: RefusalError."""
    found = await approvals.read(connection, request_hash)
    if found is not None and not found.is_newest:
        raise refuse(Code.TOO_LATE, f"the signer has made a newer request for {found.subject}: see GET /v1/approvals")
    if found is not None and json.loads(found.request)["expires_ms"] <= now:
        raise refuse(Code.TOO_LATE, f"the request for {found.subject} has expired: the signer makes another")


def read_list(call: Call) -> tuple[int, int]:
    return read_page(call.query)


async def find(service: Service, call: Call, asked: tuple[int, int]) -> Reply:
    after, limit = asked
    async with service.pool.acquire() as connection:
        found = await approvals.waiting(connection, call.key.organisation, after, limit)
    return Reply(200, ApprovalList([_answer(each) for each in found], page(found, limit)))


def _answer(found: StoredApproval) -> ApprovalAnswer:
    return ApprovalAnswer(
        id=found.request_hash, subject=found.subject, request=found.request.decode(), signature=found.signature.hex(),
        approvals=found.approvals, groups=found.groups, people=list(found.people),
        created_at=format_instant(found.created_at),
    )
