"""What any rail must do, whatever its chain: the tests that each plug-in's test module inherits.

`Ground` is the outside world of one rail: a real node, people with keys, a miner, and a hand that orders faults.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from strongroom.formats import simulated
from strongroom.formats.bitcoin_transaction import double_sha256
from strongroom.rails.port import (
    ADDRESSES_MAXIMUM,
    Accepted,
    ChainTransactionId,
    Coin,
    Confirmed,
    Conflicted,
    Pending,
    Rail,
    RailError,
    Rejected,
    Unknown,
    Unseen,
)

COIN_MINOR = 1_000_000
PAID_MINOR = 400_000
FEE_MINOR = 10_000


class Ground(Protocol):
    """Addresses that it made can be spent from by `pay`; `genesis` is the hash of the node's first block.

    `low_bumps` are fees that are too little more than FEE_MINOR; `spoiled` has a signature that doesn't hold.
    """

    network: str
    genesis: str
    low_bumps: tuple[int, ...]
    shows_strangers: bool

    def open(self, genesis: str | None = None, answer_timeout_s: float = 10) -> Rail: ...
    def new_address(self) -> str: ...
    def fund(self, address: str, amount: int) -> None: ...
    def mine(self, blocks: int = 1) -> None: ...
    def pay(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes: ...
    def id_of(self, signed: bytes) -> ChainTransactionId: ...
    def spoiled(self, signed: bytes) -> bytes: ...
    def fault(self, fault: str, **fields: Any) -> None: ...
    def kill(self) -> None: ...
    def start(self) -> None: ...


Story = Callable[[Rail], Awaitable[None]]


def run(ground: Ground, story: Story, answer_timeout_s: float = 10) -> None:
    async def go() -> None:
        rail = ground.open(ground.genesis, answer_timeout_s)
        try:
            await story(rail)
        finally:
            await rail.close()

    asyncio.run(go())


class Payment:
    """A coin of a payer, in a block, and the signed bytes that pay somebody from it with the change going back."""

    def __init__(self, ground: Ground, payer: str, payee: str, coins: Sequence[Coin]) -> None:
        self.ground = ground
        self.payer = payer
        self.payee = payee
        self.coins = coins
        self.signed = self.with_fee(FEE_MINOR)
        self.id = ground.id_of(self.signed)

    def with_fee(self, fee: int) -> bytes:
        change = COIN_MINOR - PAID_MINOR - fee
        return self.ground.pay(self.coins, [(self.payee, PAID_MINOR), (self.payer, change)])


async def new_payment(ground: Ground, rail: Rail) -> Payment:
    payer = ground.new_address()
    ground.fund(payer, COIN_MINOR)
    ground.mine()
    return Payment(ground, payer, ground.new_address(), await rail.coins([payer]))


async def confirmed(rail: Rail, chain_transaction: ChainTransactionId) -> Confirmed:
    status = await rail.status(chain_transaction)
    assert isinstance(status, Confirmed)
    return status


@contextlib.contextmanager
def cut_off(ground: Ground) -> Iterator[None]:
    """The node is gone, and comes back with what it knew."""
    ground.kill()
    try:
        yield
    finally:
        ground.start()


class Conformance:
    """A test module of a rail inherits it and gives the fixture `ground`, of any scope; faults are cleared by it."""

    def test_the_node_says_which_chain_it_is_of(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            identity = await rail.identity()
            assert (identity.network, identity.genesis) == (ground.network, ground.genesis)
            assert rail.network == ground.network
            assert identity.software

        run(ground, story)

    def test_a_node_of_another_chain_is_refused(self, ground: Ground) -> None:
        async def story(_: Rail) -> None:
            rail = ground.open("ab" * 32)
            try:
                with pytest.raises(RailError, match="another chain"):
                    await rail.identity()
            finally:
                await rail.close()

        run(ground, story)

    def test_a_coin_is_seen_while_it_waits_and_has_a_height_in_a_block(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payee, stranger = ground.new_address(), ground.new_address()
            assert await rail.coins([payee, stranger]) == ()
            ground.fund(payee, COIN_MINOR)
            waiting = await rail.coins([payee, stranger])
            seen = [(each.amount_minor, each.address, each.height) for each in waiting]
            assert seen == [(COIN_MINOR, payee, None)] * ground.shows_strangers
            ground.mine()
            (mined,) = await rail.coins([payee, stranger])
            assert (mined.amount_minor, mined.height) == (COIN_MINOR, (await rail.tip()).height)
            assert [each.outpoint for each in waiting] == [mined.outpoint] * ground.shows_strangers

        run(ground, story)

    def test_too_many_addresses_are_not_asked_for(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            address = ground.new_address()
            with pytest.raises(RailError, match=str(ADDRESSES_MAXIMUM)):
                await rail.coins([address] * (ADDRESSES_MAXIMUM + 1))

        run(ground, story)

    def test_a_payment_goes_from_unseen_to_pending_to_confirmed_and_deeper(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            assert await rail.status(payment.id) == Unseen()
            assert await rail.broadcast(payment.signed) == Accepted()
            assert await rail.status(payment.id) == Pending()
            ground.mine()
            first = await confirmed(rail, payment.id)
            assert (first.height, first.depth) == ((await rail.tip()).height, 1)
            ground.mine(2)
            assert await rail.status(payment.id) == Confirmed(first.height, first.block_hash, 3)
            (paid,) = await rail.coins([payment.payee])
            assert (paid.amount_minor, paid.height) == (PAID_MINOR, first.height)

        run(ground, story)

    def test_what_made_a_coin_is_given_without_witnesses_and_has_its_name(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            with pytest.raises(RailError):
                await rail.made_by(payment.id)
            await rail.broadcast(payment.signed)
            for _ in range(2):
                made = await rail.made_by(payment.id)
                is_simulated = ground.network == simulated.NETWORK
                name = simulated.transaction_id(made) if is_simulated else double_sha256(made)[::-1]
                assert name.hex() == payment.id
                assert len(made) < len(payment.signed)
                ground.mine()

        run(ground, story)

    def test_a_coin_is_gone_as_soon_as_something_that_waits_spends_it(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            (change,) = await rail.coins([payment.payer])
            assert (change.amount_minor, change.height) == (COIN_MINOR - PAID_MINOR - FEE_MINOR, None)

        run(ground, story)

    def test_the_same_bytes_sent_again_are_accepted_and_pay_once(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            for _ in range(2):
                assert await rail.broadcast(payment.signed) == Accepted()
                ground.mine()
                assert await rail.broadcast(payment.signed) == Accepted()
            assert len(await rail.coins([payment.payee])) == 1

        run(ground, story)

    def test_what_is_no_transaction_and_a_broken_signature_are_rejected_for_good(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            broken = ground.spoiled(payment.signed)
            for raw in (b"", b"\x00" * 100, payment.signed[:-1], payment.signed + b"\x00", broken):
                outcome = await rail.broadcast(raw)
                assert isinstance(outcome, Rejected)
                assert (bool(outcome.reason), outcome.permanent) == (True, True)
            assert await rail.status(payment.id) == Unseen()

        run(ground, story)

    def test_a_second_spend_of_a_coin_needs_a_higher_fee_and_then_replaces_the_first(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            assert await rail.broadcast(payment.signed) == Accepted()
            for fee in ground.low_bumps:
                outcome = await rail.broadcast(payment.with_fee(fee))
                assert isinstance(outcome, Rejected)
                assert not outcome.permanent
            assert await rail.status(payment.id) == Pending()
            bumped = payment.with_fee(FEE_MINOR * 2)
            assert await rail.broadcast(bumped) == Accepted()
            assert await rail.status(payment.id) == Conflicted(ground.id_of(bumped))
            ground.mine()
            assert await rail.status(payment.id) == Conflicted(ground.id_of(bumped))
            assert len(await rail.coins([payment.payee])) == 1

        run(ground, story)

    def test_a_coin_that_was_spent_in_a_block_is_never_spent_again(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            ground.mine()
            again = payment.with_fee(FEE_MINOR * 10)
            outcome = await rail.broadcast(again)
            assert isinstance(outcome, Rejected)
            assert outcome.permanent
            assert await rail.status(ground.id_of(again)) == Unseen()
            await confirmed(rail, payment.id)

        run(ground, story)

    def test_a_child_of_a_waiting_payment_waits_with_it_and_goes_when_it_is_replaced(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            change = await rail.coins([payment.payer])
            child = ground.pay(change, [(ground.new_address(), change[0].amount_minor - FEE_MINOR)])
            assert await rail.broadcast(child) == Accepted()
            assert await rail.status(ground.id_of(child)) == Pending()
            cheap = payment.with_fee(FEE_MINOR * 2)
            assert isinstance(await rail.broadcast(cheap), Rejected), "it must pay for the child as well"
            bumped = payment.with_fee(FEE_MINOR * 3)
            assert await rail.broadcast(bumped) == Accepted()
            assert await rail.status(ground.id_of(child)) == Conflicted(ground.id_of(bumped))

        run(ground, story)

    def test_a_child_is_refused_for_now_while_its_parent_is_unknown(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            change = Coin(payment.id, 1, COIN_MINOR - PAID_MINOR - FEE_MINOR, payment.payer, None)
            child = ground.pay([change], [(ground.new_address(), change.amount_minor - FEE_MINOR)])
            outcome = await rail.broadcast(child)
            assert isinstance(outcome, Rejected)
            assert not outcome.permanent
            await rail.broadcast(payment.signed)
            assert await rail.broadcast(child) == Accepted()
            ground.mine()
            assert (await confirmed(rail, ground.id_of(child))).depth == (await confirmed(rail, payment.id)).depth

        run(ground, story)

    def test_blocks_hold_the_bytes_verbatim_and_lead_back_to_the_first(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            ground.mine()
            where = await confirmed(rail, payment.id)
            block = await rail.block(where.height)
            assert block is not None
            assert block.block_hash == where.block_hash
            assert payment.signed in [each.raw for each in block.transactions if each.id == payment.id]
            while block.height:
                before = await rail.block(block.height - 1)
                assert before is not None
                assert (before.block_hash, before.height) == (block.previous_hash, block.height - 1)
                block = before
            assert block.block_hash == ground.genesis
            assert await rail.block((await rail.tip()).height + 1) is None

        run(ground, story)

    def test_there_is_a_fee_rate_and_a_payment_at_it_is_taken(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            rate = await rail.fee_rate()
            assert rate > 0
            fee = -(-len(payment.signed) * rate // 1_000)
            assert await rail.broadcast(payment.with_fee(fee)) == Accepted()
            ground.mine()
            await confirmed(rail, ground.id_of(payment.with_fee(fee)))

        run(ground, story)

    def test_without_a_node_reading_raises_and_sending_is_unknown(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            with cut_off(ground):
                for ask in (
                    rail.identity, rail.tip, rail.fee_rate, lambda: rail.coins([payment.payer]),
                    lambda: rail.block(0), lambda: rail.status(payment.id),
                ):
                    with pytest.raises(RailError):
                        await ask()
                assert isinstance(await rail.broadcast(payment.signed), Unknown)
            assert await rail.status(payment.id) == Unseen()

        run(ground, story)

    def test_what_a_node_has_answered_is_still_so_after_it_was_killed(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            mined, waiting = await new_payment(ground, rail), await new_payment(ground, rail)
            await rail.broadcast(mined.signed)
            ground.mine()
            await rail.broadcast(waiting.signed)
            addresses = [mined.payer, mined.payee, waiting.payer, waiting.payee]
            before = (await rail.tip(), await rail.status(mined.id), await rail.coins(addresses))
            with cut_off(ground):
                pass
            assert (await rail.tip(), await rail.status(mined.id), await rail.coins(addresses)) == before
            assert await rail.status(waiting.id) == Pending()

        run(ground, story)


class ReorgConformance:
    """The same against a node whose last blocks can be put aside for a longer branch without their transactions."""

    def test_a_reorg_takes_a_confirmation_back_and_gives_it_in_another_block(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            ground.mine(2)
            before = await confirmed(rail, payment.id)
            ground.fault("reorg", depth=2)
            assert await rail.status(payment.id) == Pending()
            replaced = await rail.block(before.height)
            assert replaced is not None
            assert replaced.block_hash != before.block_hash
            assert (await rail.tip()).height == before.height + 2, "the new branch is the longer one"
            ground.mine()
            after = await confirmed(rail, payment.id)
            assert (after.height, after.depth) == (before.height + 3, 1)
            assert len(await rail.coins([payment.payee])) == 1

        run(ground, story)

    def test_after_a_reorg_another_spend_of_the_coin_can_win(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            ground.mine()
            ground.fault("reorg", depth=1)
            other = ground.pay(payment.coins, [(payment.payer, COIN_MINOR - FEE_MINOR * 2)])
            assert await rail.broadcast(other) == Accepted()
            ground.mine()
            assert await rail.status(payment.id) == Conflicted(ground.id_of(other))
            assert await rail.coins([payment.payee]) == ()

        run(ground, story)


class FaultConformance:
    """The same against a node that can be told to misbehave."""

    def test_a_lost_broadcast_is_unseen_and_the_same_bytes_can_be_sent_again(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            ground.fault("lose_broadcast")
            assert await rail.broadcast(payment.signed) == Accepted()
            assert await rail.status(payment.id) == Unseen()
            ground.mine()
            assert await rail.status(payment.id) == Unseen()
            assert await rail.broadcast(payment.signed) == Accepted()
            ground.mine()
            await confirmed(rail, payment.id)

        run(ground, story)

    def test_an_answer_that_comes_too_late_is_unknown_though_the_payment_is_out(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            ground.fault("delay_answer", ms=4_000)
            started = time.monotonic()
            assert isinstance(await rail.broadcast(payment.signed), Unknown)
            assert time.monotonic() - started < 3
            assert await rail.status(payment.id) == Pending()

        run(ground, story, answer_timeout_s=1.0)

    def test_an_answer_that_is_cut_off_is_unknown_though_the_payment_is_out(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            ground.fault("cut_answer")
            assert isinstance(await rail.broadcast(payment.signed), Unknown)
            assert await rail.status(payment.id) == Pending()
            assert await rail.broadcast(payment.signed) == Accepted()
            ground.mine()
            assert len(await rail.coins([payment.payee])) == 1

        run(ground, story)

    @pytest.mark.parametrize("call", ["tip", "identity", "fee_rate", "coins", "status", "block"])
    @pytest.mark.parametrize("fault", [("cut_answer", {}), ("delay_answer", {"ms": 4_000})], ids=["cut", "delayed"])
    def test_a_reading_without_an_answer_raises_and_the_next_one_is_answered(
        self, ground: Ground, call: str, fault: tuple[str, dict[str, int]]
    ) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            asks: dict[str, Callable[[], Awaitable[object]]] = {
                "tip": rail.tip, "identity": rail.identity, "fee_rate": rail.fee_rate,
                "coins": lambda: rail.coins([payment.payer]), "block": lambda: rail.block(0),
                "status": lambda: rail.status(payment.id),
            }
            ground.fault(fault[0], call=call, **fault[1])
            with pytest.raises(RailError):
                await asks[call]()
            assert await asks[call]()

        run(ground, story, answer_timeout_s=1.0)

    def test_a_late_payment_is_pending_until_its_block_comes(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            ground.fault("late", blocks=3)
            await rail.broadcast(payment.signed)
            ground.mine(3)
            assert await rail.status(payment.id) == Pending()
            ground.mine()
            assert (await confirmed(rail, payment.id)).depth == 1

        run(ground, story)

    def test_a_skipped_payment_stays_pending_and_can_be_replaced(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment, other = await new_payment(ground, rail), await new_payment(ground, rail)
            ground.fault("skip", txid=payment.id)
            await rail.broadcast(payment.signed)
            await rail.broadcast(other.signed)
            ground.mine(10)
            assert await rail.status(payment.id) == Pending()
            assert (await confirmed(rail, other.id)).depth == 10
            bumped = payment.with_fee(FEE_MINOR * 2)
            assert await rail.broadcast(bumped) == Accepted()
            ground.mine()
            await confirmed(rail, ground.id_of(bumped))

        run(ground, story)

    @pytest.mark.parametrize("stage", ["waiting", "lost"])
    def test_a_lie_about_a_confirmation_is_no_confirmation(self, ground: Ground, stage: str) -> None:
        """The attacker has the node, and wants a payment that isn't in a block to count as settled."""

        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            if stage == "lost":
                ground.fault("lose_broadcast")
            await rail.broadcast(payment.signed)
            ground.fault("lie", txid=payment.id)
            with pytest.raises(RailError, match="doesn't hold it"):
                await rail.status(payment.id)
            assert await rail.status(payment.id) == (Unseen() if stage == "lost" else Pending())

        run(ground, story)

    def test_a_lie_about_the_block_is_noticed(self, ground: Ground) -> None:
        async def story(rail: Rail) -> None:
            payment = await new_payment(ground, rail)
            await rail.broadcast(payment.signed)
            ground.mine(2)
            ground.fault("lie", txid=payment.id, mode="other_block")
            with pytest.raises(RailError, match="doesn't hold it"):
                await rail.status(payment.id)
            assert (await confirmed(rail, payment.id)).depth == 2

        run(ground, story)
