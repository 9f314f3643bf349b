"""What a policy bounds: compared with a thief who spends through the real gate whatever it lets pass.

The attacker has a client's keys, or what else each test says. It wants all that it can get in 24 hours. The bound is
what `bounds` computed from the policy: never less than the thief got, and reached where the thief has enough addresses.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.advice.thief import Thief, thief_policy
from tests.signer.world import ADA, BEN, DAY_MS, limit, payee, policy_document, roster

from strongroom.advice.bound import Attacker, Most, Reach, Row, bounds, browsers, engine_fees, unattended
from strongroom.domain.instant import HOUR_MS
from strongroom.domain.policy import Counts, LimitScope, Policy, parse_policy
from strongroom.protocol.roster import CredentialClass, Roster


def tiers(*rows: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"up_to_reference_minor": str(up_to), "approvals": people, "groups": min(people, 1)}
            for up_to, people in rows]


SMALL = tiers((100, 0), (10_000, 1))
WIDE = tiers((5_000, 0), (10_000, 1))
B = limit("B", "organisation", "unattended", 250)


@pytest.mark.parametrize(
    ("what", "limits", "steps", "addresses", "expected"),
    [
        ("the organisation's budget", [B], SMALL, 4, 250),
        ("the budget for young ones", [B, limit("D", "organisation", "unattended_young", 130)], SMALL, 3, 130),
        ("the client's budget", [B, limit("K", "client", "unattended", 77)], SMALL, 2, 77),
        ("the key's budget", [B, limit("key", "key", "all", 91)], SMALL, 2, 91),
        ("the tiers, for few addresses", [B], SMALL, 2, 200),
        ("each address", [B, limit("each", "destination", "all", 60)], SMALL, 3, 180),
        ("an asset", [B, limit("asset", "asset", "unattended", 45)], SMALL, 3, 45),
        ("an hour, 24 times", [limit("hour", "organisation", "unattended", 3, HOUR_MS)], SMALL, 2, 72),
        ("an hour for each address", [limit("hour", "destination", "unattended", 2, HOUR_MS)], SMALL, 2, 96),
        ("an hour, bounded by a day", [B, limit("hour", "client", "unattended", 40, HOUR_MS)], WIDE, 1, 250),
        ("a limit of payouts with people", [limit("other", "organisation", "attended", 1)], SMALL, 2, 200),
        ("people for everything", [B], tiers((100, 1)), 2, 0),
    ],
)
def test_a_thief_with_both_keys_gets_exactly_the_bound(
    tmp_path: Path, what: str, limits: Sequence[dict[str, Any]], steps: list[dict[str, Any]], addresses: int,
    expected: int,
) -> None:
    document = thief_policy(limits=list(limits), tiers=steps)
    most = unattended(parse_policy(document), Reach(young_only=True, keys=1, destinations=addresses))
    assert most.reference_minor == expected, what
    assert Thief(tmp_path, document, addresses).spend_all() == expected


some_limit = some.builds(
    limit, some.uuids().map(str), some.sampled_from([each.value for each in LimitScope]),
    some.sampled_from([each.value for each in Counts]), some.integers(1, 300), some.sampled_from([HOUR_MS, DAY_MS]),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=some.lists(some_limit, min_size=1, max_size=4), first=some.integers(1, 200), people=some.integers(0, 1),
    risk=some.integers(1, 200), young_ms=some.sampled_from([0, 90_000_000]), addresses=some.integers(1, 3),
)
def test_no_thief_gets_more_than_the_bound_of_any_policy(
    tmp_path_factory: pytest.TempPathFactory, limits: list[dict[str, Any]], first: int, people: int, risk: int,
    young_ms: int, addresses: int,
) -> None:
    document = thief_policy(limits=limits, tiers=tiers((first, people), (first + 100, people), (first + 200, 1)))
    document["risk"] = {"above_reference_minor": str(risk), "young_for_ms": young_ms}
    most = unattended(parse_policy(document), Reach(young_only=True, keys=1, destinations=addresses)).reference_minor
    assert most is not None
    got = Thief(tmp_path_factory.mktemp("thief"), document, addresses).spend_all()
    assert got <= most


def test_without_the_rule_that_binds_the_thief_gets_more_than_the_bound(tmp_path: Path) -> None:
    """The positive control: the thief isn't held back by itself."""
    bound = unattended(parse_policy(thief_policy(limits=[B], tiers=SMALL)), Reach(young_only=True, keys=1))
    loose = thief_policy(limits=[limit("B", "organisation", "attended", 250)], tiers=SMALL)
    assert bound.reference_minor is not None
    assert Thief(tmp_path, loose, 4).spend_all() == 400 > bound.reference_minor


def test_d_holds_only_what_is_declared_or_young(tmp_path: Path) -> None:
    """The attacker has the payout key alone, and addresses that a quorum listed long ago are its own."""
    document = thief_policy(limits=[B, limit("D", "organisation", "unattended_young", 130)], tiers=SMALL)
    listed, declared = (
        unattended(parse_policy(document), Reach(young_only, keys=1, destinations=3)).reference_minor
        for young_only in (False, True)
    )
    assert (listed, declared) == (250, 130)
    for name in ("declared", "listed"):
        (tmp_path / name).mkdir()
    thief = Thief(tmp_path / "listed", document, 3)
    thief.have_them_listed()
    assert (thief.spend_all(), Thief(tmp_path / "declared", document, 3).spend_all()) == (listed, declared)


@pytest.mark.parametrize(
    ("what", "changes", "addresses", "expected"),
    [
        ("what browsers release", {"browser_release_reference_minor": "170"}, 2, 170),
        ("a limit of what people approve", {"limits": [limit("people", "organisation", "attended", 90)]}, 2, 90),
        ("a limit of everything", {"limits": [limit("all", "organisation", "all", 80)]}, 2, 80),
        ("an hour of it", {"limits": [limit("people", "organisation", "attended", 5, HOUR_MS)]}, 1, 120),
        ("an asset of it", {"limits": [limit("asset", "asset", "attended", 66)]}, 1, 66),
    ],
)
def test_a_station_that_misleads_everybody_gets_exactly_the_bound(
    tmp_path: Path, what: str, changes: dict[str, Any], addresses: int, expected: int
) -> None:
    """The attacker has the station's host, and people who approve with browsers whatever it shows."""
    budgets = {"limits": [limit("B", "organisation", "unattended", 10)], "browser_release_reference_minor": "500"}
    document = thief_policy(tiers=tiers((10_000, 1)), **{**budgets, **changes})
    assert browsers(parse_policy(document), None).reference_minor == expected, what
    assert Thief(tmp_path, document, addresses, misled=(ADA, BEN)).spend_all() == expected


def test_an_engine_that_burns_fees_burns_exactly_the_bound(tmp_path: Path) -> None:
    """The attacker has the engine's socket, and a miner who keeps the fees."""
    document = thief_policy(fee_budget_reference_minor="90")
    most = engine_fees(parse_policy(document))
    assert most.reference_minor == 90
    assert [Thief(tmp_path, document, 0).burn_all()] == list(most.native.values())


def test_sweeps_have_a_budget_of_their_own_where_there_is_a_treasury() -> None:
    document = thief_policy(fee_budget_reference_minor="90", sweep_fee_budget_reference_minor="30")
    assert engine_fees(parse_policy(document)).reference_minor == 90
    document["wallets"][0]["treasury"] = payee("treasury")
    assert engine_fees(parse_policy(document)).reference_minor == 120


def policy(**changes: Any) -> Policy:
    return parse_policy(policy_document(**changes))


def rows(made: Policy, roster: Roster | None = None) -> dict[Attacker, Row]:
    found = {row.attacker: row for row in bounds(made, roster)}
    assert set(found) == set(Attacker)
    return found


def test_the_table_of_the_worlds_policy() -> None:
    got = {
        each: (row.own_address.reference_minor, row.elsewhere and row.elsewhere.reference_minor)
        for each, row in rows(policy()).items()
    }
    assert got == {
        Attacker.NOTHING: (0, 0),
        Attacker.PAYOUT_KEY: (0, 10_000_000),
        Attacker.BOTH_KEYS: (10_000_000, 10_000_000),
        Attacker.API: (0, 0),
        Attacker.PERSON: (0, 0),
        Attacker.CUSTODIAN: (10_000_000, 10_000_000),
        Attacker.STATION: (25_000_000, None),
        Attacker.ENGINE: (1_000_000, 0),
        Attacker.ALL_THREE: (1_000_000, 0),
        Attacker.GUARD: (0, None),
        Attacker.SIGNER: (None, None),
    }


def test_d_binds_the_thiefs_own_address_and_b_all_of_it() -> None:
    made = policy(limits=[B, limit("D", "organisation", "unattended_young", 130)])
    row = rows(made)[Attacker.BOTH_KEYS]
    assert row.own_address.reference_minor == 130
    assert row.own_address.because == "'D'; from 5 seconds after it declared them"
    assert row.elsewhere is not None
    assert (row.elsewhere.reference_minor, row.elsewhere.because) == (250, "'B'")


def test_limits_that_bind_alike_are_all_named() -> None:
    found = unattended(policy(), Reach(young_only=True))
    assert found.because == "'B' and 'K' and 'D'"


def test_native_units_are_those_of_one_piece_rounded_down() -> None:
    document = policy_document(limits=[limit("B", "organisation", "unattended", 100)])
    document["assets"][0]["ceiling"] = {"units": "1000", "reference_minor": "7"}
    made = parse_policy(document)
    (rule,) = made.assets.values()
    (native,) = unattended(made, Reach(young_only=False)).native.values()
    assert rule.reference_minor(native) <= 100 < rule.reference_minor(native + 1)


def test_what_no_limit_adds_up_has_no_bound() -> None:
    made = policy(limits=[limit("each", "destination", "all", 100), limit("people", "organisation", "attended", 1)])
    row = rows(made)[Attacker.PAYOUT_KEY]
    assert row.elsewhere is not None
    assert row.elsewhere.reference_minor is None
    assert "no limit adds it up" in row.elsewhere.because
    few = unattended(made, Reach(young_only=False, destinations=7))
    assert few.reference_minor == 700


def test_a_limit_of_each_asset_holds_as_often_as_there_are_assets_with_a_wallet() -> None:
    document = policy_document(limits=[limit("asset", "asset", "unattended", 45)])
    (one,) = document["assets"]
    document["assets"] = [one, {**one, "asset": "other"}, {**one, "asset": "unpaid", "network": "elsewhere"}]
    found = unattended(parse_policy(document), Reach(young_only=False))
    assert (found.reference_minor, found.because) == (90, "'asset', of 2 assets")
    assert set(found.native) == {one["asset"], "other"}
    assert set(found.native.values()) == {45}


def test_without_a_wallet_nothing_is_paid_and_nothing_burnt() -> None:
    found = rows(policy(wallets=[]))
    assert found[Attacker.PAYOUT_KEY].elsewhere == Most(0, "no asset has a wallet on its network, so nothing is paid")
    assert found[Attacker.BOTH_KEYS].own_address.reference_minor == 0
    assert found[Attacker.STATION].own_address.reference_minor == 0
    assert found[Attacker.ENGINE].own_address.reference_minor == 0


def test_browsers_are_bounded_by_the_limits_of_what_people_approve() -> None:
    limits = [B, limit("people", "organisation", "attended", 77), limit("keys", "key", "all", 1)]
    assert rows(policy(limits=limits))[Attacker.STATION].own_address.reference_minor == 77
    alone = policy(tiers=tiers((100, 0)))
    assert rows(alone)[Attacker.STATION].own_address.reference_minor == 0


def test_the_roster_says_what_one_person_and_one_client_can() -> None:
    by_key = policy(limits=[limit("key", "key", "unattended", 50)])
    assert rows(by_key)[Attacker.CUSTODIAN].elsewhere == Most(
        None, "no limit adds it up: all that the wallets hold, one address after the other"
    )
    found = rows(by_key, roster())
    assert found[Attacker.CUSTODIAN].own_address.reference_minor == 50
    assert found[Attacker.PERSON].own_address.reference_minor == 0
    made = roster()
    groups = tuple(replace(group, threshold=1) for group in made.groups)
    alone = rows(policy(), replace(made, groups=groups))[Attacker.PERSON].own_address
    assert alone.reference_minor is None
    assert "is a quorum" in alone.because


def test_terminals_alone_leave_a_hostile_station_nothing() -> None:
    made = roster()
    on_terminals = tuple(
        replace(each, credentials=tuple(
            replace(credential, credential_class=CredentialClass.TERMINAL) for credential in each.credentials
        )) for each in made.people
    )
    found = rows(policy(), replace(made, people=on_terminals))
    assert found[Attacker.STATION].own_address.reference_minor == 0
    assert rows(policy(), made)[Attacker.STATION].own_address.reference_minor == 25_000_000


def test_a_wallet_that_is_swept_isnt_named() -> None:
    swept = policy_document()
    swept["wallets"][0]["treasury"] = "sim1treasury"
    assert "Nothing is swept" in rows(policy())[Attacker.SIGNER].own_address.because
    assert "Nothing is swept" not in rows(parse_policy(swept))[Attacker.SIGNER].own_address.because
