"""Instructions: who may give which, what is kept, and that nothing refused is.

The attacker has a key, a passkey or an old record and wants something stopped that isn't theirs, or started again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.guard.world import OpenGuard, Signer, World, b64
from tests.protocol.people import ADA, CLEO, DAN, NEIGHBOUR, ORGANISATION, OTHER, PAYER, READER, STRANGER, VIC, policy

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.protocol.control import ByPeople, ByWatch, read_control
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.identifier import run_id
from strongroom.protocol.negative import INSTRUCTION_FAULTS, Action, InstructionError
from strongroom.protocol.standing import policy_hash


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def guard(world: World) -> OpenGuard:
    """Enrolled by a signer, with a pending change and watch's heartbeat."""
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found()
    signer.write(Kind.RESUMED)
    assert signer.sync().is_cosigned
    signer.write(
        Kind.CHANGE, organisation=ORGANISATION, document="policy", raw=b64(CHANGED), people=[[CLEO.id], [DAN.id]]
    )
    assert signer.sync().is_cosigned
    guard.leases.beat(world.beat(), world.now)
    return guard


CHANGED = policy(version=2, previous="ab" * 32)
CHANGE = policy_hash(CHANGED)
PAYOUT = PAYER.payout("invoice-1")
Give = Callable[[World], Any]

KEPT: dict[str, Give] = {
    "an officer freezes all": lambda w: w.negative(Action.FREEZE, "organisation", CLEO),
    "an officer freezes an asset": lambda w: w.negative(Action.FREEZE, "asset:iso4217:EUR", CLEO),
    "an officer freezes a network": lambda w: w.negative(Action.FREEZE, "network:eip155:1", CLEO),
    "an officer freezes a client": lambda w: w.negative(Action.FREEZE, f"client:{PAYER.id}", DAN),
    "an officer freezes a beneficiary": lambda w: w.negative(Action.FREEZE, "beneficiary:ben_" + "a" * 26, DAN),
    "two officers freeze": lambda w: w.negative(Action.FREEZE, "organisation", CLEO, DAN),
    "an officer cancels": lambda w: w.negative(Action.CANCEL, PAYOUT, CLEO),
    "an approver cancels": lambda w: w.negative(Action.CANCEL, PAYOUT, ADA),
    "an approver declines a run": lambda w: w.negative(Action.DECLINE, "run_" + "a" * 26, ADA),
    "an officer revokes": lambda w: w.negative(Action.REVOKE, PAYER.key_id, CLEO),
    "an officer suspends": lambda w: w.negative(Action.SUSPEND, DAN.id, CLEO),
    "a viewer vetoes": lambda w: w.negative(Action.VETO, CHANGE, VIC),
    "a client cancels its own payout": lambda w: PAYER.cancels("invoice-1", w.deployment),
    "a client cancels its own run": lambda w: PAYER.cancels(
        "run-1", w.deployment, path="/v1/payout-runs/"
        f"{run_id(ORGANISATION, PAYER.id, IdempotencyKey('run-1'))}/cancel",
    ),
    "watch raises an alarm": lambda w: w.alarm("deficit"),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_instruction_that_holds_is_kept_once(world: World, guard: OpenGuard, name: str) -> None:
    given = KEPT[name](world)
    assert guard.keep(given) == 1
    (raw,) = guard.log.after(guard.log.standings.control)
    control = read_control(raw)
    assert (control.at, control.organisation, control.given) == (world.now, ORGANISATION, given)
    with pytest.raises(InstructionError, match="before"):
        guard.keep(given)
    assert guard.log.head.length == 1


def pay_request(world: World) -> Any:
    return PAYER.cancels("invoice-1", world.deployment, path="/v1/payouts")


REFUSED: dict[str, tuple[Give, str]] = {
    "an approver freezes": (lambda w: w.negative(Action.FREEZE, "organisation", ADA), "may not freeze"),
    "a viewer cancels": (lambda w: w.negative(Action.CANCEL, PAYOUT, VIC), "may not cancel"),
    "an approver revokes": (lambda w: w.negative(Action.REVOKE, PAYER.key_id, ADA), "may not revoke"),
    "an approver suspends": (lambda w: w.negative(Action.SUSPEND, DAN.id, ADA), "may not suspend"),
    "an officer with one who may not": (
        lambda w: w.negative(Action.FREEZE, "organisation", CLEO, ADA), "may not freeze"
    ),
    "a person raises an alarm": (lambda w: w.negative(Action.ALARM, "deficit", CLEO), "may not alarm"),
    "a software key of nobody": (lambda w: w.negative(Action.FREEZE, "organisation", STRANGER), "roster"),
    "nobody": (lambda w: w.negative(Action.FREEZE, "organisation"), "nobody"),
    "expired": (lambda w: w.negative(Action.FREEZE, "organisation", CLEO, expires=w.now), "expired"),
    "another organisation": (
        lambda w: w.negative(Action.FREEZE, "organisation", CLEO, organisation=OTHER), "another organisation"
    ),
    "another page": (
        lambda w: w.negative(Action.FREEZE, "organisation", CLEO, client_data={"origin": "https://evil.example"}),
        "origin",
    ),
    "the assertion of another record": (
        lambda w: ByPeople(
            w.negative(Action.FREEZE, "organisation", CLEO).record,
            w.negative(Action.FREEZE, "organisation", CLEO).assertions,
        ),
        "challenge",
    ),
    "a misspelt scope": (lambda w: w.negative(Action.FREEZE, "organization", CLEO), "object"),
    "a key that isn't there": (lambda w: w.negative(Action.REVOKE, "ak_" + "z" * 26, CLEO), "there is no"),
    "a person who isn't there": (lambda w: w.negative(Action.SUSPEND, STRANGER.id, CLEO), "there is no"),
    "a change that isn't there": (lambda w: w.negative(Action.VETO, "ab" * 32, CLEO), "to veto"),
    "an unfreeze of what isn't frozen": (
        lambda w: w.negative(Action.UNFREEZE, "organisation", CLEO, DAN), "there is no"
    ),
    "an alarm resolved that wasn't raised": (lambda w: w.negative(Action.RESOLVE, "deficit", CLEO), "there is no"),
    "a client's cancel of another's payout": (
        lambda w: NEIGHBOUR.cancels("invoice-1", w.deployment, payout=PAYOUT), "isn't of a payout"
    ),
    "a key without the scope": (lambda w: READER.cancels("invoice-1", w.deployment), "may not cancel"),
    "a cancel signed by another key": (
        lambda w: PAYER.cancels("invoice-1", w.deployment, signed_by=NEIGHBOUR.key), "isn't that of this request"
    ),
    "a cancel of another deployment": (lambda w: PAYER.cancels("invoice-1", "0" * 16), "tag"),
    "a request that pays": (pay_request, "can only cancel"),
    "a cancel with a malformed key": (
        lambda w: PAYER.cancels("invoice-1", w.deployment, header="a b"), "Idempotency-Key"
    ),
    "a cancel with more in it": (
        lambda w: PAYER.cancels("invoice-1", w.deployment, body=b'{"idempotency_key":"invoice-1","x":1}'), "x"
    ),
    "an alarm by another key": (lambda w: w.alarm("deficit", key=SigningKey(bytes(32))), "signed by"),
    "an alarm of another deployment": (lambda w: w.alarm("deficit", deployment="0" * 16), "deployment"),
    "an alarm of another organisation": (lambda w: w.alarm("deficit", organisation=OTHER), "organisation"),
    "an alarm without a name": (lambda w: w.alarm("Deficit!"), "object"),
    "a heartbeat as an alarm": (lambda w: ByWatch(w.beat()), "signed by"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_instruction_that_doesnt_hold_is_refused_and_not_kept(world: World, guard: OpenGuard, name: str) -> None:
    give, reason = REFUSED[name]
    size, before = (world.store / "control").stat().st_size, guard.log.current[ORGANISATION]
    with pytest.raises(INSTRUCTION_FAULTS, match=reason):
        guard.keep(give(world))
    assert (world.store / "control").stat().st_size == size
    assert guard.log.current[ORGANISATION] == before


def test_an_organisation_that_isnt_known_gives_no_instructions(world: World, guard: OpenGuard) -> None:
    given = world.negative(Action.FREEZE, "organisation", CLEO, organisation=OTHER)
    with pytest.raises(InstructionError, match="isn't known"):
        guard.keep(given, OTHER)
    assert guard.log.head.length == 0


def test_a_record_given_again_with_another_assertion_is_refused(world: World, guard: OpenGuard) -> None:
    record_id = "ab" * 32
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO, record_id=record_id))
    for officer in (CLEO, DAN):
        with pytest.raises(InstructionError, match="given before"):
            guard.keep(world.negative(Action.FREEZE, "asset:iso4217:EUR", officer, record_id=record_id))
    assert guard.log.current[ORGANISATION].frozen == {"organisation"}


def test_a_suspended_officer_can_veto_and_nothing_else_until_it_lapses(world: World, guard: OpenGuard) -> None:
    guard.keep(world.negative(Action.SUSPEND, DAN.id, CLEO))
    for action, target in ((Action.FREEZE, "organisation"), (Action.CANCEL, PAYOUT), (Action.SUSPEND, CLEO.id)):
        with pytest.raises(InstructionError, match="is suspended"):
            guard.keep(world.negative(action, target, DAN))
    guard.keep(world.negative(Action.VETO, CHANGE, DAN))
    world.now = Instant(world.now + 72 * HOUR_MS)
    guard.keep(world.negative(Action.FREEZE, "organisation", DAN))
    assert guard.log.current[ORGANISATION].frozen == {"organisation"}


def test_an_officer_suspends_one_person_a_day(world: World, guard: OpenGuard) -> None:
    guard.keep(world.negative(Action.SUSPEND, ADA.id, CLEO))
    world.now = Instant(world.now + DAY_MS - 1)
    with pytest.raises(InstructionError, match="today already"):
        guard.keep(world.negative(Action.SUSPEND, VIC.id, CLEO))
    world.now = Instant(world.now + 1)
    guard.keep(world.negative(Action.SUSPEND, VIC.id, CLEO))
    assert set(guard.log.current[ORGANISATION].suspended) == {ADA.id, VIC.id}


def test_an_unfreeze_needs_a_quorum_that_signed_after_the_last_freeze(world: World, guard: OpenGuard) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    for people, epoch, reason in (
        ((CLEO,), 1, "quorum"), ((CLEO, ADA), 1, "quorum"), ((CLEO, CLEO), 1, "quorum"),
        ((CLEO, DAN), 0, "last freeze"),
    ):
        with pytest.raises(InstructionError, match=reason):
            guard.keep(world.negative(Action.UNFREEZE, "organisation", *people, freeze_epoch=epoch))
    guard.keep(world.negative(Action.UNFREEZE, "organisation", CLEO, DAN, freeze_epoch=1))
    standing = guard.log.current[ORGANISATION]
    assert (standing.frozen, standing.freeze_epoch) == (set(), 2)


def test_a_revoked_key_gives_no_instructions(world: World, guard: OpenGuard) -> None:
    guard.keep(world.negative(Action.REVOKE, PAYER.key_id, CLEO))
    with pytest.raises(InstructionError, match="may not cancel"):
        guard.keep(PAYER.cancels("invoice-1", world.deployment))
    assert guard.log.head.length == 1


def test_an_alarm_holds_until_an_officer_resolves_it(world: World, guard: OpenGuard) -> None:
    """The lease is the whole deployment's: what an alarm holds back is its organisation's alone."""
    guard.keep(world.alarm("deficit"))
    assert (guard.log.current[ORGANISATION].alarms, guard.witness.lease()) == ({"deficit"}, Lease.ALL)
    with pytest.raises(InstructionError, match="raised before"):
        guard.keep(world.alarm("deficit", at=world.now + 1))
    with pytest.raises(INSTRUCTION_FAULTS):
        guard.keep(world.negative(Action.RESOLVE, "deficit", ADA))
    guard.keep(world.negative(Action.RESOLVE, "deficit", CLEO))
    assert guard.log.current[ORGANISATION].alarms == set()
    with pytest.raises(InstructionError, match="raised before"):
        guard.keep(world.alarm("deficit"))
    guard.keep(world.alarm("deficit", at=world.now + 1))
    assert guard.log.current[ORGANISATION].alarms == {"deficit"}


def test_what_was_kept_stands_after_a_restart(world: World, guard: OpenGuard) -> None:
    guard.keep(world.alarm("deficit"))
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    guard.keep(PAYER.cancels("invoice-1", world.deployment))
    before, head = guard.log.current, guard.log.head
    guard.close()
    again = world.open()
    assert (again.log.current, again.log.head) == (before, head)
    assert not again.witness.is_restored


def test_a_torn_instruction_is_cut(world: World, guard: OpenGuard) -> None:
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    guard.close()
    with (world.store / "control").open("ab") as handle:
        handle.write(b"\0\0\1\0 torn")
    again = world.open()
    assert again.log.head.length == 1
    again.keep(world.negative(Action.FREEZE, "organisation", DAN))
    again.close()
    assert world.open().log.head.length == 2


def test_clients_wait_when_many_wait_and_officers_never(
    world: World, guard: OpenGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.guard.control_log.WAITING_MAXIMUM", 1)
    guard.keep(PAYER.cancels("invoice-1", world.deployment))
    with pytest.raises(InstructionError, match="must wait"):
        guard.keep(PAYER.cancels("invoice-2", world.deployment))
    assert guard.keep(world.negative(Action.FREEZE, "organisation", CLEO)) == 2


def test_a_kept_instruction_that_the_journal_makes_void_does_nothing(world: World, guard: OpenGuard) -> None:
    """The signer has a roster without the officer in force before it hears the freeze."""
    guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    standings = guard.log.standings.copied()
    standing = standings.organisations[ORGANISATION]
    standing.roster = type(standing.roster)(ORGANISATION, 2, "ab" * 32, (), (), ())
    guard.log.follow(standings)
    assert not guard.log.current[ORGANISATION].frozen


def test_a_guard_that_isnt_enrolled_hears_nobody(world: World) -> None:
    guard = world.open()
    with pytest.raises(InstructionError, match="isn't known"):
        guard.keep(world.negative(Action.FREEZE, "organisation", CLEO))
    with pytest.raises(DocumentError, match="isn't enrolled"):
        guard.leases.beat(world.beat(), world.now)
    assert guard.witness.lease() is Lease.NONE
    assert guard.leases.lease() is Lease.RECOVER
    assert guard.leases.silence_ms() is None


def test_the_lease_falls_when_watch_is_silent_and_rises_with_its_next_heartbeat(
    world: World, guard: OpenGuard
) -> None:
    world.monotonic_ns += 59_999 * 1_000_000
    assert (guard.witness.lease(), guard.leases.silence_ms()) == (Lease.ALL, 59_999)
    world.monotonic_ns += 1_000_000
    assert guard.witness.lease() is Lease.RECOVER
    world.now = Instant(world.now + 60_000)
    guard.leases.beat(world.beat(), world.now)
    assert guard.witness.lease() is Lease.ALL


def test_after_a_restart_guard_waits_for_watch(world: World, guard: OpenGuard) -> None:
    guard.close()
    assert world.open().witness.lease() is Lease.RECOVER


BAD_BEATS: dict[str, Callable[[World], bytes]] = {
    "another key": lambda w: w.beat(w.now + 1, key=SigningKey(bytes(32))),
    "another deployment": lambda w: w.beat(w.now + 1, deployment="0" * 16),
    "replayed": lambda w: w.beat(w.now),
    "older": lambda w: w.beat(w.now - 1),
    "far ahead": lambda w: w.beat(w.now + 60_001),
    "an alarm": lambda w: w.alarm("deficit").frame,
}


@pytest.mark.parametrize("name", BAD_BEATS)
def test_a_heartbeat_that_isnt_watchs_newest_counts_for_nothing(world: World, guard: OpenGuard, name: str) -> None:
    world.monotonic_ns += 61_000 * 1_000_000
    with pytest.raises(DocumentError):
        guard.leases.beat(BAD_BEATS[name](world), world.now)
    assert guard.witness.lease() is Lease.RECOVER


def test_an_old_heartbeat_revives_no_restarted_guard(world: World, guard: OpenGuard) -> None:
    old = world.beat()
    guard.close()
    again = world.open()
    with pytest.raises(DocumentError, match="far from guard's time"):
        again.leases.beat(old, Instant(world.now + 60_001))
    assert again.witness.lease() is Lease.RECOVER
