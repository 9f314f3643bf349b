"""Whether two transactions exclude each other, against a reference that asks the chain itself: every set it could hold.

On small random graphs of coins and spends. The signer may say less than is true (it then refuses), never more.
"""

import itertools
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from strongroom.formats import simulated
from strongroom.formats.coins import ChainTransaction, Coin
from strongroom.signer.attempts import excludes
from strongroom.signer.book import Attempt, Payments

OUTPUTS = 2


@dataclass(frozen=True)
class Spend:
    """Inputs are outpoints: coins that were there, or outputs of earlier spends."""

    name: str
    inputs: tuple[str, ...]


@st.composite
def graphs(draw: st.DrawFn) -> list[Spend]:
    coins = [f"c{number}:0" for number in range(draw(st.integers(1, 3)))]
    spends: list[Spend] = []
    for number in range(draw(st.integers(2, 7))):
        inputs = draw(st.lists(st.sampled_from(coins), min_size=1, max_size=3, unique=True))
        spends.append(Spend(f"t{number}", tuple(inputs)))
        coins += [f"t{number}:{place}" for place in range(OUTPUTS)]
    return spends


def can_hold_both(spends: list[Spend], one: str, other: str) -> bool:
    """Some set of these that a chain could hold has both: no coin is spent twice, every parent is there."""
    names = {each.name for each in spends}
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(spends, count) for count in range(2, len(spends) + 1)
    ):
        inside = {each.name for each in chosen}
        spent = [outpoint for each in chosen for outpoint in each.inputs]
        parents = {outpoint.partition(":")[0] for outpoint in spent} & names
        if {one, other} <= inside and len(set(spent)) == len(spent) and parents <= inside:
            return True
    return False


def book_of(spends: list[Spend]) -> Payments:
    payments = Payments(standing=None)  # type: ignore[arg-type] # nothing here asks who may do what
    for each in spends:
        payments.attempts[each.name] = Attempt(each.name, "pay", simulated.NETWORK, (), each.inputs)
        for outpoint in each.inputs:
            payments.spenders.setdefault(outpoint, []).append(each.name)
    return payments


def transaction(spend: Spend) -> ChainTransaction:
    inputs = tuple(Coin(outpoint, 1, "") for outpoint in spend.inputs)
    return ChainTransaction(spend.name, simulated.NETWORK, simulated.ASSET, inputs, (), 0, 0)


@settings(max_examples=1_500, deadline=None, database=None)
@given(spends=graphs())
@example(spends=[Spend("t0", ("c0:0",)), Spend("t1", ("c1:0",))])
@example(spends=[Spend("t0", ("c0:0",)), Spend("t1", ("c0:0",)), Spend("t2", ("t1:0",))])
@example(spends=[Spend("t0", ("c0:0",)), Spend("t1", ("c0:0", "c1:0")), Spend("t2", ("c1:0",))])
@example(spends=[Spend("t0", ("c0:0",)), Spend("t1", ("t0:0",)), Spend("t2", ("t0:0", "c1:0")), Spend("t3", ("t2:0",))])
def test_what_excludes_an_earlier_attempt_can_never_be_on_the_chain_with_it(spends: list[Spend]) -> None:
    *earlier, new = spends
    payments = book_of(earlier)
    for attempt in earlier:
        said = excludes(payments, transaction(new), payments.attempts[attempt.name])
        can_both = can_hold_both(spends, attempt.name, new.name)
        assert not (said and can_both)
        assert said or can_both or not (_alone(spends, new.name) and _alone(spends, attempt.name))


def _alone(spends: list[Spend], name: str) -> bool:
    """Whether the transaction can be on the chain at all; one that can't excludes everything, and needn't say so."""
    return can_hold_both([*spends, Spend("free", ("free:0",))], name, "free")
