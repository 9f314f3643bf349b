"""Guard in a recovery: both it and the signer have lost some, and it goes on when every quorum has said how.

The attacker has every entry that was ever journaled; wants guard to lease to a signer that has forgotten what it paid;
the bound is nothing. That a quorum said it is the signer's to check (`tests/signer/test_recovery.py`).
"""

from pathlib import Path

import pytest
from tests.guard.world import OpenGuard, Signer, World, b64
from tests.protocol.people import CLEO, DAN, ORGANISATION, OTHER, policy, roster
from tests.protocol.recovering import EPOCH, new_roster

from strongroom.domain.ids import OrganisationId
from strongroom.guard.reconcile import Reconciler
from strongroom.journal.journal import JournalError
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease, Reason
from strongroom.protocol.negative import Action, InstructionError
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import Roster

OTHER_EPOCH = "f" * 64


class Run:
    """A guard and a signer of which both are restored to when nothing was paid; `signer` goes on from there."""

    def __init__(self, world: World, *organisations: OrganisationId) -> None:
        self.world, self.guard = world, world.open()
        self.signer = Signer(world, lambda frame: self.guard.witness.answer(frame))
        self.signer.found(*organisations)
        assert self.signer.sync().is_cosigned
        self.guard.leases.beat(world.beat(), world.now)
        self.kept = len(self.signer.entries)
        (world.folder / "older").write_bytes((world.store / "journal").read_bytes())
        self.signer.spend()
        assert self.signer.sync().is_cosigned

    is_lost = False

    def lose(self, *, with_store: bool = True, with_marker: bool = True) -> None:
        self.guard.close()
        self.is_lost = True
        del self.signer.entries[self.kept :]
        (self.world.store / "journal").write_bytes((self.world.folder / "older").read_bytes() if with_store else b"")
        if not with_marker:
            self.world.marker.write_bytes(b"")
        self.signer.guard = 0

    def begin(self, epoch: str = EPOCH) -> OpenGuard:
        self.guard.close()
        journal = self.world.store / "journal"
        if self.is_lost:
            journal.replace(self.world.store / "lost")
        self.guard = self.world.open(Reconciler)
        assert isinstance(self.guard.witness, Reconciler)
        self.guard.witness.recover(epoch)
        self.signer.guard = 0
        return self.guard

    def goes_on(self) -> bool:
        """As a signer that offers what guard hasn't, until guard has all; whether the recovery is done."""
        assert isinstance(self.guard.witness, Reconciler)
        for _ in range(3):
            answer = self.signer.sync()
            assert (answer.is_cosigned, answer.lease) == (False, Lease.NONE)
            assert answer.reason in (Reason.LOST, Reason.UNRECONCILED)
            self.signer.guard = answer.journal.length
        return self.guard.witness.is_done

    def recover(self, before: Roster | None = None, letter: str = "n", epoch: str = EPOCH) -> None:
        """As the signer journals it, which has checked that a quorum wants it."""
        made = new_roster(before or roster(), letter)
        self.signer.write(
            Kind.RECOVERED, organisation=made.organisation, epoch=epoch, policy=b64(policy(made.organisation)),
            roster=b64(write_roster(made)), people=[[CLEO.id], [DAN.id]],
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(World(tmp_path))
    run.lose()
    return run


@pytest.mark.parametrize("with_store", [True, False])
@pytest.mark.parametrize("with_marker", [True, False])
def test_it_takes_the_signers_journal_when_the_quorum_has_said_how_to_go_on(
    tmp_path: Path, with_store: bool, with_marker: bool
) -> None:
    run = Run(World(tmp_path))
    run.lose(with_store=with_store, with_marker=with_marker)
    run.begin()
    assert not run.goes_on()
    assert run.signer.sync().reason is Reason.LOST
    run.signer.write(Kind.RESUMED)
    run.recover()
    assert run.goes_on()
    run.guard.close()
    run.guard = run.world.open()
    assert not run.guard.witness.is_restored
    run.guard.leases.beat(run.world.beat(), run.world.now)
    run.signer.spend()
    assert run.signer.sync().lease is Lease.ALL
    assert {each.name for each in run.world.store.iterdir()} == {"control", "journal", "lost"}


def test_until_then_nobody_gets_a_lease_and_a_normal_start_stays_closed(run: Run) -> None:
    run.begin()
    run.recover(epoch=OTHER_EPOCH)
    assert not run.goes_on()
    run.guard.close()
    run.guard = run.world.open()
    assert run.guard.witness.is_restored
    assert run.guard.witness.lease() is Lease.NONE


def test_instructions_are_given_when_the_signer_knows_that_some_is_lost(tmp_path: Path) -> None:
    """A signer that has forgotten what it signed would bury what was cancelled since, and say that it never was."""
    run = Run(World(tmp_path))
    run.guard.keep(run.world.negative(Action.CANCEL, "po_" + "l" * 26, CLEO))
    run.guard.keep(run.world.negative(Action.FREEZE, "organisation", CLEO))
    run.lose()
    run.begin()
    assert run.signer.sync().control_entries == ()
    run.recover()
    assert run.goes_on()
    assert run.signer.sync().control_entries == ()
    run.guard.close()
    run.guard = run.world.open()
    assert len(run.signer.sync().control_entries) == 2


def test_an_instruction_that_was_lost_with_the_control_log_starts_nothing_when_it_is_given_again(
    tmp_path: Path,
) -> None:
    """The attacker keeps an officer's word, and an unfreeze, which guard has forgotten."""
    run = Run(World(tmp_path))
    before = (run.world.store / "control").read_bytes()
    given = [
        run.world.negative(Action.RECOVER, "network:sim:sandbox", CLEO),
        run.world.negative(Action.FREEZE, "organisation", CLEO),
        run.world.negative(Action.UNFREEZE, "organisation", CLEO, DAN, freeze_epoch=1),
    ]
    for each in given:
        run.guard.keep(each)
    run.lose(with_marker=False)
    (run.world.store / "control").write_bytes(before)
    run.begin()
    run.recover()
    assert run.goes_on()
    run.guard.close()
    run.guard = run.world.open()
    word, freeze, unfreeze = given
    run.guard.keep(freeze)
    for each in (word, unfreeze):
        with pytest.raises(InstructionError, match="before the last freeze"):
            run.guard.keep(each)


def test_every_organisation_must_have_said_it(tmp_path: Path) -> None:
    run = Run(World(tmp_path, organisations=(ORGANISATION, OTHER)), ORGANISATION, OTHER)
    run.lose()
    run.begin()
    run.recover()
    assert not run.goes_on()
    run.recover(roster(OTHER), "m")
    assert run.goes_on()


def test_the_record_of_one_recovery_is_worth_nothing_in_the_next(run: Run) -> None:
    run.begin()
    run.recover()
    used = run.signer.entries[-1]
    assert run.goes_on()
    run.lose()
    run.begin(OTHER_EPOCH)
    run.signer.entries.append(used)
    assert not run.goes_on()


def test_what_guard_was_told_goes_on(tmp_path: Path) -> None:
    """Its control log isn't put aside: a freeze that the signer's journal has lost is heard again."""
    run = Run(World(tmp_path))
    run.guard.keep(run.world.negative(Action.FREEZE, "organisation", CLEO))
    run.lose()
    run.begin()
    run.recover()
    assert run.goes_on()
    run.guard.close()
    run.guard = run.world.open()
    assert not run.guard.witness.is_restored
    assert run.guard.log.current[ORGANISATION].frozen == {"organisation"}
    assert len(run.signer.sync().control_entries) == 1


@pytest.mark.parametrize("epoch", [EPOCH, "e" * 63, "E" * 64])
def test_it_begins_with_an_empty_store_and_an_epoch_of_its_own(tmp_path: Path, epoch: str) -> None:
    run = Run(World(tmp_path))
    if epoch != EPOCH:
        run.lose()
        (run.world.store / "journal").write_bytes(b"")
    run.guard.close()
    with pytest.raises(JournalError, match="an epoch of 64 hex digits, and begins with guard's journal moved away"):
        run.begin(epoch)


def test_out_of_a_recovery_no_quorum_gets_around_delay_and_veto(tmp_path: Path) -> None:
    run = Run(World(tmp_path))
    run.recover()
    answer = run.signer.sync()
    assert (answer.is_cosigned, answer.reason) == (False, Reason.UNRECONCILED)
    assert run.guard.log.standings.organisations[ORGANISATION].roster.version == 1
