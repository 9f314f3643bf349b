"""Any order of writing, syncing, replaying, rolling back, freezing and being killed: what was cosigned stays cosigned.

The attacker kills guard at any point, rolls the signer back, and sends old frames again; it wants two journals to be
cosigned. The bound: every head that was ever cosigned lies on guard's one chain, and an honest signer can always go on.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.guard.world import OpenGuard, Signer, World, b64
from tests.protocol.people import CLEO, ORGANISATION, policy, roster

from strongroom.domain.document import DocumentError
from strongroom.guard.marker import Marker
from strongroom.journal.journal import Journal
from strongroom.protocol.canonical import encode
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import FETCH_TYPE, SYNC_TYPE, Lease, Reason, sign_frame
from strongroom.protocol.journal_chain import EntryError, Head, head_after
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Kills are exceptions here, so nothing is asked of the disk; hundreds of stories would wait for it."""


class Killed(BaseException):
    """The process ends here."""


class Story:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.world = World(folder)
        self.patch = patch
        self.guard = self.world.open()
        self.signer = Signer(self.world, self.exchange)
        self.signer.found()
        self.frames: list[bytes] = []
        self.cosigned: list[Head] = []
        self.sync()
        self.restart()

    def exchange(self, frame: bytes) -> bytes:
        """Kills are heard of as a connection that ended."""
        if SYNC_TYPE.encode() in frame:
            self.frames.append(frame)
        try:
            return self.guard.witness.answer(frame)
        except Killed:
            self.patch.undo()
            self.restart()
            raise ConnectionError("guard was killed") from None

    def restart(self) -> None:
        self.guard.close()
        self.guard: OpenGuard = self.world.open()
        if self.guard.log.standings.genesis is not None:
            self.guard.leases.beat(self.world.beat(), self.world.now)

    def write(self) -> None:
        self.signer.write(Kind.RESUMED)

    def spend(self) -> None:
        self.signer.spend()

    def sync(self) -> None:
        try:
            answer = self.signer.sync(first=max(0, min(self.signer.guard, len(self.signer.entries))))
        except ConnectionError:
            return
        if answer.is_cosigned:
            assert answer.journal == self.signer.head
            self.cosigned.append(answer.journal)
        else:
            assert answer.reason in (Reason.BEHIND, Reason.FORK, Reason.CONTROL)
            assert answer.reason is Reason.CONTROL or answer.lease is Lease.NONE
        if answer.reason is not Reason.FORK:
            self.signer.apply_control(answer)

    def replay(self) -> None:
        for frame in self.frames[:: max(1, len(self.frames) // 3)]:
            answer = self.signer.read(self.guard.witness.answer(frame))
            if answer.is_cosigned:
                self.cosigned.append(answer.journal)

    def roll_back(self) -> None:
        del self.signer.entries[2 + (len(self.signer.entries) - 2) // 2 :]
        self.recount()

    def bring_forward(self) -> None:
        """As a signer that starts: what guard has is kept, and of its own only what continues that."""
        entries = list(self.signer.fetch(0).entries)
        if self.signer.entries[: len(entries)] != entries:
            self.signer.entries = entries
        self.recount()

    def recount(self) -> None:
        """What of guard's log this signer's journal says that it applied."""
        self.signer.guard = min(self.signer.guard, len(self.signer.entries))
        count = sum(b'"type":"strongroom/journal/control/v1"' in raw for raw in self.signer.entries)
        heads = self.guard.log._chain
        self.signer.control = Head(count, heads.head_at(count))

    def freeze(self) -> None:
        self.guard.keep(self.world.negative(Action.FREEZE, "organisation", CLEO))

    def kill_at(self, kind: type, name: str, *, after: bool) -> None:
        """The next call of this method is the last thing that guard does."""
        real: Callable[..., Any] = getattr(kind, name)

        def killed(*arguments: Any) -> None:
            if after:
                real(*arguments)
            raise Killed

        self.patch.setattr(kind, name, killed)
        self.write()
        self.sync()
        self.patch.undo()

    def check(self) -> None:
        chain = self.guard.witness._journal
        assert not self.guard.witness.is_restored
        assert all(chain.holds(head) for head in self.cosigned)


STEPS: dict[str, Callable[[Story], None]] = {
    "write": Story.write, "spend": Story.spend, "sync": Story.sync, "replay": Story.replay,
    "roll back": Story.roll_back, "bring forward": Story.bring_forward, "freeze": Story.freeze,
    "restart": Story.restart,
    "kill before the entry": lambda story: story.kill_at(Journal, "append", after=False),
    "kill after the entry": lambda story: story.kill_at(Journal, "append", after=True),
    "kill before the sync": lambda story: story.kill_at(Journal, "sync", after=False),
    "kill after the sync": lambda story: story.kill_at(Journal, "sync", after=True),
    "kill before the marker": lambda story: story.kill_at(Marker, "write", after=False),
    "kill after the marker": lambda story: story.kill_at(Marker, "write", after=True),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=25))
def test_what_was_cosigned_stays_and_an_honest_signer_goes_on(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        story = Story(Path(folder), patch)
        for step in steps:
            STEPS[step](story)
            story.check()
        story.bring_forward()
        story.spend()
        for _ in range(3):
            story.sync()
        story.check()
        assert story.cosigned[-1] == story.signer.head == story.guard.witness.head
        assert list(story.signer.fetch(0).entries) == story.signer.entries
        story.guard.close()


VALUES = (
    st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=4) | st.lists(st.lists(st.text(max_size=3)))
    | st.sampled_from(
        ["", "e30=", b64(policy()), b64(write_roster(roster())), ORGANISATION, "policy", "roster", "freeze", "ab" * 32]
    )
)
NAMES = (
    "genesis", "policy", "roster", "entry", "action", "object", "record_id", "people", "organisation", "document",
    "raw", "change", "is_in_force", "transaction", "operation",
)
ENTRIES = st.binary(max_size=30) | st.builds(
    lambda kind, clock, body: encode({**body, "clock": clock, "type": f"strongroom/journal/{kind.value}/v1"}),
    st.sampled_from(Kind), st.just([1, 2, 3]) | st.lists(st.integers(-1, 9), max_size=4),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENTRIES, max_size=4), st.binary(max_size=80))
def test_whatever_the_signer_signs_guard_answers_or_refuses_and_goes_on(entries: list[bytes], raw: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = World(Path(folder))
        guard = world.open()
        signer = Signer(world, guard.witness.answer)
        signer.found()
        assert signer.sync().is_cosigned
        before = list(signer.entries)
        try:
            journal = Head(len(before) + len(entries), head_after(signer.head.head, entries))
            cosigned = signer.sync(entries=tuple(entries), journal=journal).is_cosigned
        except (DocumentError, EntryError):
            cosigned = False
        for record_type in (SYNC_TYPE, FETCH_TYPE):
            with pytest.raises(DocumentError):
                guard.witness.answer(sign_frame(world.statement_key, raw, record_type))
        signer.entries = before + entries * cosigned
        guard.close()
        again = world.open()
        assert again.witness.head == signer.head
        signer.exchange = again.witness.answer
        signer.guard = len(signer.entries)
        signer.write(Kind.RESUMED)
        assert signer.sync().is_cosigned
        again.close()
