"""All that is wrong in a policy is named at once, and nothing that isn't."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.domain.policy_document import limit, policy_document, tier

from strongroom.advice.problems import _RIGHT, PROBLEMS_MAXIMUM, Problem, problems, read_policy
from strongroom.domain.document import DocumentError
from strongroom.domain.policy import Policy, parse_policy
from strongroom.protocol.canonical import encode


def broken(change: Callable[[dict[str, Any]], object]) -> list[str]:
    document = policy_document()
    change(document)
    found = problems(document)
    with pytest.raises(DocumentError):
        parse_policy(document)
    return [problem.field for problem in found]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inner = [each for name, one in value.items() for each in leaves(one, (*path, name))]
    if isinstance(value, list):
        inner = [each for at, one in enumerate(value) for each in leaves(one, (*path, at))]
    return ([path] if path else []) + inner


def written(path: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


EVERYWHERE = leaves(policy_document())


def put(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    inside: Any = document
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value


def test_the_right_values_are_right_and_of_every_field() -> None:
    assert isinstance(parse_policy(deepcopy(_RIGHT)), Policy)
    assert {written(path).replace("[1]", "[0]").replace("[2]", "[0]") for path in EVERYWHERE} == {
        written(path) for path in leaves(_RIGHT)
    }


def test_a_right_document_has_no_problems() -> None:
    assert problems(policy_document()) == []
    assert isinstance(read_policy(encode(policy_document())), Policy)


@pytest.mark.parametrize("path", EVERYWHERE, ids=written)
@pytest.mark.parametrize("value", [-1.5, {}], ids=["a number", "an object"])
def test_whatever_is_wrong_is_named(path: tuple[Any, ...], value: Any) -> None:
    found = broken(lambda document: put(document, path, value))
    assert all(field.startswith(written(path)) for field in found)
    assert found


@settings(max_examples=150, deadline=None)
@given(some.lists(some.sampled_from(EVERYWHERE), min_size=1, max_size=6, unique=True))
def test_what_is_named_is_wrong_and_what_is_wrong_is_named(paths: list[tuple[Any, ...]]) -> None:
    document = policy_document()
    outermost = [path for path in paths if not any(path[: len(other)] == other for other in paths if other != path)]
    for path in outermost:
        put(document, path, False)
    found = {problem.field for problem in problems(document)}
    expected = {written(path) for path in outermost}
    assert all(any(field.startswith(each) for each in expected) for field in found)
    in_lists = {each for each in expected if each.startswith("tiers[")}
    follows = {each for each in expected if each.endswith("fee_asset")}
    assert expected - in_lists - follows <= found


def test_several_are_found_in_one_document() -> None:
    def change(document: dict[str, Any]) -> None:
        document["colour"] = "red"
        document["assets"][0]["price"] = "1"
        document["reference_currency"] = ""
        document["limits"][1]["scope"] = "planet"
        document["limits"][2].pop("span_ms")
        document["cooling_off_ms"]["declared"] = -1
        document["wallets"][0]["fee_asset"] = "other"
        del document["governance"]

    assert set(broken(change)) == {
        "colour", "assets[0].price", "reference_currency", "limits[1].scope", "limits[2].span_ms",
        "cooling_off_ms.declared", "governance", "wallets[0].fee_asset",
    }


def test_places_are_those_of_the_document_also_after_some_have_left() -> None:
    tiers = [tier(100, 0, 0), tier(50, 0, 0), tier(200, 1, 0), tier(300, 1, 1), tier(400, 0, 0)]
    found = problems(policy_document(tiers=tiers))
    assert [problem.field for problem in found] == [
        "tiers[1].up_to_reference_minor", "tiers[2].groups", "tiers[4].up_to_reference_minor",
    ]
    limits = [limit("a", "client", "all", 1), limit("a", "client", "all", 1), limit("b", "moon", "all", 1)]
    assert {problem.field for problem in problems(policy_document(limits=limits))} == {"limits[1]", "limits[2].scope"}


def test_a_wallet_isnt_blamed_for_a_wrong_asset() -> None:
    assert broken(lambda document: document["assets"][0].pop("asset")) == ["assets[0].asset"]
    assert broken(lambda document: document.update(assets=[])) == ["assets"]


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        (b"{", "", "isn't JSON"), (b"[]", "", "must be a JSON object"), (b"\xff", "", "UTF-8"),
        (b'{"version": 1, "version": 2}', "version", "stands there twice"), (b'{"version": 1.5}', "", "integer"),
    ],
)
def test_what_is_no_document_has_one_problem(raw: bytes, field: str, reason: str) -> None:
    (problem,) = read_policy(raw)  # type: ignore[misc]  # a policy can't be unpacked, and fails the test
    assert problem.field == field
    assert reason in problem.reason


def test_no_object_is_one_problem() -> None:
    assert problems(None) == [Problem("", "must be an object")]


def test_an_empty_document_lacks_every_field_and_many_faults_have_an_end() -> None:
    may_be_missing = {"sweep_fee_budget_reference_minor"}
    assert {problem.field for problem in problems({})} == set(_RIGHT) - may_be_missing
    assert len(problems({f"unknown {number}": 1 for number in range(500)})) >= PROBLEMS_MAXIMUM
