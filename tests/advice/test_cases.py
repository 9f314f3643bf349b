"""Cases in a file: what a policy must decide, and what is said when it decides otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.domain.policy_document import DAY_MS, HOUR_MS, limit, policy_document

from strongroom.advice.cases import CASES_TYPE, Tried, parse_cases, try_cases
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import OrganisationId
from strongroom.domain.policy import Policy, parse_policy
from strongroom.protocol.canonical import parse_object
from strongroom.sandbox.organisation import assets_of
from strongroom.sandbox.organisation import policy_document as sandbox_policy

EXAMPLE = Path(__file__).parents[2] / "examples/policy-cases.json"
OLD = {"class": "declared", "age_ms": 30 * DAY_MS}
NOBODY = {"approvals": 0, "groups": 0}
USD = 1_000_000


def policy(**changes: Any) -> Policy:
    return parse_policy(policy_document(**changes))


def case(usd: int = 100, **changes: Any) -> dict[str, Any]:
    return {"name": "one", "asset": "USDC", "amount": str(usd * USD), "destination": OLD, "expect": NOBODY} | changes


def tried(made: Policy, *cases: dict[str, Any]) -> list[Tried]:
    return list(try_cases(made, parse_cases({"type": CASES_TYPE, "cases": list(cases)})))


def earlier(usd: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"asset": "USDC", "amount": str(usd * USD), "ago_ms": HOUR_MS} | changes]


def test_the_example_holds_for_the_sandboxs_policy() -> None:
    assets = assets_of({"USDC": "0x5FbDB2315678afecb367f032d93F642f64180aa3"}, ["bitcoin", "evm"])
    made = parse_policy(sandbox_policy(OrganisationId("org_" + "a" * 26), assets))
    found = list(try_cases(made, parse_cases(parse_object(EXAMPLE.read_bytes()))))
    assert [each.case.name for each in found if not each.passed] == []
    assert len(found) == len(json.loads(EXAMPLE.read_text())["cases"]) == 9


@pytest.mark.parametrize(
    ("changes", "expect", "said"),
    [
        ({}, NOBODY, "nobody"),
        ({"asset": policy_document()["assets"][0]["asset"]}, NOBODY, "nobody"),
        ({"amount": str(1_000 * USD)}, {"approvals": 1, "groups": 1}, "1 person"),
        ({"amount": str(20_000 * USD)}, {"approvals": 2, "groups": 2}, "2 people of 2 groups"),
        ({"amount": str(300_000 * USD)}, {"refused": "limit_exceeded"}, "refused (limit_exceeded)"),
        ({"amount": str(10**15)}, {"refused": "amount_out_of_range"}, "refused (amount_out_of_range)"),
        ({"amount": str(1_000 * USD), "destination": {"class": "declared", "age_ms": HOUR_MS}},
         {"approvals": 2, "groups": 2}, "2 people of 2 groups"),
        ({"destination": {"class": "declared", "age_ms": 1}}, {**NOBODY, "hold": "cooling"}, "nobody, held (cooling)"),
        ({"destination": {"class": "allowlisted", "age_ms": 0}}, NOBODY, "nobody"),
        ({"run_totals": {"USDC": str(500 * USD)}}, {"approvals": 1, "groups": 1}, "1 person"),
        ({"earlier": earlier(200)}, {"approvals": 1, "groups": 1}, "1 person"),
        ({"earlier": earlier(200, destination="other")}, NOBODY, "nobody"),
        ({"earlier": earlier(200, ago_ms=DAY_MS + HOUR_MS)}, NOBODY, "nobody"),
        ({"earlier": earlier(250, destination="other", times=400)},
         {**NOBODY, "hold": "limit_window", "limit": "unattended"}, "nobody, held (limit_window: unattended)"),
    ],
)
def test_a_case_passes_where_the_policy_decides_as_expected(
    changes: dict[str, Any], expect: dict[str, Any], said: str
) -> None:
    (found,) = tried(policy(), case(**changes, expect=expect))
    assert (found.passed, found.got, str(found.case.expected)) == (True, said, said)


@pytest.mark.parametrize(
    "expect",
    [
        {"approvals": 1, "groups": 1}, {"refused": "limit_exceeded"}, {**NOBODY, "hold": "cooling"},
        {"approvals": 0, "groups": 1}, {**NOBODY, "limit": "unattended"},
    ],
)
def test_a_case_fails_where_it_decides_otherwise(expect: dict[str, Any]) -> None:
    (found,) = tried(policy(), case(expect=expect))
    assert not found.passed
    (refused,) = tried(policy(), case(10**9, expect=expect if "refused" not in expect else NOBODY))
    assert not refused.passed


def test_another_client_has_a_budget_of_its_own() -> None:
    made = policy(limits=[limit("K", "client", "unattended", 20_000)])
    mine, others = (case(name=client, earlier=earlier(150, destination="other", client=client), expect=NOBODY)
                    for client in ("same", "other"))
    assert [each.passed for each in tried(made, mine, others)] == [False, True]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"amount": 5}, "cases[0].amount", "must be a string"),
        ({"colour": "red"}, "cases[0].colour", "is unknown"),
        ({"destination": {"class": "friend", "age_ms": 1}}, "cases[0].destination.class", "friend"),
        ({"destination": {**OLD, "x": 1}}, "cases[0].destination.x", "is unknown"),
        ({"expect": {}}, "cases[0].expect.approvals", "is missing"),
        ({"expect": {"refused": "no"}}, "cases[0].expect.refused", "no"),
        ({"expect": {"refused": "limit_exceeded", "approvals": 1}}, "cases[0].expect.approvals", "is unknown"),
        ({"earlier": earlier(1, client="him")}, "cases[0].earlier[0].client", "'same' or 'other'"),
    ],
)
def test_a_wrong_case_is_named(changes: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(DocumentError) as fault:
        tried(policy(), case(**changes))
    assert fault.value.field == field
    assert reason in fault.value.reason


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"asset": "XYZ"}, "cases[0].asset", "has no asset 'XYZ'"),
        ({"run_totals": {"XYZ": "1"}}, "cases[0].run_totals", "has no asset"),
        ({"earlier": earlier(1, ago_ms=31 * DAY_MS)}, "cases[0].earlier[0].ago_ms", "before the destination"),
        ({"earlier": earlier(300_000)}, "cases[0].earlier[0]", "could not have gone out by this policy: refused"),
        ({"earlier": earlier(250, destination="other", times=401)}, "cases[0].earlier[0]", "held (limit_window"),
    ],
)
def test_a_case_that_cant_be_fails_and_says_why(changes: dict[str, Any], field: str, reason: str) -> None:
    impossible, possible = tried(policy(), case(**changes), case(name="two"))
    assert impossible.fault is not None
    assert impossible.fault.field == field
    assert reason in impossible.got
    assert (impossible.passed, possible.passed) == (False, True)


def test_a_file_is_refused_as_a_whole() -> None:
    for document, field in (
        ({"type": "x", "cases": []}, "type"), ({"type": CASES_TYPE, "cases": []}, "cases"),
        ({"type": CASES_TYPE, "cases": [case(), case()]}, "cases[1].name"),
        ({"type": CASES_TYPE, "cases": [case()], "more": 1}, "more"),
    ):
        with pytest.raises(DocumentError) as fault:
            parse_cases(document)
        assert fault.value.field == field


def test_a_symbol_of_two_assets_names_neither() -> None:
    (one,) = policy_document()["assets"]
    (found,) = tried(policy(assets=[one, {**one, "asset": "other"}]), case())
    assert "more than one asset 'USDC'" in found.got
