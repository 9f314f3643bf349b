"""Somebody who can write to PostgreSQL makes rows that can't be: what they say is put aside, with a reason and an
alarm, nothing is paid twice, and everybody else's payouts go on."""

import asyncio
import logging
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.engine.road import Road, open_road
from tests.rails.chain import Chain
from tests.signer.world import ADA, BEN

from strongroom.engine import pipeline

SAYS = "UPDATE strongroom.payouts SET state = $2 WHERE id = $1"


async def write(road: Road, *statements: tuple[str, ...]) -> None:
    """As the owner of PostgreSQL, past every trigger."""
    async with road.owner.transaction():
        await road.owner.execute("SET LOCAL session_replication_role = replica")
        for statement, *arguments in statements:
            await road.owner.execute(statement, *arguments)


async def states(road: Road, *names: str) -> list[str]:
    rows = {row["id"]: row["state"] for row in await road.fetch("SELECT id, state FROM strongroom.payouts")}
    return [str(rows[road.payouts[name]]) for name in names]


@pytest.mark.parametrize(
    ("at", "end"), [("planned", "failed"), ("broadcast", "failed"), ("broadcast", "settled"), ("broadcast", "received")]
)
def test_a_false_state_of_a_payout_on_its_way_is_put_aside_and_the_others_go_on(
    tmp_path: Path, database: Database, chain: Chain, caplog: pytest.LogCaptureFixture, at: str, end: str
) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            await road.pay("liar", 20_000)
            await road.pay("mate", 21_000)
            await until(road, "liar", at)
            await write(road, (SAYS, road.payouts["liar"], end))
            await road.pay("other", 22_000)
            for _ in range(4):
                await road.go()
                chain.mine(1)
            assert await states(road, "other") == ["settled"]
            got = road.received()
            assert got["other"] == [22_000]
            assert len(got.get("liar", [])) <= 1
            assert (await states(road, "mate"), got["mate"]) == (["settled"], [21_000])
            assert "somebody changed it" in caplog.text
            if end == "failed":
                assert await reason(road, "liar") == "record_conflict"
                await write(road, (SAYS, road.payouts["liar"], "broadcast"))
                road.world.pass_by(11 * 60_000)
                for _ in range(4):
                    await road.go()
                    road.world.pass_by(11 * 60_000)
                assert (await states(road, "liar"), road.received()["liar"]) == (["settled"], [20_000])

    with caplog.at_level(logging.ERROR, "strongroom.engine"):
        asyncio.run(go())


async def reason(road: Road, name: str) -> str:
    (row,) = await road.fetch("SELECT status_code FROM strongroom.payouts WHERE id = $1", road.payouts[name])
    return str(row["status_code"])


async def until(road: Road, name: str, state: str) -> None:
    """The engine's steps, until the payout is so far."""
    for _ in range(200):
        if await states(road, name) == [state]:
            return
        if state == "confirmed" and await states(road, name) == ["broadcast"]:
            road.chain.mine(1)
        await (one_step(road) if state == "planned" else pipeline.advance(road.bench))
        await road.look()
        road.world.pass_by(1_000)
    raise AssertionError(f"{name} doesn't become {state}: {await road.states()}")


async def one_step(road: Road) -> None:
    """All but what comes after planning."""
    for step in (pipeline.publish, pipeline.register, pipeline.triage, pipeline.collect, pipeline.plan):
        await step(road.bench)


ROWS = ("{", "[]", '{"person":1}', '{"person":"\\u0000"}', '"x"', "nan", "[" * 300)


def test_an_assertion_that_cant_be_read_holds_nobody_up(tmp_path: Path, database: Database, chain: Chain) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            await road.pay("large", 2_000_000)
            await road.pay("other", 20_000)
            await road.go()
            (request,) = await road.fetch("SELECT request_hash FROM strongroom.approval_requests")
            await write(road, *(
                ("INSERT INTO strongroom.approval_assertions VALUES ($1, 'pe_zzzzzzzzzzzzzzzzzzzzzzzzzz', $2, $3, 0)",
                 request["request_hash"], f"{number:02}", row) for number, row in enumerate(ROWS)
            ))
            await road.approve("large", ADA, BEN)
            await road.go()
            chain.mine(3)
            await road.go()
            assert await states(road, "large", "other") == ["settled", "settled"]

    asyncio.run(go())
