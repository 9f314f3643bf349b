"""Entries of guard's control log: what people, clients and watch told guard, with the proof that they did.

Guard checks an instruction with its own standings before it keeps it. The signer checks it again with its own before
it applies it, and journals the entry either way: applied, or void. Watch's words are signed with the checkpoint key.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, parse_organisation_id
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.protocol.approval import PersonAssertion, assertion_document, take_assertions
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.client_request import ClientEvidence, take_base64, take_client_evidence
from strongroom.protocol.entry import Reading
from strongroom.protocol.genesis import Genesis
from strongroom.protocol.guard_wire import open_frame
from strongroom.protocol.negative import Action, Instruction, InstructionError, check_client, check_object, check_people
from strongroom.protocol.record import read_record
from strongroom.protocol.standing import Standing

CONTROL_TYPE: Final = "strongroom/control/v1"
ALARM_TYPE: Final = "strongroom/alarm/v1"
HEARTBEAT_TYPE: Final = "strongroom/heartbeat/v1"
UNKNOWN_SPEND: Final = "unknown-spend."
"""So begins the name of an alarm of coins that were spent, and not by our signer: somebody else has a key."""


@dataclass(frozen=True, slots=True)
class ByPeople:
    """The record `strongroom/negative/v1` and the assertions over it."""

    record: bytes
    assertions: tuple[PersonAssertion, ...]


@dataclass(frozen=True, slots=True)
class ByWatch:
    """A frame (`guard_wire.sign_frame`) with the record `strongroom/alarm/v1`."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Control:
    """`at` is guard's time."""

    at: Instant
    organisation: OrganisationId
    given: ByPeople | ByWatch | ClientEvidence


def write_control(control: Control) -> bytes:
    given = control.given
    written: dict[str, JsonValue]
    if isinstance(given, ByPeople):
        written = {
            "assertions": [*map(assertion_document, given.assertions)], "record": b64encode(given.record).decode(),
        }
    elif isinstance(given, ByWatch):
        written = {"frame": b64encode(given.frame).decode()}
    else:
        written = {"evidence": given.document()}
    return encode({**written, "at_ms": control.at, "organisation": control.organisation, "type": CONTROL_TYPE})


def read_control(raw: bytes) -> Control:
    """Raises: DocumentError."""
    fields = read_record(raw, CONTROL_TYPE)
    return fields.done(Control(
        Instant(fields.integer("at_ms", 0, INSTANT_MAXIMUM)), fields.parsed("organisation", parse_organisation_id),
        take_given(fields),
    ))


def take_given(fields: Fields) -> ByPeople | ByWatch | ClientEvidence:
    """`record` and `assertions`, or `evidence`, or `frame`. Raises: DocumentError."""
    names = fields.names()
    if "evidence" in names:
        return take_client_evidence(fields.take("evidence"), fields.path("evidence"))
    if "frame" in names:
        return ByWatch(take_base64(fields.take("frame"), fields.path("frame")))
    record = take_base64(fields.take("record"), fields.path("record"))
    return ByPeople(record, take_assertions(fields, "assertions"))


def check_control(
    control: Control, standing: Standing, genesis: Genesis, deployment: str, clock: Reading
) -> Instruction:
    """What is to be applied (`negative.apply`, with `clock.at_least`). Raises: negative.INSTRUCTION_FAULTS."""
    if control.organisation != standing.organisation:
        raise InstructionError("is for another organisation")
    given = control.given
    if isinstance(given, ByPeople):
        return check_people(given.record, given.assertions, standing, genesis.relying_party, control.at, clock)
    if isinstance(given, ByWatch):
        return _check_alarm(given.frame, standing, genesis, deployment)
    return check_client(given, standing, deployment)


def _check_alarm(frame: bytes, standing: Standing, genesis: Genesis, deployment: str) -> Instruction:
    raw = open_frame(genesis.checkpoint_key, frame, ALARM_TYPE)
    fields = read_record(raw, ALARM_TYPE)
    fields.exactly("deployment", deployment)
    fields.integer("at_ms", 0, INSTANT_MAXIMUM)
    name, organisation = fields.text("name"), fields.parsed("organisation", parse_organisation_id)
    fields.close()
    check_object(Action.ALARM, name)
    if organisation != standing.organisation:
        raise DocumentError("organisation", "is another one")
    digest = record_hash(ALARM_TYPE, raw).hex()
    if digest in standing.used_records or name in standing.alarms:
        raise InstructionError("was raised before")
    return Instruction(Action.ALARM, name, digest, frozenset())
