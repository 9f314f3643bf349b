"""What every rail of a chain of accounts does, whichever it is: one suite, against a real node through a provider.

A plug-in's tests make a class of it with a `ground`: a chain of their own, whose provider can lie and fall silent.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest

from strongroom.domain.instant import DAY_MS, SECOND_MS, Instant
from strongroom.rails.account_port import Account, AccountRail, Mined, Replaced
from strongroom.rails.port import Accepted, ChainTransactionId, Pending, RailError, Rejected, Unknown, Unseen

FINAL_DEPTH = 3
"""The depth that `open` configures."""


class Ground(Protocol):
    """`account` has what it needs for gas; `pay` signs something of that account and nonce, which fails if asked to.

    `rate` is how much is offered for gas; an account's first nonce is 0. `cut`, `delay` and `lose` are for the sending
    of bytes: lost ones never reach the node. `reorg` undoes that many blocks, with what stood in them gone for good.
    `made_at` is in seconds.
    """

    network: str
    genesis: str

    def open(self, genesis: str | None = None, answer_timeout_s: float = 10) -> AccountRail: ...
    def account(self) -> str: ...
    def stranger(self) -> str: ...
    def pay(self, account: str, nonce: int, rate: int = 1, *, fails: bool = False) -> bytes: ...
    def emits(self, account: str, nonce: int) -> tuple[str, bytes]: ...
    def id_of(self, signed: bytes) -> ChainTransactionId: ...
    def made_at(self, height: int) -> int: ...
    def mine(self, blocks: int = 1) -> None: ...
    def reorg(self, depth: int) -> None: ...
    def lose(self) -> None: ...
    def cut(self) -> None: ...
    def delay(self) -> None: ...
    def gone(self) -> None: ...
    def honest(self) -> None: ...
    def claim_mined(self, signed: bytes) -> None: ...


Story = Callable[[AccountRail], Awaitable[None]]


def run(ground: Ground, story: Story, answer_timeout_s: float = 10) -> None:
    async def go() -> None:
        rail = ground.open(ground.genesis, answer_timeout_s)
        try:
            await story(rail)
        finally:
            await rail.close()

    asyncio.run(go())


async def mined(rail: AccountRail, signed: bytes) -> Mined:
    status = await rail.status(signed)
    assert isinstance(status, Mined), status
    return status


@contextlib.contextmanager
def cut_off(ground: Ground) -> Iterator[None]:
    ground.gone()
    try:
        yield
    finally:
        ground.honest()


class AccountConformance:
    """For each test a fresh account, as its nonces are the only ones that are used."""

    def test_it_says_which_chain_it_is_and_refuses_another(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            identity = await rail.identity()
            assert (identity.network, identity.genesis) == (ground.network, ground.genesis)
            assert (rail.network, bool(identity.software)) == (ground.network, True)
            other = ground.open("0x" + "1" * 64)
            try:
                with pytest.raises(RailError, match="another chain"):
                    await other.identity()
            finally:
                await other.close()

        run(ground, story)

    def test_blocks_lead_back_to_the_first(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            ground.mine(2)
            tip = await rail.tip()
            block = await rail.block(tip.height, [])
            assert block is not None
            assert (block.height, block.block_hash) == (tip.height, tip.block_hash)
            while block.height:
                before = await rail.block(block.height - 1, [])
                assert before is not None
                assert (before.block_hash, before.height) == (block.previous_hash, block.height - 1)
                block = before
            assert block.block_hash == ground.genesis
            assert await rail.block(tip.height + 1, []) is None

        run(ground, story)

    def test_a_block_shows_what_a_contract_logged_and_nothing_of_others(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            contract, signed = ground.emits(account, 0)
            others = [ground.pay(ground.account(), 0), ground.emits(ground.account(), 0)[1]]
            for each in (others[0], signed, others[1]):
                assert await rail.broadcast(each) == Accepted()
            ground.mine()
            where = await mined(rail, signed)
            block = await rail.block(where.height, [contract])
            assert block is not None
            emitted, second = block.emitted
            assert {emitted.place, second.place} < {0, 1, 2}
            assert contract.lower() in {"0x" + log.address.hex() for log in emitted.logs}
            other = await rail.block(where.height, [ground.stranger()])
            assert other is not None
            assert (other.block_hash, other.emitted) == (where.block_hash, ())

        run(ground, story)

    def test_what_is_final_is_a_block_of_the_chain_and_goes_on_with_it(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            ground.mine(FINAL_DEPTH)
            tip, final = await rail.tip(), await rail.final()
            assert final.height == tip.height - FINAL_DEPTH + 1
            block = await rail.block(final.height, [])
            assert block is not None
            assert block.block_hash == final.block_hash

        run(ground, story)

    def test_a_payment_goes_from_unseen_to_pending_to_mined_to_final(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            assert await rail.status(signed) == Unseen()
            assert await rail.broadcast(signed) == Accepted()
            assert await rail.status(signed) == Pending()
            ground.mine()
            tip = await rail.tip()
            fee = (await mined(rail, signed)).fee
            assert await rail.status(signed) == Mined(tip.height, tip.block_hash, 1, False, True, fee)
            ground.mine(FINAL_DEPTH - 1)
            assert await rail.status(signed) == Mined(tip.height, tip.block_hash, FINAL_DEPTH, True, True, fee)

        run(ground, story)

    def test_a_payment_that_failed_in_its_block_is_mined_and_did_not_succeed(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0, fails=True)
            assert await rail.broadcast(signed) == Accepted()
            ground.mine()
            assert (await mined(rail, signed)).succeeded is False

        run(ground, story)

    @pytest.mark.parametrize("fails", [False, True])
    def test_what_it_cost_is_what_the_account_has_less(self, ground: Ground, fails: bool) -> None:
        async def story(rail: AccountRail) -> None:
            account, other = ground.account(), ground.account()
            before = await rail.account(account, await rail.tip())
            signed = ground.pay(account, 0, rate=3, fails=fails)
            for each in (ground.pay(other, 0), signed, ground.pay(other, 1)):  # it isn't alone in its block
                await rail.broadcast(each)
            assert await rail.account(account, await rail.tip()) == before
            ground.mine()
            fee = (await mined(rail, signed)).fee
            assert fee > 0
            after = Account(before.balance - fee, before.nonce + 1)
            at = await rail.tip()
            await rail.broadcast(ground.pay(account, 1))
            ground.mine()
            assert await rail.account(account, at) == after
            assert (await rail.account(account, await rail.tip())).nonce == 2

        run(ground, story)

    def test_a_chain_is_read_from_a_day_before_a_moment(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            ground.mine(3)
            tip = await rail.tip()
            assert (await rail.before(Instant(0))).block_hash == ground.genesis
            assert await rail.before(Instant(2**42 * SECOND_MS)) == tip
            made_ms = ground.made_at(tip.height - 1) * SECOND_MS
            assert (await rail.before(Instant(made_ms + DAY_MS))).height == tip.height - 2
            assert (await rail.before(Instant(made_ms + DAY_MS + SECOND_MS))).height == tip.height - 1

        run(ground, story)

    def test_the_same_bytes_sent_again_are_accepted_and_use_one_nonce(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            signed = ground.pay(account, 0)
            for _ in range(2):
                assert await rail.broadcast(signed) == Accepted()
                assert await rail.broadcast(signed) == Accepted()
                ground.mine()
                assert await rail.broadcast(signed) == Accepted()
            assert (await rail.nonces(account)).mined == 1

        run(ground, story)

    def test_nonces_are_those_of_blocks_and_of_what_waits(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            seen = []
            for nonce in (0, 1, 3):
                await rail.broadcast(ground.pay(account, nonce))
                nonces = await rail.nonces(account)
                seen.append((nonces.mined, nonces.waiting))
            assert seen == [(0, 1), (0, 2), (0, 2)]
            ground.mine()
            nonces = await rail.nonces(account)
            assert (nonces.mined, nonces.waiting) == (2, 2)
            assert await rail.balance(account) > 0
            assert await rail.balance(ground.stranger()) == 0

        run(ground, story)

    def test_what_is_behind_a_gap_waits_until_it_is_filled(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            late = ground.pay(account, 1)
            assert await rail.broadcast(late) == Accepted()
            ground.mine()
            assert await rail.status(late) == Pending()
            await rail.broadcast(ground.pay(account, 0))
            ground.mine(2)
            await mined(rail, late)

        run(ground, story)

    def test_what_another_replaced_is_replaced_and_that_one_is_named(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            first, second = ground.pay(account, 0), ground.pay(account, 0, rate=2)
            await rail.broadcast(first)
            assert await rail.broadcast(second) == Accepted()
            assert await rail.status(second) == Pending()
            assert await rail.status(first) in (Unseen(), Pending())
            ground.mine()
            assert await rail.status(first) == Replaced(ground.id_of(second))
            ground.mine(5)
            assert await rail.status(first) == Replaced(ground.id_of(second))
            assert (await mined(rail, second)).depth == 6

        run(ground, story)

    def test_a_nonce_that_is_used_is_rejected_for_good(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            await rail.broadcast(ground.pay(account, 0))
            ground.mine()
            outcome = await rail.broadcast(ground.pay(account, 0, rate=2))
            assert isinstance(outcome, Rejected)
            assert outcome.permanent

        run(ground, story)

    def test_without_money_for_gas_it_is_rejected_for_now(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            outcome = await rail.broadcast(ground.pay(ground.account(), 0, rate=10**12))
            assert isinstance(outcome, Rejected)
            assert (bool(outcome.reason), outcome.permanent) == (True, False)

        run(ground, story)

    def test_what_is_no_chain_transaction_of_this_chain_is_never_sent(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            for raw in (b"", b"\x02", b"\x00" * 100, signed[:-1], signed + b"\x00"):
                outcome = await rail.broadcast(raw)
                assert isinstance(outcome, Rejected)
                assert (outcome.reason[:10], outcome.permanent) == ("never sent", True)
                with pytest.raises(RailError):
                    await rail.status(raw)
            assert await rail.status(signed) == Unseen()

        run(ground, story)

    def test_an_answer_that_is_cut_off_is_unknown_though_the_payment_is_out(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            ground.cut()
            assert isinstance(await rail.broadcast(signed), Unknown)
            ground.honest()
            assert await rail.status(signed) == Pending()
            assert await rail.broadcast(signed) == Accepted()

        run(ground, story)

    def test_an_answer_that_comes_too_late_is_unknown_though_the_payment_is_out(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            ground.delay()
            started = time.monotonic()
            assert isinstance(await rail.broadcast(signed), Unknown)
            assert time.monotonic() - started < 10
            ground.honest()
            assert await rail.status(signed) == Pending()

        run(ground, story, answer_timeout_s=0.5)

    def test_bytes_that_the_provider_swallowed_are_unseen_and_can_be_sent_again(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            ground.lose()
            assert isinstance(await rail.broadcast(signed), Unknown)
            ground.honest()
            assert await rail.status(signed) == Unseen()
            assert await rail.broadcast(signed) == Accepted()

        run(ground, story)

    def test_without_a_node_reading_raises_and_sending_is_unknown(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            signed, tip = ground.pay(account, 0), await rail.tip()
            asks: list[Callable[[], Awaitable[Any]]] = [
                rail.identity, rail.tip, rail.final, rail.fees, lambda: rail.nonces(account),
                lambda: rail.balance(account), lambda: rail.block(0, []), lambda: rail.status(signed),
                lambda: rail.before(Instant(0)), lambda: rail.account(account, tip),
            ]
            with cut_off(ground):
                for ask in asks:
                    with pytest.raises(RailError):
                        await ask()
                assert isinstance(await rail.broadcast(signed), Unknown)
            for ask in asks:
                await ask()

        run(ground, story)

    def test_what_a_reorg_undid_is_mined_no_longer(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            account = ground.account()
            signed = ground.pay(account, 0)
            await rail.broadcast(signed)
            ground.mine()
            await mined(rail, signed)
            ground.reorg(1)
            assert await rail.status(signed) in (Unseen(), Pending())
            assert (await rail.nonces(account)).mined == 0
            assert await rail.broadcast(signed) == Accepted()
            ground.mine()
            await mined(rail, signed)

        run(ground, story)

    @pytest.mark.parametrize("stage", ["unsent", "waiting"])
    def test_a_lie_about_a_block_that_holds_it_is_no_confirmation(self, ground: Ground, stage: str) -> None:
        """The attacker has the node, and wants a payment that isn't in a block to count as settled."""

        async def story(rail: AccountRail) -> None:
            signed = ground.pay(ground.account(), 0)
            if stage == "waiting":
                await rail.broadcast(signed)
            ground.claim_mined(signed)
            with pytest.raises(RailError, match="doesn't hold it"):
                await rail.status(signed)
            ground.honest()
            assert await rail.status(signed) == (Unseen() if stage == "unsent" else Pending())

        run(ground, story)

    def test_an_address_of_another_form_is_not_asked_about(self, ground: Ground) -> None:
        async def story(rail: AccountRail) -> None:
            good = ground.stranger()
            for address in ("", good.lower(), good[:-1], "bc1q"):
                for ask in (rail.nonces(address), rail.balance(address), rail.block(0, [address])):
                    with pytest.raises(RailError):
                        await ask
            with pytest.raises(RailError, match="at most"):
                await rail.block(0, [good] * 101)

        run(ground, story)
