"""No attacker takes more than its bound from the vault; and each takes more when its rule is taken out."""

from collections.abc import Iterator, Mapping

import pytest
from tests.contracts.attacks import CASES, Ground
from tests.contracts.node import Node, running_node
from tests.contracts.patches import PATCHES, Compiled
from tests.contracts.vault import founded

CONTROLS = [(name, rule) for name, case in CASES.items() for rule in case.controls]


@pytest.fixture(scope="session")
def other_chain() -> Iterator[Node]:
    with running_node(chain_id=1337) as other:
        yield other


@pytest.fixture
def elsewhere(other_chain: Node) -> Iterator[Node]:
    snapshot = other_chain.snapshot()
    yield other_chain
    other_chain.revert(snapshot)


@pytest.mark.parametrize("name", CASES)
def test_no_attacker_takes_more_than_its_bound(node: Node, elsewhere: Node, name: str) -> None:
    taken = CASES[name].act(Ground(node, elsewhere, founded))
    assert taken.loss <= taken.bound


@pytest.mark.parametrize(("name", "rule"), CONTROLS, ids=[f"{name}: {rule}" for name, rule in CONTROLS])
def test_control_with_its_rule_taken_out_the_attack_takes_more(
    node: Node, elsewhere: Node, compiled: Mapping[str, Compiled], name: str, rule: str
) -> None:
    ground = Ground(node, elsewhere, lambda chain, **more: founded(chain, compiled[rule], **more))
    taken = CASES[name].act(ground)
    assert taken.loss > taken.bound


@pytest.mark.parametrize("name", ["token_calls_the_same_batch", "token_calls_other_batches"])
def test_the_order_of_what_is_written_is_enough_against_tokens_that_call_back(
    node: Node, elsewhere: Node, compiled: Mapping[str, Compiled], name: str
) -> None:
    """The rule about gas, which keeps them out before, is taken away."""
    copy = compiled["gas isn't looked at"]
    taken = CASES[name].act(Ground(node, elsewhere, lambda chain, **more: founded(chain, copy, **more)))
    assert 0 < taken.loss <= taken.bound


def test_every_rule_that_is_taken_out_is_one_of_an_attack() -> None:
    assert {rule for _, rule in CONTROLS} == set(PATCHES)
    assert all((case.act.__doc__ or "").startswith("The attacker ") for case in CASES.values())
