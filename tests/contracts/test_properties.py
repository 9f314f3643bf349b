"""Whoever sends what to a vault, in whichever order: it does what its model does, and nothing is paid twice."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random, randrange

import pytest
from tests.contracts.node import Node
from tests.contracts.patches import Compiled
from tests.contracts.play import (
    CHECKS,
    STEPS,
    WEIGHTS,
    Play,
    check_that_no_window_passed_the_bucket,
    check_that_nothing_was_paid_twice,
)
from tests.contracts.vault import founded

IS_FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
PLAYS = 500 if IS_FULL else 12
STEPS_OF_A_PLAY = 80
TRIES = 25
KINDS = [kind for kind, weight in zip(STEPS, WEIGHTS, strict=True) for _ in range(weight)]
"""Each as often as it weighs."""


MUST_BE_MET = {
    "executed", "killed", "skipped", "taken over", "AlreadyDecided", "KillExecuted", "NotSkipped", "OverLimit",
    "NothingPaid", "VaultPaused", "DeadlinePassed", "NotAllowed", "WrongSignature", "NotListed",
}


@pytest.mark.faults
def test_no_play_pays_twice_or_more_than_the_bucket(chain: Node) -> None:
    met: Counter[str] = Counter()
    first = randrange(2**32) if IS_FULL else 0
    for seed in range(first, first + PLAYS):
        print(f"play {seed}")
        with a_play(chain, None, seed) as play:
            for check in CHECKS:
                check(play)
            met.update(play.met())
    print(dict(met))
    assert {what for what in MUST_BE_MET if not met[what]} == set()


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("no status", check_that_nothing_was_paid_twice),
        ("executed can be killed", check_that_nothing_was_paid_twice),
        ("kills leave no mark", check_that_nothing_was_paid_twice),
        ("retries need no flag", check_that_nothing_was_paid_twice),
        ("no limit", check_that_no_window_passed_the_bucket),
        ("a new limit forgets", check_that_no_window_passed_the_bucket),
    ],
)
def test_control_with_a_rule_taken_out_a_play_finds_it(
    chain: Node, compiled: Mapping[str, Compiled], rule: str, check: Callable[[Play], None]
) -> None:
    assert any(is_broken(chain, compiled[rule], check, seed) for seed in range(TRIES))


def is_broken(chain: Node, copy: Compiled, check: Callable[[Play], None], seed: int) -> bool:
    """Whether a play on this copy fails that check, by what is on the chain."""
    try:
        with a_play(chain, copy, seed) as play:
            check(play)
    except AssertionError:
        return True
    return False


@contextmanager
def a_play(chain: Node, copy: Compiled | None, seed: int) -> Iterator[Play]:
    """All of it, on the chain as it was found; the chain goes back to that afterwards."""
    snapshot = chain.snapshot()
    try:
        play, chance = Play(founded(chain, copy)), Random(seed)
        for _ in range(STEPS_OF_A_PLAY):
            STEPS[chance.choice(KINDS)](play, chance)
        yield play
    finally:
        chain.revert(snapshot)
