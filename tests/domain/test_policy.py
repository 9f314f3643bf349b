"""The policy document: every field is checked and named, and nothing unknown gets in."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_document import DAY_MS, NETWORK, USDC, limit, policy_document, tier

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError
from strongroom.domain.money import AssetId
from strongroom.domain.policy import AssetRule, Counts, LimitScope, parse_policy


def test_the_document_becomes_a_policy() -> None:
    policy = parse_policy(policy_document())
    assert policy.assets[AssetId(USDC)].decimals == 6
    assert [tier.approvals for tier in policy.tiers] == [0, 1, 2]
    assert policy.limits[0].scope is LimitScope.ORGANISATION
    assert policy.limits[1].counts is Counts.UNATTENDED_YOUNG
    assert policy.cooling_off_ms[DestinationClass.DECLARED] == 5000
    assert policy.wallets[NETWORK].finality_blocks == 2
    assert policy.previous is None
    assert parse_policy(policy_document(previous="ab" * 32, version=2)).previous == "ab" * 32


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        del document[name]

    return change


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (_set("type", to="strongroom/policy/v2"), "type", "must be 'strongroom/policy/v1'"),
        (_set("extra", to=1), "extra", "is unknown"),
        (_set("risk", "extra", to=1), "risk.extra", "is unknown"),
        (_set("assets", 0, "price", to="1"), "assets[0].price", "is unknown"),
        (_set("assets", 0, "ceiling", "x", to="1"), "assets[0].ceiling.x", "is unknown"),
        (_set("tiers", 1, "x", to=1), "tiers[1].x", "is unknown"),
        (_set("limits", 2, "x", to=1), "limits[2].x", "is unknown"),
        (_set("cooling_off_ms", "trusted", to=0), "cooling_off_ms.trusted", "is unknown"),
        (_drop("tiers"), "tiers", "is missing"),
        (_set("organisation", to="org_x"), "organisation", "26 characters"),
        (_set("version", to=0), "version", "from 1"),
        (_set("version", to=True), "version", "must be an integer"),
        (_set("version", to="1"), "version", "must be an integer"),
        (_set("previous", to=1), "previous", "must be a string"),
        (_set("reference_currency", to=""), "reference_currency", "1 to 3"),
        (_set("assets", to=[]), "assets", "a list of 1 to 64"),
        (_set("assets", to={}), "assets", "a list"),
        (_set("assets", 0, to="USDC"), "assets[0]", "must be an object"),
        (_set("assets", 0, "maximum_minor", to=5), "assets[0].maximum_minor", "must be a string"),
        (_set("assets", 0, "maximum_minor", to="-5"), "assets[0].maximum_minor", "base units"),
        (_set("tiers", 0, "groups", to=1), "tiers[0].groups", "both 0"),
        (_set("tiers", 1, "groups", to=2), "tiers[1].groups", "number of approvals"),
        (_set("tiers", 1, to=tier(25_000, 1, 1)), "tiers[1].up_to_reference_minor", "must rise"),
        (_set("tiers", 2, to=tier(9**9, 0, 0)), "tiers[2].up_to_reference_minor", "must rise"),
        (_set("limits", 0, "scope", to="planet"), "limits[0].scope", "planet"),
        (_set("limits", 0, "counts", to="some"), "limits[0].counts", "some"),
        (_set("limits", 0, "span_ms", to=2 * 3_600_000), "limits[0].span_ms", "an hour"),
        (_set("limits", 1, "name", to="unattended"), "limits[1]", "twice"),
        (_set("wallets", 0, "finality_blocks", to=0), "wallets[0].finality_blocks", "from 1"),
        (_set("wallets", 0, "fee_asset", to="iso4217:EUR"), "wallets[0].fee_asset", "among the assets"),
        (_set("wallets", 0, "treasury", to=5), "wallets[0].treasury", "must be a string"),
        (_set("governance", "delay_ms", to=-1), "governance.delay_ms", "from 0"),
        (_set("sweep_fee_budget_reference_minor", to=5), "sweep_fee_budget_reference_minor", "string"),
        (_set("fee_budget_reference_minor", to="1.5"), "fee_budget_reference_minor", "base units"),
    ],
)
def test_a_wrong_field_is_named(change: Callable[[dict[str, Any]], None], field: str, reason: str) -> None:
    document = policy_document()
    change(document)
    with pytest.raises(DocumentError, match=reason.replace("(", r"\(")) as fault:
        parse_policy(document)
    assert fault.value.field == field
    assert str(fault.value).startswith(field)


def test_a_policy_is_an_object() -> None:
    with pytest.raises(DocumentError, match="must be an object") as fault:
        parse_policy([])
    assert str(fault.value) == "must be an object"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(policy_document())), _json)
def test_only_its_own_error_escapes(name: str, value: Any) -> None:
    with contextlib.suppress(DocumentError):
        assert parse_policy(policy_document(**{name: value})).organisation


@given(st.integers(1, 2**256 - 1), st.integers(1, 10**18), st.integers(1, 10**9))
def test_the_reference_worth_is_never_too_small_and_less_than_one_unit_too_large(
    minor: int, units: int, reference: int
) -> None:
    rule = AssetRule(AssetId(USDC), "X", 6, NETWORK, 1, units, reference)
    worth = rule.reference_minor(minor)
    assert worth * units >= minor * reference
    assert (worth - 1) * units < minor * reference


def test_a_policy_that_names_no_budget_for_sweeps_has_none() -> None:
    document = policy_document()
    del document["sweep_fee_budget_reference_minor"]
    assert parse_policy(document).sweep_fee_budget_reference_minor == 0
    assert parse_policy(policy_document()).sweep_fee_budget_reference_minor == 500_000


def test_hour_and_day_limits_parse() -> None:
    limits = [limit("hour", "key", "all", 5, 3_600_000), limit("day", "asset", "attended", 5, DAY_MS)]
    policy = parse_policy(policy_document(limits=limits))
    assert [each.span_ms for each in policy.limits] == [3_600_000, DAY_MS]
