"""Signer and guard have both lost what was paid since yesterday, the database too, and everything is asked for again.

The attacker has every request that was ever signed; wants one to be paid twice; the bound is nothing. The control is
what an operator could do before there was a recovery: have a guard without a disk take the restored signer's journal.
"""

import pytest
from tests.faults.signer import restores
from tests.faults.signer.ground import SEED, ground
from tests.protocol.recovering import EPOCH
from tests.signer.world import CLEO, COOLING_MS, DAN, AskRefused

from strongroom.formats import simulated


@pytest.mark.faults
def test_control_without_a_recovery_what_was_paid_before_the_loss_is_paid_again() -> None:
    with ground() as made:
        shop = restores.restored(made, "shop", SEED, made.ports())
        lost = restores.both_lost(shop, with_store=False)
        shop.begin_guard()
        shop.begin_signer()
        shop.reconcile()
        shop.begin()
        second = restores.paid_again(shop, lost)
        shop.end()
    first, _ = simulated.parse_signed(lost.signed)
    again, _ = simulated.parse_signed(second)
    assert set(first.inputs).isdisjoint(again.inputs)
    assert lost.payout.address in {each.address for each in again.outputs} & {each.address for each in first.outputs}


@pytest.mark.faults
@pytest.mark.parametrize("with_store", [True, False], ids=["both older", "guard's disk gone"])
def test_after_a_recovery_nothing_is_paid_twice_and_new_clients_are_paid_for(with_store: bool) -> None:
    with ground() as made:
        shop = restores.restored(made, "shop", SEED, made.ports())
        lost = restores.both_lost(shop, with_store=with_store)
        asked, orders = list(shop.acknowledged.values()), [frame for frame, _ in shop.signatures.values()]
        before = (shop.place / "signing").read_bytes()
        restores.begin_recovery(shop, EPOCH)
        clients = restores.recovers_by_commands(shop, EPOCH, CLEO, DAN)
        restores.end_recovery(shop)
        refusals = restores.refusals_of_all(shop, lost, [each for each in asked if each is not None], orders)
        assert (shop.place / "signing").read_bytes() == before
        assert refusals <= {"intent-signed", "intent-scope", "limit-window", "guard-agrees", "change-quorum"}
        shop.pass_by(1_000)
        record = restores.declared(shop, clients[1])
        shop.pass_by(COOLING_MS)
        payout = restores.asked_by(shop, record, clients[0])
        with pytest.raises(AskRefused, match=r"limit-window: .* budgets count as spent"):
            restores.pay_for(shop, payout)
        shop.pass_by(86_400_000)
        restores.pay_for(shop, payout)
        assert (shop.place / "signing").read_bytes() != before
        restores.refusals_of_all(shop, lost, [], orders)
        assert restores.paid_to(shop, payout.address) == 1
        assert restores.paid_to(shop, lost.payout.address) == 1
        shop.end()
