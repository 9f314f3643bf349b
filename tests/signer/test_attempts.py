"""Two transactions exclude each other if and only if no chain can hold both, as far as the journal knows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.cases import small
from tests.signer.world import World, policy_document, roster

from strongroom.domain.ids import PayoutId
from strongroom.formats.coins import ChainTransaction, Coin
from strongroom.protocol.canonical import encode
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.standing import open_standing
from strongroom.signer import attempts
from strongroom.signer.attempts import excludes
from strongroom.signer.book import Attempt, Payments

STANDING = open_standing(encode(policy_document()), write_roster(roster()), Mode.SANDBOX)


def signed(*transactions: tuple[str, tuple[str, ...]]) -> Payments:
    """A journal in which these were signed: each a name and the outpoints that it spends."""
    payments = Payments(STANDING)
    for name, inputs in transactions:
        payments.attempts[name] = Attempt(name, "pay", "sim:sandbox", (PayoutId("po_x"),), inputs)
        for outpoint in inputs:
            payments.spenders.setdefault(outpoint, []).append(name)
    return payments


def new(*inputs: str) -> ChainTransaction:
    coins = tuple(Coin(outpoint, 1_000, "sim1x") for outpoint in inputs)
    return ChainTransaction("new", "sim:sandbox", "asset", coins, (), 100, 546)


CASES = [
    ("a shared coin", [("a", ("x:0",))], ("x:0", "y:0"), "a", True),
    ("other coins", [("a", ("x:0",))], ("y:0",), "a", False),
    ("another output of the same parent", [("a", ("x:0",))], ("x:1",), "a", False),
    ("its own change", [("a", ("x:0",))], ("a:1",), "a", False),
    ("the change of one that took its coin", [("a", ("x:0",)), ("b", ("x:0",))], ("b:0",), "a", True),
    ("the change of one beside it", [("a", ("x:0",)), ("b", ("y:0",))], ("b:0",), "a", False),
    ("a coin of its parent", [("p", ("x:0",)), ("a", ("p:0",))], ("x:0",), "a", True),
    ("a rival of its parent, two steps on", [("p", ("x:0",)), ("a", ("p:0",)), ("q", ("x:0",)), ("r", ("q:0",))],
     ("r:0",), "a", True),
    ("the same parent", [("p", ("x:0",)), ("a", ("p:0",))], ("p:1",), "a", False),
    ("a rival of a common parent", [("p", ("x:0",)), ("o", ("x:0",)), ("a", ("p:0",))], ("p:1",), "a", False),
]


@pytest.mark.parametrize(("transactions", "inputs", "earlier", "excluded"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_they_exclude_each_other(
    transactions: list[tuple[str, tuple[str, ...]]], inputs: tuple[str, ...], earlier: str, excluded: bool
) -> None:
    payments = signed(*transactions)
    assert excludes(payments, new(*inputs), payments.attempts[earlier]) is excluded


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[tuple[str, tuple[str, ...]]], tuple[str, ...]]:
    """Up to six transactions, each of one to two outpoints of strangers or of those before; and a new one's."""
    made: list[tuple[str, tuple[str, ...]]] = []
    for name in "abcdefn"[7 - draw(st.integers(2, 7)):]:
        parents = ["x", "y", *(each for each, _ in made)]
        outpoint = st.tuples(st.sampled_from(parents), st.integers(0, 1)).map(lambda each: f"{each[0]}:{each[1]}")
        made.append((name, tuple(draw(st.sets(outpoint, min_size=1, max_size=2)))))
    return made[:-1], made[-1][1]


@given(journals())
def test_what_excludes_by_our_word_no_chain_can_hold_both_of(
    journal: tuple[list[tuple[str, tuple[str, ...]]], tuple[str, ...]]
) -> None:
    """By trying every chain: a set of transactions, each with its parents, no outpoint spent twice."""
    transactions, inputs = journal
    payments = signed(*transactions)
    all_of_them = dict(transactions) | {"new": inputs}

    def needs(name: str) -> set[str]:
        """It and all of its ancestors among them."""
        parents = {outpoint.partition(":")[0] for outpoint in all_of_them[name]} & all_of_them.keys()
        return {name}.union(*map(needs, parents))

    for earlier in payments.attempts:
        together = needs("new") | needs(earlier)
        spent = [outpoint for name in together for outpoint in all_of_them[name]]
        is_possible = len(spent) == len(set(spent))
        if excludes(payments, new(*inputs), payments.attempts[earlier]):
            assert not is_possible
        elif not is_possible:  # then the earlier, or the new one, can't be on a chain at all
            alone = [[outpoint for name in needs(each) for outpoint in all_of_them[name]] for each in ("new", earlier)]
            assert any(len(each) != len(set(each)) for each in alone)


def test_what_lies_too_far_back_doesnt_count_which_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [("p", ("x:0",)), ("q", ("p:0",)), ("r", ("q:0",)), ("a", ("x:0",))]
    payments = signed(*chain)
    assert excludes(payments, new("r:0"), payments.attempts["a"])
    monkeypatch.setattr(attempts, "ANCESTORS_MAXIMUM", 2)
    assert not excludes(payments, new("r:0"), payments.attempts["a"])


def test_what_guard_refused_excludes_nothing_and_is_excluded_by_nothing(tmp_path: Path) -> None:
    """It was written down and given up: it can be on no chain."""
    world = World(tmp_path)
    payout = world.intent(world.cooled(), 1_000)
    world.guard.before_spend = lambda: world.guard.control.append(b"void")
    with pytest.raises(Exception, match="guard-agrees"):
        world.sign([payout])
    assert (world.payments.attempts, world.payments.attempts_of[payout]) == ({}, [])
    assert not any(world.payments.spenders.values())
    assert world.sign([payout])
    assert world.sign([small(world)])
