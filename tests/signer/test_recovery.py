"""How an organisation goes on after signer and guard have both lost some: by whom, with whom, and with what budget."""

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.protocol.recovering import new_roster
from tests.rules.cases import SMALL, Run, small
from tests.rules.freeing import Stuck
from tests.signer.entries import kinds
from tests.signer.recovering import recover, recovering
from tests.signer.world import (
    ADA,
    CLEO,
    COOLING_MS,
    DAN,
    ORGANISATION,
    OTTO,
    AskRefused,
    World,
    policy_document,
    production_roster,
)

from strongroom.domain.ids import IdempotencyKey, OrganisationId
from strongroom.domain.instant import DAY_MS
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue, encode, parse_object
from strongroom.protocol.entry import Kind
from strongroom.protocol.genesis import Mode
from strongroom.protocol.guard_wire import Reason
from strongroom.protocol.identifier import payout_id, run_id
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import Action
from strongroom.protocol.roster import Roster
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.desk import ENGINE

Change = Callable[[Roster], Roster]
NEIGHBOUR = OrganisationId("org_" + "n" * 26)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A guard that waits for a recovery."""
    world = World(tmp_path)
    world.guard.said = Reason.LOST
    return world


def with_old_key(roster: Roster) -> Roster:
    """A new client's name, with the key of one of before."""
    first = new_roster(roster, "n")
    key = replace(first.clients[0].keys[0], public_key=roster.clients[0].keys[0].public_key)
    return replace(first, clients=(replace(first.clients[0], keys=(key,)), *first.clients[1:]))


def with_old_key_id(roster: Roster) -> Roster:
    first = new_roster(roster, "n")
    key = replace(first.clients[0].keys[0], id=roster.clients[0].keys[0].id)
    return replace(first, clients=(replace(first.clients[0], keys=(key,)), *first.clients[1:]))


def with_old_client(roster: Roster) -> Roster:
    first = new_roster(roster, "n")
    return replace(first, clients=(replace(first.clients[0], id=roster.clients[0].id), *first.clients[1:]))


def with_old_version(roster: Roster) -> Roster:
    return replace(new_roster(roster, "n"), version=roster.version, previous=None)


def without_officers(roster: Roster) -> Roster:
    new = new_roster(roster, "n")
    people = tuple(replace(each, groups=tuple(set(each.groups) - {"officers"})) for each in new.people)
    return replace(new, people=people, groups=tuple(each for each in new.groups if each.name != "officers"))


def made(change: Change) -> Callable[[World], dict[str, JsonValue]]:
    return lambda world: recovering(world, CLEO, DAN, made=change(world.payments.standing.roster))


REFUSED: dict[str, tuple[Callable[[World], dict[str, JsonValue]], str]] = {
    "by one officer": (lambda w: recovering(w, CLEO), "change-quorum: .* quorum of officers"),
    "by one officer twice": (lambda w: recovering(w, CLEO, CLEO), "change-quorum: .* quorum of officers"),
    "by others": (lambda w: recovering(w, CLEO, ADA), "change-quorum: .* quorum of officers"),
    "by nobody": (lambda w: recovering(w), "change-quorum: .* quorum of officers"),
    "of another record": (lambda w: recovering(w, CLEO, DAN, asserts=b"{}"), "change-quorum"),
    "of another deployment": (
        lambda w: recovering(w, CLEO, DAN, wrong={"deployment": "0" * 16}), "operation-known: deployment"
    ),
    "of another organisation": (
        lambda w: recovering(w, CLEO, DAN, wrong={"organisation": "org_" + "z" * 26}), "operation-known: organisation"
    ),
    "of another roster": (lambda w: recovering(w, CLEO, DAN, wrong={"roster": "0" * 64}), "operation-known: roster"),
    "of another policy": (lambda w: recovering(w, CLEO, DAN, wrong={"policy": "0" * 64}), "operation-known: policy"),
    "with no policy": (lambda w: recovering(w, CLEO, DAN, policy=b"{}"), "operation-known: type"),
    "with a neighbour's policy and roster": (
        lambda w: recovering(
            w, CLEO, DAN, policy=encode(policy_document(organisation=NEIGHBOUR)),
            made=replace(new_roster(w.payments.standing.roster, "n"), organisation=NEIGHBOUR),
        ), "aren't newer than those of the organisation",
    ),
    "of another journal": (
        lambda w: recovering(w, CLEO, DAN, journal=Head(w.journal.length, bytes(32))), "another journal"
    ),
    "of a longer journal": (lambda w: recovering(w, CLEO, DAN, journal=Head(99, bytes(32))), "another journal"),
    "of an epoch that is none": (lambda w: recovering(w, CLEO, DAN, wrong={"epoch": "e"}), "operation-known: epoch"),
    "with more in it": (lambda w: recovering(w, CLEO, DAN, wrong={"x": 1}), "operation-known: x"),
    "an old client": (made(with_old_client), "isn't new"),
    "an old key": (made(with_old_key), "isn't new"),
    "the name of an old key": (made(with_old_key_id), "isn't new"),
    "an old roster": (made(with_old_version), "aren't newer"),
    "nobody left to change anything": (made(without_officers), "no quorum of officers would be left"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_doesnt_hold_is_refused_and_nothing_is_written(world: World, name: str) -> None:
    give, reason = REFUSED[name]
    given, before = give(world), world.journal.length
    with pytest.raises(AskRefused, match=reason):
        recover(world, given)
    assert world.journal.length == before


def test_an_older_policy_doesnt_come_back(tmp_path: Path) -> None:
    world = World(tmp_path, policy_document(version=2, previous="ab" * 32))
    world.guard.said = Reason.LOST
    with pytest.raises(AskRefused, match="aren't newer"):
        recover(world, recovering(world, CLEO, DAN, policy=encode(policy_document())))


def test_suspended_people_dont_count(world: World) -> None:
    world.guard.said = None
    world.guard.instruct(Action.SUSPEND, DAN.id, CLEO)
    world.notary.agree()
    world.guard.said = Reason.LOST
    with pytest.raises(AskRefused, match=r"change-quorum: .* quorum"):
        recover(world)


def test_in_production_one_of_them_signs_with_a_terminal(tmp_path: Path) -> None:
    world = World(tmp_path, made_roster=production_roster(ADA), mode=Mode.PRODUCTION)
    world.guard.said = Reason.LOST
    with pytest.raises(AskRefused, match="change-terminal"):
        recover(world)


@pytest.mark.parametrize("said", [None, Reason.UNRECONCILED, Reason.BEHIND])
def test_while_guard_waits_for_none_there_is_no_way_around_the_delay(world: World, said: Reason | None) -> None:
    world.guard.said = said
    before = world.journal.length
    with pytest.raises(AskRefused, match="guard-agrees: guard waits for no recovery"):
        recover(world)
    assert world.journal.length == before


def test_the_engine_cant_ask_for_it(world: World) -> None:
    with pytest.raises(AskRefused, match="operation-known: recover isn't asked here"):
        world.ask(Ask.RECOVER, ENGINE, **recovering(world, CLEO, DAN))


def test_it_is_done_once(world: World) -> None:
    given = recovering(world, CLEO, DAN)
    recover(world, given)
    with pytest.raises(AskRefused, match="aren't newer"):
        recover(world, given)
    assert kinds(world.journal).count(Kind.RECOVERED) == 1


def test_afterwards_the_journal_makes_the_same_book_again(world: World) -> None:
    record = world.cooled()
    spent_until = recover(world)["spent_until_ms"]
    again = type(world.book)()
    for entry in world.journal.entries():
        again.apply(entry)
    payments = again.organisations[ORGANISATION]
    assert payments.lost == world.payments.lost
    assert payments.standing == world.payments.standing
    (known,) = payments.versions[record.beneficiary]
    assert known == payments.destinations[known.digest]
    assert known.seen == spent_until - DAY_MS


def test_what_was_asked_for_before_isnt_paid_and_all_budgets_are_spent_for_a_day(world: World) -> None:
    world.guard.said = None
    record = world.cooled()
    payout = world.intent(record, SMALL)
    signed = world.intent(record, SMALL)
    world.sign([signed])
    made = {each: world.transaction([world.output(each)])[0] for each in (payout, signed)}
    world.guard.said = Reason.LOST
    recover(world)
    world.guard.said = None
    for each, raw in made.items():
        with pytest.raises(AskRefused, match=r"limit-window: .* budgets count as spent"):
            world.sign([each], raw=raw)
    with pytest.raises(AskRefused, match=r"limit-window: .* budgets count as spent"):
        world.sign([], operation="consolidate", raw=world.transaction([])[0])
    world.sign([], operation="cancel", raw=world.transaction([])[0])
    world.pass_by(DAY_MS + COOLING_MS)
    for each, raw in made.items():
        with pytest.raises(AskRefused, match="intent-signed"):
            world.sign([each], raw=raw)
    world.sign([], operation="consolidate", raw=world.transaction([])[0])


def test_a_person_asks_anew_for_what_was_asked_for_before(world: World) -> None:
    """People go on, so it is by the age of their record that what they asked for before isn't paid again."""
    world.guard.said = None
    record = world.cooled()
    before = world.person_request(OTTO, "/v1/payouts", world.payout_body(record, SMALL), "before")
    (row,) = world.ask(Ask.INTENTS, evidence=[before.document()])
    assert "payout" in row
    world.guard.said = Reason.LOST
    recover(world)
    world.guard.said = None
    (row,) = world.ask(Ask.INTENTS, evidence=[before.document()])
    assert row["refused"]["rule"] == "intent-young"
    assert "some of the journal was lost" in row["refused"]["reason"]
    world.pass_by(COOLING_MS)
    anew = world.person_request(OTTO, "/v1/payouts", world.payout_body(record, SMALL), "anew")
    (row,) = world.ask(Ask.INTENTS, evidence=[anew.document()])
    assert "payout" in row


# What the signer says in writing afterwards: it has forgotten some of what it signed, and knows that.


@pytest.mark.parametrize("action", [Action.CANCEL, Action.DECLINE])
@pytest.mark.parametrize("what", ["a payout", "a run", "one that is lost"])
def test_no_receipt_for_what_was_asked_for_before_and_may_have_been_signed(
    world: World, what: str, action: Action
) -> None:
    """The attacker saw a payout signed before the loss, wants the word that it never was, so that it is paid anew."""
    world.guard.said = None
    run = Run(world, [SMALL]).sealed()
    subject = {"a payout": small(world), "a run": run.id, "one that is lost": "po_" + "l" * 26}[what]
    world.guard.said = Reason.LOST
    recover(world)
    world.guard.said = None
    world.guard.instruct(action, subject, CLEO)
    world.notary.agree()
    assert subject not in world.payments.dead
    with pytest.raises(AskRefused, match="intent-signed: no signed request"):
        world.ask(Ask.RECEIPT, object=subject)
    world.pass_by(1)
    record = world.declared_by(OTTO)
    world.pass_by(DAY_MS)
    replacing = world.payout_body(record, SMALL, replaces=subject)
    with pytest.raises(AskRefused, match=r"debt-once|intent-signed: replaces: must be po_"):
        world.take(Ask.INTENTS, [world.person_request(OTTO, "/v1/payouts", replacing, "again")])


def test_what_was_dead_before_keeps_its_receipt(world: World) -> None:
    world.guard.said = None
    payout = small(world)
    world.guard.instruct(Action.CANCEL, payout, CLEO)
    world.notary.agree()
    world.guard.said = Reason.LOST
    recover(world)
    world.guard.said = None
    assert "receipt" in world.ask(Ask.RECEIPT, object=payout)


def test_the_receipt_of_a_run_that_was_dead_before_still_says_how_many_of_it_were_signed(world: World) -> None:
    world.guard.said = None
    run = Run(world, [5_000, 6_000]).sealed()
    run.pay(0)
    world.guard.instruct(Action.CANCEL, run.id, CLEO)
    world.notary.agree()
    world.guard.said = Reason.LOST
    recover(world)
    world.guard.said = None
    receipt = json.loads(b64decode(world.ask(Ask.RECEIPT, object=run.id)["receipt"]))
    assert (receipt["object"], receipt["signed_items"]) == (run.id, 1)


def test_no_void_proof_for_what_was_signed_before(world: World) -> None:
    """Another of its attempts may be lost, and the chain may take that one."""
    world.guard.said = None
    stuck = Stuck(world)
    frame = world.attested(stuck.cancelled())
    world.guard.said = Reason.LOST
    recover(world)
    with pytest.raises(AskRefused, match=r"payout-void: .* before some of the journal was lost"):
        world.void(stuck.payout, frame)
    assert stuck.payout not in world.payments.dead


def test_what_is_asked_for_since_is_taken_back_with_a_receipt_though_it_was_cancelled_before_it_was_shown(
    world: World,
) -> None:
    recover(world)
    world.guard.said = None
    payout, run = (make(ORGANISATION, OTTO.id, IdempotencyKey("late")) for make in (payout_id, run_id))
    for subject in (payout, run):
        world.guard.instruct(Action.CANCEL, subject, CLEO)
    world.notary.agree()
    world.pass_by(1)
    record = world.declared_by(OTTO)
    world.pass_by(DAY_MS)
    assert world.intent_of(OTTO, record, SMALL, "late") == payout
    with pytest.raises(AskRefused, match="intent-alive"):
        world.sign([payout])
    seal = {"count": 1, "root": "0" * 64, "totals": {simulated.ASSET: str(SMALL)}}
    world.take_run(world.person_request(OTTO, f"/v1/payout-runs/{run}/seal", seal, "seal"))
    for subject in (payout, run):
        assert "receipt" in world.ask(Ask.RECEIPT, object=subject)
    replacing = world.payout_body(record, SMALL, replaces=payout)
    world.take(Ask.INTENTS, [world.person_request(OTTO, "/v1/payouts", replacing, "again")])


def test_what_was_signed_since_is_void_as_ever(world: World) -> None:
    recover(world)
    world.guard.said = None
    world.pass_by(1)
    record = world.declared_by(OTTO)
    world.pass_by(DAY_MS)
    payout, coin = world.intent_of(OTTO, record, SMALL), world.coin(60_000)
    raw, _ = world.transaction([world.output(payout)], coins=[coin])
    world.sign([payout], raw=raw, approvals=[world.approved(payout, ADA)])
    assert "void" in parse_object(b64decode(world.void(payout, world.attested(world.called_back(coin)))["receipt"]))
