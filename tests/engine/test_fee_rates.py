"""What chains ask for is written down now and then, and what a node doesn't say stays as it was."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.conftest import Database
from tests.engine.road import Road, open_road
from tests.rails.chain import Chain

from strongroom.engine.fee_rates import EVERY_MS, FeeRates
from strongroom.formats import simulated
from strongroom.rails.account_port import FeeMarket
from strongroom.rails.port import RailError
from strongroom.store.fee_rates import FeeRate, read_fee_rates

EVM = "eip155:31337"


async def kept(road: Road) -> dict[str, FeeRate]:
    return dict(await read_fee_rates(road.owner))


def test_each_nodes_word_is_kept_with_its_time_and_one_that_is_silent_grows_old(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            rates, market = FeeRates(), FeeMarket(3, 2)
            answers: list[Any] = [market, RailError("silent"), market]

            async def fees() -> FeeMarket:
                answer = answers.pop(0)
                if isinstance(answer, RailError):
                    raise answer
                return market

            road.bench.accounts = {EVM: SimpleNamespace(fees=fees)}
            await rates.publish(road.bench)
            first, rate = road.now(), await road.rail.fee_rate()
            assert await kept(road) == {
                simulated.NETWORK: FeeRate(rate, rate, first), EVM: FeeRate(5_000, 8_000, first)}
            road.world.pass_by(EVERY_MS - 1)
            await rates.publish(road.bench)
            assert (await kept(road))[EVM].measured_at == first
            road.world.pass_by(1)
            road.chain.fault("dear", minor_per_1000_bytes=rate + 1, count=1)
            await rates.publish(road.bench)
            assert await kept(road) == {
                simulated.NETWORK: FeeRate(rate + 1, rate + 1, road.now()), EVM: FeeRate(5_000, 8_000, first)}

    asyncio.run(go())
