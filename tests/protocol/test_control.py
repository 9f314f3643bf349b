"""Entries of guard's control log: written, read back, checked against who may give them."""

import json
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.people import CLEO, NOW, ORGANISATION, OTHER, PAYER, policy, roster

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.guard.lease import hear
from strongroom.protocol.control import (
    ALARM_TYPE,
    CONTROL_TYPE,
    HEARTBEAT_TYPE,
    ByPeople,
    ByWatch,
    Control,
    check_control,
    read_control,
    take_given,
    write_control,
)
from strongroom.protocol.entry import Reading
from strongroom.protocol.genesis import Genesis, Mode
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.negative import INSTRUCTION_FAULTS, Action, Instruction, Negative, apply
from strongroom.protocol.record_writer import write_negative, write_roster
from strongroom.protocol.standing import Standing, open_standing
from strongroom.protocol.standings import Standings
from strongroom.protocol.watch_record import alarm_record, heartbeat_record
from strongroom.protocol.webauthn import RelyingParty

WATCH = SigningKey(b"w" * 32)
DEPLOYMENT = "d" * 16
CLOCK = Reading(NOW, NOW, NOW)
GENESIS = Genesis(
    Mode.SANDBOX, NOW, bytes(WATCH.verify_key), b"s" * 32, b"g" * 32,
    RelyingParty(RELYING_PARTY_ID, frozenset({ORIGIN})), (),
)
HEARD = Standings(genesis=GENESIS, deployment=DEPLOYMENT)
RECORD = write_negative(Negative(Action.FREEZE, Instant(NOW + 1), 0, "organisation", ORGANISATION, "ab" * 32))
PEOPLE = Control(NOW, ORGANISATION, ByPeople(RECORD, (CLEO.asserts(RECORD),)))
CLIENT = Control(NOW, ORGANISATION, PAYER.cancels("key-1", DEPLOYMENT))
ALARM = Control(
    NOW, ORGANISATION, ByWatch(sign_frame(WATCH, alarm_record("deficit", ORGANISATION, DEPLOYMENT, NOW), ALARM_TYPE))
)


@pytest.fixture
def standing() -> Standing:
    return open_standing(policy(), write_roster(roster()), Mode.SANDBOX)


@pytest.mark.parametrize("control", [PEOPLE, CLIENT, ALARM])
def test_an_entry_is_written_and_read_back(control: Control) -> None:
    raw = write_control(control)
    assert read_control(raw) == control
    assert raw == rfc8785.dumps(document_of(raw))


def document_of(raw: bytes) -> Any:
    document = json.loads(raw)
    assert (document["at_ms"], document["organisation"], document["type"]) == (NOW, ORGANISATION, CONTROL_TYPE)
    return document


@pytest.mark.parametrize(
    ("control", "action", "target"),
    [
        (PEOPLE, Action.FREEZE, "organisation"), (CLIENT, Action.CANCEL, PAYER.payout("key-1")),
        (ALARM, Action.ALARM, "deficit"),
    ],
)
def test_each_kind_comes_to_an_instruction_once(
    standing: Standing, control: Control, action: Action, target: str
) -> None:
    instruction = check_control(control, standing, GENESIS, DEPLOYMENT, CLOCK)
    assert (instruction.action, instruction.object) == (action, target)
    apply(instruction, standing, NOW)
    with pytest.raises(INSTRUCTION_FAULTS, match="before"):
        check_control(control, standing, GENESIS, DEPLOYMENT, CLOCK)


def test_an_alarm_that_is_open_isnt_raised_again(standing: Standing) -> None:
    apply(Instruction(Action.ALARM, "deficit", "cd" * 32, frozenset()), standing, NOW)
    with pytest.raises(INSTRUCTION_FAULTS, match="raised before"):
        check_control(ALARM, standing, GENESIS, DEPLOYMENT, CLOCK)


@pytest.mark.parametrize("control", [PEOPLE, CLIENT, ALARM])
def test_an_entry_is_for_its_own_organisation_alone(standing: Standing, control: Control) -> None:
    with pytest.raises(INSTRUCTION_FAULTS, match="another"):
        check_control(replace(control, organisation=OTHER), standing, GENESIS, DEPLOYMENT, CLOCK)


def alarm(record: bytes, key: SigningKey = WATCH, record_type: str = ALARM_TYPE) -> Control:
    return Control(NOW, ORGANISATION, ByWatch(sign_frame(key, record, record_type)))


GOOD_ALARM = alarm_record("deficit", ORGANISATION, DEPLOYMENT, NOW)


@pytest.mark.parametrize(
    ("control", "field"),
    [
        (alarm(GOOD_ALARM, SigningKey(b"x" * 32)), ""),
        (alarm(GOOD_ALARM, record_type=HEARTBEAT_TYPE), ""),
        (alarm(heartbeat_record(DEPLOYMENT, NOW)), "type"),
        (alarm(alarm_record("deficit", ORGANISATION, "e" * 16, NOW)), "deployment"),
        (alarm(alarm_record("deficit", OTHER, DEPLOYMENT, NOW)), "organisation"),
        (alarm(alarm_record("Deficit", ORGANISATION, DEPLOYMENT, NOW)), "object"),
        (alarm(GOOD_ALARM.replace(b'"name"', b'"mane"')), "name"),
        (alarm(GOOD_ALARM.replace(b'"type"', b'"typf":1,"type"')), ""),
        (alarm(GOOD_ALARM.replace(b'"type"', b'"t":1,"type"')), "t"),
        (alarm(GOOD_ALARM.replace(str(NOW).encode(), b"-1")), "at_ms"),
    ],
)
def test_an_alarm_that_isnt_watchs_is_refused(standing: Standing, control: Control, field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        check_control(control, standing, GENESIS, DEPLOYMENT, CLOCK)
    assert refusal.value.field == field


def test_a_heartbeat_says_watchs_time() -> None:
    frame = sign_frame(WATCH, heartbeat_record(DEPLOYMENT, NOW), HEARTBEAT_TYPE)
    fields, at = hear(HEARD, frame, HEARTBEAT_TYPE, Instant(NOW - 1), NOW)
    fields.close()
    assert at == NOW


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (b"", ""),
        (sign_frame(SigningKey(b"x" * 32), heartbeat_record(DEPLOYMENT, NOW), HEARTBEAT_TYPE), ""),
        (sign_frame(WATCH, GOOD_ALARM, ALARM_TYPE), ""),
        (sign_frame(WATCH, heartbeat_record("e" * 16, NOW), HEARTBEAT_TYPE), "deployment"),
        (sign_frame(WATCH, heartbeat_record(DEPLOYMENT, Instant(-1)), HEARTBEAT_TYPE), "at_ms"),
        (sign_frame(WATCH, GOOD_ALARM, HEARTBEAT_TYPE), "type"),
        (
            sign_frame(
                WATCH, rfc8785.dumps({"at_ms": NOW, "deployment": DEPLOYMENT, "type": HEARTBEAT_TYPE, "x": 1}),
                HEARTBEAT_TYPE,
            ),
            "x",
        ),
    ],
)
def test_a_heartbeat_that_isnt_watchs_is_refused(frame: bytes, field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        hear(HEARD, frame, HEARTBEAT_TYPE, Instant(NOW - 1), NOW)[0].close()
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"at_ms": -1}, "at_ms"),
        ({"organisation": "x"}, "organisation"),
        ({"type": "x"}, "type"),
        ({"record": None}, "record"),
        ({"record": "YQ"}, "record"),
        ({"assertions": None}, "assertions"),
        ({"evidence": ["YQ==", "YQ=="]}, "evidence"),
        ({"evidence": ["YQ==", "YQ==", 1]}, "evidence[2]"),
        ({"frame": 1}, "frame"),
        ({"frame": "YQ=="}, "assertions"),
        ({"evidence": None}, "evidence"),
        ({"x": 1}, "x"),
    ],
)
def test_an_entry_of_another_form_is_refused_by_the_field_at_fault(change: dict[str, Any], field: str) -> None:
    document = document_of(write_control(PEOPLE)) | change
    with pytest.raises(DocumentError) as refusal:
        read_control(rfc8785.dumps(document))
    assert refusal.value.field == field


def test_what_nobody_gave_is_refused() -> None:
    with pytest.raises(DocumentError, match="record: is missing"):
        take_given(Fields({}))


DOCUMENTS = [document_of(write_control(each)) for each in (PEOPLE, CLIENT, ALARM)]
STANDING = open_standing(policy(), write_roster(roster()), Mode.SANDBOX)
VALUES = st.none() | st.integers(-1, 9) | st.text(max_size=6) | st.just("YQ==") | st.lists(st.just("YQ=="), max_size=4)


@given(st.data(), st.sampled_from(DOCUMENTS), VALUES)
def test_only_its_own_errors_escape(data: st.DataObject, document: dict[str, Any], value: Any) -> None:
    name = data.draw(st.sampled_from([*sorted(document), "evidence", "frame", "record", "extra"]))
    try:
        control = read_control(rfc8785.dumps(document | {name: value}))
    except DocumentError:
        return
    try:
        check_control(control, STANDING, GENESIS, DEPLOYMENT, CLOCK)
    except INSTRUCTION_FAULTS:
        return
    assert name == "at_ms"


@given(st.binary(max_size=200))
def test_bytes_from_strangers_are_no_entry_and_no_heartbeat(raw: bytes) -> None:
    with pytest.raises(DocumentError):
        read_control(raw)
    with pytest.raises(DocumentError):
        hear(HEARD, raw, HEARTBEAT_TYPE, Instant(0), NOW)
    with pytest.raises(DocumentError):
        check_control(Control(NOW, ORGANISATION, ByWatch(raw)), STANDING, GENESIS, DEPLOYMENT, CLOCK)
