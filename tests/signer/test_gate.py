"""The gate where payouts meet: one signature for several, the same bytes again, and what stands between."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import SMALL, Run, small
from tests.signer.entries import kinds
from tests.signer.world import ADA, BEN, ORGANISATION, AskRefused, World, limit, policy_document

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.formats import simulated
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.signer.due import Item
from strongroom.signer.gate import Asked, Operation, decide
from strongroom.signer.rules import Refused, Rule


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_same_bytes_are_signed_again_without_a_new_entry(world: World) -> None:
    payout = small(world)
    raw, _ = world.transaction([world.output(payout)])
    signed = world.sign([payout], raw=raw)
    length = world.journal.length
    world.pass_by(2 * DAY_MS)
    assert world.sign([payout], raw=raw) == signed
    assert world.journal.length == length


@pytest.mark.parametrize("wrong", ["for a payout of the same amount to the same place", "as a bump", "for both"])
def test_bytes_that_were_signed_for_one_payout_are_never_signed_for_another(world: World, wrong: str) -> None:
    """The attacker has the engine, and wants the ledger to close two payouts with one payment."""
    record = world.cooled()
    one, other = world.intent(record, 1_000), world.intent(record, 1_000)
    raw, _ = world.transaction([world.output(one)])
    world.sign([one], raw=raw)
    payouts, operation = {
        "for a payout of the same amount to the same place": ([other], "pay"), "as a bump": ([one], "bump"),
        "for both": ([one, other], "pay"),
    }[wrong]
    with pytest.raises(AskRefused, match=r"payout-once: .* was signed for other payouts"):
        world.sign(payouts, raw=raw, operation=operation)


def test_what_was_never_signed_isnt_bumped(world: World) -> None:
    with pytest.raises(AskRefused, match="payout-once: what was never signed can't be bumped"):
        world.sign([small(world)], operation="bump")


def test_two_payouts_are_paid_in_their_order(world: World) -> None:
    payouts = [world.intent(world.cooled(), minor) for minor in (1_000, 2_000)]
    raw, _ = world.transaction([world.output(payout) for payout in reversed(payouts)])
    with pytest.raises(AskRefused, match=r"bytes-outputs: the output for .* isn't what its client signed"):
        world.sign(payouts, raw=raw)
    assert world.sign(payouts)


def test_one_output_isnt_enough_for_two_payouts(world: World) -> None:
    record = world.cooled()
    payouts = [world.intent(record, 1_000) for _ in range(2)]
    raw, _ = world.transaction([world.output(payouts[0])], coins=[world.coin(1_500)], change=0)
    with pytest.raises(AskRefused, match="bytes-outputs: an item has no output"):
        world.sign(payouts, raw=raw)


def test_two_items_of_one_debt_arent_paid_in_one(world: World) -> None:
    run = Run(world, [5_000, 5_000], record=world.cooled())
    run.items = [{**item, "external_id": "trip"} for item in run.items]
    twice = resealed(world, run)
    with pytest.raises(AskRefused, match="debt-once: 'trip' stands in the request twice"):
        twice.pay(0, 1)
    assert twice.pay(0)
    with pytest.raises(AskRefused, match=r"debt-once: .* owes 'trip' already"):
        twice.pay(1)


def resealed(world: World, run: Run) -> Run:
    """The same run with its items as they stand now."""
    run.leaves = [item_leaf(item, run.id, index) for index, item in enumerate(run.items)]
    run.seal["root"] = run_root(run.leaves).hex()
    nodes = Frontier().append([leaf_hash(leaf) for leaf in run.leaves])
    run._nodes = {(level, position): digest for level, position, digest in nodes}
    return run.sealed()


def test_many_small_payouts_to_one_address_in_one_signature_are_weighed_together(world: World) -> None:
    """Each alone needs nobody; their sum needs a person for the one that passes the line."""
    record = world.cooled()
    world.pass_by(60_000)
    payouts = [world.intent(record, SMALL) for _ in range(2)]
    with pytest.raises(AskRefused, match=f"approval-requested: {payouts[1]}"):
        world.sign(payouts)


def test_an_asset_of_another_network_in_the_policy_isnt_paid_here(tmp_path: Path) -> None:
    (asset,) = policy_document()["assets"]
    other = {**asset, "asset": "eip155:31337/slip44:60", "symbol": "ETH", "network": "eip155:31337"}
    world = World(tmp_path, policy_document(assets=[asset, other]))
    payout = small(world, asset=other["asset"])
    with pytest.raises(AskRefused, match=r"limit-amount: .* the policy doesn't pay"):
        world.sign([payout])


LIMITS: list[tuple[str, str, int]] = [
    ("organisation", "all", DAY_MS), ("client", "all", HOUR_MS), ("key", "unattended", HOUR_MS),
    ("destination", "all", DAY_MS), ("asset", "unattended_young", DAY_MS), ("client", "attended", DAY_MS),
]


@pytest.mark.parametrize(("scope", "counts", "span_ms"), LIMITS)
def test_every_scope_and_way_of_counting_has_its_limit(
    tmp_path: Path, scope: str, counts: str, span_ms: int
) -> None:
    """Full with one payout; a second has no room until the window has passed."""
    is_attended = counts == "attended"
    minor = 900_000 if is_attended else 1_000
    world = World(tmp_path, policy_document(limits=[limit("L", scope, counts, minor, span_ms)]))
    record = world.cooled()
    world.pass_by(60_000)

    def pay(people: tuple[Any, ...]) -> bytes:
        payout = world.intent(record, minor)
        return world.sign([payout], approvals=[world.approved(payout, *people)] if is_attended else [])

    assert pay((ADA,))
    with pytest.raises(AskRefused, match="limit-window: L: there is no room"):
        pay((ADA, BEN))
    world.pass_by(2 * span_ms)
    assert pay((ADA,))


def test_what_isnt_counted_by_a_limit_isnt_held_by_it(tmp_path: Path) -> None:
    world = World(tmp_path, policy_document(limits=[limit("L", "organisation", "attended", 1)]))
    assert world.sign([small(world)])
    assert kinds(world.journal)[-1] is Kind.SPEND


def test_the_gate_knows_no_organisation_but_those_that_were_let_in(world: World) -> None:
    payout = small(world)
    raw, _ = world.transaction([world.output(payout)])
    asked = Asked(OrganisationId("org_" + "z" * 26), Operation.PAY, simulated.NETWORK, raw, ((0, 0),), (), ())
    clock = world.notary.reading()
    with pytest.raises(Refused) as refusal:
        decide(world.book, asked, Lease.ALL, clock, world.wallets)
    assert refusal.value.rule is Rule.ORGANISATION_KNOWN
    with pytest.raises(Refused) as refusal:
        decide(world.book, replace(asked, organisation=ORGANISATION), Lease.NONE, clock, world.wallets)
    assert refusal.value.rule is Rule.LEASE_FRESH


def test_deciding_changes_nothing(world: World) -> None:
    """A decision that nobody journals has no effect: the same is decided again."""
    payout = small(world)
    raw, _ = world.transaction([world.output(payout)])
    asked = Asked(ORGANISATION, Operation.PAY, simulated.NETWORK, raw, ((0, 0),), (Item(payout),), ())
    clock = world.notary.reading()
    first, second = (decide(world.book, asked, Lease.ALL, clock, world.wallets) for _ in range(2))
    assert first == second
    assert first.entry is not None
    assert (world.payments.paid, world.payments.attempts) == ({}, {})


def test_a_sweep_and_a_cancel_and_a_consolidation_pay_nobody(tmp_path: Path) -> None:
    treasury = simulated.simulated_address(b"\2" + bytes(32))
    wallet = policy_document()["wallets"][0]
    world = World(tmp_path, policy_document(
        wallets=[{**wallet, "treasury": treasury}], sweep_fee_budget_reference_minor="500"))
    for operation in ("consolidate", "cancel"):
        raw, _ = world.transaction([], coins=[world.coin(30_000), world.coin(20_000)])
        assert world.sign([], operation=operation, raw=raw, paths=[(0, 0), (0, 0)])
    raw, _ = world.transaction([(treasury, 29_500)], coins=[world.coin(30_000)], change=0)
    assert world.sign([], operation="sweep", raw=raw)
    assert world.payments.paid == {}
    assert world.payments.change_next[simulated.NETWORK] == 2
