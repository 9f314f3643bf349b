"""Whose approval counts, and that enough people can each stand for another group."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.cases import LARGE, MIDDLE, OLD_MS, Run, old
from tests.signer.world import ADA, BEN, EVE, TESS, AskRefused, Human, World, policy_document, roster

from strongroom.domain.ids import PersonId
from strongroom.domain.policy import Tier
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, Heard, assertion_document
from strongroom.protocol.roster import CredentialClass
from strongroom.signer.approvals import _are_enough


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def heard(*groups: str) -> list[Heard]:
    return [
        Heard(PersonId("pe_" + "abcdefgh"[place] * 26), b"", CredentialClass.SOFTWARE, frozenset(of))
        for place, of in enumerate(groups)
    ]


def stand(people: Sequence[Heard], groups: int) -> bool:
    """By trying everything: whether so many of them can each stand for a different group."""
    if groups == 0:
        return True
    if not people:
        return False
    first, rest = people[0], people[1:]
    return stand(rest, groups) or any(
        stand([replace(each, groups=each.groups - {group}) for each in rest], groups - 1) for group in first.groups
    )


@given(
    st.lists(st.sets(st.sampled_from("wxyz")).map("".join), max_size=5), st.integers(0, 4), st.integers(0, 5)
)
def test_people_are_enough_if_and_only_if_they_can_be_placed(groups: list[str], wanted: int, approvals: int) -> None:
    people = heard(*groups)
    tier = Tier(0, max(approvals, wanted), wanted)
    assert _are_enough(people, tier) == (len(people) >= tier.approvals and stand(people, wanted))


@pytest.mark.parametrize(("groups", "wanted", "enough"), [
    (("x", "xy"), 2, True), (("xy", "x"), 2, True), (("x", "x"), 2, False), (("xy", "xy", "yz"), 3, True),
    (("xy", "xy", "xy"), 3, False), (("", "xy"), 2, False),
])
def test_one_person_stands_for_one_group(groups: tuple[str, ...], wanted: int, enough: bool) -> None:
    assert _are_enough(heard(*groups), Tier(0, wanted, wanted)) is enough


def test_who_is_in_two_groups_makes_room_for_one_who_is_in_one(tmp_path: Path) -> None:
    """EVE is in both, and a custodian of nobody here; ADA is in one of hers."""
    for number, people in enumerate([(ADA, EVE), (EVE, ADA), (BEN, EVE)]):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        world = World(folder, made_roster=roster(custodians=()))
        payout = old(world, LARGE)
        assert world.sign([payout], approvals=[world.approved(payout, *people)])


def test_a_custodian_of_whoever_declared_the_destination_doesnt_count(tmp_path: Path) -> None:
    first = roster(custodians=())
    clients = tuple(each if each.keys[0].id.startswith("ak_p") else replace(each, custodians=(ADA.id,))
                    for each in first.clients)
    world = World(tmp_path, made_roster=replace(first, clients=clients))
    payout = old(world, MIDDLE)
    with pytest.raises(AskRefused, match="approval-independent"):
        world.sign([payout], approvals=[world.approved(payout, ADA)])
    assert world.sign([payout], approvals=[world.approved(payout, BEN)])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_keys_of_one_person_the_terminal_counts(tmp_path: Path, order: tuple[int, int]) -> None:
    classes = (CredentialClass.SOFTWARE, CredentialClass.TERMINAL)
    both = replace(TESS, classes=classes)
    first = roster()
    people = tuple(both.person() if each.id == TESS.id else each for each in first.people)
    world = World(tmp_path, policy_document(browser_release_reference_minor="1"), replace(first, people=people))
    payout = old(world, MIDDLE)
    given = world.approved(payout)
    raw = world.bytes_of(given["request"])
    given["assertions"] = [assertion_document(both.asserts(raw, APPROVAL_REQUEST_TYPE, number)) for number in order]
    assert world.sign([payout], approvals=[given])


def test_one_approval_of_a_run_is_heard_once_for_all_its_items(world: World) -> None:
    run = Run(world, [24_000] * 50).sealed()
    assert run.pay(0, 1, 2, people=(ADA, BEN))
    assert len(world.payments.paid) == 3


def test_of_forty_payouts_a_bad_assertion_of_one_sinks_none(world: World) -> None:
    """The attacker is an approver whose browser lies, wants nothing to be paid, and sends nonsense for one payout."""
    records = [world.beneficiary() for _ in range(40)]
    world.pass_by(OLD_MS)
    payouts = [world.intent(record, 30_000) for record in records]
    approvals = [world.approved(payout, ADA) for payout in payouts]
    bad = assertion_document(BEN.asserts(b"nonsense", APPROVAL_REQUEST_TYPE))
    approvals[7]["assertions"] = [bad, *approvals[7]["assertions"]]
    assert world.sign(payouts, approvals=approvals)
    assert len(world.payments.paid) == 40


def test_what_is_left_out_is_said_when_the_rest_isnt_enough(world: World) -> None:
    payout = old(world, LARGE)
    given = world.approved(payout, ADA)
    given["assertions"] = [*given["assertions"], assertion_document(BEN.asserts(b"nonsense", APPROVAL_REQUEST_TYPE))]
    reason = "has 1 of 1 whose approval counts; one is left out: client_data.challenge: isn't the hash"
    with pytest.raises(AskRefused, match=reason):
        world.sign([payout], approvals=[given])


@pytest.mark.parametrize(("people", "counted"), [((ADA,), 1), ((), 0), ((EVE,), 0)])
def test_what_is_missing_is_said(world: World, people: tuple[Human, ...], counted: int) -> None:
    payout = old(world, LARGE)
    with pytest.raises(AskRefused, match=f"needs 2 people of 2 groups, and has {counted} of {len(people)} whose"):
        world.sign([payout], approvals=[world.approved(payout, *people)])
