"""The signer and guard come to agree, in parts if it must be, and on nothing that guard didn't say to this question."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.rules.cases import SMALL, small
from tests.signer.entries import kinds
from tests.signer.world import ADA, CLEO, ORGANISATION, START, AskRefused, World

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import DAY_MS, MINUTE_MS, Instant
from strongroom.protocol import guard_wire
from strongroom.protocol.control import ByPeople, Control, write_control
from strongroom.protocol.entry import Kind, Reading, read_entry
from strongroom.protocol.guard_wire import FRAME_MAXIMUM, Lease, Reason, Sync, SyncAnswer
from strongroom.protocol.journal_chain import ENTRY_MAXIMUM, Head
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.signer.clock import Start
from strongroom.signer.guard_link import LinkError
from strongroom.signer.rules import Refused, Rule

Change = Callable[[SyncAnswer], SyncAnswer]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Meddled:
    """Guard as it is, with its answers changed before it signs them; what was asked is kept."""

    def __init__(self, world: World, change: Change = lambda answer: answer, key: SigningKey | None = None) -> None:
        self.world, self.change, self.key = world, change, key or world.keys.guard
        self.asked: list[Sync] = []
        self.frames: list[bytes] = []
        self.before: Callable[[], None] = lambda: None
        self._exchange = world.guard.exchange
        world.guard.exchange = self.exchange  # type: ignore[method-assign] # in between

    def exchange(self, frame: bytes) -> bytes:
        self.before()
        self.frames.append(frame)
        self.asked.append(guard_wire.parse_sync(frame[64:]))
        answer = guard_wire.parse_sync_answer(self._exchange(frame)[64:])
        raw = guard_wire.encode_sync_answer(self.change(answer))
        return guard_wire.sign_frame(self.key, raw, guard_wire.SYNC_ANSWER_TYPE)

    def stop(self) -> None:
        self.world.guard.exchange = self._exchange  # type: ignore[method-assign]  # as it was


def refused(world: World, reason: str, *, wants_spend: bool = False) -> None:
    with pytest.raises(Refused, match=reason) as refusal:
        world.notary.agree(wants_spend=wants_spend)
    assert refusal.value.rule is Rule.GUARD_AGREES


def grow(world: World, sizes: list[int]) -> None:
    """Entries of about so many bytes."""
    for number, size in enumerate(sizes):
        raw = b64encode(number.to_bytes(2) + bytes(size * 3 // 4)).decode()
        body: dict[str, Any] = {"document": "policy", "organisation": ORGANISATION, "people": [], "raw": raw}
        world.notary.write(Kind.CHANGE, body, world.notary.reading())
    world.notary.commit()


# In parts.


def test_more_than_one_frame_takes_is_offered_in_parts_and_agreed_as_a_whole(world: World) -> None:
    grow(world, [900_000] * 12)
    meddled = Meddled(world)
    world.notary.agree()
    assert world.guard.head == world.notary.head
    sizes = [sum(map(len, sync.entries)) for sync in meddled.asked]
    assert len(sizes) > 2
    assert max(sizes) <= guard_wire.OFFER_MAXIMUM
    assert max(map(len, meddled.frames)) <= FRAME_MAXIMUM


def test_no_more_entries_than_a_frame_may_hold_are_offered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_wire, "ENTRIES_MAXIMUM", 3)
    grow(world, [10] * 8)
    meddled = Meddled(world)
    world.notary.agree()
    assert world.guard.head == world.notary.head
    assert [len(sync.entries) for sync in meddled.asked] == [3, 3, 3, 1]


def test_an_entry_that_is_above_the_bound_alone_is_offered_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_wire, "OFFER_MAXIMUM", 1)
    world.notary.agree()
    assert world.guard.head == world.notary.head


def test_more_than_an_entry_takes_is_refused_and_nothing_is_written(world: World) -> None:
    length = world.journal.length
    with pytest.raises(Refused, match="too much for one entry"):
        grow(world, [ENTRY_MAXIMUM])
    assert (world.journal.length, world.payments.standing.pending) == (length, {})


def test_a_guard_that_stops_half_way_has_what_it_took_and_nothing_is_agreed(world: World) -> None:
    grow(world, [900_000] * 6)
    meddled = Meddled(world)

    def cut_after_one() -> None:
        if meddled.asked:
            raise LinkError("cut off")

    meddled.before = cut_after_one
    refused(world, "cut off")
    taken = world.guard.head.length
    assert 0 < taken < world.notary.head.length
    meddled.stop()
    world.notary.agree()
    assert world.guard.head == world.notary.head


def test_a_guard_that_takes_no_more_says_why(world: World) -> None:
    world.notary.agree()
    small(world)
    before = world.guard.head

    def alarmed(answer: SyncAnswer) -> SyncAnswer:
        return replace(answer, is_cosigned=False, journal=before, reason=Reason.ALARM, lease=Lease.NONE, lease_ms=0)

    Meddled(world, alarmed)
    refused(world, "guard says: alarm")
    assert world.notary.lease is Lease.NONE


def test_a_guard_that_goes_on_for_ever_holds_the_signer_for_its_time_and_no_longer(world: World) -> None:
    meddled = Meddled(world)

    def slowly() -> None:
        world.guard.instruct(Action.FREEZE, "organisation", CLEO)
        world.pass_by(1_900)

    meddled.before = slowly
    refused(world, "guard doesn't come to an end")
    assert len(meddled.asked) == 6
    meddled.stop()
    world.notary.agree()
    assert world.guard.head == world.notary.head


# Time.


def clock_ahead(world: World, days: int = 30) -> None:
    """Somebody sets the wall clock ahead, which the signer sees, and back again. Guard's clock was right all along."""
    world.guard.times = replace(world.times)
    world.times.wall_ms += days * DAY_MS
    world.notary.reading()
    world.times.wall_ms -= days * DAY_MS


def test_what_passed_at_most_comes_back_when_wall_and_guard_agree_and_it_is_written_down(world: World) -> None:
    world.notary.agree()
    clock_ahead(world)
    assert world.notary.reading().at_most == START + 30 * DAY_MS
    world.notary.agree()
    assert kinds(world.journal)[-1] is Kind.CORRECTED
    assert world.guard.head == world.notary.head
    assert world.notary.reading() == Reading(Instant(START), Instant(START + MINUTE_MS), Instant(START))
    assert world.book.started == Start(world.book.clock, Instant(START))
    length = world.journal.length
    world.notary.agree()
    assert world.journal.length == length
    world.restart()
    assert world.notary.reading().at_most == START + MINUTE_MS


@pytest.mark.parametrize("who", ["wall", "guard"])
def test_while_wall_and_guard_disagree_nothing_comes_back(world: World, who: str) -> None:
    clock_ahead(world)
    (world.times if who == "wall" else world.guard.times).wall_ms -= MINUTE_MS + 1
    world.notary.agree()
    assert kinds(world.journal)[-1] is not Kind.CORRECTED
    assert world.notary.reading().at_most == START + 30 * DAY_MS


def test_a_request_of_the_clock_that_was_ahead_has_no_ticket_any_more(world: World) -> None:
    """Its people would have had a month more to say yes than they may."""
    record = world.cooled()
    world.pass_by(60_000)
    payout = world.intent(record, 900_000)
    world.notary.agree()
    world.guard.times = replace(world.times)
    world.times.wall_ms += 30 * DAY_MS
    approved = world.approved(payout, ADA)
    world.times.wall_ms -= 30 * DAY_MS
    assert list(world.payments.tickets) == [payout]
    with pytest.raises(AskRefused, match="approval-requested"):
        world.sign([payout], approvals=[approved])
    assert world.payments.tickets == {}
    world.restart()
    assert world.payments.tickets == {}
    world.sign([payout], approvals=[world.approved(payout, ADA)])


# Where guard is.


def test_a_guard_that_lost_what_it_had_is_given_it_again_from_where_it_says(world: World) -> None:
    """Restored from a backup that is our own: it names an earlier head of ours."""
    world.sign([small(world)])
    del world.guard.entries[3:]
    world.notary.agree()
    assert world.guard.head == world.notary.head


@pytest.mark.parametrize("wrong", ["another head", "longer than ours"])
def test_a_guard_with_another_journal_agrees_to_nothing(world: World, wrong: str) -> None:
    world.notary.agree()
    small(world)
    head = Head(1, b"\1" * 32) if wrong == "another head" else Head(world.journal.length + 1, b"\1" * 32)
    Meddled(world, lambda answer: replace(answer, is_cosigned=False, journal=head, reason=Reason.FORK))
    refused(world, "guard says: fork")


def test_a_guard_that_says_cosigned_and_isnt_at_our_control_log_hasnt_agreed(world: World) -> None:
    world.notary.agree()
    Meddled(world, lambda answer: replace(answer, control=Head(5, b"\1" * 32)))
    refused(world, "guard says: cosigned")


# What isn't an answer to this question.


def answers(change: Change) -> Change:
    return change


@pytest.mark.parametrize(("change", "reason"), [
    (answers(lambda answer: replace(answer, nonce=b"\1" * 32)), "guard answered another question"),
    (answers(lambda answer: replace(answer, journal=Head(answer.journal.length, b"\1" * 32))),
     "guard cosigned a head that it wasn't offered"),
    (answers(lambda answer: replace(answer, journal=Head(0, bytes(32)))),
     "guard cosigned a head that it wasn't offered"),
])
def test_an_answer_that_isnt_to_this_question_gives_no_lease(world: World, change: Change, reason: str) -> None:
    Meddled(world, change)
    refused(world, reason)
    assert world.notary.lease is Lease.NONE


def test_an_old_answer_played_again_is_none(world: World) -> None:
    meddled, kept = Meddled(world), []
    exchange = meddled.exchange

    def replay(frame: bytes) -> bytes:
        kept.append(exchange(frame))
        return kept[0]

    world.guard.exchange = replay  # type: ignore[method-assign]  # in between
    world.notary.agree()
    refused(world, "guard answered another question")


def test_an_answer_by_another_key_is_none(world: World) -> None:
    Meddled(world, key=SigningKey(b"\7" * 32))
    refused(world, "isn't a strongroom/sync-answer/v1 signed by the expected key")
    assert world.notary.lease is Lease.NONE


@pytest.mark.parametrize("frame", [b"", b"x", bytes(64), bytes(100)])
def test_bytes_that_are_no_answer_are_none(world: World, frame: bytes) -> None:
    world.guard.exchange = lambda _: frame  # type: ignore[method-assign]  # in its place
    refused(world, "signed by the expected key")


def test_a_signed_answer_of_another_form_is_none(world: World) -> None:
    world.guard.exchange = lambda _: guard_wire.sign_frame(  # type: ignore[method-assign]  # in its place
        world.keys.guard, b"{}", guard_wire.SYNC_ANSWER_TYPE
    )
    refused(world, "type")


# The lease.


def test_a_lease_runs_from_the_sending_of_its_nonce_by_the_clock_that_nobody_sets(world: World) -> None:
    def slowly(answer: SyncAnswer) -> SyncAnswer:
        world.pass_by(100_000)
        return answer

    meddled = Meddled(world, slowly)
    assert world.notary.lease is Lease.NONE
    world.notary.agree()
    meddled.stop()
    world.pass_by(19_999)
    world.times.wall_ms += 10**9
    assert world.notary.lease is Lease.ALL
    world.times.wall_ms -= 2 * 10**9
    world.pass_by(1)
    assert world.notary.lease is Lease.NONE


def test_a_lease_that_ran_out_while_it_came_is_none(world: World) -> None:
    payout = small(world)

    def too_slowly(answer: SyncAnswer) -> SyncAnswer:
        world.pass_by(120_000)
        return answer

    Meddled(world, too_slowly)
    with pytest.raises(AskRefused, match="lease-fresh: guard's lease is none"):
        world.sign([payout])


def test_a_lease_that_guard_takes_back_is_gone_at_once(world: World) -> None:
    world.notary.agree()
    assert world.notary.lease is Lease.ALL
    world.guard.lease = Lease.RECOVER
    world.notary.agree()
    assert world.notary.lease is Lease.RECOVER


# The control log.


def test_a_control_log_that_comes_in_parts_is_applied_whole(world: World) -> None:
    for letter in "abcde":
        world.guard.instruct(Action.FREEZE, "client:cl_" + letter * 26, CLEO)
    meddled = Meddled(world, lambda answer: replace(answer, control_entries=answer.control_entries[:2]))
    world.notary.agree()
    assert world.book.control == world.guard.control_head
    assert len(world.payments.standing.frozen) == 5
    assert len(meddled.asked) >= 3


def test_a_control_log_that_doesnt_continue_what_was_applied_is_refused(world: World) -> None:
    """Somebody at guard took a freeze out of the log and put another in its place."""
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.notary.agree()
    world.guard.control.clear()
    world.guard.instruct(Action.FREEZE, "client:cl_" + "b" * 26, CLEO)
    world.guard.instruct(Action.FREEZE, "client:cl_" + "c" * 26, CLEO)
    refused(world, "guard's control log doesn't continue what was applied")
    assert world.payments.standing.frozen == {"organisation"}


def test_a_shorter_control_log_is_never_agreed_to(world: World) -> None:
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.notary.agree()
    world.guard.control.clear()
    refused(world, "guard says: cosigned")
    assert world.payments.standing.frozen == {"organisation"}


def instruction(world: World, organisation: str, *, by: Any = CLEO, at_ms: int = 0) -> bytes:
    at = Instant(world.times.wall_ms + at_ms)
    record = write_negative(Negative(
        Action.FREEZE, Instant(world.times.wall_ms + 60_000), 0, "organisation", OrganisationId(organisation), "ab" * 32
    ))
    return write_control(
        Control(at, OrganisationId(organisation), ByPeople(record, (by.asserts(record, NEGATIVE_TYPE),)))
    )


@pytest.mark.parametrize("wrong", ["no record", "another organisation", "not an officer", "late", "twice"])
def test_what_doesnt_hold_is_kept_in_its_place_and_does_nothing(world: World, wrong: str) -> None:
    good = instruction(world, ORGANISATION)
    entries = {
        "no record": [b"not a record"], "another organisation": [instruction(world, "org_" + "z" * 26)],
        "not an officer": [instruction(world, ORGANISATION, by=ADA)],
        "late": [instruction(world, ORGANISATION, at_ms=60_000)], "twice": [good, good],
    }[wrong]
    world.guard.control += entries
    world.notary.agree()
    assert world.book.control == world.guard.control_head
    assert world.payments.standing.freeze_epoch == (wrong == "twice")
    written = [fields.has("action") for kind, _, fields in map(read_entry, world.journal.entries())
               if kind is Kind.CONTROL]
    assert written == [True, False][wrong != "twice":]
    world.restart()
    assert world.payments.standing.freeze_epoch == (wrong == "twice")


def test_an_instruction_that_comes_after_a_decision_refuses_the_spend_whatever_it_says(world: World) -> None:
    payout = world.intent(world.cooled(), SMALL)
    world.guard.before_spend = lambda: world.guard.instruct(Action.FREEZE, "asset:iso4217:EUR", CLEO)
    with pytest.raises(AskRefused, match="instructions came after the decision"):
        world.sign([payout])
    assert kinds(world.journal)[-1] is Kind.ABANDONED
