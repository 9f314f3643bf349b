"""The engine's host is hostile and drops every message. An officer's freeze, a cancel, a revocation and a veto that are
given at guard are in force at the signer within a second, many times over, and each time a valid payment is refused
that its sibling shows would have been signed.

Signer, link and guard are the three production processes, by the machine's clocks. A round is timed from the sending
to the entry in the signer's journal file; the signer is asked nothing meanwhile, or, as a flood, as much as it takes.
The control takes the signer's own asking at guard out: then nothing comes by itself, and the test fails.
"""

import os
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import pytest
from tests.adversary.build import Patch
from tests.faults.spread import said
from tests.faults.trio import COOLING_MS, DELAY_MS, TREASURY, Trio, revocable, trio
from tests.signer.world import CLEO, DAN, ORGANISATION, AskRefused

from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.guard_wire import LEASE_MAXIMUM_MS
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import policy_hash

pytestmark = pytest.mark.faults

IS_FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
ROUNDS = 40 if IS_FULL else 3
BOUND_S = 1.0
LOOK_S = 0.002
SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
CHANCE = random.Random(SEED)
MINOR = 5_000
RICH_MINOR = 2_000_000
TELLS_NOTHING = Patch(
    "guard/control_log.py", "        return fitting(self._chain.entries(head.length))\n", "        return ()\n"
)
"""Guard keeps what it is given, and doesn't hand it on."""
LETS_ALL = (
    TELLS_NOTHING,
    Patch("guard/witness.py", "        if spends and sync.control != self._log.head:\n", "        if False:\n"),
    Patch("signer/notary.py", "answer.journal == self.head and answer.control == self.book.control:\n",
          "answer.journal == self.head:\n"),
)
"""Nor does either of the two mind that it wasn't."""


at_full_count = pytest.mark.skipif(not IS_FULL, reason="the same without link, by a test's clocks: test_recovering")


class LateError(AssertionError):
    """An instruction wasn't in force in time."""


@dataclass
class Took:
    """Seconds from the sending: until guard had it, and until it was in the signer's journal."""

    guard: list[float]
    signer: list[float]


@pytest.fixture(scope="module")
def made() -> Iterator[Trio]:
    with trio() as opened:
        yield opened


def cooled(made: Trio, count: int) -> list[Any]:
    """So many destinations that have cooled off."""
    records = [made.beneficiary() for _ in range(count)]
    time.sleep(2 * COOLING_MS / 1_000)
    return records


def refused_by(made: Trio, payout: str) -> str:
    """The rule by which a payment of it is refused. Raises: LateError if it is signed."""
    try:
        made.sign([payout])
    except AskRefused as fault:
        return fault.rule
    raise LateError(f"{payout} was signed")


def timed(made: Trio, took: Took, document: dict[str, Any]) -> None:
    """Give it to guard, and wait until the signer has applied it. Raises: LateError."""
    time.sleep(CHANCE.uniform(0, 0.3))  # at any moment of the signer's own asking
    size, record = made.written, document["record"].encode()
    began = time.monotonic()
    made.give("/v1/negatives", document)
    took.guard.append(time.monotonic() - began)
    name = parse_object(made.bytes_of(record.decode()))["record_id"]
    wanted = f'"record_id":"{name}"'.encode()
    while wanted not in made.entries_after(size):
        if time.monotonic() - began > 2 * BOUND_S:
            raise LateError(f"isn't in the signer's journal after {2 * BOUND_S} s")
        time.sleep(LOOK_S)
    took.signer.append(time.monotonic() - began)


def freezes(made: Trio, took: Took, number: int, to: Sequence[Any]) -> None:
    payout = made.asked(to[0], MINOR)
    timed(made, took, made.negative(Action.FREEZE, "organisation", CLEO))
    assert refused_by(made, payout) == "not-frozen"
    epoch = made.ask(Ask.STATUS)["organisations"][ORGANISATION]["freeze_epoch"]
    size = made.written
    made.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=epoch)
    while b'"action":"unfreeze"' not in made.entries_after(size):
        time.sleep(LOOK_S)
    assert made.sign([payout])


def cancels(made: Trio, took: Took, number: int, to: Sequence[Any]) -> None:
    payout, sibling = (made.asked(each, MINOR) for each in to)
    timed(made, took, made.negative(Action.CANCEL, payout, DAN))
    assert refused_by(made, payout) == "intent-alive"
    assert made.sign([sibling])


def revokes(made: Trio, took: Took, number: int, to: Sequence[Any]) -> None:
    payout, sibling = made.asked(to[0], MINOR, number), made.asked(to[1], MINOR)
    timed(made, took, made.negative(Action.REVOKE, revocable(number)[1], CLEO))
    assert refused_by(made, payout) == "intent-scope"
    assert made.sign([sibling])


def proposed(made: Trio, number: int) -> tuple[str, dict[str, Any]]:
    """A change after which RICH_MINOR goes with nobody asked; its hash, and the policy."""
    now = parse_object(made.policy)
    tiers: Any = now["tiers"]
    changed: dict[str, Any] = {
        **now, "version": int(str(now["version"])) + 1, "previous": policy_hash(made.policy),
        "tiers": [{**tiers[0], "up_to_reference_minor": str(RICH_MINOR + number)}, *tiers[2:]],
        "risk": {"above_reference_minor": str(RICH_MINOR + number), "young_for_ms": 0},
    }
    raw = encode(changed)
    given: list[Any] = [assertion_document(each.asserts(raw, POLICY_TYPE)) for each in (CLEO, DAN)]
    answer = made.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=given)
    return str(answer["change"]), changed


def vetoes(made: Trio, took: Took, number: int, to: Sequence[Any]) -> None:
    """The change would be in force after DELAY_MS: a veto that is later than that stops nothing."""
    change, _ = proposed(made, number)
    timed(made, took, made.negative(Action.VETO, change, DAN))
    time.sleep(DELAY_MS / 1_000)
    assert made.ask(Ask.STATUS)["organisations"][ORGANISATION]["policy"] == policy_hash(made.policy)
    assert refused_by(made, made.asked(to[0], RICH_MINOR)).startswith("approval")


ROUND = {"freeze": freezes, "cancel": cancels, "revocation": revokes, "veto": vetoes}


def rounds(made: Trio, what: str, count: int) -> Took:
    act: Callable[[Trio, Took, int, Sequence[Any]], None] = ROUND[what]
    took, to = Took([], []), cooled(made, 2 * count)
    for number in range(count):
        act(made, took, number, to[2 * number : 2 * number + 2])
    return took


@pytest.mark.parametrize("what", ROUND)
def test_an_instruction_at_guard_is_in_force_at_the_signer_within_a_second(made: Trio, what: str) -> None:
    took = rounds(made, what, ROUNDS)
    print(said(f"{what}, kept by guard", took.guard))
    print(said(f"{what}, in force at the signer", took.signer))
    assert len(took.signer) == ROUNDS
    assert max(took.signer) <= BOUND_S


def test_a_change_that_nobody_vetoes_comes_into_force_and_is_used() -> None:
    """What makes the vetoes above mean something."""
    with trio() as own:
        change, _ = proposed(own, 0)
        to, began = cooled(own, 1)[0], time.monotonic()
        while own.ask(Ask.STATUS)["organisations"][ORGANISATION]["policy"] != change:
            assert time.monotonic() - began < 10
            time.sleep(LOOK_S)
        assert own.sign([own.asked(to, RICH_MINOR)])


def test_a_flood_of_the_engines_doesnt_keep_a_freeze_out(made: Trio) -> None:
    """The engine asks without a pause for a signature that it had before; the last one it gets is within a second."""
    took: list[float] = []
    for to in cooled(made, ROUNDS):
        payout = made.asked(to, MINOR)
        raw, _ = made.transaction([made.output(payout)])
        signed, stop, last = made.sign([payout], raw=raw), Event(), [0.0]

        def flood(payout: str = payout, raw: bytes = raw, signed: bytes = signed, last: list[float] = last,
                  stop: Event = stop) -> None:
            try:
                while not stop.is_set():
                    assert made.sign([payout], raw=raw) == signed
                    last[0] = time.monotonic()
            except AskRefused as fault:
                last.append(0.0 if fault.rule == "not-frozen" else 1.0)

        engine = Thread(target=flood)
        engine.start()
        time.sleep(0.05)
        began = time.monotonic()
        made.instruct(Action.FREEZE, "organisation", CLEO)
        engine.join(5 * BOUND_S)
        stop.set()
        assert last[1:] == [0.0]
        took.append(max(0.0, last[0] - began))
        epoch = made.ask(Ask.STATUS)["organisations"][ORGANISATION]["freeze_epoch"]
        made.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=epoch)
        assert refused_or_signed(made, payout, raw)
    print(said("the last signature after a freeze was sent, under a flood", took))
    assert max(took) <= BOUND_S


def refused_or_signed(made: Trio, payout: str, raw: bytes) -> bytes:
    """Signed, once the signer has heard."""
    ends = time.monotonic() + 5
    while True:
        try:
            return made.sign([payout], raw=raw)
        except AskRefused:
            if time.monotonic() > ends:
                raise
            time.sleep(LOOK_S)


@at_full_count
def test_a_guard_that_tells_the_signer_nothing_is_found_late_and_still_lets_nothing_be_signed() -> None:
    with trio(TELLS_NOTHING) as own:
        with pytest.raises(LateError, match="isn't in the signer's journal"):
            rounds(own, "cancel", 1)
        assert refused_by(own, own.asked(cooled(own, 1)[0], MINOR)) == "guard-agrees"


def test_with_the_checks_of_both_taken_out_a_payment_is_signed_a_second_after_its_cancel() -> None:
    with trio(*LETS_ALL) as own:
        payout = own.asked(cooled(own, 1)[0], MINOR)
        with pytest.raises(LateError, match="isn't in the signer's journal"):
            timed(own, Took([], []), own.negative(Action.CANCEL, payout, CLEO))
        with pytest.raises(LateError, match="was signed"):
            refused_by(own, payout)


def saves(made: Trio, coin: simulated.Input) -> None:
    """A cancel of what spends `coin`, and a sweep."""
    assert made.sign([], operation="cancel", raw=made.transaction([], coins=[coin], fee=900)[0])
    sweep = simulated.Transaction((made.coin(50_000),), (simulated.Output(49_500, TREASURY),))
    assert made.sign([], operation="sweep", raw=simulated.encode_unsigned(sweep))


@at_full_count
@pytest.mark.parametrize("what", ["an alarm", "silence"])
def test_money_can_be_saved_while_watch_alarms_or_is_silent(what: str) -> None:
    """Guard begins anew for the silence: it has heard nothing of watch yet, as after a minute without it."""
    with trio() as own:
        to = cooled(own, 2)
        paid, waiting, coin = own.asked(to[0], MINOR), own.asked(to[1], MINOR), own.coin(60_000)
        own.sign([paid], coins=[coin])
        size = own.written
        if what == "an alarm":
            own.alarm("unknown-spend.1")
        else:
            own.fall_silent()
            own.guard_process.kill()
            own.begin_guard()
        began = time.monotonic()
        while not (own.ask(Ask.STATUS)["lease"] == "recover" or b'"action":"alarm"' in own.entries_after(size)):
            assert time.monotonic() - began < 10
            time.sleep(LOOK_S)
        print(f"{what}: the signer had it after {time.monotonic() - began:.2f} s")
        assert refused_by(own, waiting) == "lease-fresh"
        saves(own, coin)


@at_full_count
def test_with_guard_cut_off_nothing_is_signed_nor_again() -> None:
    """The lease that the signer still holds ends in time; at full count that is waited for."""
    with trio() as own:
        to = cooled(own, 2)
        paid, waiting = own.asked(to[0], MINOR), own.asked(to[1], MINOR)
        raw, _ = own.transaction([own.output(paid)])
        signed = own.sign([paid], raw=raw)
        own.guard_process.kill()
        cut, ends = time.monotonic(), time.monotonic() + (LEASE_MAXIMUM_MS / 1_000 + 1 if IS_FULL else 1)
        while True:
            assert refused_by(own, waiting) == "guard-agrees"
            with pytest.raises(AskRefused, match="guard-agrees"):
                own.sign([paid], raw=raw)
            if time.monotonic() > ends:
                break
        if IS_FULL:
            assert own.ask(Ask.STATUS)["lease"] == "none"
        print(f"refused for {time.monotonic() - cut:.0f} s")
        own.begin_guard()
        assert refused_or_signed(own, paid, raw) == signed
