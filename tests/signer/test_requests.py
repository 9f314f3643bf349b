"""What people are asked to approve, and what the signer says in writing of what will never be paid."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import LARGE, MIDDLE, OLD_MS, SMALL, Run, old, small
from tests.rules.freeing import Stuck
from tests.signer.entries import kinds
from tests.signer.world import (
    ADA,
    BEN,
    CLEO,
    EVE,
    ORGANISATION,
    OTTO,
    PAYER,
    PIA,
    AskRefused,
    World,
    limit,
    policy_document,
)

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import parse_object, record_hash
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import open_frame
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import RECEIPT_TYPE, Ask
from strongroom.signer.book import Book


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def signed_record(world: World, answer: Any, name: str, record_type: str) -> dict[str, Any]:
    """What the answer holds, if the signer's statement key signed it."""
    frame = bytes.fromhex(answer["signature"]) + b64decode(answer[name])
    return dict(parse_object(open_frame(world.book.genesis.statement_key, frame, record_type)))


def requested(world: World, subject: str) -> dict[str, Any]:
    return signed_record(world, world.ask(Ask.REQUEST, subject=subject), "request", APPROVAL_REQUEST_TYPE)


def receipt(world: World, subject: str) -> dict[str, Any]:
    return signed_record(world, world.ask(Ask.RECEIPT, object=subject), "receipt", RECEIPT_TYPE)


# Approval requests.


def test_a_request_shows_the_payout_and_its_destination_in_full(world: World) -> None:
    record = world.cooled()
    world.pass_by(60_000)
    payout = world.intent(record, MIDDLE, external_id="trip of May")
    known, standing = world.payments.intents[payout], world.payments.standing
    assert requested(world, payout) == {
        "amount": str(MIDDLE), "approvals": 1, "asset": simulated.ASSET, "beneficiary": record.beneficiary,
        "client": PAYER, "excluded": [EVE.id], "deployment": world.book.deployment,
        "destination": {
            "address": record.address, "class": "declared", "digest": destination_digest(record.encode()),
            "name": "Payee", "network": simulated.NETWORK, "version": 1,
        },
        "expires_ms": world.times.wall_ms + DAY_MS, "external_id": "trip of May", "freeze_epoch": 0, "groups": 1,
        "intent": known.digest, "kind": "payout", "organisation": ORGANISATION, "payout": payout,
        "policy": standing.policy_hash, "roster": standing.roster_hash,
        "ticket": requested_ticket(world, payout), "type": APPROVAL_REQUEST_TYPE,
    }


def test_a_request_of_a_persons_names_whose_approval_wont_count(world: World) -> None:
    record = world.declared_by(PIA)
    world.pass_by(OLD_MS)
    shown = requested(world, world.intent_of(OTTO, record, SMALL))
    assert (shown["client"], shown["excluded"]) == (OTTO.id, [OTTO.id, PIA.id])
    assert (shown["approvals"], shown["groups"]) == (1, 1)


def test_a_request_for_people_is_made_where_the_tier_asks_nobody_if_it_is_wanted(world: World) -> None:
    run, payout = Run(world, [5_000]).sealed().id, small(world)
    for subject in (run, payout):
        assert world.ask(Ask.REQUEST, subject=subject) == {"approvals": 0, "groups": 0}
        assert world.ask(Ask.REQUEST, subject=subject, needs_people=False) == {"approvals": 0, "groups": 0}
        answer = world.ask(Ask.REQUEST, subject=subject, needs_people=True)
        assert (answer["approvals"], answer["groups"]) == (1, 1)


def requested_ticket(world: World, subject: str) -> str:
    """Of the newest request: the counter that stands for chance here, as the signer spelt it."""
    newest = int(next(world.numbers)) - 1
    return newest.to_bytes(len(bytes.fromhex(requested(world, subject)["ticket"]))).hex()


def test_a_request_for_a_run_shows_its_seal(world: World) -> None:
    run = Run(world, [SMALL] * 50).sealed()
    shown = requested(world, run.id)
    assert {name: shown[name] for name in ("kind", "run", "count", "totals", "root", "approvals", "groups")} == {
        "kind": "run", "run": run.id, "count": 50, "totals": {simulated.ASSET: "1000000"}, "root": run.seal["root"],
        "approvals": 1, "groups": 1,
    }


@pytest.mark.parametrize("kind", ["payout", "run"])
def test_what_needs_nobody_gets_no_request(world: World, kind: str) -> None:
    subject = small(world) if kind == "payout" else Run(world, [5_000]).sealed().id
    length = world.journal.length
    assert world.ask(Ask.REQUEST, subject=subject) == {"approvals": 0, "groups": 0}
    assert world.journal.length == length


def test_a_new_ticket_kills_the_one_before(world: World) -> None:
    payout = old(world, MIDDLE)
    first = world.approved(payout, ADA)
    second = world.approved(payout, ADA)
    with pytest.raises(AskRefused, match="over another request than the live one"):
        world.sign([payout], approvals=[first])
    assert world.sign([payout], approvals=[second])


def test_a_new_ticket_for_a_run_kills_the_one_before(world: World) -> None:
    run = Run(world, [SMALL] * 50).sealed()
    first, raw = world.approved(run.id, ADA), world.transaction([run.outputs[0]])[0]
    second = world.approved(run.id, ADA)
    with pytest.raises(AskRefused, match="over another request than the live one"):
        world.sign([], raw=raw, items=[run.item(0)], approvals=[first])
    assert world.sign([], raw=raw, items=[run.item(0)], approvals=[second])


def test_the_live_ticket_outlives_a_restart(world: World) -> None:
    payout = old(world, LARGE)
    approved = world.approved(payout, ADA, BEN)
    world.notary.agree()
    world.restart()
    assert world.sign([payout], approvals=[approved])


@pytest.mark.parametrize("subject", ["po_" + "z" * 26, "run_" + "z" * 26, "x"])
def test_nobody_is_asked_about_what_no_client_signed(world: World, subject: str) -> None:
    with pytest.raises(AskRefused, match="intent-signed: no signed request"):
        world.ask(Ask.REQUEST, subject=subject)


def dead(world: World, subject: str) -> None:
    world.guard.instruct(Action.DECLINE, subject, ADA)
    world.notary.agree()
    assert subject in world.payments.dead


@pytest.mark.parametrize("kind", ["payout", "run"])
def test_nobody_is_asked_about_what_was_declined(world: World, kind: str) -> None:
    subject = old(world, MIDDLE) if kind == "payout" else Run(world, [SMALL] * 50).sealed().id
    dead(world, subject)
    with pytest.raises(AskRefused, match=r"intent-alive: .* was cancelled or declined"):
        world.ask(Ask.REQUEST, subject=subject)


def test_nobody_is_asked_about_a_run_above_the_last_tier(world: World) -> None:
    run = Run(world, [SMALL], totals=25_000_001)
    world.take_run(world.request(f"/v1/payout-runs/{run.id}/seal", run.seal, "s", world.keys.payer, "ak_" + "p" * 26))
    with pytest.raises(AskRefused, match=f"limit-tier: {run.id}: 25000001 is above the last tier"):
        world.ask(Ask.REQUEST, subject=run.id)


def test_nobody_is_asked_about_a_run_of_an_asset_that_the_policy_doesnt_know(world: World) -> None:
    run = Run(world, [SMALL])
    seal = {**run.seal, "totals": {**run.seal["totals"], "iso4217:EUR": "1"}}
    world.take_run(world.request(f"/v1/payout-runs/{run.id}/seal", seal, "s", world.keys.payer, "ak_" + "p" * 26))
    with pytest.raises(AskRefused, match=f"limit-amount: {run.id}: the policy doesn't know all assets"):
        world.ask(Ask.REQUEST, subject=run.id)


def test_a_request_made_after_a_young_destination_grew_old_asks_for_fewer(world: World) -> None:
    """Risk raises the tier; what the request says is what the gate then asks for."""
    payout = world.intent(world.cooled(), MIDDLE)
    assert requested(world, payout)["approvals"] == 2
    world.pass_by(60_000)
    assert requested(world, payout)["approvals"] == 1


def test_a_request_is_made_while_frozen_for_it_moves_nothing(world: World) -> None:
    payout = old(world, MIDDLE)
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.notary.agree()
    assert requested(world, payout)["freeze_epoch"] == 1


# Receipts.


def test_a_receipt_says_that_a_cancelled_payout_never_will_be_paid(world: World) -> None:
    payout = small(world)
    world.guard.instruct(Action.CANCEL, payout, CLEO)
    world.notary.agree()
    assert receipt(world, payout) == {
        "at_ms": world.times.wall_ms, "deployment": world.book.deployment, "object": payout,
        "organisation": ORGANISATION, "type": RECEIPT_TYPE,
    }
    assert Kind.TOMBSTONE not in kinds(world.journal)


def expiring(world: World, in_ms: int) -> str:
    record = world.cooled()
    return world.intent(record, SMALL, expires_at=format_instant(Instant(world.times.wall_ms + in_ms)))


def test_an_expired_payout_is_buried_before_its_receipt_is_given(world: World) -> None:
    payout = expiring(world, 1_000)
    world.pass_by(1_000)
    assert receipt(world, payout)["object"] == payout
    assert kinds(world.journal)[-1] is Kind.TOMBSTONE
    world.notary.agree()
    world.restart()
    assert payout in world.payments.dead
    assert receipt(world, payout)["object"] == payout
    assert kinds(world.journal).count(Kind.TOMBSTONE) == 1


def ended(world: World, how: str) -> str:
    """A payout that the signer is about to give up, and didn't hear of from guard."""
    if how == "expired":
        payout = expiring(world, 1_000)
        world.pass_by(1_000)
        return payout
    stuck = Stuck(world)
    proof = world.attested(stuck.cancelled())
    world.notary.agree()
    world.void(stuck.payout, proof)
    return stuck.payout


@pytest.mark.parametrize("how", ["expired", "void"])
def test_what_has_a_receipt_is_dead_for_whoever_is_brought_forward_from_guards_copy(world: World, how: str) -> None:
    """The attacker has the engine, and the signer's disk is lost as soon as the receipt is out: what was called
    cancelled, and perhaps paid in another way since, would be signed by the signer that takes over."""
    payout = ended(world, how)
    assert receipt(world, payout)["object"] == payout
    successor = Book()
    for entry in world.guard.entries:
        successor.apply(entry)
    assert payout in successor.organisations[ORGANISATION].dead


def test_without_guard_a_payout_is_dead_at_once_and_its_receipt_waits(world: World) -> None:
    payout = ended(world, "expired")
    world.guard.is_reachable = False
    with pytest.raises(AskRefused, match="guard-agrees"):
        receipt(world, payout)
    assert payout in world.payments.dead
    world.guard.is_reachable = True
    assert receipt(world, payout)["object"] == payout


def test_no_receipt_a_millisecond_before_it_expires(world: World) -> None:
    payout = expiring(world, 1_000)
    world.pass_by(999)
    with pytest.raises(AskRefused, match="intent-alive"):
        receipt(world, payout)
    assert payout not in world.payments.dead


def test_between_the_two_clocks_it_is_neither_paid_nor_given_up(world: World) -> None:
    """Somebody sets the wall clock ahead: at the most it has expired, at the least it hasn't."""
    payout = expiring(world, 1_000)
    world.times.wall_ms += 2_000
    with pytest.raises(AskRefused, match=r"intent-alive: .* has expired"):
        world.sign([payout])
    with pytest.raises(AskRefused, match=r"intent-alive: .* may still be paid, or was"):
        receipt(world, payout)


def test_no_receipt_for_what_was_signed_though_it_expired_since(world: World) -> None:
    payout = expiring(world, 60_000)
    world.sign([payout])
    world.pass_by(60_000)
    with pytest.raises(AskRefused, match="may still be paid, or was"):
        receipt(world, payout)
    assert payout not in world.payments.dead


@pytest.mark.parametrize("subject", ["a living payout", "po_" + "z" * 26, "run_" + "z" * 26])
def test_no_receipt_for_what_lives_or_was_never_seen(world: World, subject: str) -> None:
    named = small(world) if subject == "a living payout" else subject
    with pytest.raises(AskRefused, match=r"may still be paid, or was|no signed request"):
        receipt(world, named)


def test_a_cancel_that_came_after_the_spend_gives_no_receipt_until_guard_refused_it(world: World) -> None:
    payout = world.intent(world.cooled(), 1_000)
    world.guard.before_spend = lambda: world.guard.instruct(Action.CANCEL, payout, CLEO)
    with pytest.raises(AskRefused, match="guard-agrees"):
        world.sign([payout])
    assert receipt(world, payout)["object"] == payout


def test_a_receipt_for_a_run_says_how_many_of_its_items_were_signed(world: World) -> None:
    run = Run(world, [5_000, 6_000, 7_000]).sealed()
    run.pay(0, 2)
    dead(world, run.id)
    assert receipt(world, run.id)["signed_items"] == 2
    with pytest.raises(AskRefused, match="intent-alive"):
        run.pay(1)


def test_an_item_that_was_signed_before_its_run_was_cancelled_can_be_bumped(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = Run(world, [5_000, 6_000]).sealed()
    coin = world.coin(50_000)
    items = [run.item(0)]
    world.sign([], raw=world.transaction([run.outputs[0]], coins=[coin])[0], items=items)
    dead(world, run.id)
    assert world.sign([], operation="bump", raw=world.transaction([run.outputs[0]], coins=[coin], fee=900)[0],
                      items=items)


def test_a_tight_limit_doesnt_keep_people_from_being_asked(tmp_path: Path) -> None:
    """Limits are weighed at the spend: what people approve today may be paid when there is room."""
    world = World(tmp_path, policy_document(limits=[limit("A", "organisation", "all", 100_000)]))
    payout = old(world, MIDDLE)
    approved = world.approved(payout, ADA)
    with pytest.raises(AskRefused, match="limit-window"):
        world.sign([payout], approvals=[approved])
    assert record_hash(APPROVAL_REQUEST_TYPE, b64decode(str(approved["request"]))).hex() == (
        world.payments.tickets[payout].request_hash
    )


# What was signed and can never be paid.


def test_a_void_proof_names_what_excludes_each_attempt_and_is_given_again(world: World) -> None:
    stuck = Stuck(world)
    first = stuck.attempt
    second = stuck.attempted(fee=900)
    cancel = stuck.cancelled()
    proof = world.void(stuck.payout, world.attested(cancel))
    said = signed_record(world, proof, "receipt", RECEIPT_TYPE)
    assert said["void"] == [[first, cancel], [second, cancel]]
    assert said["object"] == stuck.payout
    length = world.journal.length
    again = signed_record(world, world.void(stuck.payout), "receipt", RECEIPT_TYPE)
    assert {**again, "at_ms": 0} == {**said, "at_ms": 0} == {**receipt(world, stuck.payout), "at_ms": 0}
    assert world.journal.length == length


def test_what_was_spent_for_a_void_payout_stays_spent(world: World) -> None:
    """The day's sum to one address counts both: another 10,000 is above the first tier."""
    stuck = Stuck(world)
    world.void(stuck.payout, world.attested(stuck.cancelled()))
    before = all_windows(world)
    world.sign([stuck.successor()])
    after = all_windows(world)
    assert all(after[key] >= total > 0 for key, total in before.items())
    assert sum(after.values()) > sum(before.values())
    assert world.ask(Ask.REQUEST, subject=world.intent(stuck.record, 10_000))["approvals"] == 1


def all_windows(world: World) -> dict[Any, int]:
    return {key: window._total for key, window in world.payments.windows._windows.items() if window._total}


def test_without_a_void_proof_a_signed_payout_gets_no_receipt_and_its_debt_no_successor(world: World) -> None:
    stuck = Stuck(world)
    stuck.cancelled()
    world.guard.instruct(Action.CANCEL, stuck.payout, CLEO)
    world.notary.agree()
    with pytest.raises(AskRefused, match="intent-alive"):
        receipt(world, stuck.payout)
    with pytest.raises(AskRefused, match="debt-once"):
        stuck.successor()


def test_a_void_item_of_a_run_stays_spent_in_its_run(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    run.pay(0)
    cancel = world.called_back(simulated.parse_unsigned(run.last).inputs[0])
    world.void(item_id(run, 0), world.attested(cancel))
    assert world.payments.run_spent == {(run.id, simulated.ASSET): 5_000}
    with pytest.raises(AskRefused, match="intent-alive"):
        run.pay(0)
    assert run.pay(1)


# Receipts of items, which the signer knows by their run alone.


def item_receipt(world: World, run: Run, index: int, payout: str | None = None) -> dict[str, Any]:
    subject = payout or item_id(run, index)
    answer = world.ask(Ask.RECEIPT, object=subject, item=run.item(index))
    return signed_record(world, answer, "receipt", RECEIPT_TYPE)


def item_id(run: Run, index: int) -> str:
    return str(payout_id(ORGANISATION, PAYER, IdempotencyKey(str(run.items[index]["idempotency_key"]))))


def test_an_item_of_a_cancelled_run_has_a_tombstone_of_its_own_and_may_be_replaced(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    with pytest.raises(AskRefused, match="intent-alive"):
        item_receipt(world, run, 1)
    run.pay(0)
    world.guard.instruct(Action.CANCEL, run.id, CLEO)
    world.notary.agree()
    assert item_receipt(world, run, 1)["object"] == item_id(run, 1)
    with pytest.raises(AskRefused, match=r"intent-alive: .* may still be paid, or was"):
        item_receipt(world, run, 0)
    again = {"external_id": run.items[1]["external_id"], "replaces": item_id(run, 1)}
    world.sign([world.intent(run.records[1], 6_000, **again)])


def test_a_receipt_of_an_item_needs_its_own_proof(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    world.guard.instruct(Action.CANCEL, run.id, CLEO)
    world.notary.agree()
    with pytest.raises(AskRefused, match="intent-alive"):
        item_receipt(world, run, 1, item_id(run, 0))
    with pytest.raises(AskRefused, match="run-item"):
        world.ask(Ask.RECEIPT, object=item_id(run, 1), item=run.item(1, run.leaves[0]))


def test_an_item_that_has_expired_by_the_clock_that_never_runs_ahead_has_a_tombstone(world: World) -> None:
    record = world.cooled()
    expires = format_instant(Instant(world.times.wall_ms + 100_000))
    run = Run(world, [5_000], record=record, expires_at=expires).sealed()
    world.times.wall_ms += 10**6
    with pytest.raises(AskRefused, match="intent-alive"):
        item_receipt(world, run, 0)
    world.pass_by(100_000)
    assert item_receipt(world, run, 0)["object"] == item_id(run, 0)
    with pytest.raises(AskRefused, match="intent-alive"):
        run.pay(0)
