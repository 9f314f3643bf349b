"""A writer that was thought dead, and another that took its place: the first can't record a word after that.

The API is stopped (SIGSTOP) in mid-work and given up for dead, its database session is ended, a second one starts,
and then the first goes on where it was, with requests that it had taken.
"""

import asyncio
import os
import random
import signal

import asyncpg
import httpx
import pytest
from tests.faults.deployment import Deployment, deployment
from tests.faults.load import Load, Memory
from tests.faults.test_kill_and_compare import look, settle, wait_sequenced

from strongroom.sandbox.process import Child

SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
ROUNDS = 30 if os.environ.get("STRONGROOM_FAULTS") == "full" else 2
RICH_CENTS = 10_000_000
END_WRITER = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom intake'"
NEWEST_EPOCH = "SELECT max(epoch) AS epoch FROM strongroom.intake_epochs"


@pytest.mark.faults
def test_a_writer_that_was_thought_dead_records_nothing_after_another_took_over() -> None:
    chance = random.Random(SEED)
    with deployment() as made:
        memory = Memory(made.add_organisation(RICH_CENTS))
        second = made.make_api("second")
        for _ in range(ROUNDS):
            try:
                asyncio.run(take_over(made, memory, chance, second, made.url_of("second")))
            finally:
                second.stop()
            made.wait_ready()  # the first is the only one again, and comes back by itself
            asyncio.run(settle(made, memory, chance))
            wait_sequenced(made)
            assert look(made, [memory]) == []


async def take_over(made: Deployment, memory: Memory, chance: random.Random, second: Child, url: str) -> None:
    before = Load(made.url, memory, chance)
    work = asyncio.create_task(before.work())
    await asyncio.sleep(chance.uniform(0.2, 0.5))
    first = made.api.process
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    owner = await asyncpg.connect(made.cluster.owner_dsn)
    after = Load(url, memory, chance)
    try:
        await asyncio.sleep(0.05)
        second.start()
        assert await asyncio.to_thread(second_gives_up, second)  # a stopped writer still holds its place
        await owner.execute(END_WRITER)
        second.start()
        await asyncio.to_thread(made.wait_ready, second.name)
        epoch = await owner.fetchval(NEWEST_EPOCH)
        recorded = await keys(owner)
        known = set(memory.answered)
        first.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.5)
        before.stop.set()
        await work
        # It had requests in hand and took new ones for half a second: not one of them was recorded. What it may still
        # acknowledge was on disk before it lost its place.
        assert await keys(owner) == recorded
        assert {each.key for each in memory.answered if each not in known} <= recorded
        assert len(memory.unknown) > 0
        assert first.poll() is None, made.log_of("api")
        assert await readiness(made) == 503
        await after.settle()
        assert await owner.fetchval(NEWEST_EPOCH) == epoch
    finally:
        first.send_signal(signal.SIGCONT)
        work.cancel()
        await before.close()
        await after.close()
        await owner.close()


async def keys(owner: asyncpg.Connection) -> set[str]:
    return {row["idempotency_key"] for row in await owner.fetch("SELECT idempotency_key FROM strongroom.evidence")}


def second_gives_up(second: Child) -> bool:
    assert second.process is not None
    return second.process.wait(30) == 1


async def readiness(made: Deployment) -> int:
    """Of the first API, which must still be there."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(f"{made.url}/readyz")).status_code
        except httpx.TransportError as fault:
            raise AssertionError(made.log_of("api")) from fault
