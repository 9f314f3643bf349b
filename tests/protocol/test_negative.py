"""Negative instructions: whose holds, what it may be about, and what it changes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.people import (
    ADA,
    CLEO,
    DAN,
    NEIGHBOUR,
    NOW,
    ORGANISATION,
    OTHER,
    PAYER,
    READER,
    STRANGER,
    VIC,
    Human,
    policy,
    roster,
)

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import IdempotencyKey, KeyId, PersonId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.entry import Reading
from strongroom.protocol.genesis import Mode
from strongroom.protocol.identifier import run_id
from strongroom.protocol.negative import (
    INSTRUCTION_FAULTS,
    NEGATIVE_TYPE,
    STARTS,
    Action,
    Instruction,
    InstructionError,
    Negative,
    apply,
    check_client,
    check_object,
    check_people,
    parse_negative,
)
from strongroom.protocol.record_writer import write_negative, write_roster
from strongroom.protocol.standing import Pending, Standing, open_standing
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

PARTY = RelyingParty(RELYING_PARTY_ID, {ORIGIN})
DEPLOYMENT = "d" * 16
CLOCK = Reading(NOW, NOW, NOW)
CANCEL = PAYER.cancels("key-1", DEPLOYMENT)
DOCUMENT: dict[str, Any] = {
    "action": "freeze", "expires_ms": NOW + 1, "freeze_epoch": 0, "object": "organisation",
    "organisation": ORGANISATION, "record_id": "ab" * 32, "type": NEGATIVE_TYPE,
}
TARGETS: dict[Action, str] = {
    Action.FREEZE: "organisation", Action.UNFREEZE: "organisation", Action.CANCEL: "po_" + "a" * 26,
    Action.DECLINE: "run_" + "a" * 26, Action.REVOKE: PAYER.key_id, Action.SUSPEND: ADA.id, Action.VETO: "cd" * 32,
    Action.ALARM: "deficit", Action.RESOLVE: "deficit", Action.RECOVER: "network:sim:sandbox",
    Action.RELEASE: "po_" + "a" * 26,
}
MAY: dict[Action, tuple[Human, ...]] = {
    Action.FREEZE: (CLEO,), Action.UNFREEZE: (), Action.CANCEL: (CLEO, ADA), Action.DECLINE: (CLEO, ADA),
    Action.REVOKE: (CLEO,), Action.SUSPEND: (CLEO,), Action.VETO: (CLEO, ADA, VIC), Action.ALARM: (),
    Action.RESOLVE: (CLEO,), Action.RECOVER: (CLEO,), Action.RELEASE: (),
}
RELEASE = {
    "attempts": ["cd" * 32], "expires_ms": NOW + 1, "object": "po_" + "a" * 26, "organisation": ORGANISATION,
    "reason": "the bank sent it back", "record_id": "ab" * 32, "type": "strongroom/release/v1",
}


@pytest.fixture
def standing() -> Standing:
    """Frozen once, with an open alarm, so that there is something to undo."""
    standing = open_standing(policy(), write_roster(roster()), Mode.SANDBOX)
    standing.frozen, standing.freeze_epoch, standing.alarms = {"organisation"}, 1, {"deficit"}
    standing.pending[TARGETS[Action.VETO]] = Pending("roster", b"", (), Instant(NOW))
    return standing


def negative(action: Action, target: str | None = None, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "action": action, "expires": Instant(NOW + 1), "freeze_epoch": 1, "object": target or TARGETS[action],
        "organisation": ORGANISATION, "record_id": "ab" * 32,
    }
    if action is Action.RELEASE:
        values |= {"attempts": ("cd" * 32,), "reason": "the bank sent it back"}
    return write_negative(Negative(**values | changes))


def check(
    standing: Standing, record: bytes, *people: Human, kept: int = NOW, clock: Reading = CLOCK
) -> Instruction:
    given_assertions = [each.asserts(record, parse_negative(record).type) for each in people]
    return check_people(record, given_assertions, standing, PARTY, Instant(kept), clock)


def test_a_record_is_written_like_this_and_read_back() -> None:
    raw = rfc8785.dumps(DOCUMENT)
    read = parse_negative(raw)
    assert read == Negative(Action.FREEZE, Instant(NOW + 1), 0, "organisation", ORGANISATION, "ab" * 32)
    assert write_negative(read) == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "strongroom/negative/v2"}, "type"),
        ({"action": "thaw"}, "action"),
        ({"expires_ms": -1}, "expires_ms"),
        ({"freeze_epoch": True}, "freeze_epoch"),
        ({"object": ""}, "object"),
        ({"object": "x" * 161}, "object"),
        ({"organisation": "org"}, "organisation"),
        ({"record_id": "ab"}, "record_id"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_record_is_refused_by_the_field_at_fault(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        parse_negative(rfc8785.dumps(DOCUMENT | change))
    assert refusal.value.field == field


def test_a_release_is_a_record_of_its_own_type(standing: Standing) -> None:
    """So that a station which doesn't know it shows nobody a question whose meaning it can't tell."""
    raw = rfc8785.dumps(RELEASE)
    read = parse_negative(raw)
    assert (read.action, read.attempts, read.reason) == (Action.RELEASE, ("cd" * 32,), "the bank sent it back")
    assert write_negative(read) == raw
    with pytest.raises(DocumentError, match="action: a release is a strongroom/release/v1"):
        parse_negative(rfc8785.dumps(DOCUMENT | {"action": "release", "object": RELEASE["object"]}))
    with pytest.raises(WebauthnError, match="challenge"):  # asserted as if it were an instruction of the other type
        check_people(raw, [each.asserts(raw) for each in (CLEO, DAN)], standing, PARTY, NOW, CLOCK)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"attempts": None}, "attempts"),
        ({"attempts": ["a", "a"]}, "attempts[1]"),
        ({"attempts": ["a"] * 101}, "attempts"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"object": "run_" + "a" * 26}, "object"),
        ({"action": "release"}, "action"),
        ({"freeze_epoch": 0}, "freeze_epoch"),
    ],
)
def test_a_wrong_release_is_refused_by_the_field_at_fault(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        parse_negative(rfc8785.dumps(RELEASE | change))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("action", "good", "bad"),
    [
        (Action.FREEZE, ["organisation", "asset:iso4217:EUR", "network:x", f"client:{PAYER.id}",
                         "beneficiary:ben_" + "a" * 26], ["organization", "asset:", "asset:a b", "client:x", "x:y"]),
        (Action.UNFREEZE, ["organisation"], ["all"]),
        (Action.CANCEL, ["po_" + "a" * 26, "run_" + "a" * 26], ["po_" + "a" * 25, "ben_" + "a" * 26, "organisation"]),
        (Action.DECLINE, ["po_" + "a" * 26], ["po_" + "A" * 26]),
        (Action.REVOKE, ["ak_" + "a" * 26], ["cl_" + "a" * 26]),
        (Action.SUSPEND, ["pe_" + "a" * 26], ["ak_" + "a" * 26]),
        (Action.VETO, ["ab" * 32], ["AB" * 32, "ab" * 31]),
        (Action.ALARM, ["a", "ledger.deficit-1:2_3"], ["", "-a", "A", "a" * 65]),
        (Action.RESOLVE, ["a"], ["a\n"]),
        (Action.RECOVER, ["network:sim:sandbox"], ["organisation", "network:", "asset:x"]),
        (Action.RELEASE, ["po_" + "a" * 26], ["run_" + "a" * 26]),
    ],
)
def test_an_object_must_be_what_the_action_is_about(action: Action, good: list[str], bad: list[str]) -> None:
    for each in good:
        check_object(action, each)
    for each in bad:
        with pytest.raises(DocumentError, match="object"):
            check_object(action, each)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("human", [ADA, CLEO, VIC])
def test_who_alone_may_do_what(standing: Standing, action: Action, human: Human) -> None:
    record = negative(action)
    if human in MAY[action]:
        assert check(standing, record, human) == Instruction(
            action, TARGETS[action], "ab" * 32, frozenset({human.id}), Instant(NOW + 1)
        )
    else:
        with pytest.raises(InstructionError):
            check(standing, record, human)


Alter = Callable[[Standing], None]


def nothing(standing: Standing) -> None:
    """As it stands."""


REFUSED: dict[str, tuple[bytes, tuple[Human, ...], Alter, str]] = {
    "another organisation": (negative(Action.FREEZE, organisation=OTHER), (CLEO,), nothing, "another organisation"),
    "expired": (negative(Action.FREEZE, expires=NOW), (CLEO,), nothing, "expired"),
    "replayed": (
        negative(Action.FREEZE), (CLEO,), lambda s: s.used_records.add("ab" * 32), "given before"
    ),
    "nobody": (negative(Action.FREEZE), (), nothing, "nobody"),
    "suspended": (negative(Action.FREEZE), (CLEO,), lambda s: s.suspended.update({CLEO.id: NOW}), "is suspended"),
    "second suspension": (
        negative(Action.SUSPEND), (CLEO,), lambda s: s.suspended_by.update({CLEO.id: NOW}), "today already"
    ),
    "one of two may not": (negative(Action.FREEZE), (CLEO, ADA), nothing, "may not freeze"),
    "a role taken away": (
        negative(Action.FREEZE), (CLEO,), lambda s: setattr(s, "roster", roster(people=(ADA, DAN, VIC), groups=())),
        "roster",
    ),
    "no such key": (negative(Action.REVOKE, "ak_" + "z" * 26), (CLEO,), nothing, "there is no"),
    "no such person": (negative(Action.SUSPEND, STRANGER.id), (CLEO,), nothing, "there is no"),
    "nothing frozen": (negative(Action.UNFREEZE), (CLEO, DAN), lambda s: s.frozen.clear(), "there is no"),
    "no such alarm": (negative(Action.RESOLVE), (CLEO,), lambda s: s.alarms.clear(), "there is no"),
    "signed before the last freeze": (
        negative(Action.UNFREEZE, freeze_epoch=0), (CLEO, DAN), nothing, "before the last freeze"
    ),
    "a word signed before the last freeze": (
        negative(Action.RECOVER, freeze_epoch=0), (CLEO,), nothing, "before the last freeze"
    ),
    "no quorum to release": (negative(Action.RELEASE), (CLEO, ADA), nothing, "quorum to release"),
    "no quorum": (negative(Action.UNFREEZE), (CLEO, CLEO), nothing, "quorum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_instruction_that_doesnt_hold_says_why(standing: Standing, name: str) -> None:
    record, people, alter, reason = REFUSED[name]
    alter(standing)
    with pytest.raises(INSTRUCTION_FAULTS, match=reason):
        check(standing, record, *people)


def test_a_stranger_and_a_wrong_assertion_are_refused(standing: Standing) -> None:
    record = negative(Action.FREEZE)
    with pytest.raises(WebauthnError, match="roster"):
        check(standing, record, STRANGER)
    with pytest.raises(WebauthnError, match="challenge"):
        check_people(record, [CLEO.asserts(negative(Action.VETO))], standing, PARTY, NOW, CLOCK)


def test_a_quorum_unfreezes(standing: Standing) -> None:
    instruction = check(standing, negative(Action.UNFREEZE), CLEO, DAN)
    apply(instruction, standing, NOW)
    assert (standing.frozen, standing.freeze_epoch, standing.used_records) == (set(), 2, {"ab" * 32})


def test_a_quorum_releases_what_it_names(standing: Standing) -> None:
    instruction = check(standing, negative(Action.RELEASE), CLEO, DAN)
    assert (instruction.object, instruction.attempts) == (TARGETS[Action.RELEASE], ("cd" * 32,))


@pytest.mark.parametrize("action", [*sorted(STARTS), Action.FREEZE, Action.VETO])
def test_what_stops_may_come_late_and_what_starts_again_may_not(standing: Standing, action: Action) -> None:
    """Guard kept it in time; the signer's clock says that it has expired."""
    late = Reading(Instant(NOW - 9), Instant(NOW + 1), NOW)
    people = (CLEO, DAN) if action in (Action.UNFREEZE, Action.RELEASE) else (CLEO,)
    if action in STARTS:
        with pytest.raises(InstructionError, match="expired"):
            check(standing, negative(action), *people, clock=late)
    else:
        assert check(standing, negative(action), *people, clock=late).action is action


def test_suspension_goes_by_the_clock_that_never_runs_ahead(standing: Standing) -> None:
    standing.suspended_by[CLEO.id] = NOW
    early = Reading(Instant(NOW + DAY_MS - 1), Instant(NOW + 9 * DAY_MS), Instant(NOW + 9 * DAY_MS))
    record = negative(Action.SUSPEND, expires=Instant(NOW + 10 * DAY_MS))
    with pytest.raises(InstructionError, match="today already"):
        check(standing, record, CLEO, clock=early)
    check(standing, record, CLEO, clock=Reading(Instant(NOW + DAY_MS), early.at_most, early.wall))


@pytest.mark.parametrize(
    ("action", "target", "changed"),
    [
        (Action.FREEZE, "asset:x", {"freeze_epoch": 2, "frozen": {"organisation", "asset:x"}}),
        (Action.UNFREEZE, "organisation", {"freeze_epoch": 2, "frozen": set()}),
        (Action.REVOKE, PAYER.key_id, {"revoked": {PAYER.key_id}}),
        (Action.SUSPEND, ADA.id, {"suspended": {ADA.id: NOW}, "suspended_by": {CLEO.id: NOW}}),
        (Action.SUSPEND, STRANGER.id, {"suspended": {}, "suspended_by": {CLEO.id: NOW}}),
        (Action.ALARM, "lag", {"alarms": {"deficit", "lag"}}),
        (Action.RESOLVE, "deficit", {"alarms": set()}),
        (Action.CANCEL, "po_" + "a" * 26, {}),
        (Action.DECLINE, "po_" + "a" * 26, {}),
        (Action.VETO, "ab" * 32, {}),
        (Action.RECOVER, "network:x", {}),
        (Action.RELEASE, "po_" + "a" * 26, {}),
    ],
)
def test_what_an_instruction_changes(
    standing: Standing, action: Action, target: str, changed: dict[str, Any]
) -> None:
    names = ("freeze_epoch", "frozen", "revoked", "suspended", "suspended_by", "alarms", "barred")
    before = {name: getattr(standing, name) for name in names} | changed
    apply(Instruction(action, target, "ef" * 32, frozenset({PersonId(CLEO.id)})), standing, NOW)
    assert {name: getattr(standing, name) for name in names} == before
    assert standing.used_records == {"ef" * 32}


def test_a_client_cancels_its_own_payout_and_run_once(standing: Standing) -> None:
    for evidence, target in (
        (PAYER.cancels("key-1", DEPLOYMENT), PAYER.payout("key-1")),
        (run_cancel(), run_id(ORGANISATION, PAYER.id, IdempotencyKey("key-1"))),
    ):
        instruction = check_client(evidence, standing, DEPLOYMENT)
        assert (instruction.action, instruction.object, instruction.people) == (Action.CANCEL, target, frozenset())
        apply(instruction, standing, NOW)
        with pytest.raises(InstructionError, match="given before"):
            check_client(evidence, standing, DEPLOYMENT)


def run_cancel() -> ClientEvidence:
    run = run_id(ORGANISATION, PAYER.id, IdempotencyKey("key-1"))
    return PAYER.cancels("key-1", DEPLOYMENT, path=f"/v1/payout-runs/{run}/cancel")


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (NEIGHBOUR.cancels("key-1", DEPLOYMENT, payout=PAYER.payout("key-1")), "isn't of a payout that this client"),
        (PAYER.cancels("key-1", DEPLOYMENT, payout=PAYER.payout("key-1", OTHER)), "isn't of a payout that this client"),
        (PAYER.cancels("key-1", DEPLOYMENT, signed_by=SigningKey(bytes(32))), "isn't that of this request"),
        (READER.cancels("key-1", DEPLOYMENT), "may not cancel"),
        (PAYER.cancels("key-1", "e" * 16), "tag"),
        (PAYER.cancels("key-1", DEPLOYMENT, path="/v1/payouts"), "only cancel"),
        (PAYER.cancels("key-1", DEPLOYMENT, path="/v1/payouts/po_x/cancel"), "isn't a path"),
        (PAYER.cancels("key-1", DEPLOYMENT, header="two words"), "Idempotency-Key"),
        (PAYER.cancels("key-1", DEPLOYMENT, header="x" * 256), "Idempotency-Key"),
        (PAYER.cancels("key-1", DEPLOYMENT, body=b"{}"), "idempotency_key"),
        (PAYER.cancels("key-1", DEPLOYMENT, body=b"["), "JSON"),
        (PAYER.cancels("key-1", DEPLOYMENT, body=b'{"idempotency_key":" "}'), "idempotency_key"),
        (PAYER.cancels("key-1", DEPLOYMENT, body=b'{"idempotency_key":"key-1","x":1}'), "x"),
        (ClientEvidence(b"", bytes(64), b"{}"), "signature base"),
        (replace(CANCEL, base=CANCEL.base.replace(b": POST", b": PUT")), "must be a POST"),
        (replace(CANCEL, body=CANCEL.body + b" "), "Content-Digest"),
    ],
)
def test_a_clients_request_that_doesnt_hold_says_why(
    standing: Standing, evidence: ClientEvidence, reason: str
) -> None:
    with pytest.raises(INSTRUCTION_FAULTS, match=reason):
        check_client(evidence, standing, DEPLOYMENT)


def test_a_revoked_key_cancels_nothing(standing: Standing) -> None:
    standing.revoked.add(KeyId(PAYER.key_id))
    with pytest.raises(InstructionError, match="may not cancel"):
        check_client(PAYER.cancels("key-1", DEPLOYMENT), standing, DEPLOYMENT)


STANDING = open_standing(policy(), write_roster(roster()), Mode.SANDBOX)
VALUES = st.none() | st.integers(-1, 2**53 - 1) | st.text(max_size=8) | st.sampled_from([each.value for each in Action])


@given(st.sampled_from([*sorted(DOCUMENT), "extra"]), VALUES)
def test_only_its_own_errors_escape_a_peoples_instruction(name: str, value: Any) -> None:
    record = rfc8785.dumps(DOCUMENT | {name: value})
    try:
        instruction = check(STANDING, record, CLEO)
    except INSTRUCTION_FAULTS:
        return
    assert instruction.object == "organisation"


@given(st.binary(max_size=80))
def test_bytes_from_strangers_instruct_nobody(raw: bytes) -> None:
    with pytest.raises(INSTRUCTION_FAULTS):
        check(STANDING, raw, CLEO)


@given(st.data())
def test_only_its_own_errors_escape_a_clients_instruction(data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(["base", "signature", "body"]))
    raw = bytearray(getattr(CANCEL, part))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    changed = replace(CANCEL, **{part: bytes(raw)})
    try:
        check_client(changed, STANDING, DEPLOYMENT)
    except INSTRUCTION_FAULTS:
        return
    assert changed == CANCEL
