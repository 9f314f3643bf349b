"""The book is what the journal says: after a replay it is the one that it was, whatever was written."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.cases import Run, small
from tests.rules.freeing import Stuck
from tests.signer.entries import kinds
from tests.signer.recovering import recover
from tests.signer.test_changes import let_in, next_policy, propose, without_tess
from tests.signer.world import (
    ADA,
    CLEO,
    DAN,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    START,
    AskRefused,
    World,
    policy_document,
    roster,
)

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.policy import Counts, LimitScope
from strongroom.domain.timestamp import format_instant
from strongroom.domain.velocity import Windows
from strongroom.protocol.canonical import encode
from strongroom.protocol.control import Control, write_control
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.guard_wire import Reason
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.book import Book, Paid, Payments, sums_of

CLOCK = Reading(Instant(START), Instant(START), Instant(START))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def seen(value: Any) -> Any:
    """All that a book holds, in a form that can be compared."""
    if isinstance(value, Windows):
        return {key: (window._total, list(window._buckets)) for key, window in value._windows.items()}
    if isinstance(value, Payments):
        return {each.name: seen(getattr(value, each.name)) for each in fields(value)}
    return value


def all_of(book: Book) -> Any:
    whole = {name: value for name, value in vars(book).items() if name != "organisations"}
    return whole | {name: seen(payments) for name, payments in book.organisations.items()}


def replayed(world: World) -> Book:
    book = Book()
    for entry in world.journal.entries():
        book.apply(entry)
    return book


# Everything that is ever written.


def paid_and_bumped(world: World) -> None:
    payout, coin = small(world), world.coin(60_000)
    world.sign([payout], coins=[coin])
    world.sign([payout], operation="bump", coins=[coin], fee=900)


def run_in_parts(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    run.pay(1)
    run.pay(0)


def asked_and_declined(world: World) -> None:
    record = world.cooled()
    payout = world.intent(record, 900_000)
    world.ask(Ask.REQUEST, subject=payout)
    world.guard.instruct(Action.DECLINE, payout, ADA)
    world.notary.agree()


def expired(world: World) -> None:
    payout = world.intent(world.cooled(), 900_000, expires_at=format_instant(Instant(world.times.wall_ms + 1_000)),
                          not_before=format_instant(Instant(world.times.wall_ms + 500)))
    world.pass_by(1_000)
    world.ask(Ask.RECEIPT, object=payout)


def replaced(world: World) -> None:
    record = world.cooled()
    first = world.intent(record, 1_000, external_id="trip")
    world.guard.instruct(Action.CANCEL, first, CLEO)
    world.notary.agree()
    world.sign([world.intent(record, 1_000, external_id="trip", replaces=first)])


def refused_by_guard(world: World, meddle: Callable[[], None], act: Callable[[], object]) -> None:
    world.guard.before_spend = meddle
    with pytest.raises(AskRefused, match="guard-agrees"):
        act()


def other_freeze(world: World) -> Callable[[], None]:
    return lambda: world.guard.instruct(Action.FREEZE, "asset:iso4217:EUR", CLEO)


def abandoned(world: World) -> None:
    payout = small(world)
    refused_by_guard(world, other_freeze(world), lambda: world.sign([payout]))
    assert payout in world.payments.open_on[world.payments.intents[payout].intent.destination_digest]


def abandoned_bump(world: World) -> None:
    """The first attempt stands, so the payout stays paid."""
    payout, coin = small(world), world.coin(60_000)
    world.sign([payout], coins=[coin])
    refused_by_guard(world, other_freeze(world), lambda: world.sign([payout], operation="bump", coins=[coin], fee=900))
    assert len(world.payments.attempts_of[payout]) == 1
    assert payout in world.payments.paid


def abandoned_item(world: World) -> None:
    """What the run has left is what it had before."""
    run = Run(world, [5_000, 6_000]).sealed()
    refused_by_guard(world, other_freeze(world), lambda: run.pay(0))
    assert set(world.payments.run_spent.values()) == {0}
    assert run.pay(0, 1)


def abandoned_and_cancelled(world: World) -> None:
    payout = small(world)
    refused_by_guard(
        world, lambda: world.guard.instruct(Action.CANCEL, payout, CLEO), lambda: world.sign([payout])
    )
    world.ask(Ask.RECEIPT, object=payout)
    assert payout in world.payments.dead


def cancelled_after_it_was_signed(world: World) -> None:
    payout = small(world)
    world.sign([payout])
    world.guard.instruct(Action.CANCEL, payout, CLEO)
    world.notary.agree()
    assert (payout in world.payments.taken_back, payout in world.payments.dead) == (True, False)


def run_cancelled(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    run.pay(0)
    world.guard.instruct(Action.CANCEL, run.id, CLEO)
    world.notary.agree()
    assert run.id in world.payments.dead


def all_instructions(world: World) -> None:
    world.guard.control.append(b"void")
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.guard.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=1)
    world.guard.instruct(Action.SUSPEND, ADA.id, CLEO)
    world.guard.instruct(Action.REVOKE, PAY_KEY, CLEO)
    world.guard.instruct(Action.RECOVER, "network:sim:sandbox", CLEO, epoch=2)
    world.notary.agree()
    assert world.payments.words.keys() == {"sim:sandbox"}


def changed(world: World) -> None:
    propose(world, "roster", without_tess(world))
    propose(world, "policy", next_policy(world))
    world.pass_by(5_000)
    world.desk.idle()


def overtaken_and_vetoed(world: World) -> None:
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.VETO, roster_hash(raw), ADA)
    world.desk.idle()
    propose(world, "policy", next_policy(world))
    propose(world, "policy", next_policy(world, governance={"group": "officers", "delay_ms": 1}))
    world.pass_by(5_000)
    world.desk.idle()


def neighbour(world: World) -> None:
    let_in(world)


def resumed(world: World) -> None:
    world.notary.write(Kind.RESUMED, {"guard_ms": START + 5}, world.notary.reading())


def rotated(world: World) -> None:
    world.sign([small(world), small(world)])
    world.rotate(1)
    world.sign([small(world)])
    assert (world.payments.former, world.payments.change_next) == ({"sim:sandbox": [1]}, {"sim:sandbox": 1})


def corrected(world: World) -> None:
    payout = world.intent(world.cooled(), 900_000)
    world.guard.times = replace(world.times)
    world.times.wall_ms += 30 * DAY_MS
    world.ask(Ask.REQUEST, subject=payout)
    world.times.wall_ms -= 30 * DAY_MS
    world.desk.idle()


def void_after_a_release(world: World) -> None:
    stuck = Stuck(world)
    stuck.released(CLEO, DAN)
    stuck.voided(stuck.stolen())
    assert world.payments.void == {stuck.payout: [[stuck.attempt, "f" * 64]]}


def recovered(world: World) -> None:
    world.sign([world.intent(world.cooled(), 1_000)])
    world.guard.said = Reason.LOST
    recover(world)


ACTS: list[Callable[[World], None]] = [
    paid_and_bumped, run_in_parts, asked_and_declined, expired, replaced, abandoned, abandoned_bump, abandoned_item,
    abandoned_and_cancelled, cancelled_after_it_was_signed, run_cancelled, all_instructions, changed,
    overtaken_and_vetoed, neighbour, resumed, corrected, rotated, void_after_a_release, recovered,
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_the_book_after_a_replay_is_the_book_before(world: World, act: Callable[[World], None]) -> None:
    act(world)
    assert all_of(replayed(world)) == all_of(world.book)


def test_every_kind_of_entry_is_written_by_one_of_them(tmp_path: Path) -> None:
    written: set[Kind] = set()
    for number, act in enumerate(ACTS):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        world = World(folder)
        act(world)
        written |= set(kinds(world.journal))
    assert written == set(Kind)


def test_of_what_was_signed_before_fees_were_written_down_the_book_has_no_weight(world: World) -> None:
    world.sign([small(world)])
    older = Book()
    for raw in world.journal.entries():
        entry = json.loads(raw)
        weighed = entry.pop("weight", None)
        older.apply(encode(entry))
    assert weighed is not None
    (before,) = older.organisations[ORGANISATION].attempts.values()
    (now,) = world.payments.attempts.values()
    assert (before.weight, now.weight) == ((), (500, now.weight[1]))
    assert replace(now, weight=()) == before


# What comes in an odd order.


def cancels(world: World, payout: str, key: str) -> None:
    evidence = world.request(f"/v1/payouts/{payout}/cancel", {"idempotency_key": key}, "c", world.keys.payer, PAY_KEY)
    world.guard.control.append(write_control(Control(Instant(world.times.wall_ms), ORGANISATION, evidence)))


def test_a_payout_that_was_cancelled_before_it_came_is_dead_and_may_be_declined_again(world: World) -> None:
    """The attacker has a client's key, and wants the signer to end, now and at each start, until people look."""
    payout = payout_id(ORGANISATION, PAYER, IdempotencyKey("k"))
    cancels(world, payout, "k")
    world.notary.agree()
    assert world.intent(world.cooled(), 1_000, key="k") == payout
    assert payout in world.payments.dead
    world.guard.instruct(Action.DECLINE, payout, ADA)
    world.notary.agree()
    with pytest.raises(AskRefused, match="intent-alive"):
        world.sign([payout])
    assert all_of(replayed(world)) == all_of(world.book)
    assert not any(world.payments.open_on.values())


# What no signer writes ends the process.


def genesis_body(world: World) -> dict[str, Any]:
    return {"genesis": b64encode(world.genesis).decode()}


@pytest.mark.parametrize("entry", [
    lambda world: b"{", lambda world: write_entry(Kind.GENESIS, CLOCK, genesis_body(world)),
    lambda world: write_entry(Kind.ORGANISATION, CLOCK, {
        "policy": b64encode(world.policy).decode(), "roster": b64encode(world.roster).decode(),
    }),
    lambda world: write_entry(Kind.TOMBSTONE, CLOCK, {"object": "x", "organisation": "org_" + "z" * 26}),
    lambda world: write_entry(Kind.TOMBSTONE, CLOCK, {"object": "x", "organisation": ORGANISATION, "more": 1}),
    lambda world: write_entry(Kind.ABANDONED, CLOCK, {"transaction": "x", "organisation": ORGANISATION}),
    lambda world: write_entry(Kind.NOTICED, CLOCK, {"change": "x", "organisation": ORGANISATION}),
    lambda world: write_entry(Kind.RESUMED, CLOCK, {"guard_ms": -1}),
    lambda world: write_entry(Kind.INTENTS, CLOCK, {"intents": [["x"] * 12], "organisation": ORGANISATION}),
    lambda world: write_entry(Kind.RUN, CLOCK, {"organisation": ORGANISATION, "totals": {"a": "x"}, "count": 1}),
], ids=range(10))
def test_an_entry_that_this_program_doesnt_write_ends_it(world: World, entry: Callable[[World], bytes]) -> None:
    with pytest.raises(InvariantError):
        world.book.apply(entry(world))


def test_a_journal_without_genesis_has_no_book(world: World) -> None:
    documents = {"policy": encode(policy_document()), "roster": write_roster(roster())}
    body = {name: b64encode(raw).decode() for name, raw in documents.items()}
    with pytest.raises(InvariantError, match="can't stand before genesis"):
        Book().apply(write_entry(Kind.ORGANISATION, CLOCK, dict(body)))
    with pytest.raises(InvariantError, match="doesn't begin with genesis"):
        assert Book().genesis


KINDS = {
    Counts.ALL: lambda paid: True, Counts.ATTENDED: lambda paid: paid.is_attended,
    Counts.UNATTENDED: lambda paid: not paid.is_attended,
    Counts.UNATTENDED_YOUNG: lambda paid: paid.is_young and not paid.is_attended,
}
KEYS = {
    LimitScope.ORGANISATION: lambda paid: None, LimitScope.CLIENT: lambda paid: paid.client,
    LimitScope.KEY: lambda paid: paid.key, LimitScope.ASSET: lambda paid: paid.asset,
    LimitScope.DESTINATION: lambda paid: (paid.network, paid.address),
}
several = st.lists(st.builds(
    Paid, st.just("po_1"), *[st.sampled_from(names) for names in (["cl_1", "cl_2"], ["ak_1", "ak_2"], ["ben_1"],
                                                                  ["coin", "dollar"])],
    st.just(1), *[st.sampled_from(names) for names in (["one", "two"], ["there", "here"], ["trip"], [""], [""])],
    st.integers(1, 10**9), st.booleans(), st.booleans(),
), max_size=12)


@given(several)
def test_each_way_of_counting_adds_up_what_it_names(items: list[Paid]) -> None:
    payments = Payments(None)  # type: ignore[arg-type]  # what was spent has nothing to do with who may spend
    for (scope, kind), sums in sums_of(items).items():
        for key, value in sums.items():
            payments.windows.add((scope, kind, key), DAY_MS, value, Instant(START))
    for (scope, key_of), (counts, counted) in product(KEYS.items(), KINDS.items()):
        for key in {key_of(paid) for paid in items}:
            expected = sum(each.reference_minor for each in items if key_of(each) == key and counted(each))
            assert payments.used(scope, counts, key, DAY_MS, Instant(START)) == expected
