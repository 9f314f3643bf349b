"""Cases about payouts that were signed and will never be paid: what frees their money, and what doesn't.

The attacker owns the engine and all that it reads. It wants a payout to be called void that was paid or can be, so that
its successor is paid as well.
"""

from collections.abc import Callable
from typing import Any

from nacl.signing import SigningKey
from tests.signer.world import BEN, CLEO, DAN, Human, World, payee, policy_document

from strongroom.domain.policy import parse_policy
from strongroom.formats import simulated
from strongroom.signer.requests import ATTESTATION_LIFE_MS

STRANGER = SigningKey(b"\7" * 32)
MINOR = 10_000
TREASURY = payee("treasury")
SWEEPING: dict[str, Any] = {
    "wallets": [{**policy_document()["wallets"][0], "treasury": TREASURY}], "sweep_fee_budget_reference_minor": "3000",
}

Act = Callable[[World], object]


class Stuck:
    """A payout with a signed attempt, and what may happen to its coin."""

    def __init__(self, world: World) -> None:
        self.world, self.record = world, world.cooled()
        self.payout = world.intent(self.record, MINOR, external_id="trip")
        self.coin = world.coin(60_000)
        self.attempt = self.attempted()

    def attempted(self, fee: int = 500) -> str:
        """Signed, with the same coin; its id."""
        raw, _ = self.world.transaction([self.world.output(self.payout)], coins=[self.coin], fee=fee)
        self.world.sign([self.payout], raw=raw)
        return simulated.transaction_id(raw).hex()

    def cancelled(self) -> str:
        return self.world.called_back(self.coin)

    def swept(self) -> str:
        outputs = (simulated.Output(self.coin.amount - 500, TREASURY),)
        raw = simulated.encode_unsigned(simulated.Transaction((self.coin,), outputs))
        self.world.sign([], operation="sweep", raw=raw)
        return simulated.transaction_id(raw).hex()

    def stolen(self) -> bytes:
        """Guard has seen a chain transaction that took its coin and wasn't signed here."""
        outpoint = f"{self.coin.txid.hex()}:{self.coin.index}"
        return self.world.attest("f" * 64, [outpoint])

    def released(self, *people: Human, attempts: list[str] | None = None) -> None:
        self.world.guard.release(self.payout, attempts or [self.attempt], *people)
        self.world.notary.agree()

    def voided(self, *frames: bytes) -> None:
        """And its successor is paid, while it is refused itself from now on."""
        self.world.void(self.payout, *frames)
        self.world.void(self.payout)
        self.world.sign([self.successor()])

    def successor(self) -> str:
        return self.world.intent(self.record, MINOR, external_id="trip", replaces=self.payout)


def cancelled(**seen: Any) -> Act:
    """A signed cancel took its coin, and guard saw it final, or so it is said."""

    def act(world: World) -> None:
        stuck = Stuck(world)
        stuck.voided(world.attested(stuck.cancelled(), **seen))

    return act


def cancelled_after_the_policy_asked_for_more(world: World) -> None:
    stuck = Stuck(world)
    frame = world.attested(stuck.cancelled())
    world.payments.standing.policy = policy_of(finality_blocks=3)
    stuck.voided(frame)


def policy_of(**wallet: Any) -> Any:
    return parse_policy(policy_document(wallets=[{**policy_document()["wallets"][0], **wallet}]))


def of_another_deployment(world: World) -> None:
    stuck = Stuck(world)
    cancel = stuck.cancelled()
    stuck.voided(world.attested(cancel, deployment="0" * 16))


def each_attempt(*, but_one: bool = False) -> Act:
    """Two attempts with one coin in common and one coin each; what excludes one needn't exclude the other."""

    def act(world: World) -> None:
        stuck = Stuck(world)
        more = world.coin(60_000)
        raw, _ = world.transaction([world.output(stuck.payout)], coins=[stuck.coin, more], fee=900)
        world.sign([stuck.payout], raw=raw)
        stuck.voided(world.attested(world.called_back(more if but_one else stuck.coin)))

    return act


def one_of_its_own_attempts(world: World) -> None:
    """The bump was mined: it excludes the first attempt, and pays."""
    stuck = Stuck(world)
    stuck.voided(world.attested(stuck.attempted(fee=900)))


def the_attempt_itself(world: World) -> None:
    stuck = Stuck(world)
    stuck.voided(world.attested(stuck.attempt))


def what_was_built_on_its_attempt(world: World) -> None:
    """Change of the bump was spent again: what spends it excludes the first attempt, and stands on what paid."""
    stuck = Stuck(world)
    change = world.payments.change_next[simulated.NETWORK]
    bump = stuck.attempted(fee=900)
    address = world.wallet.address(world.payments.standing.organisation, 0, change)
    coin = simulated.Input(bytes.fromhex(bump), 1, stuck.coin.amount - MINOR - 900, address)
    raw, _ = world.transaction([], coins=[coin])
    world.sign([], operation="consolidate", raw=raw, paths=[(0, change)])
    stuck.voided(world.attested(simulated.transaction_id(raw).hex()))


def another_payouts(world: World) -> None:
    """What is true of one attempt is told of another."""
    stuck, other = Stuck(world), world.coin(60_000)
    payout = world.intent(world.cooled(), MINOR)
    world.sign([payout], coins=[other])
    stuck.voided(world.attested(world.called_back(other)))


def with_other_spends(world: World) -> None:
    """The coin of the attempt is named as spent, of another network."""
    stuck = Stuck(world)
    stuck.voided(world.attested(stuck.cancelled(), network="sim:elsewhere"))


def nothing_seen(world: World) -> None:
    Stuck(world).voided()


def never_signed(world: World) -> None:
    world.void(world.intent(world.cooled(), MINOR))


def no_frame(world: World) -> None:
    Stuck(world).voided(b"\0" * 64 + b"{}")


def void_and_signed_again(*, same: bool) -> Act:
    """A void payout gets no signature any more: neither the old bytes, nor others that exclude them."""

    def act(world: World) -> None:
        stuck = Stuck(world)
        raw, _ = world.transaction([world.output(stuck.payout)], coins=[stuck.coin], fee=900)
        change = world.payments.change_next[simulated.NETWORK]
        if same:
            world.sign([stuck.payout], raw=raw)
            change = world.payments.change_next[simulated.NETWORK]
        cancel = stuck.cancelled()
        world.void(stuck.payout, world.attested(cancel))
        address = world.wallet.address(world.payments.standing.organisation, 0, change)
        coin = simulated.Input(bytes.fromhex(cancel), 0, stuck.coin.amount - 500, address)
        if same:
            world.sign([stuck.payout], raw=raw)
        else:
            world.sign([stuck.payout], coins=[coin], paths=[(0, change)])

    return act


def taken(how: str, *people: Human, again: bool = False, others: bool = False, late_ms: int = 0) -> Act:
    """A sweep or a theft took its coin; these people release it, before or after another attempt, or of others."""

    def act(world: World) -> None:
        stuck = Stuck(world)
        if people:
            world.guard.release(stuck.payout, ["e" * 64] if others else [stuck.attempt], *people)
            world.pass_by(late_ms)
            world.notary.agree()
        if again:
            stuck.attempted(fee=900)
        stuck.voided(stuck.stolen() if how == "stolen" else world.attested(stuck.swept()))

    return act


def released_and_not_seen(world: World) -> None:
    """People alone free nothing: the attempt may have been mined meanwhile."""
    stuck = Stuck(world)
    stuck.released(CLEO, DAN)
    stuck.voided()


def successor_of_a_released(world: World) -> None:
    stuck = Stuck(world)
    stuck.released(CLEO, DAN)
    stuck.successor()


def successor_of_a_void(*, count: int) -> Act:
    def act(world: World) -> None:
        stuck = Stuck(world)
        world.void(stuck.payout, world.attested(stuck.cancelled()))
        for _ in range(count):
            world.sign([world.intent(world.cooled(), MINOR, replaces=stuck.payout)])

    return act


VOID: tuple[list[Any], list[Any]] = (
    [
        ("a signed cancel took its coin", cancelled()),
        ("deeper than it must be", cancelled(depth=9)),
        ("just young enough", cancelled(age_ms=ATTESTATION_LIFE_MS)),
        ("what excludes all of its attempts", each_attempt()),
    ],
    [
        ("not deep enough", cancelled(depth=1)),
        ("not deep enough any more", cancelled_after_the_policy_asked_for_more),
        ("seen too long ago", cancelled(age_ms=ATTESTATION_LIFE_MS + 1)),
        ("by a stranger", cancelled(key=STRANGER)),
        ("not an attestation", no_frame),
        ("of another deployment", of_another_deployment),
        ("of another network", with_other_spends),
        ("of another payout's attempt", another_payouts),
        ("of one of two attempts", each_attempt(but_one=True)),
        ("the attempt itself", the_attempt_itself),
        ("a bump that pays it", one_of_its_own_attempts),
        ("what was built on a bump that pays it", what_was_built_on_its_attempt),
        ("nothing", nothing_seen),
        ("released, and not seen", released_and_not_seen),
        ("never signed", never_signed),
    ],
)
RELEASED: tuple[list[Any], list[Any]] = (
    [
        ("a quorum released what was swept", taken("swept", CLEO, DAN), SWEEPING),
        ("a quorum released what was stolen", taken("stolen", CLEO, DAN)),
    ],
    [
        ("swept", taken("swept"), SWEEPING),
        ("stolen", taken("stolen")),
        ("one officer", taken("swept", CLEO), SWEEPING),
        ("one officer twice", taken("swept", CLEO, CLEO), SWEEPING),
        ("two who don't govern", taken("swept", CLEO, BEN), SWEEPING),
        ("of other attempts", taken("swept", CLEO, DAN, others=True), SWEEPING),
        ("before another attempt", taken("swept", CLEO, DAN, again=True), SWEEPING),
        ("too late", taken("swept", CLEO, DAN, late_ms=60_000), SWEEPING),
    ],
)
ALIVE = [
    ("void, with the same bytes", void_and_signed_again(same=True)),
    ("void, with others that exclude them", void_and_signed_again(same=False)),
]
DEBTS: tuple[list[Any], list[Any]] = (
    [("in place of a void one, elsewhere", successor_of_a_void(count=1))],
    [
        ("two in place of a void one", successor_of_a_void(count=2)),
        ("in place of one that was released only", successor_of_a_released),
    ],
)
