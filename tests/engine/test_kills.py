"""The engine is killed between any two things that it does: every payout is paid once, and none is lost."""

import asyncio
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.engine.kills import Killed, Points
from tests.engine.road import Road, open_road
from tests.rails.chain import Chain

from strongroom.domain.payout import State
from strongroom.engine import sign
from strongroom.engine.pipeline import advance
from strongroom.engine.settle import settle
from strongroom.protocol.guard_wire import Lease
from strongroom.store import engine as store
from strongroom.store.engine import EngineTakenError

EVERY_STEP = {
    "engine_register", "engine_move", "engine_reserve", "engine_plan", "engine_asking", "sign", "engine_attempt",
    "broadcast", "commit", "intents", "destinations",
}


async def _until_killed(road: Road) -> bool:
    """The engine and watch until nothing moves; a kill is followed by another engine. Whether there was one."""
    try:
        await road.go()
    except Killed:
        await road.crash_engine()
        await road.go()
        return True
    return False


async def _walk(road: Road, name: str) -> bool:
    """One payout from its request to its settlement, with the kill that is armed. Whether it came."""
    await road.pay(name, 20_000)
    killed = await _until_killed(road)
    road.chain.mine(2)
    return await _until_killed(road) or killed


def _first_and_last(names: list[str]) -> list[int]:
    """The numbers of the points to be killed at: of each name the first and the last."""
    places = {name: [number for number, each in enumerate(names, 1) if each == name] for name in names}
    return sorted({number for each in places.values() for number in (each[0], each[-1])})


def test_killed_at_every_step_the_engine_pays_once(tmp_path: Path, database: Database, chain: Chain) -> None:
    async def go() -> None:
        points = Points()
        async with open_road(tmp_path, database, chain) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            points.arm(0)
            await _walk(road, "dry")
            names = list(points.names)
            assert {name.split(" ", 1)[1] for name in names} >= EVERY_STEP, names
            killed = 0
            for number in _first_and_last(names):
                points.arm(number)
                killed += await _walk(road, f"payee-{number}")
                road.chain.mine(2)
            assert killed >= len(set(names)) - 2  # a name may not come in the walk of a payee after the first
            points.arm(0)
            await road.go()
            states = await road.states()
            assert set(states.values()) == {"settled"}, states
            assert road.received() == {name: [20_000] for name in states}
            assert await road.is_whole()
            assert await road.alarm_names() == []

    asyncio.run(go())


async def _signed_without_an_answer(road: Road, points: Points, name: str) -> None:
    """The signer has signed, and the engine dies before it hears of it."""
    await road.pay(name, 20_000)
    for _ in range(10):
        try:
            points.arm(0)
            before = len(points.names)
            while await advance(road.bench):
                assert before <= len(points.names)
            road.world.pass_by(5_500)
        except Killed:
            return
    raise AssertionError("it wasn't killed")


class _KillAt(Points):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def passed(self, name: str) -> None:
        if name == self.name:
            self.name = ""
            raise Killed(name)


@pytest.mark.parametrize("proves", [False, True])
def test_a_refusal_after_no_answer_proves_nothing(
    tmp_path: Path, database: Database, chain: Chain, proves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rule taken out, the attempt that may have been signed is dropped: a signature is out that nobody here
    knows of, and its coins are free for others."""
    if proves:
        monkeypatch.setattr(sign, "_PROVES", sign._PROVES | {"lease-fresh"})

    async def go() -> None:
        points = _KillAt("after sign")
        async with open_road(tmp_path, database, chain) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            await _signed_without_an_answer(road, points, "a")
            road.wrap = lambda each: each
            await road.crash_engine()
            road.world.guard.lease = Lease.RECOVER
            for _ in range(3):
                await advance(road.bench)
                road.world.pass_by(1_000)
            ((attempt, state),) = await road.fetch("SELECT chain_transaction, state FROM strongroom.attempts")
            assert attempt in road.world.payments.attempts
            assert state == ("dropped" if proves else "planned")
            if proves:
                return
            assert (await road.states())["a"] == "planned:lease-fresh"
            road.world.guard.lease = Lease.ALL
            road.world.pass_by(60_000)
            await road.go()
            road.chain.mine(2)
            await road.go()
            assert (await road.states(), road.received()) == ({"a": "settled"}, {"a": [20_000]})

    asyncio.run(go())


def test_a_broadcast_that_the_node_refuses_waits_with_its_reason(
    tmp_path: Path, database: Database, chain: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    """Another chain transaction took the coin before ours was sent. Ours is sent again and again, never another."""

    async def go() -> None:
        points = _KillAt("before broadcast")
        async with open_road(tmp_path, database, chain) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            await _signed_without_an_answer(road, points, "a")
            road.wrap = lambda each: each
            road.steal(50_000, *await road.coin_of("a"))
            await road.crash_engine()
            await road.go()
            assert (await road.states())["a"] in ("signed:broadcast_rejected", "signed:conflicted")
            chain.mine(3)
            for _ in range(5):
                road.world.pass_by(60_000)
                await road.go()
            assert (await road.states())["a"] in ("signed:broadcast_rejected", "signed:conflicted")
            ((attempts, states),) = await road.fetch("SELECT count(*), min(state) FROM strongroom.attempts")
            assert (attempts, states, road.received()) == (1, "signed", {})
            assert "alarm: sim:sandbox" in caplog.text

    asyncio.run(go())


def test_a_second_engine_waits_for_the_first(tmp_path: Path, database: Database, chain: Chain) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            with pytest.raises(EngineTakenError):
                await road.open()
            await road.crash_engine()
            assert not await advance(road.bench)

    asyncio.run(go())


def test_the_engine_may_not_move_what_the_table_of_moves_does_not_have(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            payout = await road.pay("a", 20_000)
            for after in (State.SETTLED, State.SIGNED, State.PLANNED):
                with pytest.raises(Exception, match="can't go from held to"):
                    await store.move(road.connection, [payout], State.HELD, after, road.now())
            with pytest.raises(Exception, match="needs the signer's receipt"):
                await store.move(road.connection, [payout], State.HELD, State.FAILED, road.now())

    asyncio.run(go())


def test_an_organisation_that_came_a_moment_ago_settles_a_moment_later(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    """The policies that the engine remembers for a second don't have it yet: no reason to end."""

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            await road.pay("a", 20_000)
            await road.go()
            (policy,) = (await road.bench.policies()).values()
            chain.mine(3)
            await road.look()
            road.bench._policies, road.bench._policies_read = {"org_" + "o" * 26: policy}, road.now()
            assert not await settle(road.bench)
            road.world.pass_by(2_000)
            await road.go()
            assert await road.states() == {"a": "settled"}

    asyncio.run(go())
