"""The list of planted bugs stays whole: each fits the code as it is, and each rule has one. Three are tried here."""

from pathlib import Path

import pytest
from tests.adversary.bugs import BUGS, Bug
from tests.adversary.build import ROOT, Patch
from tools.mutants import RULES, main, try_bug

from strongroom.signer.rules import Rule

TRIED = ("a naive rebuild", "custodians approve", "change goes anywhere")
HARMLESS = Bug("a comment", None, (Patch("signer/gate.py", '"""The gate:', '"""A gate:'),))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_bug_fits_the_code_as_it_is(bug: Bug) -> None:
    counts = [(ROOT / "src/strongroom" / each.file).read_text().count(each.before) for each in bug.patches]
    assert counts == [1] * len(bug.patches)
    assert all(each.before != each.after for each in bug.patches)


def test_each_rule_has_a_bug_and_names_are_different() -> None:
    assert {each.rule for each in BUGS} >= set(Rule)
    assert len({each.name for each in BUGS}) == len(BUGS)


@pytest.mark.parametrize("name", TRIED)
def test_a_bug_is_caught(name: str) -> None:
    (bug,) = (each for each in BUGS if each.name == name)
    assert try_bug(bug, [RULES]).caught_by.startswith("tests/")


def test_what_is_no_bug_survives() -> None:
    """The other side: nothing is caught by a copy alone."""
    assert try_bug(HARMLESS, ["tests/signer/test_first_payout.py"]).caught_by == ""


def test_a_survivor_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tools.mutants.BUGS", (HARMLESS,))
    monkeypatch.setattr("tools.mutants.FAST", ("tests/signer/test_first_payout.py",))
    monkeypatch.setattr("tools.mutants.try_bug", lambda bug: try_bug(bug, ["tests/signer/test_first_payout.py"]))
    assert main(()) == 1
