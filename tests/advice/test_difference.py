"""What a change of policy does, in words, and which way it goes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.domain.policy_document import DAY_MS, HOUR_MS, limit, policy_document, tier

from strongroom.advice.difference import Change, Way, differences
from strongroom.domain.policy import Counts, LimitScope, Policy, parse_policy

L, T, O = Way.LOOSER, Way.TIGHTER, Way.LOOK  # noqa: E741 as short as the table wants them


def policy(**changes: Any) -> Policy:
    return parse_policy(policy_document(**changes))


def wallet(**changes: Any) -> dict[str, Any]:
    (made,) = policy_document()["wallets"]
    return {**made, **changes}


def asset(**changes: Any) -> dict[str, Any]:
    (made,) = policy_document()["assets"]
    return {**made, **changes}


OTHER = asset(asset="other", symbol="OTH")
LIMITS = policy_document()["limits"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"version": 2, "previous": "ab"}, []),
        ({}, {"sweep_fee_budget_reference_minor": "500001"},
         [Change("sweep_fee_budget_reference_minor", "5,000.00 USD", "5,000.01 USD", L)]),
        ({}, {"fee_budget_reference_minor": "2000000"},
         [Change("fee_budget_reference_minor", "10,000.00 USD", "20,000.00 USD", L)]),
        ({}, {"browser_release_reference_minor": "100"},
         [Change("browser_release_reference_minor", "250,000.00 USD", "1.00 USD", T)]),
        ({}, {"risk": {"above_reference_minor": "25000", "young_for_ms": 0}},
         [Change("risk.young_for_ms", "1 day", "no time", L)]),
        ({}, {"risk": {"above_reference_minor": "30000", "young_for_ms": DAY_MS}},
         [Change("risk.above_reference_minor", "250.00 USD", "300.00 USD", L)]),
        ({}, {"intent_maximum_age_ms": HOUR_MS}, [Change("intent_maximum_age_ms", "1 day", "1 hour", T)]),
        ({}, {"governance": {"group": "treasury", "delay_ms": 0}},
         [Change("governance.group", "officers", "treasury", O),
          Change("governance.delay_ms", "5 seconds", "no time", L)]),
        ({}, {"cooling_off_ms": {"declared": HOUR_MS, "payee_verified": 1000, "allowlisted": 0}},
         [Change("cooling_off_ms.declared", "5 seconds", "1 hour", T)]),
        ({}, {"assets": [asset(), OTHER]}, [Change("assets[other]", None, "OTH", L)]),
        ({"assets": [asset(), OTHER]}, {}, [Change("assets[other]", "OTH", None, T)]),
        ({"assets": [asset(), OTHER]}, {"assets": [asset(), {**OTHER, "network": "x", "maximum_minor": "2000000"}]},
         [Change("assets[other].network", "eip155:31337", "x", O),
          Change("assets[other].maximum_minor", "1,000,000 OTH", "2 OTH", T)]),
        ({"assets": [asset(), OTHER]},
         {"assets": [asset(), {**OTHER, "ceiling": {"units": "20000", "reference_minor": "1"}}]},
         [Change("assets[other].ceiling", "0.01 OTH is at most 0.01 USD", "0.02 OTH is at most 0.01 USD", L)]),
        ({"assets": [asset(), OTHER]},
         {"assets": [asset(), {**OTHER, "ceiling": {"units": "20000", "reference_minor": "2"}}]}, []),
        ({}, {"limits": LIMITS[:2]},
         [Change("limits[one client]",
                 "100,000.00 USD of payouts without people in 1 day, for each client", None, L)]),
        ({"limits": LIMITS[:2]}, {},
         [Change("limits[one client]", None,
                 "100,000.00 USD of payouts without people in 1 day, for each client", T)]),
        ({}, {"wallets": [wallet(finality_blocks=1, treasury="0x1", fee_rate_maximum="2000000")]},
         [Change("wallets[eip155:31337].fee_rate_maximum", "1 USDC", "2 USDC", L),
          Change("wallets[eip155:31337].finality_blocks", "2", "1", L),
          Change("wallets[eip155:31337].treasury", "no sweeps", "0x1", O)]),
        ({}, {"wallets": []},
         [Change("wallets[eip155:31337]", "fees up to 5 USDC a chain transaction", None, T)]),
        ({}, {"reference_currency": "EUR"}, [Change("reference_currency", "USD", "EUR", O)]),
    ],
)
def test_each_field_says_what_changed_and_which_way(
    old: dict[str, Any], new: dict[str, Any], expected: list[Change]
) -> None:
    assert differences(policy(**old), policy(**new)) == expected


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([tier(25_000, 0, 0), tier(25_000_000, 2, 2)],
         [Change("tiers: above 250.00 USD to 10,000.00 USD", "1 person", "2 people of 2 groups", T)]),
        ([tier(500_000, 0, 0), tier(1_000_000, 1, 1), tier(25_000_000, 2, 2)],
         [Change("tiers: above 250.00 USD to 5,000.00 USD", "1 person", "nobody", L)]),
        ([tier(25_000, 0, 0), tier(1_000_000, 1, 1), tier(50_000_000, 2, 2)],
         [Change("tiers: above 250,000.00 USD to 500,000.00 USD", "refused", "2 people of 2 groups", L)]),
        ([tier(25_000, 0, 0), tier(1_000_000, 1, 1)],
         [Change("tiers: above 10,000.00 USD to 250,000.00 USD", "2 people of 2 groups", "refused", T)]),
        ([tier(1_000, 0, 0), tier(2_000, 0, 0), tier(25_000, 0, 0), tier(1_000_000, 1, 1), tier(25_000_000, 3, 1)],
         [Change("tiers: above 10,000.00 USD to 250,000.00 USD", "2 people of 2 groups", "3 people", O)]),
        ([tier(10, 1, 1), tier(1_000_000, 1, 1), tier(25_000_000, 2, 2)],
         [Change("tiers: up to 250.00 USD", "nobody", "1 person", T)]),
    ],
)
def test_tiers_are_compared_by_what_a_sum_needs(tiers: list[dict[str, Any]], expected: list[Change]) -> None:
    assert differences(policy(), policy(tiers=tiers)) == expected


@pytest.mark.parametrize(
    ("before", "after", "way"),
    [
        (("organisation", "all", 10, DAY_MS), ("organisation", "all", 11, DAY_MS), L),
        (("organisation", "all", 10, DAY_MS), ("organisation", "all", 10, HOUR_MS), L),
        (("organisation", "all", 10, HOUR_MS), ("organisation", "all", 10, DAY_MS), T),
        (("organisation", "all", 10, DAY_MS), ("organisation", "all", 9, HOUR_MS), O),
        (("organisation", "all", 10, DAY_MS), ("client", "all", 10, DAY_MS), L),
        (("key", "all", 10, DAY_MS), ("client", "all", 10, DAY_MS), T),
        (("key", "all", 10, DAY_MS), ("destination", "all", 10, DAY_MS), O),
        (("organisation", "all", 10, DAY_MS), ("organisation", "unattended", 10, DAY_MS), L),
        (("organisation", "unattended_young", 10, DAY_MS), ("organisation", "unattended", 10, DAY_MS), T),
        (("organisation", "attended", 10, DAY_MS), ("organisation", "unattended", 10, DAY_MS), O),
    ],
)
def test_a_limit_is_looser_only_if_nothing_of_it_is_tighter(
    before: tuple[Any, ...], after: tuple[Any, ...], way: Way
) -> None:
    (change,) = differences(policy(limits=[limit("one", *before)]), policy(limits=[limit("one", *after)]))
    assert change.way is way
    (back,) = differences(policy(limits=[limit("one", *after)]), policy(limits=[limit("one", *before)]))
    assert back.way is {L: T, T: L, O: O}[way]


some_limit = some.builds(
    limit, some.sampled_from("abc"), some.sampled_from([each.value for each in LimitScope]),
    some.sampled_from([each.value for each in Counts]), some.integers(1, 5), some.sampled_from([HOUR_MS, DAY_MS]),
)
some_policy = some.builds(
    policy, limits=some.lists(some_limit, min_size=1, max_size=3, unique_by=lambda each: str(each["name"])),
    tiers=some.lists(some.integers(1, 9), min_size=1, max_size=3, unique=True).map(
        lambda edges: [tier(edge, at, min(at, 1)) for at, edge in enumerate(sorted(edges))]),
    fee_budget_reference_minor=some.integers(1, 3).map(str),
)


@settings(max_examples=100, deadline=None)
@given(some_policy, some_policy)
def test_the_way_back_is_the_other_way_round(old: Policy, new: Policy) -> None:
    there = {(each.field, each.before, each.after): each.way for each in differences(old, new)}
    back = {(each.field, each.after, each.before): each.way for each in differences(new, old)}
    assert back == {change: {L: T, T: L, O: O}[way] for change, way in there.items()}
    assert differences(old, old) == []
