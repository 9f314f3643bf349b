"""What guard does when its store isn't what it was: crashes heal by themselves, restores never do.

The attacker has, or the operator restores, an older copy of a disk; wants that what was paid is forgotten and paid
again; the bound is nothing: no lease and no cosignature until the operator reconciled, and none if both lost some.
"""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.guard.world import OpenGuard, Signer, World, b64
from tests.protocol.people import CLEO, DAN

from strongroom.domain.document import DocumentError
from strongroom.guard.reconcile import Reconciler
from strongroom.journal.journal import JournalError
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease, Reason
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head
from strongroom.protocol.negative import Action


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Run:
    """A guard that is stopped and started again, and its signer; `save` and `restore` are an operator's backup."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.guard = world.open()
        self.signer = Signer(world, lambda frame: self.guard.witness.answer(frame))
        self.signer.found()

    def start(self, kind: type[Reconciler] | None = None) -> OpenGuard:
        self.guard.close()
        self.guard = self.world.open(kind) if kind is not None else self.world.open()
        if kind is None and self.guard.log.standings.genesis is not None:
            self.guard.leases.beat(self.world.beat(), self.world.now)
        return self.guard

    def save(self) -> None:
        shutil.copytree(self.world.store, self.world.folder / "backup", dirs_exist_ok=True)

    def restore(self) -> None:
        self.guard.close()
        shutil.rmtree(self.world.store)
        shutil.copytree(self.world.folder / "backup", self.world.store)
        self.world.store.chmod(0o700)

    def reconcile(self) -> bool:
        """As `--reconcile` with a signer that goes on as long as guard takes something."""
        self.start(Reconciler)
        assert isinstance(self.guard.witness, Reconciler)
        for _ in range(10):
            answer = self.signer.sync()
            assert (answer.is_cosigned, answer.lease) == (False, Lease.NONE)
            if self.guard.witness.is_done:
                return True
            if answer.journal.length == self.signer.guard and answer.journal != self.signer.head:
                return False
            self.signer.guard = answer.journal.length
        return False

    def spend_once(self) -> None:
        self.signer.spend()
        assert self.signer.sync().is_cosigned


@pytest.fixture
def run(world: World) -> Run:
    """Enrolled, with a spend, then saved; a second spend came after."""
    run = Run(world)
    assert run.signer.sync().is_cosigned
    run.start()
    run.spend_once()
    run.save()
    run.spend_once()
    return run


def is_closed(run: Run) -> bool:
    """Whether guard cosigns nothing, keeps nothing, leases nothing and brings nobody forward."""
    before = run.guard.witness.head
    run.signer.guard = before.length
    run.signer.write(Kind.RESUMED)
    answer = run.signer.sync()
    run.signer.entries.pop()
    fetched = run.signer.fetch(0) if run.guard.log.standings.genesis is not None else None
    return (
        not answer.is_cosigned and answer.reason is Reason.UNRECONCILED and run.guard.witness.head == before
        and (answer.lease, answer.lease_ms) == (Lease.NONE, 0) and (fetched is None or fetched.entries == ())
    )


def test_a_guard_that_was_stopped_goes_on(run: Run) -> None:
    run.start()
    run.spend_once()
    assert run.signer.sync().lease is Lease.ALL


def test_a_crash_before_the_marker_is_healed_by_the_same_sync(run: Run, world: World) -> None:
    marker, head = world.marker.read_bytes(), run.guard.witness.head
    run.signer.write(Kind.RESUMED)
    run.signer.spend()
    offered = run.signer.frame(run.signer.offer())
    run.guard.witness.answer(offered)
    world.marker.write_bytes(marker)
    assert run.start().witness.head == head
    answer = run.signer.read(run.guard.witness.answer(offered))
    assert (answer.is_cosigned, answer.journal) == (True, run.signer.head)
    assert list(run.signer.fetch(0).entries) == run.signer.entries


def test_a_crash_in_the_middle_of_the_entries_is_healed_too(run: Run, world: World) -> None:
    head = run.guard.witness.head
    marker, journal = world.marker.read_bytes(), world.store / "journal"
    run.signer.write(Kind.RESUMED)
    run.signer.write(Kind.RESUMED)
    run.guard.witness.answer(run.signer.frame(run.signer.offer()))
    run.guard.close()
    world.marker.write_bytes(marker)
    with journal.open("r+b") as handle:
        handle.truncate(journal.stat().st_size - 3)
    assert run.start().witness.head == head
    assert run.signer.sync().is_cosigned


def test_a_crash_while_enrolling_leaves_an_empty_guard(world: World) -> None:
    run = Run(world)
    frame = run.signer.frame(run.signer.offer())
    empty = len(world.marker.read_bytes())
    run.guard.witness.answer(frame)
    marker = world.marker.read_bytes()
    run.guard.close()
    world.marker.write_bytes(bytes(4_096) + marker[4_096:])  # the slot of the second write is lost
    assert (empty, run.start().witness.head) == (0, Head(0, EMPTY_HEAD))
    assert run.signer.read(run.guard.witness.answer(frame)).is_cosigned


def test_a_torn_marker_leaves_the_one_before(run: Run, world: World) -> None:
    before = run.guard.witness.head
    slots = world.marker.read_bytes()
    run.spend_once()
    run.guard.close()
    raw = bytearray(world.marker.read_bytes())
    changed = next(number for number in range(len(raw)) if number >= len(slots) or raw[number] != slots[number])
    raw[changed + 20] ^= 1
    world.marker.write_bytes(bytes(raw))
    assert run.start().witness.head == before
    run.signer.guard = before.length
    assert run.signer.sync().is_cosigned


def restored_store(run: Run) -> None:
    run.restore()


def missing_marker(run: Run) -> None:
    run.world.marker.unlink()


def restored_without_marker(run: Run) -> None:
    run.restore()
    run.world.marker.unlink()


def lost_store(run: Run) -> None:
    run.guard.close()
    for file in run.world.store.iterdir():
        file.unlink()


def lost_all(run: Run) -> None:
    lost_store(run)
    run.world.marker.unlink()


LOSSES = (restored_store, missing_marker, restored_without_marker, lost_store, lost_all)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_guard_that_lost_something_is_closed_until_reconciled(run: Run, lose: Callable[[Run], None]) -> None:
    lose(run)
    run.start()
    assert is_closed(run)
    run.start()
    assert is_closed(run)
    assert run.reconcile()
    run.start()
    run.signer.guard = len(run.signer.entries)
    answer = run.signer.sync()
    assert (answer.is_cosigned, answer.lease) == (True, Lease.ALL)
    run.spend_once()
    assert list(run.signer.fetch(0).entries) == run.signer.entries


def test_if_both_lost_the_same_nothing_is_reconciled(run: Run) -> None:
    run.restore()
    run.signer.entries.pop()
    run.signer.guard = len(run.signer.entries)
    with pytest.raises(JournalError, match="both have lost some"):
        run.reconcile()
    run.start()
    assert is_closed(run)


def test_a_journal_of_the_right_length_with_another_spend_isnt_reconciled(run: Run) -> None:
    run.restore()
    run.signer.entries.pop()
    run.signer.spend()
    with pytest.raises(JournalError, match="both have lost some"):
        run.reconcile()


def test_a_signer_that_is_behind_or_elsewhere_isnt_reconciled(run: Run) -> None:
    run.world.marker.unlink()
    entries = list(run.signer.entries)
    run.signer.entries = entries[:-1]
    run.signer.guard = 0
    run.start(Reconciler)
    answer = run.signer.sync()
    assert (answer.reason, answer.journal.length) == (Reason.BEHIND, len(entries))
    run.signer.spend()
    assert run.signer.sync(first=0).reason is Reason.FORK
    assert run.guard.witness.head.length == len(entries)
    assert not getattr(run.guard.witness, "is_done", True)


def test_an_older_control_log_alone_counts_as_restored(run: Run, world: World) -> None:
    control = world.store / "control"
    run.guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    one = control.read_bytes()
    run.guard.keep(world.negative(Action.FREEZE, "organisation", DAN))
    run.start()
    assert not run.guard.witness.is_restored
    run.guard.close()
    control.write_bytes(one)
    run.start()
    assert is_closed(run)


def test_reconciling_takes_from_the_journal_the_instructions_that_guard_lost(run: Run, world: World) -> None:
    run.guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    run.guard.keep(world.negative(Action.FREEZE, "organisation", DAN))
    run.signer.apply_control(run.signer.sync())
    assert run.signer.sync().is_cosigned
    head = run.guard.log.head
    run.restore()
    assert run.start().log.head.length == 0
    assert run.reconcile()
    run.start()
    assert (run.guard.log.head, run.guard.witness.is_restored) == (head, False)
    assert [standing.freeze_epoch for standing in run.guard.log.current.values()] == [2]
    assert run.signer.sync().is_cosigned


def test_an_instruction_that_nobody_has_any_more_is_said_to_be_lost(
    run: Run, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    run.guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    run.restore()
    with caplog.at_level(logging.ERROR):
        assert run.reconcile()
    assert "instructions up to number 1 may be lost" in caplog.text


def test_an_instruction_that_only_guard_has_stays(run: Run, world: World) -> None:
    run.guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    world.marker.unlink()
    assert run.reconcile()
    run.start()
    assert run.guard.log.head.length == 1
    assert len(run.signer.sync().control_entries) == 1


def test_other_instructions_than_the_signers_are_nothing_to_reconcile(run: Run, world: World) -> None:
    run.guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    run.signer.write(Kind.CONTROL, entry=b64(b"another"))
    world.marker.unlink()
    with pytest.raises(JournalError, match="other instructions"):
        run.reconcile()


def test_only_the_genesis_that_the_operator_named_is_enrolled(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", guard_key=world.guard_key)
    guard = world.open()
    stranger = Signer(other, guard.witness.answer)
    stranger.found()
    with pytest.raises(DocumentError, match="named"):
        stranger.sync()
    late = Signer(world, guard.witness.answer)
    late.found()
    with pytest.raises(DocumentError, match="can't stand before genesis"):
        late.sync(entries=(late.entries[1],), journal=Head(1, late.head.head))
    assert guard.witness.head.length == 0
    assert late.sync().is_cosigned


def test_an_empty_guard_asks_for_all(world: World) -> None:
    """Whoever speaks is told only that guard has nothing; whatever else it asks, it has no answer."""
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found()
    for first in (1, 2):
        answer = signer.sync(first=first)
        assert (answer.is_cosigned, answer.reason, answer.journal) == (
            False, Reason.UNRECONCILED, Head(0, EMPTY_HEAD)
        )
        assert (answer.lease, answer.lease_ms, answer.control_entries) == (Lease.NONE, 0, ())
    with pytest.raises(DocumentError):
        signer.fetch(0)
    assert signer.sync(first=0).is_cosigned


def test_a_genesis_for_another_guard_isnt_enrolled(world: World) -> None:
    (world.folder / "guard.key").write_text(bytes(SigningKey.generate()).hex())
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found()
    with pytest.raises(DocumentError, match="names this guard's key"):
        signer.sync()


def test_an_empty_guard_takes_no_offer_from_the_middle(world: World) -> None:
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found()
    genesis = signer.entries[0]
    assert signer.sync(entries=(genesis,)).reason is Reason.UNRECONCILED
    assert guard.witness.head.length == 0


def test_a_marker_that_cant_be_written_is_a_broken_disk(run: Run) -> None:
    os.close(run.guard.witness._marker._file)
    run.signer.write(Kind.RESUMED)
    with pytest.raises(JournalError, match="marker"):
        run.signer.sync()
