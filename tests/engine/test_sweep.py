"""A hot wallet is emptied to the treasury: what was promised lets go, and the ledger follows the chain there and back.

The signer, PostgreSQL, watch and the chain are real; the attacker here is whoever would keep money from being saved, by
promising it to somebody or by sending coins that nobody expected."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Database
from tests.engine.road import OPENING, Road, open_road
from tests.rails.chain import Chain
from tests.signer.world import CLEO, ORGANISATION, payee, policy_document

from strongroom.engine.sweep import SweepError, Swept, sweep
from strongroom.formats import simulated
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import RefusedAnswer
from strongroom.rails.port import Accepted

TREASURY = payee("treasury")
POLICY: dict[str, Any] = {
    "wallets": [{**policy_document()["wallets"][0], "treasury": TREASURY}],
    "sweep_fee_budget_reference_minor": "1000000",
}
Play = Callable[[Road], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, database: Database, chain: Chain) -> Callable[..., None]:
    def run(story: Play, **policy: Any) -> None:
        async def go() -> None:
            async with _road(tmp_path, database, chain, policy) as road:
                await story(road)

        asyncio.run(go())

    return run


@asynccontextmanager
async def _road(folder: Path, database: Database, chain: Chain, policy: dict[str, Any]) -> AsyncIterator[Road]:
    async with open_road(folder, database, chain, **{**POLICY, **policy}) as road:
        await road.go()
        yield road


async def swept(road: Road) -> Swept:
    done = await sweep(road.bench, ORGANISATION, simulated.NETWORK)
    assert isinstance(done, Swept), done
    assert isinstance(done.outcome, Accepted)
    return done


async def settle(road: Road) -> None:
    for _ in range(3):
        await road.go()
        road.chain.mine(2)
    await road.go()


def in_treasury(road: Road) -> int:
    return sum(int(coin["amount"]) for coin in road.chain.call("POST", "/coins", {"addresses": [TREASURY]})["coins"])


def test_all_of_a_wallet_goes_to_the_treasury_though_it_was_promised(play: Any) -> None:
    async def story(road: Road) -> None:
        await road.pay("large", OPENING - 300_000)  # waits for people, and its money is reserved
        await road.go()
        assert (await road.states())["large"] == "awaiting_approval"
        done = await swept(road)
        assert done.amount_minor + done.fee_minor == OPENING
        await settle(road)
        assert in_treasury(road) == done.amount_minor
        assert await road.account("wallet:hot") == (0, 0)
        assert await road.is_whole()
        assert await road.alarm_names() == []
        assert (await road.states())["large"] == "awaiting_approval"

    play(story)


def test_a_refused_sweep_changes_nothing(play: Any) -> None:
    async def story(road: Road) -> None:
        await road.pay("large", 2_000_000)
        await road.go()
        before = await road.account("wallet:hot")
        road.world.guard.instruct(Action.FREEZE, "organisation", CLEO)
        refused = await sweep(road.bench, ORGANISATION, simulated.NETWORK)
        assert isinstance(refused, RefusedAnswer)
        assert refused.rule == "not-frozen"
        road.world.pass_by(10_000)
        await road.go()
        assert (await road.account("wallet:hot"))[0] == before[0]
        assert in_treasury(road) == 0
        assert await road.is_whole()
        road.world.guard.instruct(Action.RECOVER, f"network:{simulated.NETWORK}", CLEO, epoch=1)
        await swept(road)
        second = await sweep_more(road)
        assert second.rule == "not-frozen"

    play(story)


async def sweep_more(road: Road) -> RefusedAnswer:
    """A new coin came, was final, and is to be swept as well."""
    road.chain.fund(road.world.wallet.address(ORGANISATION, 0, 0), 50_000)
    await settle(road)
    refused = await sweep(road.bench, ORGANISATION, simulated.NETWORK)
    assert isinstance(refused, RefusedAnswer)
    return refused


def test_a_second_sweep_of_a_day_is_refused_though_nothing_is_frozen(play: Any) -> None:
    async def story(road: Road) -> None:
        await swept(road)
        await settle(road)
        assert (await sweep_more(road)).rule == "sweep-once"

    play(story)


def test_a_strangers_coins_keep_no_sweep_from_going(play: Any) -> None:
    """The attacker sends the wallet coins, and wants the ledger to refuse what it doesn't know."""

    async def story(road: Road) -> None:
        address = road.world.wallet.address(ORGANISATION, 0, 1)
        road.chain.fund(address, 70_000)
        road.chain.mine(3)
        await road.go()
        assert await road.account("suspense") == (-70_000, 70_000)
        road.chain.fund(address, 90_000)  # in no block yet, so it is left alone
        done = await swept(road)
        assert done.amount_minor + done.fee_minor == OPENING + 70_000
        await settle(road)
        assert await road.account("suspense") == (-70_000 - 90_000, 90_000)
        assert (await road.account("wallet:hot"))[0] == 90_000
        assert await road.is_whole()
        assert await road.alarm_names() == []

    play(story)


def test_a_refused_sweep_holds_what_nobody_explained_again(play: Any) -> None:
    async def story(road: Road) -> None:
        road.chain.fund(road.world.wallet.address(ORGANISATION, 0, 1), 70_000)
        road.chain.mine(3)
        await road.go()
        road.world.guard.instruct(Action.FREEZE, "organisation", CLEO)
        assert isinstance(await sweep(road.bench, ORGANISATION, simulated.NETWORK), RefusedAnswer)
        assert await road.account("suspense") == (-70_000, 70_000)
        assert await road.account("wallet:hot") == (OPENING + 70_000, -70_000)

    play(story)


def test_a_reorg_takes_a_sweep_back_in_the_ledger_and_it_settles_again(play: Any) -> None:
    async def story(road: Road) -> None:
        done = await swept(road)
        await settle(road)
        assert (await road.account("wallet:hot"))[0] == 0
        road.chain.fault("reorg", depth=8)
        road.chain.mine(1)
        await settle(road)
        assert in_treasury(road) == done.amount_minor
        assert await road.account("wallet:hot") == (0, 0)
        assert (await road.account("company:funding"))[0] == -OPENING + done.amount_minor
        assert (await road.account("fees"))[0] == done.fee_minor
        assert await road.is_whole()

    play(story)


def test_coins_of_what_is_signed_are_left_to_it(play: Any) -> None:
    async def story(road: Road) -> None:
        await road.pay("small", 20_000)
        for _ in range(6):
            road.world.pass_by(6_000)
            await road.go()
        assert (await road.states())["small"] == "broadcast"
        done = await swept(road)
        assert done.coins == 10  # the payment has one of ten, and its change is ours already
        fee = (await road.account("fees"))[1] - done.fee_minor
        assert done.amount_minor + done.fee_minor == OPENING - 20_000 - fee
        await settle(road)
        assert road.received() == {"small": [20_000]}
        assert await road.is_whole()

    play(story)


def test_what_cant_be_swept_is_said(play: Any) -> None:
    async def story(road: Road) -> None:
        with pytest.raises(SweepError, match="the policy has no treasury on sim:sandbox"):
            await sweep(road.bench, ORGANISATION, simulated.NETWORK)
        with pytest.raises(SweepError, match=r"no policy of .* with a wallet on bip122:x"):
            await sweep(road.bench, ORGANISATION, "bip122:x")

    play(story, wallets=policy_document()["wallets"])


def test_an_empty_wallet_is_said(play: Any) -> None:
    async def story(road: Road) -> None:
        await swept(road)
        await settle(road)
        with pytest.raises(SweepError, match="no coin that is free"):
            await sweep(road.bench, ORGANISATION, simulated.NETWORK)

    play(story)
