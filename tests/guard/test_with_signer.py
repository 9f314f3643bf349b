"""Guard and the real signer's gate, notary and start, over real stores: what the two agree on, and when they don't."""

from pathlib import Path
from typing import Any

import pytest
from tests.signer.world import CLEO, DAN, ORGANISATION, PAY_KEY, AskRefused, World

from strongroom.domain.instant import Instant
from strongroom.guard.config import Config
from strongroom.guard.main import Guard
from strongroom.guard.reconcile import Reconciler
from strongroom.guard.witness import Witness
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.control import HEARTBEAT_TYPE, ByPeople, Control
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.watch_record import heartbeat_record
from strongroom.signer.guard_link import LinkError
from strongroom.signer.start import Opening, StartError


class RealGuard:
    """In the place of the signer's link: a guard over a store of its own."""

    def __init__(self, world: World, folder: Path, **config: Any) -> None:
        self.config = config
        self.world, self.folder, self.is_reachable = world, folder, True
        (folder / "store").mkdir(mode=0o700)
        (folder / "guard.key").write_text(bytes(world.keys.guard).hex())
        self.open()

    def open(self, kind: type[Witness] = Witness) -> None:
        config = Config(
            folder=str(self.folder / "store"), marker_file=str(self.folder / "marker"),
            key_file=str(self.folder / "guard.key"), signer_listen="127.0.0.1:28000",
            genesis_hash=record_hash("strongroom/genesis/v1", self.world.genesis).hex(),
            officers_listen="127.0.0.1:28001", **self.config,
        )
        times = self.world.times
        self.parts = Guard(config, kind, lambda: Instant(times.wall_ms), lambda: times.boot_ms * 1_000_000)
        self.beat()

    def beat(self) -> None:
        if self.parts.log.standings.genesis is not None:
            now = Instant(self.world.times.wall_ms)
            frame = sign_frame(
                self.world.keys.checkpoint, heartbeat_record(self.parts.log.standings.deployment, now), HEARTBEAT_TYPE
            )
            self.parts.leases.beat(frame, now)

    def close(self) -> None:
        self.parts.witness._journal.close()
        self.parts.log._chain.close()

    @property
    def head(self) -> Head:
        return self.parts.witness.head

    def exchange(self, frame: bytes) -> bytes:
        if not self.is_reachable:
            raise LinkError("cut off")
        return self.parts.witness.answer(frame)

    def instruct(self, action: Action, target: str, *people: Any, epoch: int = 0, **said: Any) -> None:
        now = Instant(self.world.times.wall_ms)
        record_id = f"{self.parts.log.head.length:064x}"
        negative = Negative(action, Instant(now + 60_000), epoch, target, ORGANISATION, record_id, **said)
        record = write_negative(negative)
        given = ByPeople(record, tuple(each.asserts(record, negative.type) for each in people))
        self.parts.log.keep(Control(now, ORGANISATION, given))


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name in ("signer", "guard"):
        (tmp_path / name).mkdir(mode=0o700)
    world = World(tmp_path / "signer")
    guard: Any = RealGuard(world, tmp_path / "guard")
    world.guard = guard
    world._open(world.journal)
    world.notary.agree()
    guard.beat()
    return world


def real(world: World) -> RealGuard:
    guard: Any = world.guard
    return guard


def test_a_payout_is_signed_with_both_agreeing(world: World) -> None:
    assert world.sign([world.intent(world.cooled(), 20_000)])
    assert real(world).head == world.notary.head


def test_a_freeze_at_guard_stops_the_very_next_spend_and_a_quorum_undoes_it(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    real(world).instruct(Action.FREEZE, "organisation", CLEO)
    with pytest.raises(AskRefused):
        world.sign([payout])
    with pytest.raises(AskRefused, match="frozen"):
        world.sign([payout])
    real(world).instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=1)
    assert world.sign([payout])
    assert real(world).parts.log.standings.control == real(world).parts.log.head == world.book.control
    assert world.payments.standing == real(world).parts.log.current[ORGANISATION]


def test_a_cancel_at_guard_is_a_tombstone_at_the_signer(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    real(world).instruct(Action.CANCEL, payout, CLEO)
    for _ in range(2):
        with pytest.raises(AskRefused):
            world.sign([payout])
    assert payout in world.payments.dead


def test_a_revoked_key_pays_nothing_more(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    real(world).instruct(Action.REVOKE, PAY_KEY, CLEO)
    for _ in range(2):
        with pytest.raises(AskRefused):
            world.sign([payout])


def test_with_guard_cut_off_nothing_new_is_signed(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    real(world).is_reachable = False
    with pytest.raises(AskRefused):
        world.sign([payout])
    real(world).is_reachable = True
    assert world.sign([payout])


def test_without_watch_nothing_is_paid(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    world.pass_by(60_000)
    with pytest.raises(AskRefused):
        world.sign([payout])
    real(world).beat()
    world.notary.agree()
    assert world.sign([payout])


def opening(world: World, journal: Journal) -> Opening:
    numbers = iter(range(10**6, 2 * 10**6))
    return Opening(journal, world.store, real(world), lambda length: next(numbers).to_bytes(length))


def test_a_rolled_back_signer_is_brought_forward_with_what_it_signed(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    file = world.folder / "journal"
    before = file.read_bytes()
    raw, _ = world.transaction([world.output(payout)])
    signed = world.sign([payout], raw=raw)
    world.journal.close()
    file.write_bytes(before)
    start = opening(world, Journal.load(FileDisk(str(world.folder))))
    start.settle()
    assert start.journal.length == real(world).head.length
    world._open(start.journal)
    assert world.sign([payout], raw=raw) == signed
    with pytest.raises(AskRefused, match="payout-once"):
        world.sign([payout])


def test_a_guard_that_lost_its_store_is_reconciled_by_the_signer(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    real(world).instruct(Action.FREEZE, "asset:iso4217:EUR", CLEO)
    world.notary.agree()
    guard = real(world)
    guard.close()
    for file in (guard.folder / "store").iterdir():
        file.unlink()
    (guard.folder / "marker").unlink()
    guard.open()
    with pytest.raises(AskRefused):
        world.sign([payout])
    guard.close()
    guard.open(Reconciler)
    world.journal.close()
    start = opening(world, Journal.load(FileDisk(str(world.folder))))
    start.settle()
    world._open(start.journal)
    with pytest.raises(AskRefused):
        world.sign([payout])
    assert isinstance(guard.parts.witness, Reconciler)
    assert guard.parts.witness.is_done
    guard.close()
    guard.open()
    world.notary.agree()
    assert world.sign([payout])
    assert guard.parts.log.current[ORGANISATION].frozen == {"asset:iso4217:EUR"}


def test_a_signer_that_guard_knows_otherwise_doesnt_start(world: World) -> None:
    file = world.folder / "journal"
    before = file.read_bytes()
    world.intent(world.cooled(), 20_000)
    world.notary.agree()
    world.journal.close()
    file.write_bytes(before)
    forked = Journal.load(FileDisk(str(world.folder)))
    forked.settle(forked.length, forked.head)
    world.guard.is_reachable = False
    world._open(forked)
    world.cooled(name="another payee")
    world.guard.is_reachable = True
    with pytest.raises(StartError):
        opening(world, forked).settle()
