"""Guard's copy of the journal: what it cosigns, what it refuses, and that nothing refused is kept."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.guard.world import OpenGuard, Signer, World, b64
from tests.protocol.people import ADA, CLEO, DAN, NOW, ORGANISATION, OTHER, PEOPLE, policy, roster

from strongroom.domain.document import DocumentError
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease, Reason
from strongroom.protocol.journal_chain import EMPTY_HEAD, EntryError, Head, head_after
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.standing import policy_hash


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def guard(world: World) -> OpenGuard:
    return world.open()


@pytest.fixture
def signer(world: World, guard: OpenGuard) -> Signer:
    """Enrolled, with watch's heartbeat heard."""
    signer = Signer(world, guard.witness.answer)
    signer.found()
    assert signer.sync().is_cosigned
    guard.leases.beat(world.beat(), world.now)
    return signer


def kept(world: World) -> int:
    return (world.store / "journal").stat().st_size


def test_entries_that_follow_are_cosigned_and_given_back(world: World, guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    signer.spend()
    answer = signer.sync()
    assert (answer.is_cosigned, answer.reason, answer.journal) == (True, Reason.COSIGNED, signer.head)
    assert (answer.lease, answer.lease_ms, answer.now) == (Lease.ALL, 120_000, world.now)
    fetched = signer.fetch(0)
    assert list(fetched.entries) == signer.entries
    assert fetched.journal == signer.head
    assert fetched.head_signature == signer.offer().head_signature


def test_the_same_again_is_answered_the_same_and_kept_once(world: World, guard: OpenGuard, signer: Signer) -> None:
    signer.spend()
    offered = signer.offer()
    first, size = signer.read(guard.witness.answer(signer.frame(offered))), kept(world)
    again = signer.read(guard.witness.answer(signer.frame(offered)))
    assert again == first
    assert again.is_cosigned
    assert kept(world) == size


def test_what_overlaps_is_taken_if_it_is_the_same(guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    answer = signer.sync(first=0)
    assert answer.is_cosigned
    assert guard.witness.head == signer.head


def test_guard_with_fewer_entries_says_from_where_to_go_on(world: World, guard: OpenGuard, signer: Signer) -> None:
    before = guard.witness.head
    for _ in range(3):
        signer.write(Kind.RESUMED)
    answer = signer.sync(first=len(signer.entries) - 1)
    assert (answer.is_cosigned, answer.reason, answer.journal) == (False, Reason.BEHIND, before)
    assert (answer.lease, answer.lease_ms) == (Lease.NONE, 0)


def test_a_signer_that_was_rolled_back_is_told_and_brought_forward(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    signer.spend()
    assert signer.sync().is_cosigned
    rolled_back = Signer(world, guard.witness.answer)
    rolled_back.entries = signer.entries[:1]
    answer = rolled_back.sync(first=1)
    assert (answer.is_cosigned, answer.reason, answer.journal) == (False, Reason.BEHIND, signer.head)
    assert answer.lease is Lease.NONE
    fetched = rolled_back.fetch(1)
    assert head_after(rolled_back.head.head, fetched.entries) == fetched.journal.head == answer.journal.head
    rolled_back.entries += fetched.entries
    assert rolled_back.offer().head_signature == fetched.head_signature
    assert rolled_back.sync(first=1).is_cosigned


def fork_shorter(signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    assert signer.sync().is_cosigned
    signer.entries[-2:] = []
    signer.write(Kind.RESUMED, 5)


def fork_at_the_same_length(signer: Signer) -> None:
    signer.entries[-1:] = []
    signer.write(Kind.RESUMED, 5)


def fork_before_what_is_new(signer: Signer) -> None:
    fork_at_the_same_length(signer)
    signer.write(Kind.RESUMED)


@pytest.mark.parametrize("fork", [fork_shorter, fork_at_the_same_length, fork_before_what_is_new])
def test_a_fork_is_refused_and_nothing_of_it_kept(
    world: World, guard: OpenGuard, signer: Signer, fork: Callable[[Signer], None]
) -> None:
    fork(signer)
    before, size = guard.witness.head, kept(world)
    answer = signer.sync(first=1)
    assert (answer.is_cosigned, answer.reason, answer.journal) == (False, Reason.FORK, before)
    assert (answer.lease, kept(world)) == (Lease.NONE, size)


def test_entries_that_dont_end_in_the_signed_head_are_a_fork(guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    offered = signer.offer()
    signer.write(Kind.RESUMED, 5)
    answer = signer.sync(entries=(*offered.entries, offered.entries[0]))
    assert (answer.is_cosigned, answer.reason) == (False, Reason.FORK)


def test_what_overlaps_must_be_the_same_even_under_the_right_head(guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    entries = [*signer.entries]
    entries[1] = entries[0]
    answer = signer.sync(entries=tuple(entries))
    assert (answer.is_cosigned, answer.reason) == (False, Reason.FORK)


def test_a_control_head_that_guard_never_had_is_a_fork(guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    for control in (Head(1, bytes(32)), Head(0, b"x" * 32)):
        answer = signer.sync(control=control)
        assert (answer.is_cosigned, answer.reason, answer.control_entries) == (False, Reason.FORK, ())


def test_control_entries_that_guard_never_wrote_are_a_fork(world: World, guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.CONTROL, entry=b64(b"never"))
    size = kept(world)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.reason, kept(world)) == (False, Reason.FORK, size)


def test_a_spend_waits_until_the_whole_control_log_is_applied(world: World, guard: OpenGuard, signer: Signer) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    signer.spend()
    size = kept(world)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.reason, answer.control.length) == (False, Reason.CONTROL, 1)
    assert kept(world) == size
    signer.apply_control(answer)
    assert signer.sync().is_cosigned
    assert guard.log.standings.organisations[ORGANISATION].frozen == {"organisation"}


def test_what_is_no_spend_is_cosigned_before_the_control_log_is_applied(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    signer.write(Kind.RESUMED)
    answer = signer.sync()
    assert (answer.is_cosigned, len(answer.control_entries)) == (True, 1)


def test_the_flag_is_nobodys_word_for_what_the_entries_hold(world: World, guard: OpenGuard, signer: Signer) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    signer.spend()
    assert signer.sync(wants_spend=False).reason is Reason.CONTROL


@pytest.mark.parametrize(
    ("operation", "is_cosigned"),
    [("pay", False), ("bump", False), ("consolidate", False), ("cancel", True), ("sweep", True), ("unheard of", False)],
)
def test_without_watch_only_what_saves_money_is_spent(
    world: World, guard: OpenGuard, signer: Signer, operation: str, is_cosigned: bool
) -> None:
    world.monotonic_ns += 60_000 * 1_000_000
    signer.spend(operation)
    size = kept(world)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.lease) == (is_cosigned, Lease.RECOVER)
    assert answer.reason is (Reason.COSIGNED if is_cosigned else Reason.ALARM)
    assert (kept(world) == size) is not is_cosigned


@pytest.mark.parametrize(("operation", "is_cosigned"), [("pay", False), ("unheard of", False), ("sweep", True)])
def test_an_alarm_holds_back_what_its_own_organisation_pays(tmp_path: Path, operation: str, is_cosigned: bool) -> None:
    """The attacker makes watch alarm in its own organisation, and wants others' payments held up; the bound is none."""
    world = World(tmp_path, organisations=(ORGANISATION, OTHER))
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found(ORGANISATION, OTHER)
    assert signer.sync().is_cosigned
    guard.leases.beat(world.beat(), world.now)
    guard.keep(world.alarm("deficit"))
    signer.apply_control(signer.sync())
    signer.write(Kind.SPEND, organisation=OTHER, transaction="aa" * 32, operation="pay")
    assert signer.sync().is_cosigned
    signer.spend(operation)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.lease) == (is_cosigned, Lease.ALL)
    assert answer.reason is (Reason.COSIGNED if is_cosigned else Reason.ALARM)


@pytest.mark.parametrize(("operation", "is_cosigned"), [("pay", False), ("sweep", True)])
def test_a_stolen_key_holds_back_what_everybody_pays(tmp_path: Path, operation: str, is_cosigned: bool) -> None:
    """The attacker has the seed, and begins with one organisation's coins; the others' keys come from it as well."""
    world = World(tmp_path, organisations=(ORGANISATION, OTHER))
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found(ORGANISATION, OTHER)
    assert signer.sync().is_cosigned
    guard.leases.beat(world.beat(), world.now)
    guard.keep(world.alarm("unknown-spend.aa"))
    signer.apply_control(signer.sync())
    signer.write(Kind.SPEND, organisation=OTHER, transaction="aa" * 32, operation=operation)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.lease) == (is_cosigned, Lease.RECOVER)


def test_a_spend_that_an_ended_signer_left_holds_nothing_back(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    world.monotonic_ns += 60_000 * 1_000_000
    signer.spend()
    signer.write(Kind.RESUMED)
    answer = signer.sync()
    assert (answer.is_cosigned, answer.lease) == (True, Lease.RECOVER)
    signer.spend()
    assert signer.sync().reason is Reason.ALARM


def test_a_spend_that_an_ended_signer_left_waits_for_the_control_log(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    signer.spend()
    signer.write(Kind.RESUMED)
    assert signer.sync().reason is Reason.CONTROL


def test_a_spend_that_was_given_up_holds_nothing_back(world: World, guard: OpenGuard, signer: Signer) -> None:
    world.monotonic_ns += 60_000 * 1_000_000
    transaction = signer.spend()
    assert signer.sync().reason is Reason.ALARM
    signer.abandon(transaction)
    signer.spend("sweep")
    assert signer.sync().is_cosigned
    signer.abandon("unheard of")
    assert signer.sync().is_cosigned


def test_a_spend_that_is_offered_again_after_a_freeze_is_refused(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    signer.spend()
    assert guard.witness.answer(signer.frame(signer.offer()))
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    answer = signer.sync()
    assert (answer.is_cosigned, answer.reason, len(answer.control_entries)) == (False, Reason.CONTROL, 1)


BAD_FRAMES: dict[str, Callable[[Signer], bytes]] = {
    "empty": lambda signer: b"",
    "no record": lambda signer: bytes(64),
    "another key": lambda signer: wire.sign_frame(
        SigningKey(bytes(32)), wire.encode_sync(signer.offer()), wire.SYNC_TYPE
    ),
    "altered": lambda signer: signer.frame(signer.offer()).replace(b'"wants_spend":false', b'"wants_spend":true '),
    "another type": lambda signer: wire.sign_frame(
        signer.world.statement_key, wire.encode_sync(signer.offer()), wire.FETCH_TYPE
    ),
    "guard's own": lambda signer: signer.exchange(signer.frame(signer.offer())),
    "head signed by another": lambda signer: signer.frame(signer.offer(head_signature=bytes(64))),
    "head of another deployment": lambda signer: signer.frame(
        signer.offer(
            head_signature=signer.world.statement_key.sign(wire.head_statement("0" * 16, signer.head)).signature
        )
    ),
    "shorter than its entries": lambda signer: signer.frame(
        signer.offer(0, journal=Head(1, signer.head.head), entries=tuple(signer.entries))
    ),
    "no entry": lambda signer: signer.frame(signer.offer(entries=(*signer.entries[signer.guard :], b""))),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_frame_that_isnt_the_signers_is_never_answered(
    world: World, guard: OpenGuard, signer: Signer, name: str
) -> None:
    signer.write(Kind.RESUMED)
    frame, size = BAD_FRAMES[name](signer), kept(world)
    with pytest.raises((DocumentError, EntryError)):
        guard.witness.answer(frame)
    assert kept(world) == size


def test_an_entry_that_guard_cant_read_is_refused_whole(world: World, guard: OpenGuard, signer: Signer) -> None:
    signer.write(Kind.RESUMED)
    signer.entries.append(b"no entry")
    size = kept(world)
    with pytest.raises(DocumentError):
        signer.sync()
    assert kept(world) == size


Write = Callable[[Signer], Any]
IMPOSSIBLE: dict[str, Write] = {
    "genesis twice": lambda s: s.write(Kind.GENESIS, genesis=b64(s.world.genesis_record)),
    "genesis no base64": lambda s: s.write(Kind.GENESIS, genesis="x"),
    "organisation without a policy": lambda s: s.write(Kind.ORGANISATION, policy=b64(b"{}"), roster=b64(b"{}")),
    "policy and roster of two": lambda s: s.write(
        Kind.ORGANISATION, policy=b64(policy(OTHER)), roster=b64(write_roster(roster()))
    ),
    "a change of nobody": lambda s: s.write(Kind.CHANGE, organisation=OTHER, document="policy", raw=b64(b"x")),
    "an end of no change": lambda s: s.write(
        Kind.ENDED, organisation=ORGANISATION, change="0" * 64, is_in_force=True
    ),
    "an end without its outcome": lambda s: s.write(Kind.ENDED, organisation=ORGANISATION, change="0" * 64),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_entry_that_cant_follow_is_refused_before_it_is_kept(
    world: World, guard: OpenGuard, signer: Signer, name: str
) -> None:
    IMPOSSIBLE[name](signer)
    size, before = kept(world), guard.log.standings
    with pytest.raises(DocumentError):
        signer.sync()
    assert (kept(world), guard.log.standings) == (size, before)


def change(signer: Signer, document: str, raw: bytes) -> str:
    signer.write(Kind.CHANGE, organisation=ORGANISATION, document=document, raw=b64(raw), people=[[CLEO.id]])
    return roster_hash(raw) if document == "roster" else policy_hash(raw)


def test_a_roster_comes_into_force_when_its_change_ends(world: World, guard: OpenGuard, signer: Signer) -> None:
    without_cleo = roster(people=tuple(each for each in PEOPLE if each is not CLEO), groups=())
    without_cleo = replace(without_cleo, people=tuple(replace(each, groups=()) for each in without_cleo.people))
    digest = change(signer, "roster", write_roster(without_cleo))
    assert signer.sync().is_cosigned
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    signer.write(Kind.ENDED, organisation=ORGANISATION, change=digest, is_in_force=True)
    assert signer.sync().is_cosigned
    standing = guard.log.current[ORGANISATION]
    assert (standing.roster_hash, standing.frozen) == (digest, set())
    assert not guard.log.standings.organisations[ORGANISATION].pending


def test_a_policy_comes_into_force_only_if_its_end_says_so(guard: OpenGuard, signer: Signer) -> None:
    first = guard.log.current[ORGANISATION].policy_hash
    digest = change(signer, "policy", policy(version=2, previous=first))
    signer.write(Kind.ENDED, organisation=ORGANISATION, change=digest, is_in_force=False)
    assert signer.sync().is_cosigned
    assert guard.log.current[ORGANISATION].policy_hash == first
    digest = change(signer, "policy", policy(version=2, previous=first))
    signer.write(Kind.ENDED, organisation=ORGANISATION, change=digest, is_in_force=True)
    assert signer.sync().is_cosigned
    assert guard.log.current[ORGANISATION].policy_hash == digest
    assert guard.log.current[ORGANISATION].policy.version == 2


def test_members_are_told_of_a_change_once_when_it_is_cosigned(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    notices = world.store / "notices.jsonl"
    change(signer, "roster", write_roster(roster(version=2, previous="ab" * 32)))
    assert not notices.exists()
    assert signer.sync().is_cosigned
    told = notices.read_text()
    assert [line.count(person.id) for line, person in zip(told.splitlines(), PEOPLE, strict=True)] == [1] * len(PEOPLE)
    guard.close()
    notices.write_text(told + '{"torn')
    world.open().close()
    assert notices.read_text() == told + '{"torn'
    notices.write_text(told[:-20])
    world.open().close()
    lines = notices.read_text().splitlines()
    assert set(told.splitlines()) <= set(lines)
    assert len(lines) == len(PEOPLE) + 1


def test_a_veto_that_the_signer_applied_ends_the_change(world: World, guard: OpenGuard, signer: Signer) -> None:
    digest = change(signer, "roster", write_roster(roster(version=2, previous="ab" * 32)))
    assert signer.sync().is_cosigned
    guard.keep(world.negative(Action.VETO, digest, ADA))
    signer.apply_control(signer.sync())
    assert signer.sync().is_cosigned
    assert not guard.log.standings.organisations[ORGANISATION].pending


def test_an_instruction_that_the_signer_found_void_stands_at_guard_no_more(
    world: World, guard: OpenGuard, signer: Signer
) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    assert guard.log.current[ORGANISATION].frozen
    signer.apply_control(signer.sync(), is_void=True)
    assert signer.sync().is_cosigned
    assert not guard.log.current[ORGANISATION].frozen
    assert guard.log.standings.control == guard.log.head


def test_a_long_log_comes_in_parts(world: World, guard: OpenGuard, signer: Signer) -> None:
    for number in range(10):
        signer.write(Kind.RESUMED, NOW + number, filling="x" * 900_000)
        assert signer.sync().is_cosigned
    fetched = signer.fetch(2)
    assert fetched.journal == signer.head
    assert 1 <= len(fetched.entries) < 10
    assert list(fetched.entries) == signer.entries[2 : 2 + len(fetched.entries)]
    assert signer.fetch(len(signer.entries)).entries == ()


def test_an_entry_longer_than_a_frame_takes_still_goes_alone(
    world: World, guard: OpenGuard, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.protocol.guard_wire.OFFER_MAXIMUM", 1)
    assert list(signer.fetch(0).entries) == signer.entries[:1]


def test_two_organisations_stand_apart(tmp_path: Path) -> None:
    world = World(tmp_path, organisations=(ORGANISATION, OTHER))
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found(ORGANISATION, OTHER)
    assert signer.sync().is_cosigned
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO, organisation=OTHER), OTHER)
    assert guard.log.current[OTHER].frozen
    assert not guard.log.current[ORGANISATION].frozen
    assert guard.log.standings.control == Head(0, EMPTY_HEAD)
    guard.keep(world.negative(Action.FREEZE, "organisation", DAN))
    signer.apply_control(signer.sync())
    assert signer.sync().is_cosigned
    assert guard.log.current[OTHER].freeze_epoch == 1


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is written and made last, in order: a kill can't show a missing sync, as the page cache survives it."""
    calls: list[tuple[str, str]] = []

    def recorded(name: str) -> None:
        real = getattr(os, name)

        def call(file: int, *arguments: Any) -> Any:
            calls.append((name, Path(os.readlink(f"/proc/self/fd/{file}")).name))
            return real(file, *arguments)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "pwrite", "fsync", "fdatasync"):
        recorded(name)
    return calls


def test_entries_last_before_the_marker_and_the_marker_before_the_answer(
    guard: OpenGuard, signer: Signer, disk_calls: list[tuple[str, str]]
) -> None:
    signer.write(Kind.RESUMED)
    signer.spend()
    assert signer.sync().is_cosigned
    assert disk_calls == [
        ("write", "journal"), ("write", "journal"), ("fdatasync", "journal"), ("pwrite", "marker"), ("fsync", "marker"),
    ]


def test_an_instruction_lasts_before_it_is_accepted(
    world: World, guard: OpenGuard, signer: Signer, disk_calls: list[tuple[str, str]]
) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    assert disk_calls == [
        ("write", "control"), ("fdatasync", "control"), ("pwrite", "marker"), ("fsync", "marker"),
    ]


def test_notices_last_before_the_change_is_cosigned(
    guard: OpenGuard, signer: Signer, disk_calls: list[tuple[str, str]]
) -> None:
    change(signer, "policy", policy(version=2, previous="ab" * 32))
    assert signer.sync().is_cosigned
    assert disk_calls[-1] == ("fsync", "notices.jsonl")
