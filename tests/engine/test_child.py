"""What no block takes is paid for by a child, where that costs less than a bump or a bump can't be: each payee once.

The signer, PostgreSQL, watch and the chain are real. The attacker is the miner, which takes what it likes and takes a
block back; and the policy, which pays no more than it says for both together.
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
from tests.signer.world import policy_document

from strongroom.domain.instant import MINUTE_MS
from strongroom.engine.pipeline import advance
from strongroom.formats.coin_formats import COIN_FORMATS

MINOR, PAYEES = 600, 40
LITTLE, MORE, DEAR = 2_040, 2_600, 8_000
"""A fiftieth above what was offered, for which a bump would have to offer a fifth more; and what comes later."""
STRIDE = 1 if IS_FULL else 7
WALLET = policy_document()["wallets"][0]
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


class OneCoin:
    """A wallet that has nothing but the newest change: what is paid next is built on it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def coins(self, addresses: list[str]) -> Any:
        found = await self._inner.coins(addresses)
        return [each for each in found if each.height is None] or found[:1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def attempts(road: Road) -> list[tuple[str, str, str]]:
    """All of them, oldest first: id, operation, state."""
    rows = await road.fetch("SELECT chain_transaction, operation, state FROM strongroom.attempts ORDER BY created_at")
    return [(row[0], row[1], row[2]) for row in rows]


async def asked(road: Road, name: str) -> None:
    """In one batch, as all destinations have cooled off."""
    for index in range(PAYEES):
        await road.declare(f"{name}.{index}")
    await road.go()
    road.world.pass_by(STEP_MS)
    await road.begin_run(name, PAYEES, MINOR)
    await road.seal_run(name)
    await road.go()


def node_asks(road: Road, rate: int) -> None:
    road.chain.behave()
    road.chain.fault("dear", minor_per_1000_bytes=rate, count=10_000)


async def later(road: Road) -> None:
    road.world.pass_by(31 * MINUTE_MS)
    await road.go()


async def stuck(road: Road) -> str:
    """A batch that no block takes, and its child, both sent; the batch's id."""
    await asked(road, "batch")
    ((parent, _, state),) = await attempts(road)
    assert state == "broadcast"
    node_asks(road, LITTLE)
    road.chain.fault("skip", txid=parent)
    await later(road)
    assert [each[1:] for each in await attempts(road)] == [("pay", "broadcast"), ("child", "broadcast")]
    assert set((await road.states()).values()) == {"broadcast"}
    return parent


async def settled(road: Road) -> None:
    for _ in range(4):
        road.chain.mine(2)
        await road.go()
    assert set((await road.states()).values()) == {"settled"}
    got = road.received()
    assert {name: len(minors) for name, minors in got.items()} == dict.fromkeys(road.payouts, 1)
    assert await road.is_whole()
    assert await road.alarm_names() == []
    paid = sum(sum(minors) for minors in got.values())
    fees = await road.account("fees")
    assert fees == (sum([int(row[0]) for row in await road.fetch(
        "SELECT fee FROM strongroom.attempts WHERE state = 'settled'")]), 0)
    assert await road.account("wallet:hot") == (OPENING - paid - fees[0], 0)


def test_a_large_batch_that_lacks_little_gets_a_child_which_costs_less_than_a_bump(play: Play) -> None:
    async def story(road: Road) -> None:
        await stuck(road)
        fees, sizes = [], []
        for row in await road.fetch("SELECT unsigned, fee FROM strongroom.attempts"):
            read = COIN_FORMATS[road.network].read_unsigned(row[0])
            fees.append(read.fee)
            sizes.append(read.size)
            assert int(row[1]) == read.fee
        assert LITTLE * sum(sizes) <= sum(fees) * 1_000 < LITTLE * sum(sizes) + 1_000
        assert fees[1] < fees[0] // 5
        road.chain.behave()
        await settled(road)
        assert [each[1:] for each in await attempts(road)] == [("pay", "settled"), ("child", "settled")]

    play(story)


def test_nothing_is_built_on_a_child_before_it_stands_in_a_block(play: Play) -> None:
    async def story(road: Road) -> None:
        await stuck(road)
        ours = {each[0] for each in await attempts(road)}
        await road.pay("other", MINOR)
        await road.go()
        spent = await road.fetch("SELECT outpoint FROM strongroom.attempt_coins WHERE chain_transaction = $1",
                                 await road.chain_transaction_of("other"))
        assert spent
        assert not {row[0].partition(":")[0] for row in spent} & ours
        road.chain.behave()
        await settled(road)

    play(story)


def test_what_is_built_upon_is_paid_for_by_a_child_of_the_last(play: Play) -> None:
    async def story(road: Road) -> None:
        road.wrap = OneCoin
        await road.crash_engine()
        for name in ("one", "two", "three"):
            await road.pay(name, MINOR)
            await road.go()
        line = [each[0] for each in await attempts(road)]
        node_asks(road, DEAR)
        for each in line:
            road.chain.fault("skip", txid=each)
        await later(road)
        assert [each[1] for each in await attempts(road)] == ["pay", "pay", "pay", "child"]
        (spent,) = await road.fetch("SELECT outpoint FROM strongroom.attempt_coins WHERE chain_transaction = $1",
                                    (await attempts(road))[-1][0])
        assert spent[0] == f"{line[-1]}:1"
        fees = await road.fetch("SELECT sum(fee) FROM strongroom.attempts")
        assert int(fees[0][0]) > DEAR * 4 * 150 // 1_000  # each has more than 150 bytes
        road.chain.behave()
        await settled(road)

    play(story)


def test_a_child_is_replaced_by_one_that_offers_more_while_the_fee_rises(play: Play) -> None:
    async def story(road: Road) -> None:
        await stuck(road)
        names = [each[0] for each in await attempts(road)]
        node_asks(road, MORE)
        for each in names:
            road.chain.fault("skip", txid=each)
        await later(road)
        assert [each[1] for each in await attempts(road)] == ["pay", "child", "child"]
        road.chain.behave()
        await settled(road)
        assert [each[1:] for each in await attempts(road)] == [
            ("pay", "settled"), ("child", "dropped"), ("child", "settled")]

    play(story)


def test_the_child_of_one_that_was_replaced_dies_when_the_other_is_mined(play: Play) -> None:
    """The node says that it took the replacement and its child, and has neither: the miner has what was sent first."""

    async def story(road: Road) -> None:
        await asked(road, "batch")
        ((first, _, _),) = await attempts(road)
        node_asks(road, DEAR)
        road.chain.fault("lose_broadcast", count=1)
        road.chain.fault("skip", txid=first)
        await later(road)
        bumped = (await attempts(road))[1]
        assert bumped[1:] == ("bump", "broadcast")
        road.chain.behave()
        rows = await road.fetch("SELECT signed FROM strongroom.attempts WHERE chain_transaction = $1", bumped[0])
        node_asks(road, DEAR + DEAR // 50)
        for each in (first, bumped[0]):
            road.chain.fault("skip", txid=each)
        road.chain.call("POST", "/transactions", {"signed": rows[0][0].hex()})
        await later(road)
        assert [each[1] for each in await attempts(road)] == ["pay", "bump", "child"]
        road.chain.behave()
        road.chain.fault("reorg", depth=1)
        await settled(road)
        assert [each[1:] for each in await attempts(road)] in (
            [("pay", "dropped"), ("bump", "settled"), ("child", "settled")],
            [("pay", "settled"), ("bump", "dropped"), ("child", "dropped")],
        )

    play(story)


def test_a_reorg_puts_both_back_and_they_are_mined_again(play: Play) -> None:
    async def story(road: Road) -> None:
        await stuck(road)
        road.chain.behave()
        road.chain.mine(1)
        await road.go()
        assert set((await road.states()).values()) == {"confirmed"}
        road.chain.fault("reorg", depth=1)
        await road.go()
        assert all(each.startswith("broadcast") for each in (await road.states()).values())
        await settled(road)

    play(story)


@pytest.mark.parametrize("wallet", [
    {"fee_rate_maximum": str(LITTLE - 1)}, {"fee_maximum_minor": "2900"},
], ids=["rate", "fee"])
def test_above_the_policys_ceilings_for_both_it_waits_and_says_why(play: Play, wallet: dict[str, str]) -> None:
    async def story(road: Road) -> None:
        await asked(road, "batch")
        node_asks(road, LITTLE)
        await later(road)
        assert [each[1] for each in await attempts(road)] == ["pay"]
        assert set((await road.states()).values()) == {"broadcast:fee_unmined"}
        road.chain.behave()
        await settled(road)

    play(story, wallets=[WALLET | wallet])


def test_refused_by_the_signer_it_is_asked_for_again_later(play: Play) -> None:
    """The day's budget for fees has no room: its worth is counted in cents."""

    async def story(road: Road) -> None:
        await asked(road, "batch")
        ((parent, _, _),) = await attempts(road)
        node_asks(road, LITTLE)
        road.chain.fault("skip", txid=parent)
        await later(road)
        assert [each[1:] for each in await attempts(road)] == [("pay", "broadcast"), ("child", "dropped")]
        assert set((await road.states()).values()) == {"broadcast:limit-fees"}
        assert (await road.account("wallet:hot"))[1] == -PAYEES * MINOR - (await _fee(road, parent))
        road.chain.behave()
        await settled(road)

    play(story, fee_budget_reference_minor="2900")


async def _fee(road: Road, name: str) -> int:
    rows = await road.fetch("SELECT fee FROM strongroom.attempts WHERE chain_transaction = $1", name)
    return int(rows[0][0])


def test_killed_at_every_step_of_a_child_each_is_paid_once(tmp_path: Path, database: Database, chain: Chain) -> None:
    async def go() -> None:
        points = Points()
        async with open_road(tmp_path, database, chain) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            number, count = 0, 1
            while number < count:  # the first of all isn't killed: it says how many steps there are
                number += STRIDE if number > 1 else 1
                points.arm(0)
                await asked(road, f"batch-{number}")
                parent = (await attempts(road))[-1][0]
                node_asks(road, LITTLE)
                road.chain.fault("skip", txid=parent)
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
            assert {each[1:] for each in await attempts(road)} == {("pay", "settled"), ("child", "settled")}
            await settled(road)

    asyncio.run(go())
