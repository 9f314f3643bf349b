"""Recorded payouts under another policy: who would have been asked, what would have waited, what refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.domain.policy_document import DAY_MS, HOUR_MS, NETWORK, USDC, limit, policy_document, tier

from strongroom.advice.simulation import Effect, Recorded, check_assets, compare, read_recorded, replay
from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Policy, parse_policy
from strongroom.domain.timestamp import format_instant

START = 20_000 * DAY_MS
OLD = Instant(START - 100 * DAY_MS)
CENT = 10_000


def policy(**changes: Any) -> Policy:
    return parse_policy(policy_document(**changes))


def row(cents: int, after_ms: int = 0, place: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"po_{place}_{after_ms}_{cents}", "client": "cl_one", "asset": USDC, "amount": str(cents * CENT),
        "created_at": format_instant(Instant(START + after_ms)), "run": None, "state": "settled", "more": "unread",
        "destination": {"digest": place, "network": NETWORK, "address": place, "class": "declared", "version": 1},
    } | changes


def recorded(*rows: dict[str, Any]) -> list[Recorded]:
    return read_recorded(rows, {"a": OLD, "b": OLD})


def effects(new: Policy, *rows: dict[str, Any], running: Policy | None = None) -> list[Effect]:
    payouts = recorded(*rows)
    return [each.effect for each in compare(replay(running or policy(), payouts), replay(new, payouts), payouts)]


B_OF_300 = [limit("B", "organisation", "unattended", 30_000)]


@pytest.mark.parametrize(
    ("changes", "rows", "expected"),
    [
        ({}, [row(20_000), row(20_000, HOUR_MS)], [Effect.SAME, Effect.SAME]),
        ({"tiers": [tier(10_000, 0, 0), tier(25_000_000, 2, 2)]}, [row(20_000)], [Effect.MORE_PEOPLE]),
        ({"tiers": [tier(90_000, 0, 0), tier(25_000_000, 2, 2)]}, [row(80_000)], [Effect.FEWER_PEOPLE]),
        ({"tiers": [tier(25_000, 0, 0), tier(50_000, 1, 1)]}, [row(80_000)], [Effect.REFUSED]),
        ({"limits": B_OF_300}, [row(20_000), row(20_000, HOUR_MS, "b")], [Effect.SAME, Effect.LATER]),
        ({"limits": B_OF_300}, [row(20_000), row(20_000, 26 * HOUR_MS, "b")], [Effect.SAME, Effect.SAME]),
        ({"limits": [limit("tiny", "organisation", "all", 1)]}, [row(20_000)], [Effect.LATER]),
        ({"cooling_off_ms": {"declared": 200 * DAY_MS // 3, "payee_verified": 0, "allowlisted": 0}},
         [row(20_000, 0, "new")], [Effect.LATER]),
        ({"tiers": [tier(25_000, 0, 0), tier(1_000_000, 1, 1), tier(90_000_000, 2, 2)]}, [row(80_000_000)],
         [Effect.TAKEN]),
        ({"assets": [{**policy_document()["assets"][0], "asset": "other"}], "wallets": []}, [row(1)], [Effect.REFUSED]),
    ],
)
def test_each_payout_says_what_would_have_changed(
    changes: dict[str, Any], rows: list[dict[str, Any]], expected: list[Effect]
) -> None:
    assert effects(policy(**changes), *rows) == expected


def test_the_way_back_is_the_other_way_round() -> None:
    rows = [row(20_000), row(20_000, HOUR_MS, "b"), row(90_000, 3 * HOUR_MS)]
    tight = policy(limits=B_OF_300, tiers=[tier(25_000, 0, 0), tier(25_000_000, 2, 2)])
    assert effects(tight, *rows) == [Effect.SAME, Effect.LATER, Effect.MORE_PEOPLE]
    assert effects(policy(), *rows, running=tight) == [Effect.SAME, Effect.SOONER, Effect.FEWER_PEOPLE]


def test_what_can_never_pass_stays_unpaid_and_is_let_go_by_the_other_policy() -> None:
    tiny = policy(limits=[limit("tiny", "organisation", "all", 1)])
    (outcome,) = replay(tiny, recorded(row(20_000)))
    assert (outcome.waited_ms, outcome.said.limit) == (None, "tiny")
    assert effects(policy(), row(20_000), running=tiny) == [Effect.SOONER]


def test_what_waits_goes_out_when_there_is_room_and_counts_from_then_on() -> None:
    rows = [row(20_000), row(20_000, HOUR_MS, "b"), row(20_000, 25 * HOUR_MS)]
    outcomes = replay(policy(limits=B_OF_300), recorded(*rows))
    waited = [each.waited_ms for each in outcomes]
    assert waited[0] == 0
    assert waited[1] is not None
    assert 23 * HOUR_MS < waited[1] <= 23 * HOUR_MS + DAY_MS // 96
    assert waited[2] is not None
    assert waited[2] > 20 * HOUR_MS, "the second took the room of the day"


def test_cooling_off_is_waited_for_and_a_full_limit_after_it() -> None:
    made = policy(limits=B_OF_300, cooling_off_ms={"declared": HOUR_MS, "payee_verified": 0, "allowlisted": 0})
    (alone,) = replay(made, recorded(row(20_000, 0, "new")))
    assert alone.waited_ms == HOUR_MS
    first, second = replay(made, recorded(row(20_000), row(20_000, 0, "new")))
    assert first.waited_ms == 0
    assert second.waited_ms is not None
    assert second.waited_ms >= DAY_MS


def test_a_run_counts_by_its_total() -> None:
    rows = [row(10_000, 0, place, run="run_1") for place in "ab"] + [row(10_000, 0, "c")]
    assert [each.said.approvals for each in replay(policy(tiers=[tier(15_000, 0, 0), tier(10**6, 1, 1)]),
                                                   recorded(*rows))] == [1, 1, 0]


def test_a_destination_is_as_old_as_somebody_says_or_else_as_its_first_payout() -> None:
    said = {**row(1)["destination"], "digest": "x", "created_at": format_instant(OLD)}
    found = read_recorded(
        [row(1, HOUR_MS, "n"), row(1, 0, "n"), row(1), row(1, destination=said)], {"a": OLD}
    )
    assert [each.place.since for each in found] == [START, START, OLD, OLD]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": 5}, "payouts[0].amount"), ({"created_at": "today"}, "payouts[0].created_at"),
        ({"destination": {}}, "payouts[0].destination.digest"), ({"id": None}, "payouts[0].id"),
    ],
)
def test_a_wrong_row_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as fault:
        recorded(row(1, **changes))
    assert fault.value.field == field
    with pytest.raises(DocumentError, match="must be an object"):
        read_recorded(["x"], {})


def test_payouts_of_another_organisation_are_noticed() -> None:
    check_assets(policy(), [])
    check_assets(policy(), recorded(row(1), row(1, asset="other")))
    with pytest.raises(DocumentError, match="are they of this organisation"):
        check_assets(policy(), recorded(row(1, asset="other")))


@settings(max_examples=60, deadline=None)
@given(
    some.lists(some.tuples(some.integers(1, 40_000), some.integers(0, 4 * DAY_MS), some.sampled_from("abc")),
               max_size=20),
    some.integers(10_000, 60_000), some.sampled_from([HOUR_MS, DAY_MS]),
)
def test_every_payout_has_an_end_and_no_limit_is_passed(
    asked: list[tuple[int, int, str]], maximum: int, span_ms: int
) -> None:
    made = policy(limits=[limit("all", "organisation", "all", maximum, span_ms)])
    payouts, heard = recorded(*(row(*each) for each in asked)), list[int]()
    outcomes = replay(made, payouts, heard.append)
    assert heard == list(range(1, len(asked) + 1))
    went = sorted(
        (each.created_at + outcome.waited_ms, cents) for each, outcome, (cents, _, _) in
        zip(payouts, outcomes, asked, strict=True) if outcome.waited_ms is not None and outcome.said.hold is None
    )
    for at, _ in went:
        assert sum(cents for when, cents in went if at - span_ms < when <= at) <= maximum
