"""The way of a payout through the signer, and what it does when the process ends in the middle."""

from pathlib import Path

import pytest
from tests.signer.world import ADA, BEN, AskRefused, World

from strongroom.formats import simulated


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_small_payout_is_signed_without_people(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    transaction, witnesses = simulated.parse_signed(world.sign([payout]))
    simulated.verify_witnesses(transaction, witnesses)
    assert (transaction.outputs[0].address, transaction.outputs[0].amount) == world.output(payout)


def test_a_larger_one_needs_people(world: World) -> None:
    payout = world.intent(world.cooled(), 900_000)
    with pytest.raises(AskRefused, match="approval-requested"):
        world.sign([payout])
    world.pass_by(60_000)
    approved = world.approved(payout, ADA)
    assert world.sign([payout], approvals=[approved])


def test_the_same_bytes_are_signed_again_after_a_restart(world: World) -> None:
    payout = world.intent(world.cooled(), 20_000)
    raw, _ = world.transaction([world.output(payout)])
    signed = world.sign([payout], raw=raw)
    world.restart()
    assert world.sign([payout], raw=raw) == signed
    with pytest.raises(AskRefused, match="payout-once"):
        world.sign([payout])


def test_two_people_of_two_groups(world: World) -> None:
    record = world.cooled()
    world.pass_by(60_000)
    payout = world.intent(record, 20_000_000)
    approved = world.approved(payout, ADA, BEN)
    assert world.sign([payout], approvals=[approved])
