"""Signer and guard are killed at every point, begin again, are asked again; nothing is paid twice and nothing lost.

10,000 kills under STRONGROOM_FAULTS=full, every point at least fifty times.
"""

import pytest
from tests.faults.signer.ground import IS_FULL, SEED, ground
from tests.faults.signer.killing import Killer
from tests.faults.signer.points import ACTS, PASSAGES, POINTS
from tests.faults.signer.recount import BrokenError

KILLS = 10_000 if IS_FULL else 100
LEAST = 50 if IS_FULL else 1


def test_every_point_in_the_source_is_in_the_table() -> None:
    names = {name for each in PASSAGES for name in each.names() if "{" not in name} | {"frame torn"}
    kinds = {f"{kind} {what}" for kind in ("destinations", "intents") for what in ("written", "synced")}
    assert names | kinds == {name for _, name in POINTS}
    assert len(ACTS) == len(POINTS)


@pytest.mark.faults
def test_whatever_is_killed_at_whatever_point_nothing_is_paid_twice_and_nothing_lost() -> None:
    print(f"{KILLS} kills from seed {SEED}")
    with ground() as made:
        killer = Killer(made.root, made.nursery, made.ports(), SEED)
        killer.run(KILLS, LEAST)
        killed = {point: killer.fuse.killed(point) for point in POINTS}
        print(f"{killer.kills} kills, {killer.signed} signed, {killer.entries} entries, {killer.shops} shops")
        print(f"refused: {killer.refused}")
        print("\n".join(f"{count} {point}" for point, count in sorted(killed.items(), key=lambda each: each[1])))
    assert killer.signed > KILLS // 4
    assert min(killed.values()) >= LEAST


@pytest.mark.faults
def test_control_a_point_that_isnt_reached_is_a_fault() -> None:
    with ground() as made:
        killer = Killer(made.root, made.nursery, made.ports(), SEED)
        with pytest.raises(BrokenError, match="and not 1 at each of"):
            killer.run(2, 1)
    assert killer.kills >= 10
