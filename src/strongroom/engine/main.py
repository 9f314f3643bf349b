"""The engine's process: walks payouts along until it is ended. Holds no key, and is believed by nobody."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.engine.bench import Bench
from strongroom.engine.config import Config, ConfigError, read_config
from strongroom.engine.fee_rates import FeeRates
from strongroom.engine.guard_client import GuardClient
from strongroom.engine.pipeline import advance
from strongroom.engine.screening import ListScreen, NoScreen, Screen
from strongroom.engine.signer_client import SignerClient, SignerUnreachableError
from strongroom.rails.account_port import AccountRail
from strongroom.rails.port import Rail, RailError
from strongroom.rails.registry import open_account_rails, open_rails
from strongroom.store.engine import EngineTakenError, take_lock
from strongroom.store.session import FAULTS, SessionError, connect

LOG = logging.getLogger("strongroom.engine")
RETRY_S: Final = 1


async def engine(config: Config, stop: asyncio.Event) -> None:
    """Until told to stop; what goes away is waited for. Raises: SessionError, RailError for a wrong chain."""
    rails, accounts = open_rails(config.nodes), open_account_rails(config.nodes)
    signer = SignerClient(config.signer_socket)
    guard = None if config.guard_url is None else GuardClient(config.guard_url)
    if config.screening_list is None:
        LOG.warning("no screening_list is configured: nothing is screened")
    if guard is None:
        LOG.warning("no guard_url is configured: what was signed and can't be paid stays reserved")
    while not stop.is_set():
        try:
            await _work(config, signer, guard, rails, accounts, stop)
        except (SignerUnreachableError, DocumentError, RailError, EngineTakenError, *FAULTS) as fault:
            LOG.warning("%s; again in %d s", fault, RETRY_S)
            await _pause(stop, RETRY_S)


async def _work(
    config: Config, signer: SignerClient, guard: GuardClient | None, rails: dict[str, Rail],
    accounts: dict[str, AccountRail], stop: asyncio.Event,
) -> None:
    """With one connection, until it fails or we are stopped."""
    for rail in rails.values():
        await rail.identity()
    for account in accounts.values():
        await account.identity()
    connection = await connect(config.database_url, "strongroom engine")
    try:
        await take_lock(connection)
        screen: Screen = NoScreen() if config.screening_list is None else ListScreen(Path(config.screening_list))
        clock = lambda: Instant(time.time_ns() // 1_000_000)  # noqa: E731 one read of the clock
        bench = Bench(
            connection, signer, rails, clock, screen, guard, accounts, config.stuck_ms, config.bump_after_ms
        )
        fee_rates = FeeRates()
        while not stop.is_set():
            await fee_rates.publish(bench)
            if not await advance(bench):
                await _pause(stop, config.interval_ms / SECOND_MS)
    finally:
        signer.close()
        await connection.close()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom engine")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        config = read_config(parser.parse_args().config)
        uvloop.run(_run(config))
    except (ConfigError, SessionError) as fault:
        LOG.error("%s", fault)
        return 1
    except InvariantError as fault:
        LOG.error("alarm: what must never be has happened, so the engine stops: %s", fault)
        return 1
    return 0


async def _run(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await engine(config, stop)


if __name__ == "__main__":
    sys.exit(main())
