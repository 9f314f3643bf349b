"""Admission: what is taken, whom it needs, what it waits for; as tables.

The policy is the sandbox's: up to 250 USD nobody, to 10,000 one, to 250,000 two of two groups; budgets of
100,000 USD a day. One USD is 1,000,000 base units, a cent is one reference minor unit.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_document import NETWORK, ORGANISATION, USDC, limit, policy_document, tier

from strongroom.domain.admission import (
    Admitted,
    Funds,
    Subject,
    admit,
    count,
    refusal_of_hold,
    take_back,
    worth_of_unsealed_run,
)
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.destination import Destination
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import Hold, HoldReason
from strongroom.domain.policy import Policy, parse_policy
from strongroom.domain.velocity import Windows

NOW = Instant(20_000 * DAY_MS)
OLD = Instant(NOW - 30 * DAY_MS)
RICH = Funds(10**30, frozen=False)
USD = 1_000_000


def policy(**changes: Any) -> Policy:
    return parse_policy(policy_document(**changes))


def destination(**changes: Any) -> Destination:
    return Destination(
        **{
            "digest": DestinationDigest("ab" * 32),
            "organisation": OrganisationId(ORGANISATION),
            "beneficiary": BeneficiaryId("ben_" + "a" * 26),
            "declared_by": ClientId("cl_" + "b" * 26),
            "version": 1,
            "destination_class": DestinationClass.DECLARED,
            "network": NETWORK,
            "address": "0x1",
            "created_at": OLD,
            "cooling_until": OLD,
            **changes,
        }
    )


def subject(usd: int, **changes: Any) -> Subject:
    return Subject(
        **{
            "client": ClientId("cl_" + "a" * 26),
            "key": KeyId("ak_" + "a" * 26),
            "amount": Amount(usd * USD, AssetId(USDC)),
            "destination": destination(),
            "payable_from": OLD,
            **changes,
        }
    )


def admitted(
    policy: Policy, subject: Subject, funds: Funds = RICH, windows: Windows | None = None, now: Instant = NOW
) -> Admitted:
    answer = admit(policy, subject, funds, windows if windows is not None else Windows(), now)
    assert isinstance(answer, Admitted)
    return answer


@pytest.mark.parametrize(
    ("usd", "young", "approvals"),
    [
        (1, False, 0), (250, False, 0), (251, False, 1), (10_000, False, 1), (10_001, False, 2),
        (250_000, False, 2),
        (250, True, 0),  # risk counts only above the floor
        (251, True, 2),  # and raises by one tier
        (10_001, True, 2),  # never above the last
    ],
)
def test_the_tier_goes_by_worth_and_risk(usd: int, young: bool, approvals: int) -> None:
    where = destination(created_at=Instant(NOW - HOUR_MS)) if young else destination()
    # the budgets of 100,000 USD are for what nobody approves, so they don't stand in the way here
    answer = admitted(policy(), subject(usd, destination=where))
    assert (answer.tier.approvals, answer.hold, answer.counted) == (approvals, None, True)
    assert answer.reference_minor == usd * 100


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        (subject(1, amount=Amount(1, AssetId("iso4217:EUR"))), Code.ASSET_UNKNOWN, "asset"),
        (subject(1, destination=destination(network="eip155:1")), Code.NETWORK_MISMATCH, "asset"),
        (subject(1_000_001), Code.AMOUNT_OUT_OF_RANGE, "amount"),
        (subject(250_001), Code.LIMIT_EXCEEDED, "amount"),
        (subject(1, run_total_reference_minor=25_000_001), Code.LIMIT_EXCEEDED, "amount"),
    ],
)
def test_what_can_never_be_is_refused(changed: Subject, code: Code, field: str) -> None:
    answer = admit(policy(), changed, RICH, Windows(), NOW)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.field) == (code, field)


LATER = Instant(NOW + 5_000)
FULL = [limit("tiny", "organisation", "all", 1)]


@pytest.mark.parametrize(
    ("changes", "limits", "funds", "reason", "retry_at", "counted"),
    [
        ({"payable_from": LATER, "not_before": LATER}, FULL, Funds(0, frozen=True), "freeze", None, False),
        ({"payable_from": LATER, "not_before": LATER}, FULL, Funds(0, frozen=False), "cooling", LATER, False),
        ({"not_before": LATER}, FULL, Funds(0, frozen=False), "limit_window", None, False),
        ({"not_before": LATER}, None, Funds(0, frozen=False), "funds", Instant(NOW + 60_000), False),
        ({"not_before": LATER}, None, RICH, "not_before", LATER, True),
        ({"payable_from": LATER}, None, RICH, "cooling", LATER, True),
        ({"payable_from": LATER}, None, Funds(0, frozen=False), "cooling", LATER, False),
        ({"payable_from": NOW, "not_before": NOW}, None, Funds(USD, frozen=False), None, None, True),
    ],
)
def test_the_first_hold_that_applies_is_the_reason(
    changes: dict[str, Any], limits: Any, funds: Funds, reason: str | None, retry_at: Instant | None,
    counted: bool,
) -> None:
    rules = policy(limits=limits) if limits else policy()
    answer = admitted(rules, subject(1, **changes), funds)
    expected = None if reason is None else Hold(HoldReason(reason), retry_at)
    assert (answer.hold, answer.counted) == (expected, counted)


def fill(rules: Policy, windows: Windows, each: Subject, times: int) -> None:
    for _ in range(times):
        count(each, admitted(rules, each, windows=windows), windows, NOW)


def test_a_full_budget_holds_until_the_window_moves_on() -> None:
    rules, windows = policy(limits=[limit("hour", "organisation", "unattended", 50_000, HOUR_MS)]), Windows()
    elsewhere = [subject(250, destination=destination(address=f"0x{n}")) for n in range(3)]
    for each in elsewhere[:2]:
        fill(rules, windows, each, 1)
    answer = admitted(rules, elsewhere[2], windows=windows)
    assert answer.hold is not None
    assert (answer.hold.reason, answer.limit, answer.counted) == (HoldReason.LIMIT_WINDOW, "hour", False)
    retry_at = answer.hold.retry_at
    assert retry_at is not None
    assert NOW < retry_at <= NOW + HOUR_MS + HOUR_MS // 96 + 1
    assert admitted(rules, elsewhere[2], windows=windows, now=retry_at).hold is None


def test_the_longest_wait_of_several_full_limits_is_told() -> None:
    limits = [
        limit("day", "organisation", "all", 100), limit("hour", "client", "all", 100, HOUR_MS),
        limit("roomy", "client", "all", 10**9),
    ]
    rules, windows = policy(limits=limits), Windows()
    fill(rules, windows, subject(1), 1)
    answer = admitted(rules, subject(1, destination=destination(address="0x2")), windows=windows)
    assert answer.limit == "day"


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [
        ("organisation", {"client": ClientId("cl_" + "z" * 26)}, None),
        ("client", {"key": KeyId("ak_" + "z" * 26)}, {"client": ClientId("cl_" + "z" * 26)}),
        ("key", {"destination": destination(address="0x9")}, {"key": KeyId("ak_" + "z" * 26)}),
        ("destination", {"client": ClientId("cl_" + "z" * 26)}, {"destination": destination(address="0x9")}),
        ("asset", {"client": ClientId("cl_" + "z" * 26)}, None),
    ],
)
def test_a_limit_adds_up_over_its_scope(
    scope: str, same: dict[str, Any], other: dict[str, Any] | None
) -> None:
    rules, windows = policy(limits=[limit("one", scope, "all", 100)]), Windows()
    fill(rules, windows, subject(1), 1)
    assert admitted(rules, subject(1, **same), windows=windows).hold is not None
    if other is not None:
        assert admitted(rules, subject(1, **other), windows=windows).hold is None


@pytest.mark.parametrize(
    ("counts", "usd", "changes", "counted"),
    [
        ("all", 1, {}, True),
        ("unattended", 250, {}, True),
        ("unattended", 251, {}, False),
        ("attended", 250, {}, False),
        ("attended", 251, {}, True),
        ("unattended_young", 1, {}, True),  # declared
        ("unattended_young", 1, {"destination_class": DestinationClass.ALLOWLISTED}, False),
        (
            "unattended_young", 1,
            {"destination_class": DestinationClass.ALLOWLISTED, "created_at": Instant(NOW - 1)}, True,
        ),
        ("unattended_young", 251, {}, False),
    ],
)
def test_a_limit_counts_what_it_says(counts: str, usd: int, changes: dict[str, Any], counted: bool) -> None:
    rules, windows = policy(limits=[limit("one", "organisation", counts, 10**9)]), Windows()
    each = subject(usd, destination=destination(**changes))
    answer = admitted(rules, each, windows=windows)
    count(each, answer, windows, NOW)
    amounts = [windows.used(key, DAY_MS, NOW) for _, key in answer.meets]
    assert amounts == ([usd * 100] if counted else [])


def test_many_small_payouts_to_one_place_need_people_like_a_large_one() -> None:
    rules, windows = policy(), Windows()
    fill(rules, windows, subject(250), 1)
    assert admitted(rules, subject(1), windows=windows).tier.approvals == 0 + 1
    elsewhere = destination(address="0x2")
    assert admitted(rules, subject(1, destination=elsewhere), windows=windows).tier.approvals == 0


def test_a_days_sum_above_the_last_tier_waits_for_the_window() -> None:
    rules = policy(tiers=[tier(100, 0, 0)], limits=[limit("roomy", "asset", "all", 10**9)])
    windows = Windows()
    fill(rules, windows, subject(1), 1)
    answer = admitted(rules, subject(1), windows=windows)
    assert answer.hold is not None
    assert answer.hold.reason is HoldReason.LIMIT_WINDOW
    assert answer.hold.retry_at is not None
    assert answer.hold.retry_at > NOW + DAY_MS - 1
    assert not answer.counted


def test_what_is_not_counted_leaves_no_trace() -> None:
    rules, windows = policy(), Windows()
    answer = admitted(rules, subject(1), Funds(0, frozen=False), windows)
    count(subject(1), answer, windows, NOW)
    assert windows.forget_empty(NOW) == 0


def test_what_is_taken_back_leaves_the_windows_as_they_were() -> None:
    rules, windows = policy(), Windows()
    each, waits = subject(1), subject(1, destination=destination(address="0x2"))
    answer = admitted(rules, each, windows=windows)
    count(each, answer, windows, NOW)
    assert windows.forget_empty(NOW) > 0
    take_back(each, answer, windows, NOW)
    take_back(waits, admitted(rules, waits, Funds(0, frozen=False), windows), windows, NOW)
    assert windows.forget_empty(NOW) == 0


def test_an_unsealed_run_needs_people_where_the_policy_ever_asks_any() -> None:
    rules = policy()
    each = subject(1, run_total_reference_minor=worth_of_unsealed_run(rules))
    assert admitted(rules, each).tier.approvals == 1
    flat = policy(tiers=[tier(100, 0, 0)])
    each = subject(1, run_total_reference_minor=worth_of_unsealed_run(flat))
    assert admitted(flat, each).tier.approvals == 0


@pytest.mark.parametrize(
    ("hold", "code", "retry_after_ms"),
    [
        (Hold(HoldReason.FREEZE, None), Code.FROZEN, None),
        (Hold(HoldReason.COOLING, LATER), Code.BENEFICIARY_COOLING, 5_000),
        (Hold(HoldReason.LIMIT_WINDOW, None), Code.LIMIT_WINDOW, None),
        (Hold(HoldReason.FUNDS, Instant(NOW - 1)), Code.INSUFFICIENT_FUNDS, 0),
        (Hold(HoldReason.SCREENING, None), Code.HELD, None),
    ],
)
def test_a_client_that_will_not_wait_hears_why(hold: Hold, code: Code, retry_after_ms: int | None) -> None:
    refusal = refusal_of_hold(hold, NOW)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_ms) == (code, retry_after_ms)


def test_the_clients_own_wish_is_never_a_refusal() -> None:
    assert refusal_of_hold(Hold(HoldReason.NOT_BEFORE, LATER), NOW) is None


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3), st.integers(0, HOUR_MS)), max_size=60))
def test_no_order_of_payouts_passes_an_unattended_budget(asked: list[tuple[int, int, int]]) -> None:
    maximum = 60_000
    rules = policy(limits=[limit("B", "organisation", "unattended", maximum)])
    windows, now, went = Windows(), NOW, []
    for usd, place, pause_ms in asked:
        now = Instant(now + pause_ms)
        each = subject(usd, destination=destination(address=f"0x{place}"))
        answer = admitted(rules, each, windows=windows, now=now)
        count(each, answer, windows, now)
        if answer.counted and answer.tier.approvals == 0:
            went.append((now, answer.reference_minor))
        assert sum(worth for at, worth in went if at > now - DAY_MS) <= maximum


@pytest.mark.parametrize("changes", [
    {"client": PersonId("pe_" + "a" * 26)}, {"destination": destination(declared_by=PersonId("pe_" + "a" * 26))},
], ids=["asked for", "named"])
def test_what_a_person_asked_for_or_named_needs_somebody(changes: dict[str, Any]) -> None:
    small, large = (admitted(policy(), subject(usd, **changes)).tier for usd in (1, 20_000))
    assert (small.approvals, small.groups) == (1, 1)
    assert large.approvals == 2
