"""Who sits at the signer's socket, or owns guard's host or the signer's, takes no more than its bound from real ones.

The control of an attack is the same attack on a ground where a rule was taken out of a process: there the loss is above
the bound. `make test` tries the attacks and one control, `make faults` all controls.
"""

from collections.abc import Iterator

import pytest
from tests.adversary import outside, records
from tests.adversary.build import ROOT
from tests.adversary.ground import Ground, ground
from tests.adversary.inside import CASES, signers_host
from tests.adversary.plunder import attacked
from tests.faults.signer.ground import IS_FULL

pytestmark = pytest.mark.faults

EVERY = (outside.CASES | records.CASES | CASES).values()
CONTROLS = [(name, what) for name, case in CASES.items() for what in case.controls]
TRIED = CONTROLS if IS_FULL else [("engine_to_own_address", "attempts needn't exclude each other")]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Ground]:
    """Without its engine, in whose seat the attacker sits."""
    with ground() as made:
        made.stop("engine")
        yield made


@pytest.mark.parametrize("name", CASES)
def test_no_attacker_takes_more_than_its_bound(deployment: Ground, name: str) -> None:
    loss = attacked(deployment, CASES[name])
    print(f"{name}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken <= loss.bound


@pytest.mark.parametrize(("name", "what"), TRIED, ids=[f"{name}: {what}" for name, what in TRIED])
def test_control_with_its_rule_taken_out_the_attack_takes_more(deployment: Ground, name: str, what: str) -> None:
    loss = attacked(deployment, CASES[name], CASES[name].controls[what])
    print(f"{name}, {what}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken > loss.bound


def test_the_signers_host_takes_the_hot_wallet_and_no_more(deployment: Ground) -> None:
    """No rule bounds it, so there is none to take out: what is shown is that H is no guess."""
    loss = signers_host(deployment)
    assert loss.taken == loss.bound


def test_every_attack_says_what_its_attacker_has_and_wants() -> None:
    assert all((case.act.__doc__ or "").startswith("The attacker ") and case.controls for case in EVERY)


def test_what_is_taken_out_stands_in_the_code_as_it_is() -> None:
    """So that a control which `make test` doesn't try can't go stale unseen."""
    patches = {each for case in EVERY for part in (case.tools, *case.controls.values()) for each in part.patches}
    counts = {each: (ROOT / "src/strongroom" / each.file).read_text().count(each.before) for each in patches}
    assert set(counts.values()) == {1}, [each for each, count in counts.items() if count != 1]
