"""The machine that owns all around the signer finds nothing; and with a rule taken out it finds that at once.

10,000 steps for each seed under STRONGROOM_FAULTS=full. A failure names its seed and step: the same again is
`python -m tests.adversary.fuzz SEED STEPS`.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adversary.attacks import BOOK, GATE, LIMITS_OUT, ONCE_OUT
from tests.adversary.build import Patch, patched, run
from tests.adversary.fuzz import play
from tests.adversary.siege import fast_folder, remove

FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
STEPS = 10_000 if FULL else 400
SEEDS = tuple(range(20261124, 20261130)) if FULL else (20261124, 20261125)
CONTROL_STEPS = 3_000

CONTROLS = {
    "attempts needn't exclude each other": (ONCE_OUT, "a chain could hold both"),
    "no limits": (LIMITS_OUT, "went out under"),
    "no budget for fees": (
        Patch(GATE, "+ fee_minor > budget:", "+ fee_minor > 10**30:"), "more fees than"
    ),
    "a cancel is forgotten while an attempt stands": (
        Patch(BOOK, "        payments.taken_back.add(subject)\n", "        pass\n"), "was taken back, and signed"
    ),
    "signed before guard has it": (
        Patch("signer/desk.py", "            self._agree_to(asked.organisation, decision.transaction.identifier)\n",
              ""),
        "came out before guard had it",
    ),
    "a person asks and nobody approves": (
        Patch(GATE, "is_person(due.intent.client) or is_person(known.declared_by)", "False"), "approved by nobody else"
    ),
    "the maker approves": (
        Patch("signer/approvals.py", "people = {PersonId(each) for each in makers if is_person(each)}",
              "people: set[PersonId] = set()"),
        "approved by nobody else",
    ),
    "outputs aren't compared": (
        Patch(GATE, " or output != (place[1], due.minor):", ":"), "which nobody asked for"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = fast_folder(tmp_path)
    yield made
    remove(made)


@pytest.mark.faults
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_must_not_be_is_seen(folder: Path, seed: int) -> None:
    machine = play(seed, STEPS, folder)
    print(f"seed {seed}: {dict(machine.answers)}")
    seen = Counter(machine.answers)
    assert min(seen["signed"], seen["payout-once"], seen["guard-agrees"], seen["intent-alive"]) >= 3


def play_all(source: Path) -> None:
    """One seed or the other plays into it."""
    for seed in SEEDS[:2]:
        run(source, "tests.adversary.fuzz", str(seed), str(CONTROL_STEPS))


@pytest.mark.faults
@pytest.mark.parametrize("what", CONTROLS)
def test_control_with_a_rule_taken_out_it_is_seen(folder: Path, what: str) -> None:
    patch, complaint = CONTROLS[what]
    source = patched(folder / "build", patch)
    with pytest.raises(subprocess.CalledProcessError) as ended:
        play_all(source)
    assert "BrokenError" in ended.value.stderr
    assert complaint in ended.value.stderr
