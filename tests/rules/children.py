"""Cases of a child, which pays for its parent: a payment that was signed gets another fee by what spends its change."""

from collections.abc import Callable
from typing import Any

from tests.signer.world import CLEO, ORGANISATION, World, payee, policy_document

from strongroom.formats import simulated
from strongroom.protocol.negative import Action

Act = Callable[[World], object]
MINOR, COIN_MINOR = 20_000, 200_000
WALLETS = policy_document()["wallets"][0]
SLOW = {"wallets": [WALLETS | {"fee_rate_maximum": "8000", "fee_maximum_minor": "4000"}]}
"""8 base units a byte: a parent and its child of together some 400 bytes may cost 3,400."""


class Family:
    """A payment to so many payees that was signed, and children of it."""

    def __init__(self, world: World, payees: int = 1, fee: int = 500, coin: simulated.Input | None = None) -> None:
        self.world = world
        records = [world.beneficiary() for _ in range(payees)]
        world.pass_by(5_000)
        self.payouts = [world.intent(record, MINOR) for record in records]
        self.coin = coin or world.coin(COIN_MINOR)
        self.raw = self.parent(fee)

    def parent(self, fee: int, operation: str = "pay") -> bytes:
        outputs = [self.world.output(each) for each in self.payouts]
        raw, _ = self.world.transaction(outputs, coins=[self.coin], fee=fee)
        self.world.sign(self.payouts, operation=operation, raw=raw)
        return raw

    def child(self, fee: int, *, of: bytes = b"", payouts: list[str] | None = None, more: Any = ()) -> bytes:
        """Its unsigned bytes, once the signer signed it. Raises: AskRefused."""
        coin, index = change_of(self.world, of or self.raw)
        raw, _ = self.world.transaction([], coins=[coin, *more], fee=fee)
        paths = [(0, index), *((0, 0) for _ in more)]
        self.world.sign(self.payouts if payouts is None else payouts, operation="child", raw=raw, paths=paths)
        return raw


def change_of(world: World, raw: bytes, place: int = -1) -> tuple[simulated.Input, int]:
    """A coin that goes back to the wallet, and its key's index."""
    outputs = simulated.parse_unsigned(raw).outputs
    place = place % len(outputs)
    index = next(each for each in range(50) if world.wallet.address(ORGANISATION, 0, each) == outputs[place].address)
    return simulated.Input(simulated.transaction_id(raw), place, outputs[place].amount, outputs[place].address), index


def children(*fees: int, parent: int = 500, payees: int = 1) -> Act:
    """One in the place of the other, each for such a fee."""

    def act(world: World) -> None:
        family = Family(world, payees, parent)
        for fee in fees:
            family.child(fee)

    return act


def again(world: World) -> None:
    """The same bytes: the answer was lost."""
    family = Family(world)
    raw = family.child(2_000)
    world.restart()
    _, index = change_of(world, family.raw)
    world.sign(family.payouts, operation="child", raw=raw, paths=[(0, index)])


def again_when_all_was_taken_back(world: World) -> None:
    """The signer has signed it, so that the engine may hear it: nothing new is made."""
    family = Family(world)
    raw = family.child(2_000)
    world.guard.instruct(Action.DECLINE, family.payouts[0], CLEO)
    _, index = change_of(world, family.raw)
    world.sign(family.payouts, operation="child", raw=raw, paths=[(0, index)])


def one_of_two_was_taken_back(world: World) -> None:
    family = Family(world, payees=2)
    world.guard.instruct(Action.DECLINE, family.payouts[0], CLEO)
    family.child(2_000)


def taken_back(world: World) -> None:
    """The attacker is the engine, wants what was called back to be mined all the same."""
    family = Family(world, payees=2)
    for payout in family.payouts:
        world.guard.instruct(Action.DECLINE, payout, CLEO)
    world.called_back(family.coin)
    family.child(2_000)


def void(world: World) -> None:
    family = Family(world)
    cancel = world.called_back(family.coin)
    world.void(family.payouts[0], world.attested(cancel))
    family.child(2_000)


def payee_frozen(world: World) -> None:
    family = Family(world)
    known = world.payments.intents[family.payouts[0]].intent
    world.guard.instruct(Action.FREEZE, f"beneficiary:{known.beneficiary}", CLEO)
    family.child(2_000)


def nameless(world: World) -> None:
    Family(world).child(2_000, payouts=[])


def that_pays(world: World) -> None:
    """The attacker is the engine, wants its payout to be paid by a child, which no limit counts."""
    family = Family(world)
    coin, index = change_of(world, family.raw)
    raw, _ = world.transaction([(payee("attacker"), 5_000)], coins=[coin], fee=2_000)
    world.sign(family.payouts, operation="child", raw=raw, paths=[(0, index)])


def that_pays_again(world: World) -> None:
    """What its parent pays: as if it were an attempt of its own, which excludes nothing."""
    family = Family(world)
    coin, index = change_of(world, family.raw)
    raw, _ = world.transaction([world.output(family.payouts[0])], coins=[coin], fee=2_000)
    world.sign(family.payouts, operation="child", raw=raw, paths=[(0, index)])


def of_other_payouts(world: World) -> None:
    other = Family(world)
    Family(world).child(2_000, payouts=other.payouts)


def of_some_payouts(world: World) -> None:
    family = Family(world, payees=2)
    family.child(2_000, payouts=family.payouts[:1])


def beside_another(world: World) -> None:
    """Two children of one parent, on two outputs of its change: each would be weighed with the same parent."""
    family = Family(world)
    first = world.payments.change_next[simulated.NETWORK]
    outputs = [world.output(family.payouts[0]),
               *((world.wallet.address(ORGANISATION, 0, first + place), 89_750) for place in range(2))]
    raw, _ = world.transaction(outputs, coins=[family.coin], change=0)
    world.sign(family.payouts, raw=raw)
    coin, index = change_of(world, raw)
    other, _ = world.transaction([], coins=[coin], fee=2_000)
    world.sign(family.payouts, operation="child", raw=other, paths=[(0, index)])


def of_a_child(world: World) -> None:
    """Each generation would be weighed with the one before alone."""
    family = Family(world)
    family.child(2_000, of=family.child(2_000))


def with_another_coin(world: World) -> None:
    Family(world).child(2_000, more=[world.coin(30_000)])


def of_what_a_payee_got(world: World) -> None:
    """The first output is a payee's: here it is an address of the wallet's own."""
    record = world.cooled(address=world.wallet.address(ORGANISATION, 0, 0))
    payout, coin = world.intent(record, MINOR), world.coin(COIN_MINOR)
    raw, _ = world.transaction([world.output(payout)], coins=[coin])
    world.sign([payout], raw=raw)
    paid, index = change_of(world, raw, 0)
    child, _ = world.transaction([], coins=[paid], fee=2_000)
    world.sign([payout], operation="child", raw=child, paths=[(0, index)])


def of_a_strangers(world: World) -> None:
    """What came in isn't signed here, so nothing says what it cost."""
    family = Family(world)
    raw, _ = world.transaction([], coins=[world.coin(30_000)], fee=2_000)
    world.sign(family.payouts, operation="child", raw=raw)


def of_one_without_weight(world: World) -> None:
    """It was signed before fees were written down."""
    family = Family(world)
    known = world.payments.attempts
    for name, attempt in known.items():
        known[name] = type(attempt)(
            attempt.transaction, attempt.operation, attempt.network, attempt.payouts, attempt.inputs)
    family.child(2_000)


def dripping(world: World) -> None:
    """The attacker is the engine, and burns fees by one child after the other: the day's budget counts each."""
    family = Family(world)
    for number in range(20):
        family.child(1_000 + number)


def built_on_a_child(*, mined: bool) -> Act:
    """A payout is on a child's change when the parent gets a successor. Then it is built again: on that one's change,
    which excludes what went before, or on a coin beside it, with which both could be mined."""

    def act(world: World) -> None:
        family = Family(world)
        coin, index = change_of(world, family.child(2_000))
        payout = world.intent(world.cooled(), MINOR)
        world.sign([payout], coins=[coin], paths=[(0, index)])
        bumped = family.parent(3_000, "bump")
        coin, index = change_of(world, bumped) if mined else (world.coin(COIN_MINOR), 0)
        world.sign([payout], coins=[coin], paths=[(0, index)])

    return act


TAKEN = [
    ("a child of the first change", children(2_000)),
    ("one in the place of another", children(2_000, 2_500)),
    ("a child of a batch", children(2_000, payees=5)),
    ("the same child again", again),
    ("the same child again, when all was taken back", again_when_all_was_taken_back),
    ("a child of a batch of which one was taken back", one_of_two_was_taken_back),
]
REFUSED = [
    ("a child of what was taken back and cancelled", taken_back),
    ("a child with other payouts", of_other_payouts),
    ("a child with some of the payouts", of_some_payouts),
    ("a second child of one parent", beside_another),
    ("a child of a child", of_a_child),
    ("a child with another coin", with_another_coin),
    ("a child of a payee's output", of_what_a_payee_got),
    ("a child of what wasn't signed here", of_a_strangers),
    ("a child of what has no weight in the journal", of_one_without_weight),
]
FEE_TAKEN = [
    ("a child above the rate, and with its parent below", children(2_400), SLOW),
]
FEE_REFUSED = [
    ("a child above the rate with its parent", children(3_200), SLOW),
    ("a child below the rate, and with its parent above", children(1_500, parent=2_200), SLOW),
    ("a child that costs too much with its parent", children(2_000, parent=2_300), SLOW),
    ("a child that costs less than nothing", children(-100)),
]
