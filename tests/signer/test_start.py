"""How a signer begins: with what guard has, or not at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.rules.cases import small
from tests.signer.world import AskRefused, Times, World

from strongroom.domain.instant import Instant
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol import guard_wire
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.entry import Kind, write_entry
from strongroom.protocol.guard_wire import FetchAnswer, Lease, Reason, SyncAnswer
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, head_after
from strongroom.signer.guard_link import LinkError
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.start import Opening, StartError


class Copy:
    """Guard's side of a start: its copy of the journal, given back `per_fetch` entries at a time.

    `meddle` may change an answer before guard signs it.
    """

    def __init__(self, world: World, entries: list[bytes], per_fetch: int = 2) -> None:
        self.world, self.entries, self.per_fetch = world, entries, per_fetch
        self.fetches: list[int] = []
        self.offered: list[tuple[bytes, ...]] = []
        self.head_key = world.store.statement_sign
        self.guard_key = world.keys.guard
        self.meddle: Callable[[Any], Any] = lambda answer: answer

    @property
    def head(self) -> Head:
        return Head(len(self.entries), head_after(EMPTY_HEAD, self.entries))

    def exchange(self, frame: bytes) -> bytes:
        key = self.world.store.statement_public_key
        if json.loads(frame[64:])["type"] == guard_wire.SYNC_TYPE:
            sync = guard_wire.parse_sync(guard_wire.open_frame(key, frame, guard_wire.SYNC_TYPE))
            self.offered.append(sync.entries)
            told = SyncAnswer(
                sync.nonce, False, self.head, Head(0, EMPTY_HEAD), (), Lease.NONE, 0,
                Instant(self.world.times.wall_ms), Reason.BEHIND,
            )
            raw = guard_wire.encode_sync_answer(self.meddle(told))
            return guard_wire.sign_frame(self.guard_key, raw, guard_wire.SYNC_ANSWER_TYPE)
        nonce, first = guard_wire.parse_fetch(guard_wire.open_frame(key, frame, guard_wire.FETCH_TYPE))
        self.fetches.append(first)
        statement = guard_wire.head_statement(self.world.book.deployment, self.head)
        signature = self.head_key(record_hash(guard_wire.HEAD_TYPE, statement))
        part = tuple(self.entries[first : first + self.per_fetch])
        given = self.meddle(FetchAnswer(nonce, self.head, signature, part))
        raw = guard_wire.encode_fetch_answer(given)
        return guard_wire.sign_frame(self.guard_key, raw, guard_wire.FETCH_ANSWER_TYPE)


class Rolled:
    """A signer whose disk was put back to what it was before its last payout."""

    def __init__(self, folder: Path) -> None:
        self.world = world = World(folder)
        self.payout = small(world)
        self.before = (folder / "journal").read_bytes()
        self.raw, _ = world.transaction([world.output(self.payout)])
        self.signed = world.sign([self.payout], raw=self.raw)
        small(world)
        self.copy = Copy(world, list(world.journal.entries()))
        self.lost = world.journal.length
        world.journal.close()
        (folder / "journal").write_bytes(self.before)

    def opening(self, store: KeyStore | None = None) -> Opening:
        numbers = iter(range(10**6, 2 * 10**6))
        journal = Journal.load(FileDisk(str(self.world.folder)))
        return Opening(journal, store or self.world.store, self.copy, lambda length: next(numbers).to_bytes(length))


@pytest.fixture
def rolled(tmp_path: Path) -> Rolled:
    return Rolled(tmp_path)


def test_what_was_lost_comes_back_in_parts_and_pays_nothing_twice(rolled: Rolled) -> None:
    rolled.copy.per_fetch = 1
    opening = rolled.opening()
    have = opening.journal.length
    assert opening.settle() == rolled.world.times.wall_ms
    assert rolled.copy.fetches == list(range(have, rolled.lost))
    assert (opening.journal.length, opening.journal.head) == (rolled.lost, rolled.copy.head.head)
    rolled.world._open(opening.journal)
    assert rolled.world.sign([rolled.payout], raw=rolled.raw) == rolled.signed
    with pytest.raises(AskRefused, match="payout-once"):
        rolled.world.sign([rolled.payout])


def test_the_clock_goes_on_after_the_newest_entry(rolled: Rolled) -> None:
    opening = rolled.opening()
    opening.settle()
    times: Times = rolled.world.times
    clock = opening.clock(Instant(times.wall_ms), lambda: times.wall_ms * 10**6, lambda: times.boot_ms * 10**6)
    assert clock.read().at_least >= opening.book.clock.at_least
    assert clock.read().wall == times.wall_ms


def test_guards_time_is_that_after_the_journal_was_brought_forward(rolled: Rolled) -> None:
    """Bringing it forward takes a while, and the time from before it would be a life that begins too early."""
    before = rolled.world.times.wall_ms

    def takes_its_time(answer: Any) -> Any:
        if isinstance(answer, FetchAnswer):
            rolled.world.times.wall_ms += 60_000
        return answer

    rolled.copy.meddle = takes_its_time
    rolled.copy.per_fetch = 1
    opening = rolled.opening()
    assert opening.settle() == rolled.world.times.wall_ms == before + 60_000 * len(rolled.copy.fetches)
    assert opening.journal.length == len(rolled.copy.entries)


def test_one_that_lost_nothing_fetches_nothing(rolled: Rolled) -> None:
    opening = rolled.opening()
    rolled.copy.entries = list(opening.journal.entries())
    opening.settle()
    assert (rolled.copy.fetches, rolled.copy.offered) == ([], [()])


def test_what_is_beyond_guards_head_is_kept_to_be_offered_again(rolled: Rolled) -> None:
    opening = rolled.opening()
    ours = list(opening.journal.entries())
    rolled.copy.entries = ours[:-1]
    opening.settle()
    assert list(opening.journal.entries()) == ours


def stopped(rolled: Rolled, kind: type[Exception], reason: str) -> bool:
    """Whether it can't begin for this reason, and has kept nothing of what it was given."""
    with pytest.raises(kind, match=reason):
        rolled.opening().settle()
    return (rolled.world.folder / "journal").read_bytes() == rolled.before


def test_a_fork_is_for_people(rolled: Rolled) -> None:
    rolled.copy.entries = [*rolled.copy.entries[:1], rolled.copy.entries[2]]
    assert stopped(rolled, StartError, "guard has another entry than ours")


def test_a_longer_copy_that_doesnt_continue_ours_is_for_people(rolled: Rolled) -> None:
    rolled.copy.entries[1] = rolled.copy.entries[2]
    assert stopped(rolled, StartError, "guard's copy doesn't continue this journal")


def test_a_head_that_this_signer_never_signed_is_nothing_to_go_on_from(rolled: Rolled) -> None:
    """The attacker has guard's host and key, and wants to make the signer forget or believe something."""
    forger = KeyStore(Secret(b"\6" * 32))
    rolled.copy.head_key = forger.statement_sign
    assert stopped(rolled, StartError, "guard's copy isn't signed by this signer")


@pytest.mark.parametrize("wrong", ["no entries", "another head"])
def test_a_copy_that_isnt_what_guard_said_that_it_has_is_refused(rolled: Rolled, wrong: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "no entries": {"entries": ()}, "another head": {"journal": Head(rolled.lost, b"\1" * 32)},
    }
    rolled.copy.meddle = lambda answer: (
        replace(answer, **changes[wrong]) if isinstance(answer, FetchAnswer) else answer
    )
    assert stopped(rolled, StartError, "guard doesn't give what it says that it has")


def test_more_than_guard_says_that_it_has_is_refused(rolled: Rolled) -> None:
    """The last part brings an entry too many: the head that the signer signed isn't its end."""
    rolled.copy.meddle = lambda answer: (
        replace(answer, entries=(*answer.entries, answer.entries[-1])) if isinstance(answer, FetchAnswer) else answer
    )
    assert stopped(rolled, StartError, "guard's copy doesn't continue this journal")


@pytest.mark.parametrize("kind", [SyncAnswer, FetchAnswer])
def test_an_answer_to_another_question_is_none(rolled: Rolled, kind: type) -> None:
    rolled.copy.meddle = lambda answer: replace(answer, nonce=b"\1" * 32) if isinstance(answer, kind) else answer
    assert stopped(rolled, LinkError, "guard answered another question")


def test_an_answer_that_guard_didnt_sign_is_as_good_as_no_link(rolled: Rolled) -> None:
    rolled.copy.guard_key = SigningKey(b"\7" * 32)
    assert stopped(rolled, LinkError, "isn't a strongroom/sync-answer/v1 signed by the expected key")


def test_a_guard_that_is_cut_off_is_waited_for_by_whoever_called(rolled: Rolled) -> None:
    def cut(frame: bytes) -> bytes:
        raise LinkError("cut off")

    rolled.copy.exchange = cut  # type: ignore[method-assign] # the link goes, guard stays
    assert stopped(rolled, LinkError, "cut off")


def test_only_a_journal_that_has_just_begun_offers_its_genesis(tmp_path: Path) -> None:
    """An empty guard enrols it; before a longer one it lost its store, and isn't to be filled by whoever comes."""
    (tmp_path / "young").mkdir(mode=0o700)
    world = World(tmp_path)
    first = next(iter(world.journal.entries()))
    journal = Journal.load(FileDisk(str(tmp_path / "young"), create=True))
    journal.settle(0, EMPTY_HEAD)
    journal.append(first)
    copy = Copy(world, [])
    for opened, offered in ((journal, (first,)), (world.journal, ())):
        Opening(opened, world.store, copy, lambda length: bytes(length)).settle()
        assert copy.offered.pop() == offered


def test_an_empty_journal_begins_with_the_ceremony(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "empty").mkdir(mode=0o700)
    journal = Journal.load(FileDisk(str(tmp_path / "empty"), create=True))
    with pytest.raises(StartError, match="a signer begins with the genesis ceremony"):
        Opening(journal, world.store, Copy(world, []), lambda length: bytes(length))


def test_other_keys_than_genesis_names_begin_nothing(rolled: Rolled) -> None:
    with pytest.raises(StartError, match="the key file isn't the one of this journal's genesis"):
        rolled.opening(KeyStore(Secret(b"\6" * 32)))


def test_a_life_begins_with_guards_time_in_the_journal(tmp_path: Path) -> None:
    world = World(tmp_path)
    guard_ms = world.times.wall_ms + 77
    world.notary.write(Kind.RESUMED, {"guard_ms": guard_ms}, world.notary.reading())
    assert world.book.started.guard == guard_ms
    assert world.book.started.reading == world.book.clock
    assert write_entry(Kind.RESUMED, world.book.clock, {"guard_ms": guard_ms}) == list(world.journal.entries())[-1]
