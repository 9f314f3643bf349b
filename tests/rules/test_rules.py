"""Every rule of the gate takes what it should and refuses the rest, by its own tag."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import RULES, Act
from tests.signer.world import AskRefused, World, policy_document
from tools.rules_doc import document

from strongroom.signer.rules import Rule

SIGNER = Path(__file__).parents[2] / "src/strongroom/signer"


def rows(place: int) -> list[Any]:
    return [
        pytest.param(rule, *case[1:2], case[2] if len(case) > 2 else {}, id=f"{rule.value}: {case[0]}")
        for rule, tables in RULES.items()
        for case in tables[place]
    ]


@pytest.mark.parametrize(("rule", "act", "policy"), rows(0))
def test_it_is_taken(tmp_path: Path, rule: Rule, act: Act, policy: dict[str, Any]) -> None:
    world = World(tmp_path, policy_document(**policy))
    act(world)
    assert rule in Rule


@pytest.mark.parametrize(("rule", "act", "policy"), rows(1))
def test_it_is_refused_by_its_rule(tmp_path: Path, rule: Rule, act: Act, policy: dict[str, Any]) -> None:
    world = World(tmp_path, policy_document(**policy))
    with pytest.raises(AskRefused) as refusal:
        act(world)
    assert refusal.value.rule == rule.value, str(refusal.value)


def test_every_rule_has_cases_of_both_kinds_and_a_place_in_the_code() -> None:
    code = "\n".join(file.read_text() for file in SIGNER.glob("*.py"))
    named = set(re.findall(r"Rule\.([A-Z_]+)", code))
    assert {rule.name for rule in Rule} == named
    assert set(RULES) == set(Rule)
    assert all(taken and refused for taken, refused in RULES.values())


def test_the_document_is_the_one_that_is_generated() -> None:
    assert (SIGNER.parents[2] / "docs/signer-rules.md").read_text() == document()
