"""Negative instructions, and their undoing: freeze, cancel, decline, revoke, suspend, veto; unfreeze by a quorum.

The record `strongroom/negative/v1` is asserted by people, `strongroom/release/v1` by a quorum; clients cancel with a
signed request, and watch raises alarms (`control`). Guard checks an instruction before it keeps it, the signer checks
it again before it applies it. One officer is enough to stop something, and never to start it again but for what an
alarm of watch's had stopped, and for one sweep or cancel, which pays nobody.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import KeyId, OrganisationId, PersonId, parse_idempotency_key, parse_organisation_id
from strongroom.domain.instant import DAY_MS, INSTANT_MAXIMUM, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion, hear
from strongroom.protocol.client_request import Ask, ClientEvidence, read_client_request
from strongroom.protocol.entry import Reading
from strongroom.protocol.identifier import payout_id, run_id
from strongroom.protocol.record import read_record, take_distinct, take_hash
from strongroom.protocol.roster import Role
from strongroom.protocol.signature_base import SignatureError
from strongroom.protocol.standing import Standing
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

NEGATIVE_TYPE: Final = "strongroom/negative/v1"
RELEASE_TYPE: Final = "strongroom/release/v1"
OBJECT_MAXIMUM: Final = 160
ATTEMPTS_MAXIMUM: Final = 100
REASON_MAXIMUM: Final = 500
_NO_INSTANT: Final = Instant(0)


class Action(StrEnum):
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CANCEL = "cancel"
    DECLINE = "decline"
    REVOKE = "revoke"
    SUSPEND = "suspend"
    VETO = "veto"
    ALARM = "alarm"
    """By watch alone: until an officer resolves it, only what saves money is signed."""
    RESOLVE = "resolve"
    RECOVER = "recover"
    """One sweep or cancel on a network may be signed while it is frozen; a freeze that comes later takes it back."""
    RELEASE = "release"
    """Of a signed payout's money, where the chain alone doesn't say that it stayed. A record of its own type."""


STARTS: Final = frozenset({Action.UNFREEZE, Action.RESOLVE, Action.RECOVER, Action.RELEASE})
"""What lets something go on again: late it is worth nothing, whereas what stops may arrive late."""
_ROLES: Final = {
    Action.FREEZE: {Role.OFFICER}, Action.CANCEL: {Role.OFFICER, Role.APPROVER},
    Action.DECLINE: {Role.OFFICER, Role.APPROVER}, Action.REVOKE: {Role.OFFICER}, Action.SUSPEND: {Role.OFFICER},
    Action.VETO: set(Role), Action.UNFREEZE: set(Role), Action.ALARM: set(), Action.RESOLVE: {Role.OFFICER},
    Action.RECOVER: {Role.OFFICER}, Action.RELEASE: set(Role),
}
_ID: Final = "[a-z2-7]{26}"
_SCOPE: Final = re.compile(f"organisation|(asset|network):[!-~]{{1,150}}|client:cl_{_ID}|beneficiary:ben_{_ID}")
_PAYABLE: Final = re.compile(f"(po|run)_{_ID}")
_ALARM: Final = re.compile("[a-z0-9][a-z0-9_.:-]{0,63}")
_OBJECTS: Final = {
    **dict.fromkeys(
        (Action.FREEZE, Action.UNFREEZE), (_SCOPE, "organisation, asset:…, network:…, client:… or beneficiary:…")
    ),
    **dict.fromkeys((Action.CANCEL, Action.DECLINE), (_PAYABLE, "the id of a payout or run")),
    **dict.fromkeys((Action.ALARM, Action.RESOLVE), (_ALARM, "the name of an alarm")),
    Action.RELEASE: (re.compile(f"po_{_ID}"), "the id of a payout"),
    Action.REVOKE: (re.compile(f"ak_{_ID}"), "the id of a key"),
    Action.SUSPEND: (re.compile(f"pe_{_ID}"), "the id of a person"),
    Action.VETO: (re.compile("[0-9a-f]{64}"), "the hash of a pending change"),
    Action.RECOVER: (re.compile("network:[!-~]{1,150}"), "network:…"),
}


class InstructionError(ValueError):
    """The instruction isn't one that whoever gave it may give now."""


@dataclass(frozen=True, slots=True)
class Negative:
    """`object` is a scope to freeze, or an id: payout, run, key, person, or the hash of a pending change.

    A release names all attempts of its payout and says why; it has no epoch.
    """

    action: Action
    expires: Instant
    freeze_epoch: int
    object: str
    organisation: OrganisationId
    record_id: str
    attempts: tuple[str, ...] = ()
    reason: str = ""

    @property
    def type(self) -> str:
        return RELEASE_TYPE if self.action is Action.RELEASE else NEGATIVE_TYPE


@dataclass(frozen=True, slots=True)
class Instruction:
    """A negative that holds, and whose it is: people, or nobody for a client's own and for watch's, which last."""

    action: Action
    object: str
    record_id: str
    people: frozenset[PersonId]
    expires: Instant = _NO_INSTANT
    attempts: tuple[str, ...] = ()


def parse_negative(raw: bytes) -> Negative:
    """Of both types: in the canonical form it stands last. Raises: DocumentError."""
    is_release = raw.endswith(f'"{RELEASE_TYPE}"}}'.encode())
    fields = read_record(raw, RELEASE_TYPE if is_release else NEGATIVE_TYPE)
    negative = Negative(
        Action.RELEASE if is_release else fields.parsed("action", Action),
        Instant(fields.integer("expires_ms", 0, INSTANT_MAXIMUM)),
        0 if is_release else fields.integer("freeze_epoch", 0, 2**31), fields.text("object", OBJECT_MAXIMUM),
        fields.parsed("organisation", parse_organisation_id), take_hash(fields, "record_id"),
        take_distinct(fields, "attempts", ATTEMPTS_MAXIMUM, str) if is_release else (),
        fields.text("reason", REASON_MAXIMUM) if is_release else "",
    )
    fields.close()
    if (negative.action is Action.RELEASE) is not is_release:
        raise DocumentError("action", f"a release is a {RELEASE_TYPE}")
    check_object(negative.action, negative.object)
    return negative


def check_object(action: Action, value: str) -> None:
    """Whether it can be what the action is about: a misspelt freeze would stop nothing. Raises: DocumentError."""
    pattern, what = _OBJECTS[action]
    if pattern.fullmatch(value) is None:
        raise DocumentError("object", f"must be {what} for {action}")


def check_people(
    raw: bytes, given: Sequence[PersonAssertion], standing: Standing, party: RelyingParty, kept: Instant,
    clock: Reading,
) -> Instruction:
    """An instruction by people. `kept` is when guard took it, `clock` is that of whoever checks: what stops must
    have been in time at guard, what starts something again must be in time here as well.

    Raises: DocumentError, WebauthnError, InstructionError.
    """
    negative = parse_negative(raw)
    if negative.organisation != standing.organisation:
        raise InstructionError("is for another organisation")
    if negative.expires <= kept or (negative.action in STARTS and negative.expires <= clock.at_most):
        raise InstructionError("has expired")
    if negative.record_id in standing.used_records:
        raise InstructionError("was given before")
    people = frozenset([hear(raw, negative.type, each, standing, party).person for each in given])
    if not people:
        raise InstructionError("nobody gave it")
    for person in people:
        _check_person(person, negative.action, standing, clock.at_least)
    _check_target(negative, people, standing)
    return Instruction(
        negative.action, negative.object, negative.record_id, people, negative.expires, negative.attempts
    )


def _check_person(person: PersonId, action: Action, standing: Standing, now: Instant) -> None:
    found = standing.person(person)
    if found is None or not _ROLES[action].intersection(found.roles):
        raise InstructionError(f"{person} may not {action}")
    if action is not Action.VETO and standing.is_suspended(person, now):
        raise InstructionError(f"{person} is suspended")
    if action is Action.SUSPEND and now - standing.suspended_by.get(person, -DAY_MS) < DAY_MS:
        raise InstructionError(f"{person} suspended somebody today already")


def _check_target(negative: Negative, people: frozenset[PersonId], standing: Standing) -> None:
    """That there is what it is about, as far as the roster and earlier instructions say."""
    keys = {key.id for client in standing.roster.clients for key in client.keys}
    known: dict[Action, Container[str]] = {
        Action.UNFREEZE: standing.frozen, Action.RESOLVE: standing.alarms, Action.REVOKE: keys,
        Action.SUSPEND: {each.id for each in standing.roster.people}, Action.VETO: standing.pending,
    }
    if negative.action in known and negative.object not in known[negative.action]:
        raise InstructionError(f"there is no {negative.object!r} to {negative.action}")
    if negative.action in (Action.UNFREEZE, Action.RECOVER) and negative.freeze_epoch != standing.freeze_epoch:
        raise InstructionError("was signed before the last freeze")
    if negative.action in (Action.UNFREEZE, Action.RELEASE) and not standing.has_quorum(people):
        raise InstructionError(f"needs the governing group's quorum to {negative.action}")


def check_client(evidence: ClientEvidence, standing: Standing, deployment: str) -> Instruction:
    """A cancel request by the client that made the payout or run. Raises: DocumentError, InstructionError."""
    try:
        request = read_client_request(evidence, deployment)
        if request.ask not in (Ask.CANCEL_PAYOUT, Ask.CANCEL_RUN):
            raise InstructionError("a client's request here can only cancel")
        found = standing.client_of(KeyId(request.key_id), Permission.PAYOUTS_CANCEL)
        if found is None:
            raise InstructionError(f"the key {request.key_id} may not cancel")
        evidence.verify(found[1])
    except SignatureError as fault:
        raise InstructionError(str(fault)) from fault
    fields = request.fields()
    key = fields.parsed("idempotency_key", parse_idempotency_key)
    fields.close()
    derive = payout_id if request.ask is Ask.CANCEL_PAYOUT else run_id
    if derive(standing.organisation, found[0].id, key) != request.object:
        raise InstructionError("isn't of a payout that this client made")
    if request.digest in standing.used_records:
        raise InstructionError("was given before")
    return Instruction(Action.CANCEL, request.object, request.digest, frozenset())


def apply(instruction: Instruction, standing: Standing, now: Instant) -> None:
    """What it changes in who may do what. What it changes in payments is for the caller."""
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
        case Action.ALARM:
            standing.alarms.add(instruction.object)
        case Action.RESOLVE:
            standing.alarms.discard(instruction.object)
        case Action.RELEASE:
            standing.released[instruction.object] = sorted(instruction.attempts)
        case Action.VETO:
            standing.pending.pop(instruction.object, None)
            standing.vetoed.add(instruction.object)
    # Cancel, decline and recover change nothing here.


INSTRUCTION_FAULTS: Final = (DocumentError, WebauthnError, InstructionError)
