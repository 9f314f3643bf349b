"""Cuts between clients and the API, under load: before the request arrives, after it, and before its answer.

The client that hears nothing asks again, and is told what the first request did.
"""

import asyncio
import os
import random
import time

import pytest
from tests.faults.deployment import Deployment, deployment
from tests.faults.load import Load, Memory
from tests.faults.test_kill_and_compare import look, settle, wait_sequenced
from tests.properties.proxy import Cut, Proxy

CUTS = 200 if os.environ.get("STRONGROOM_FAULTS") == "full" else 15
SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
RICH_CENTS = 10_000_000


async def load_and_cut(made: Deployment, memory: Memory, chance: random.Random) -> None:
    proxy = Proxy(int(made.url.rpartition(":")[2]))
    load = Load(made.url, memory, chance, through=f"http://127.0.0.1:{await proxy.start()}")
    work = asyncio.create_task(load.work())
    try:
        for number in range(CUTS):
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            proxy.cut_at(chance.choice(list(Cut)), chance.randint(1, 4))
            deadline = time.monotonic() + 20
            while proxy.cuts == number:
                assert time.monotonic() < deadline
                assert not work.done(), work
                await asyncio.sleep(0.002)
        load.stop.set()
        await work
    finally:
        load.stop.set()
        work.cancel()
        await load.close()
        await proxy.stop()


@pytest.mark.faults
def test_a_cut_between_client_and_api_neither_loses_nor_doubles_a_payout() -> None:
    print(f"{CUTS} cuts from seed {SEED}")
    chance = random.Random(SEED)
    with deployment() as made:
        memory = Memory(made.add_organisation(RICH_CENTS))
        asyncio.run(load_and_cut(made, memory, chance))
        asyncio.run(settle(made, memory, chance))
        assert memory.unknown == []
        lost = sum(each.was_lost for each in memory.asked)
        print(f"{lost} were recorded without an answer")
        assert lost > CUTS // 5
        wait_sequenced(made)
        assert look(made, [memory]) == []
