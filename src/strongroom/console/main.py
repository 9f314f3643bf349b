"""The console process: reads its configuration, and serves people's pages until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from strongroom.console.app import App
from strongroom.console.call import Service
from strongroom.console.config import Config, ConfigError, parse_listen, read_config
from strongroom.console.mirror import Mirrors
from strongroom.console.rates import Rates
from strongroom.console.view import View
from strongroom.domain.instant import Instant
from strongroom.store.organisations import read_deployment
from strongroom.store.session import FAULTS, SessionError, open_pool

LOG = logging.getLogger("strongroom.console")
CONNECTIONS = 8
"""To PostgreSQL."""


def clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


class _Server(uvicorn.Server):
    """Signals are ours, so that streams of live numbers end at once."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


async def serve(config: Config) -> None:
    """Until SIGTERM or SIGINT. Raises: SessionError, or asyncpg's errors at start."""
    pool = await open_pool(config.database_url, "strongroom console", CONNECTIONS)
    try:
        async with pool.acquire() as connection:
            if await read_deployment(connection) != config.deployment:
                raise SessionError("the database is of another deployment than the configuration")
        view = View(config.station_origin, is_sandbox=config.is_sandbox)
        service = Service(config, pool, view, Mirrors(), clock)
        host, port = parse_listen(config.listen)
        server = _Server(uvicorn.Config(
            App(service, Rates(config.per_address_per_second)), host, port, loop="none", ws="none", lifespan="off",
            access_log=False, log_config=None, server_header=False, proxy_headers=False, timeout_keep_alive=30,
            timeout_graceful_shutdown=1, h11_max_incomplete_event_size=32_768,
        ))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
        LOG.info("listening on %s for %s", config.listen, config.origin)
        await server.serve()
    finally:
        await pool.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve console")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        uvloop.run(serve(read_config(parser.parse_args().config)))
    except (ConfigError, SessionError, *FAULTS) as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
