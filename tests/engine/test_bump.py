"""What no block takes is offered for more: one of the two is mined, each payee is paid once, and the books agree.

The signer, PostgreSQL, watch and the chain are real. The attacker is the miner: it takes which of the two it likes, and
takes a block back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Database
from tests.engine.kills import Killed, Points
from tests.engine.road import OPENING, STEP_MS, Road, open_road
from tests.faults.signer.ground import IS_FULL
from tests.rails.chain import Chain
from tests.signer.world import CLEO

from strongroom.domain.instant import MINUTE_MS
from strongroom.engine.pipeline import advance
from strongroom.protocol.negative import Action

MINOR = 20_000
STRIDE = 1 if IS_FULL else 3
DEAR, DEAREST = 3_000, 7_000
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path, database: Database, chain: Chain) -> Play:
    def run(story: Callable[[Road], Awaitable[None]], **policy: Any) -> None:
        async def go() -> None:
            async with open_road(tmp_path, database, chain, **policy) as road:
                await road.go()
                await story(road)

        asyncio.run(go())

    return run


async def line_of(road: Road, name: str) -> list[tuple[str, str, str]]:
    """The chain transactions that pay it, oldest first: id, operation, state."""
    rows = await road.fetch(
        "SELECT a.chain_transaction, a.operation, a.state FROM strongroom.attempts a JOIN strongroom.attempt_payouts p "
        "USING (chain_transaction) WHERE p.payout = $1 ORDER BY a.created_at", road.payouts[name],
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def stuck(road: Road, name: str, *, is_lost: bool = False) -> tuple[str, str]:
    """A payout that no block takes at the fee it was sent with, and what it was replaced by: the ids of both.

    `is_lost`: the node says that it took the replacement, and forgets it.
    """
    await road.pay(name, MINOR)
    await road.go()
    ((first, _, state),) = await line_of(road, name)
    assert state == "broadcast"
    if is_lost:
        road.chain.fault("lose_broadcast", count=100)
    road.chain.fault("skip", txid=first)
    road.chain.fault("dear", minor_per_1000_bytes=DEAR, count=10_000)
    road.world.pass_by(31 * MINUTE_MS)
    await road.go()
    (_, second) = await line_of(road, name)
    assert second[1:] == ("bump", "broadcast")
    assert (await road.states())[name] == "broadcast"
    return first, second[0]


async def settled(road: Road) -> None:
    for _ in range(3):
        road.chain.mine(2)
        await road.go()
    assert set((await road.states()).values()) == {"settled"}
    assert road.received() == {name: [MINOR] for name in road.payouts}
    assert await road.is_whole()
    assert await road.alarm_names() == []
    wallet, pending = await road.account("wallet:hot")
    fees, _ = await road.account("fees")
    assert (wallet, pending) == (OPENING - MINOR * len(road.payouts) - fees, 0)


def test_what_no_block_takes_is_replaced_and_paid_once(play: Play) -> None:
    async def story(road: Road) -> None:
        _, second = await stuck(road, "one")
        fee = (await road.fetch("SELECT fee FROM strongroom.attempts WHERE chain_transaction = $1", second))[0][0]
        await settled(road)
        assert await road.account("fees") == (int(fee), 0)
        assert [each[1:] for each in await line_of(road, "one")] == [("pay", "dropped"), ("bump", "settled")]

    play(story)


def test_the_one_that_was_replaced_may_be_mined_all_the_same(play: Play) -> None:
    """The node says that it took the replacement, and forgot it: the miner has the other one."""

    async def story(road: Road) -> None:
        await stuck(road, "one", is_lost=True)
        road.chain.behave()
        await settled(road)
        assert [each[1:] for each in await line_of(road, "one")] == [("pay", "settled"), ("bump", "dropped")]

    play(story)


def test_a_reorg_puts_both_back_and_one_is_mined_again(play: Play) -> None:
    async def story(road: Road) -> None:
        await stuck(road, "one")
        road.chain.mine(1)
        await road.go()
        assert (await road.states())["one"] == "confirmed"
        road.chain.fault("reorg", depth=1)
        await road.go()
        assert (await road.states())["one"] == "broadcast:reorg"
        await settled(road)

    play(story)


def test_it_is_replaced_again_while_the_fee_rises_and_the_last_one_is_called_back(play: Play) -> None:
    async def story(road: Road) -> None:
        line = await stuck(road, "one")
        road.chain.behave()
        for each in line:
            road.chain.fault("skip", txid=each)
        road.chain.fault("dear", minor_per_1000_bytes=DEAREST, count=10_000)
        road.world.pass_by(31 * MINUTE_MS)
        await road.go()
        whole = await line_of(road, "one")
        assert [each[1:] for each in whole] == [("pay", "broadcast"), ("bump", "broadcast"), ("bump", "broadcast")]
        road.chain.fault("skip", txid=whole[2][0])
        road.world.guard.instruct(Action.DECLINE, road.payouts["one"], CLEO)
        road.world.desk.idle()
        for _ in range(4):
            await road.go()
            road.chain.mine(2)
            road.world.pass_by(MINUTE_MS)
        assert (await road.states())["one"] == "failed:void"
        assert road.received() == {}
        assert {each[2] for each in await line_of(road, "one")} == {"dropped"}
        assert await road.is_whole()

    play(story)


@pytest.mark.parametrize("dear", [1, 10_000_000])
def test_nothing_is_offered_that_wouldnt_help_or_that_the_policy_doesnt_pay(play: Play, dear: int) -> None:
    async def story(road: Road) -> None:
        await road.pay("one", MINOR)
        await road.go()
        road.chain.fault("dear", minor_per_1000_bytes=dear, count=10_000)
        road.world.pass_by(31 * MINUTE_MS)
        await road.go()
        assert len(await line_of(road, "one")) == 1
        assert (await road.states())["one"] == "broadcast:fee_unmined"
        await settled(road)

    play(story)


def test_nothing_is_built_on_either_of_two_and_what_is_built_upon_is_not_replaced(play: Play) -> None:
    async def story(road: Road) -> None:
        contested = set(await stuck(road, "one"))
        await road.pay("two", MINOR)
        await road.go()
        rows = await road.fetch("SELECT outpoint FROM strongroom.attempt_coins JOIN strongroom.attempt_payouts "
                                "USING (chain_transaction) WHERE payout = $1", road.payouts["two"])
        assert rows
        assert not {row[0].rpartition(":")[0] for row in rows} & contested
        await settled(road)

    play(story)


def test_killed_at_every_step_of_a_replacement_it_is_paid_once(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    async def go() -> None:
        points = Points()
        async with open_road(tmp_path, database, chain) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            number, count = 0, 1
            while number < count:  # the first of all isn't killed: it says how many steps there are
                number += STRIDE if number > 1 else 1
                name = f"payee-{number}"
                await road.pay(name, MINOR)
                points.arm(0)
                await road.go()
                ((first, _, _),) = await line_of(road, name)
                road.chain.fault("skip", txid=first)
                road.chain.fault("dear", minor_per_1000_bytes=DEAR, count=10_000)
                road.world.pass_by(31 * MINUTE_MS)
                points.arm(number if number > 1 else 0)
                try:
                    while await advance(road.bench) or await road.look():
                        road.world.pass_by(STEP_MS)
                except Killed:
                    await road.crash_engine()
                if number == 1:
                    count = len(points.names)
                points.arm(0)
                await road.go()
                road.chain.behave()
                road.chain.mine(2)
                await road.go()
            assert count > 8
            await settled(road)

    asyncio.run(go())
