"""Negative instructions, and their undoing: freeze, cancel, decline, revoke, suspend, veto; unfreeze by a quorum.

The record `strongroom/negative/v1` is asserted by people; clients cancel with a signed request. Guard checks an
instruction before it keeps it, the signer checks it again before it applies it. One officer is enough to stop
something, and never to start it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import OrganisationId, PersonId, parse_idempotency_key, parse_organisation_id
from strongroom.domain.instant import DAY_MS, INSTANT_MAXIMUM, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion, hear
from strongroom.protocol.canonical import encode
from strongroom.protocol.client_request import Ask, ClientEvidence, read_client_request
from strongroom.protocol.http_signature import SignatureError
from strongroom.protocol.identifier import payout_id, run_id
from strongroom.protocol.record import read_record, take_hash
from strongroom.protocol.roster import Role
from strongroom.protocol.standing import Standing
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

NEGATIVE_TYPE: Final = "strongroom/negative/v1"
OBJECT_MAXIMUM: Final = 160


class Action(StrEnum):
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CANCEL = "cancel"
    DECLINE = "decline"
    REVOKE = "revoke"
    SUSPEND = "suspend"
    VETO = "veto"


_ROLES: Final = {
    Action.FREEZE: {Role.OFFICER}, Action.CANCEL: {Role.OFFICER, Role.APPROVER},
    Action.DECLINE: {Role.OFFICER, Role.APPROVER}, Action.REVOKE: {Role.OFFICER}, Action.SUSPEND: {Role.OFFICER},
    Action.VETO: set(Role), Action.UNFREEZE: set(Role),
}


class InstructionError(ValueError):
    """The instruction isn't one that whoever gave it may give now."""


@dataclass(frozen=True, slots=True)
class Negative:
    """`object` is a scope to freeze, or an id: payout, run, key, person, or the hash of a pending change."""

    action: Action
    expires: Instant
    freeze_epoch: int
    object: str
    organisation: OrganisationId
    record_id: str

    def encode(self) -> bytes:
        return encode(
            {
                "action": self.action.value, "expires_ms": self.expires, "freeze_epoch": self.freeze_epoch,
                "object": self.object, "organisation": self.organisation, "record_id": self.record_id,
                "type": NEGATIVE_TYPE,
            }
        )


@dataclass(frozen=True, slots=True)
class Instruction:
    """A negative that holds, and whose it is: people, or nobody for a client's own."""

    action: Action
    object: str
    record_id: str
    people: frozenset[PersonId]


def parse_negative(raw: bytes) -> Negative:
    """Raises: DocumentError."""
    fields = read_record(raw, NEGATIVE_TYPE)
    negative = Negative(
        fields.parsed("action", Action), Instant(fields.integer("expires_ms", 0, INSTANT_MAXIMUM)),
        fields.integer("freeze_epoch", 0, 2**31), fields.text("object", OBJECT_MAXIMUM),
        fields.parsed("organisation", parse_organisation_id), take_hash(fields, "record_id"),
    )
    fields.close()
    return negative


def check_people(
    raw: bytes, given: Sequence[PersonAssertion], standing: Standing, party: RelyingParty, now: Instant
) -> Instruction:
    """An instruction by people. Raises: DocumentError, WebauthnError, InstructionError."""
    negative = parse_negative(raw)
    if negative.organisation != standing.organisation:
        raise InstructionError("is for another organisation")
    if negative.expires <= now or negative.record_id in standing.used_records:
        raise InstructionError("has expired, or was given before")
    heard = [hear(raw, NEGATIVE_TYPE, each, standing, party) for each in given]
    people = frozenset(each.person for each in heard)
    for person in people:
        found = standing.person(person)
        if found is None or not _ROLES[negative.action].intersection(found.roles):
            raise InstructionError(f"{person} may not {negative.action}")
        if negative.action is not Action.VETO and standing.is_suspended(person, now):
            raise InstructionError(f"{person} is suspended")
        if negative.action is Action.SUSPEND and now - standing.suspended_by.get(person, -DAY_MS) < DAY_MS:
            raise InstructionError(f"{person} suspended somebody today already")
    if not people:
        raise InstructionError("nobody gave it")
    if negative.action is Action.UNFREEZE:
        if negative.freeze_epoch != standing.freeze_epoch:
            raise InstructionError("was signed before the last freeze")
        if not standing.has_quorum(people):
            raise InstructionError("an unfreeze needs the governing group's quorum")
    return Instruction(negative.action, negative.object, negative.record_id, people)


def check_client(evidence: ClientEvidence, standing: Standing, deployment: str) -> Instruction:
    """A cancel request by the client that made the payout or run. Raises: DocumentError, InstructionError."""
    try:
        request = read_client_request(evidence, deployment)
        if request.ask not in (Ask.CANCEL_PAYOUT, Ask.CANCEL_RUN):
            raise InstructionError("a client's request here can only cancel")
        found = standing.client_of(request.key_id, Permission.PAYOUTS_CANCEL)
        if found is None:
            raise InstructionError(f"the key {request.key_id} may not cancel")
        request.verify(found[1])
    except SignatureError as fault:
        raise InstructionError(str(fault)) from fault
    fields = request.fields()
    key = fields.parsed("idempotency_key", parse_idempotency_key)
    fields.close()
    derive = payout_id if request.ask is Ask.CANCEL_PAYOUT else run_id
    if derive(standing.organisation, found[0].id, key) != request.object:
        raise InstructionError("isn't of a payout that this client made")
    return Instruction(Action.CANCEL, request.object, request.digest, frozenset())


def apply(instruction: Instruction, standing: Standing, now: Instant) -> None:
    """What it changes in who may do what. Tombstones and vetoes are for the book of payments."""
    standing.used_records.add(instruction.record_id)
    match instruction.action:
        case Action.FREEZE:
            standing.freeze_epoch += 1
            standing.frozen.add(instruction.object)
        case Action.UNFREEZE:
            standing.freeze_epoch += 1
            standing.frozen.discard(instruction.object)
        case Action.REVOKE:
            standing.revoked.add(instruction.object)
        case Action.SUSPEND:
            standing.suspended_by.update(dict.fromkeys(instruction.people, now))
            for person in standing.roster.people:
                if person.id == instruction.object:
                    standing.suspended[person.id] = now
        case Action.CANCEL | Action.DECLINE | Action.VETO:
            pass


INSTRUCTION_FAULTS: Final = (DocumentError, WebauthnError, InstructionError)
