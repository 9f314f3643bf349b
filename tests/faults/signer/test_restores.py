"""A disk of the signer or of guard comes back older, or not at all.

The attacker has, or the operator restores, an older copy; wants that what was paid is forgotten and paid again; the
bound is nothing. Fifty of each under STRONGROOM_FAULTS=full.
"""

import pytest
from tests.faults.signer import restores
from tests.faults.signer.ground import IS_FULL, SEED, ground

COUNT = 50 if IS_FULL else 2


@pytest.mark.faults
def test_an_older_journal_begins_only_when_guard_has_brought_it_forward() -> None:
    asked = 0
    with ground() as made:
        ports = made.ports()
        for number in range(COUNT):
            shop = restores.restored(made, f"shop-{number}", SEED + number, ports)
            asked += restores.older_journal(shop)
            shop.end()
    print(f"{COUNT} older journals from seed {SEED}; {asked} acknowledgements only the signer had were given again")
    assert asked


@pytest.mark.faults
def test_an_older_guard_gives_no_lease_until_it_is_reconciled() -> None:
    signed = 0
    with ground() as made:
        ports = made.ports()
        for number in range(COUNT):
            shop = restores.restored(made, f"shop-{number}", SEED + number, ports)
            restores.older_guard(shop)
            signed += len(shop.recount.signed)
            shop.end()
    print(f"{COUNT} older guards from seed {SEED}")
    assert signed >= COUNT


@pytest.mark.faults
def test_if_both_are_older_nothing_is_signed_and_guard_says_that_both_lost_some() -> None:
    with ground() as made:
        ports = made.ports()
        for number in range(COUNT):
            shop = restores.restored(made, f"shop-{number}", SEED + number, ports)
            said = restores.both_older(shop)
            shop.end()
            assert "both have lost some" in said
    print(f"{COUNT} times both were older, from seed {SEED}")


@pytest.mark.faults
def test_a_standby_takes_over_with_every_budget_intact() -> None:
    signed = 0
    with ground() as made:
        ports = made.ports()
        for number in range(COUNT):
            shop = restores.restored(made, f"shop-{number}", SEED + number, ports)
            restores.standby(shop)
            signed += len(shop.recount.signed)
            shop.end()
    print(f"{COUNT} standbys from seed {SEED}")
    assert signed >= COUNT
