"""No attacker takes more than its bound; and each bound is passed when its rule is taken out.

The control of an attack is the same attack on a patched copy of the package: a broken attack would lose 0 as well.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adversary.attacks import CASES, lost
from tests.adversary.build import Patch, patched, run
from tests.adversary.siege import fast_folder, remove

CONTROLS = [(name, what) for name, case in CASES.items() for what in case.controls]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = fast_folder(tmp_path)
    yield made
    remove(made)


@pytest.mark.parametrize("name", CASES)
def test_no_attacker_takes_more_than_its_bound(folder: Path, name: str) -> None:
    assert lost(name, folder) <= CASES[name].bound


@pytest.mark.parametrize(("name", "what"), CONTROLS, ids=[f"{name}: {what}" for name, what in CONTROLS])
def test_control_with_its_rule_taken_out_the_attack_takes_more(folder: Path, name: str, what: str) -> None:
    source = patched(folder / "build", *CASES[name].controls[what])
    (folder / "siege").mkdir()
    assert int(run(source, "tests.adversary.attacks", name, str(folder / "siege"), str(source))) > CASES[name].bound


def test_a_patch_that_does_not_fit_is_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="0 times"):
        patched(folder / "build", Patch("signer/gate.py", "what stands nowhere", ""))


def test_every_attack_says_what_its_attacker_has_and_wants() -> None:
    assert all((case.act.__doc__ or "").startswith("The attacker ") and case.controls for case in CASES.values())
