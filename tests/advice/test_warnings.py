"""What is allowed and unwise is warned about, and silenced by doing otherwise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.domain.policy_document import DAY_MS, HOUR_MS, limit, policy_document, tier
from tests.signer.world import ADA, BEN, EVE, PIA, TESS, human, roster
from tests.signer.world import policy_document as worlds_policy

from strongroom.advice.quorums import are_enough, roster_warnings
from strongroom.advice.warnings import warnings
from strongroom.domain.policy import Policy, Tier, parse_policy
from strongroom.protocol.roster import CredentialClass, Group, Role, Roster


def wise(**changes: Any) -> dict[str, Any]:
    """Nothing to warn about."""
    document = policy_document(
        tiers=[tier(25_000, 0, 0), tier(1_000_000, 1, 1), tier(25_000_000, 2, 2)],
        limits=[
            limit("B", "organisation", "unattended", 10_000_000),
            limit("D", "organisation", "unattended_young", 1_000_000),
            limit("K", "client", "unattended", 10_000_000),
            limit("key", "key", "unattended", 10_000_000),
            limit("hour", "organisation", "unattended", 1_000_000, HOUR_MS),
        ],
        cooling_off_ms={"declared": HOUR_MS, "payee_verified": HOUR_MS, "allowlisted": HOUR_MS},
        browser_release_reference_minor="20000000", governance={"group": "officers", "delay_ms": DAY_MS},
    )
    document["wallets"][0]["treasury"] = "0xtreasury"
    return {**document, **changes}


def said(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.field, each.reason) for each in warnings(parse_policy(document))]


def test_a_wise_policy_has_no_warnings() -> None:
    assert said(wise()) == []


def without(name: str) -> dict[str, Any]:
    document = wise()
    document["limits"] = [each for each in document["limits"] if each["name"] != name]
    return document


def inside(*path: Any, to: Any) -> dict[str, Any]:
    document: Any = wise()
    found = document
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = to
    return document  # type: ignore[no-any-return]  # it is what `wise` made


UNPAID = {
    "asset": "iso4217:EUR", "symbol": "EUR", "decimals": 2, "network": "sepa", "maximum_minor": "1000",
    "ceiling": {"units": "100", "reference_minor": "125"},
}


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        (wise(version=2), "previous", "null in version 1"),
        (wise(previous="ab"), "previous", "null in version 1"),
        (wise(assets=[*wise()["assets"], UNPAID]), "assets[1].network", "EUR is never paid"),
        (inside("assets", 0, "ceiling", to={"units": "1", "reference_minor": "10000"}), "assets[0].ceiling",
         "one whole USDC counts as 100,000,000.00 USD"),
        (inside("assets", 0, "ceiling", "units", to="100000000000"), "assets[0].ceiling", "counts as 0.01 USD"),
        (wise(tiers=[tier(1_500_000, 0, 0), tier(25_000_000, 2, 2)]), "tiers", "15,000.00 USD a day without people"),
        (wise(tiers=[tier(25_000, 0, 0)]), "tiers", "no sum ever needs a person"),
        (wise(tiers=[tier(25_000, 0, 0)]), "risk.above_reference_minor", "raises no tier"),
        (inside("risk", "above_reference_minor", to="5000"), "risk.above_reference_minor", "in small pieces"),
        (inside("risk", "young_for_ms", to=HOUR_MS), "risk.young_for_ms", "no declared destination is ever young"),
        (wise(limits=[limit("each", "destination", "all", 1)]), "limits", "takes all that there is"),
        (without("D"), "limits", "(D)"),
        (inside("limits", 1, "maximum_reference_minor", to="10000000"), "limits", "D holds back nothing"),
        (without("K"), "limits", "(K)"),
        (without("key"), "limits", "of a key"),
        (without("hour"), "limits", "of an hour"),
        (wise(fee_budget_reference_minor="5000000"), "fee_budget_reference_minor", "50,000.00 USD a day are much"),
        (wise(sweep_fee_budget_reference_minor=None), "sweep_fee_budget_reference_minor", "so there are none"),
        (wise(browser_release_reference_minor="25000000"), "browser_release_reference_minor", "the largest payout"),
        (inside("cooling_off_ms", "declared", to=0), "cooling_off_ms.declared", "is no time"),
        (inside("cooling_off_ms", "allowlisted", to=90_000), "cooling_off_ms.allowlisted", "is 90 seconds"),
        (wise(intent_maximum_age_ms=8 * DAY_MS), "intent_maximum_age_ms", "8 days"),
        (inside("governance", "delay_ms", to=0), "governance.delay_ms", "leaves no time"),
        (inside("governance", "delay_ms", to=5000), "governance.delay_ms", "leaves 5 seconds"),
        (inside("wallets", 0, "finality_blocks", to=1), "wallets[0].finality_blocks", "reorg"),
        (inside("wallets", 0, "treasury", to=None), "wallets[0].treasury", "can't be swept"),
        (inside("wallets", 0, "fee_maximum_minor", to="10000010000"), "wallets[0].fee_maximum_minor", "of a day"),
        (inside("wallets", 0, "network", to="eip155:1"), "wallets[0].network", "no asset is paid"),
        (inside("wallets", 0, "network", to="eip155:1"), "wallets[0].fee_asset", "pays no fees here"),
    ],
)
def test_what_is_unwise_is_warned_about(document: dict[str, Any], field: str, words: str) -> None:
    assert [reason for at, reason in said(document) if at == field and words in reason], said(document)


def test_where_people_see_everything_no_budget_is_missed() -> None:
    tiers = [tier(1_000, 1, 1), tier(1_000_000, 1, 1), tier(25_000_000, 2, 2)]
    assert said(wise(tiers=tiers, limits=[limit("all", "organisation", "all", 10_000_000)])) == []


def policy(**changes: Any) -> Policy:
    return parse_policy(worlds_policy(**changes))


def about(made: Policy, people: Roster) -> list[tuple[str, str]]:
    return [(each.field, each.reason) for each in roster_warnings(made, people)]


FLORA = human("f", Role.APPROVER, groups=("treasury",))
GUS = human("g", Role.OFFICER, groups=("officers",))


def wise_roster(change: Callable[[Roster], Roster] = lambda made: made) -> Roster:
    made = people_without(PIA)(roster())
    return change(replace(made, people=(*made.people, FLORA.person(), GUS.person())))


def people_without(*names: Any) -> Callable[[Roster], Roster]:
    gone = {each.id for each in names}
    return lambda made: replace(made, people=tuple(each for each in made.people if each.id not in gone))


def test_enough_people_are_nothing_to_warn_about() -> None:
    assert about(policy(), wise_roster()) == []


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (people_without(FLORA), "tiers[2]", "nobody is paid when A Example is away"),
        (people_without(FLORA, ADA), "tiers[2]", "the roster can't give them for cl_p"),
        (people_without(FLORA, ADA, BEN), "tiers[1]", "nobody is paid when T Example is away"),
        (people_without(GUS), "governance.group", "with one away nothing changes"),
        (lambda made: replace(made, groups=(*made.groups[:2], Group("officers", 1))), "governance.group", "alone"),
        (lambda made: replace(made, groups=made.groups[:2]), "governance.group", "no group 'officers'"),
        (lambda made: replace(made, groups=(*made.groups[:2], Group("officers", 4))), "governance.group", "fewer"),
        (lambda made: replace(made, organisation="org_" + "b" * 26), "organisation", "another than the roster's"),
        (lambda made: replace(made, clients=tuple(replace(each, custodians=()) for each in made.clients)),
         "roster clients[0].custodians", "counts for what it asked itself"),
    ],
)
def test_people_who_are_too_few_are_warned_about(change: Callable[[Roster], Roster], field: str, words: str) -> None:
    found = about(policy(), wise_roster(change))
    assert [reason for at, reason in found if at == field and words in reason], found


def test_a_payout_above_what_browsers_release_needs_somebody_with_a_terminal() -> None:
    made = policy(browser_release_reference_minor="1000000")
    assert about(made, wise_roster()) == []
    found = about(made, wise_roster(people_without(TESS)))
    assert ("browser_release_reference_minor", "no approver has a terminal: what people approve above this in a day "
            "waits for the next") in found
    assert TESS.classes == (CredentialClass.TERMINAL,)


def test_one_person_stands_for_one_group() -> None:
    tier_of_two = Tier(1, 2, 2)
    assert are_enough([EVE.person(), ADA.person()], tier_of_two)
    assert not are_enough([ADA.person(), FLORA.person()], tier_of_two)
    assert not are_enough([EVE.person()], tier_of_two)
    assert are_enough([], Tier(1, 0, 0))
