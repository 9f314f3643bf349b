"""Nobody is paid twice by real processes on a Bitcoin and an EVM node, whoever rebuilds, lies or restores; with the
rule for it taken out, both chains pay twice. Under STRONGROOM_FAULTS=full.

That a skip is a lie is only a vault's affair: `tests/engine/test_vault_skips.py`.
"""

from collections.abc import Iterator

import pytest
from tests.adversary.build import ROOT
from tests.adversary.ground import Ground, ground
from tests.adversary.real_firm import SYMBOLS
from tests.adversary.twice import CASES
from tests.faults.signer.ground import IS_FULL

pytestmark = [pytest.mark.faults, pytest.mark.sandbox]
at_full_count = pytest.mark.skipif(not IS_FULL, reason="under STRONGROOM_FAULTS=full")

CONTROLS = [(name, what) for name, case in CASES.items() for what in case.controls]


@pytest.fixture(scope="module")
def chains() -> Iterator[Ground]:
    with ground("bitcoin", "evm") as made:
        yield made


@at_full_count
@pytest.mark.parametrize("name", CASES)
def test_nobody_is_paid_twice_on_either_chain(chains: Ground, name: str) -> None:
    taken = CASES[name].act(chains, None)
    chains.calm()
    assert taken == dict.fromkeys(SYMBOLS, 0)


@at_full_count
@pytest.mark.parametrize(("name", "what"), CONTROLS, ids=[f"{name}: {what}" for name, what in CONTROLS])
def test_control_with_its_rule_taken_out_both_chains_pay_twice(chains: Ground, name: str, what: str) -> None:
    taken = CASES[name].act(chains, CASES[name].controls[what])
    chains.calm()
    print(f"{name}, {what}: {taken}")
    assert all(taken[symbol] > 0 for symbol in SYMBOLS), taken


def test_every_attack_says_what_its_attacker_has_and_wants_and_what_is_taken_out_stands_in_the_code() -> None:
    assert all((case.act.__doc__ or "").startswith("The attacker has") and case.controls for case in CASES.values())
    patches = {each for case in CASES.values() for control in case.controls.values() for each in control.patches}
    counts = {each: (ROOT / "src/strongroom" / each.file).read_text().count(each.before) for each in patches}
    assert set(counts.values()) == {1}, [each for each, count in counts.items() if count != 1]
