"""The product's own side, in process: 128 callers who each ask for a payout, wait for the answer, and ask again."""

import asyncio
import gc
import time
from collections.abc import Iterator

from benchmarks.asks import Ask, asks
from benchmarks.ground import Ground
from benchmarks.machine import now, tree_cpu_s
from benchmarks.sample import Sample
from strongroom.store.intake import Intake
from strongroom.store.record import Recorded


async def measure_intake(ground: Ground, database: str, count: int, callers: int) -> Sample:
    """`count` payouts through the real intake. The requests exist before the clock starts."""
    waiting = asks(ground, count)
    intake = await Intake.start(ground.api_dsn(database), now)
    try:
        await _pay(ground, intake, iter(asks(ground, callers)), callers)  # statements are prepared once
        gc.collect()
        gc.freeze()
        postgres = tree_cpu_s(ground.cluster.pid)
        mine, started = time.process_time(), time.perf_counter()
        waits = await _pay(ground, intake, iter(waiting), callers)
        seconds = time.perf_counter() - started
        mine, postgres = time.process_time() - mine, tree_cpu_s(ground.cluster.pid) - postgres
        gc.unfreeze()
    finally:
        await intake.stop()
    waits.sort()
    return Sample(
        count, seconds, (mine + postgres) / count * 1e6, postgres / count * 1e6,
        waits[len(waits) * 99 // 100] * 1e3, waits[len(waits) // 2] * 1e3,
    )


async def _pay(ground: Ground, intake: Intake, waiting: Iterator[Ask], callers: int) -> list[float]:
    """All of them, each caller one at a time; how long each waited. Raises: RuntimeError if one isn't recorded."""
    waits: list[float] = []

    async def call() -> None:
        for ask in waiting:
            started = time.perf_counter()
            answer = await intake.pay(ground.payer, ask.request, ask.evidence)
            waits.append(time.perf_counter() - started)
            if not isinstance(answer, Recorded) or answer.payout.hold is not None:
                raise RuntimeError(f"a payout wasn't taken: {answer}")

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
    return waits
