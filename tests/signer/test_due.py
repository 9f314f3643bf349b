"""What is to be paid is what a client asked for, alone or at a place of a tree that it sealed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import SMALL, Run, small
from tests.signer.world import CLEO, PAY_KEY, AskRefused, World

from strongroom.domain.ids import RunId
from strongroom.domain.instant import Instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.negative import Action
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.signer.due import Item, due_now
from strongroom.signer.rules import Refused


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forged(world: World, **body: Any) -> Run:
    """A run whose first item was changed before its client sealed it: a client may seal anything."""
    record = world.cooled()
    run = Run(world, [5_000, 5_000], record=record)
    named = body.pop("run", run.id)
    run.leaves[0] = item_leaf(run.items[0] | body, named, 0)
    run.seal["root"] = run_root(run.leaves).hex()
    nodes = Frontier().append([leaf_hash(leaf) for leaf in run.leaves])
    run._nodes = {(level, position): digest for level, position, digest in nodes}
    return run.sealed()


def test_an_item_whose_leaf_says_another_run_is_of_neither(world: World) -> None:
    other = RunId("run_" + "z" * 26)
    run = forged(world, run=other)
    with pytest.raises(AskRefused, match=f"run-item: the item says that it is of {other}"):
        run.pay(0)
    assert run.pay(1)


def test_a_run_that_nobody_sealed_pays_nothing(world: World) -> None:
    run = Run(world, [5_000])
    with pytest.raises(AskRefused, match=f"intent-signed: no sealed run '{run.id}' was seen here"):
        run.pay(0)


def test_what_was_asked_for_alone_isnt_paid_as_an_item(world: World) -> None:
    run = Run(world, [5_000]).sealed()
    payout = world.intent(run.records[0], 5_000, key="item-0")
    with pytest.raises(AskRefused, match=f"intent-first: {payout} was asked for by a request of its own first"):
        run.pay(0)


@pytest.mark.parametrize("digest", ["ab" * 32, "another beneficiary's"])
def test_an_item_to_a_destination_that_isnt_its_beneficiarys_is_refused(world: World, digest: str) -> None:
    named = digest if digest == "ab" * 32 else destination_digest(world.cooled().encode())
    run = forged(world, destination_digest=named)
    with pytest.raises(AskRefused, match=r"destination-known: .* its destination isn't one of its beneficiary's"):
        run.pay(0)


@pytest.mark.parametrize(("body", "reason"), [
    ({"amount": "0"}, "run-item: .* amount"),
    ({"memo": "x"}, "run-item: .* memo: is unknown"),
    ({"asset": ""}, "run-item: .* asset"),
])
def test_an_item_that_is_no_payout_is_refused_though_its_client_sealed_it(
    world: World, body: dict[str, Any], reason: str
) -> None:
    run = forged(world, **body)
    with pytest.raises(AskRefused, match=reason):
        run.pay(0)


def test_a_payout_is_alive_until_the_millisecond_in_which_it_expires(world: World) -> None:
    ends = Instant(world.times.wall_ms + 10_000)
    payout = small(world, expires_at=format_instant(ends), not_before=format_instant(Instant(ends - 4_000)))

    def is_alive() -> bool:
        with suppress(Refused):
            return due_now(world.payments, Item(payout), world.notary.reading()).payout == payout
        return False

    lives = []
    for wait_ms in (ends - 4_001 - world.times.wall_ms, 1, 3_999, 1):
        world.pass_by(wait_ms)
        lives.append(is_alive())
    assert lives == [False, True, True, False]


def test_what_was_signed_counts_as_it_was_signed_though_it_was_declined_since(world: World) -> None:
    payout, coin = small(world), world.coin(60_000)
    world.sign([payout], coins=[coin])
    world.guard.instruct(Action.DECLINE, payout, CLEO)
    world.notary.agree()
    due = due_now(world.payments, Item(payout), world.notary.reading())
    assert due.before == world.payments.paid[payout]
    assert due.place == (simulated.NETWORK, world.output(payout)[0])
    assert (due.asset, due.minor, due.key) == (simulated.ASSET, SMALL, PAY_KEY)


def test_without_a_destination_there_is_no_place_that_an_output_could_be_for(world: World) -> None:
    due = due_now(world.payments, Item(small(world)), world.notary.reading())
    assert due.place == (simulated.NETWORK, world.output(due.payout)[0])
    assert due._replace(destination=None).place == ("", "")
