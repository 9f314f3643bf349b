"""The API process: reads its configuration, takes the writer's place, and serves until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop

from strongroom.api.app import App
from strongroom.api.config import Config, ConfigError, parse_listen, read_config
from strongroom.api.connection import Connection, connections
from strongroom.api.gate import Gate
from strongroom.api.metrics import Metrics
from strongroom.api.person_queue import PersonQueue
from strongroom.api.rate_limit import RateLimiter
from strongroom.api.service import Service
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.store.intake import Intake, WriterTakenError
from strongroom.store.organisations import read_deployment
from strongroom.store.session import FAULTS, SessionError, open_pool

LOG = logging.getLogger("strongroom.api")


def clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


class _Server(uvicorn.Server):
    """Signals are ours: the writer must answer what waits before the process ends."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


async def serve(config: Config) -> None:
    """Until SIGTERM or SIGINT. Raises: SessionError, WriterTakenError, or asyncpg's errors at start; InvariantError
    when the writer met one: a process without a writer answers nobody, and must not look alive."""
    pool = await open_pool(config.database_url, "strongroom api")
    try:
        async with pool.acquire() as connection:
            deployment = await read_deployment(connection)
        if deployment != config.deployment:
            raise SessionError(f"the database is of deployment {deployment}, and the configuration of another")
        intake = await Intake.start(config.database_url, clock)
        try:
            await _serve(config, Service(intake, pool, config.deployment, clock))
        finally:
            await intake.stop()
    finally:
        await pool.close()


async def _serve(config: Config, service: Service) -> None:
    metrics = Metrics()
    gate = Gate(
        service,
        config.authority,
        RateLimiter(config.per_address_per_second, "from one address"),
        RateLimiter(config.per_key_per_second, "with one key"),
        config.body_timeout_ms,
    )
    host, port = parse_listen("listen", config.listen)
    make = connections(config.body_timeout_ms / SECOND_MS, config.connections_maximum)
    servers = [_server(App(service, gate, metrics), host, port, make)]
    servers.append(_server(metrics, *parse_listen("metrics_listen", config.metrics_listen), make))

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    LOG.info("listening on %s", config.listen)
    writer = asyncio.create_task(service.intake.ended(), name="watch the writer")
    writer.add_done_callback(lambda _: stop())
    people = asyncio.create_task(PersonQueue(service).serve(), name="what people ask for")
    people.add_done_callback(lambda _: stop())
    try:
        await asyncio.gather(*(server.serve() for server in servers))
    finally:
        people.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await people
    if not writer.cancel():
        await writer


def _server(app: Any, host: str, port: int, make: Callable[..., Connection]) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app, host, port, loop="none", http=cast("type[Connection]", make), ws="none", lifespan="off",
            access_log=False, log_config=None, server_header=False, date_header=True, proxy_headers=False, backlog=2048,
            timeout_keep_alive=30, timeout_graceful_shutdown=10,
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve api")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = read_config(parser.parse_args().config)
        uvloop.run(serve(config))
    except (ConfigError, SessionError, WriterTakenError, *FAULTS) as fault:
        LOG.error("%s", fault)
        return 1
    except InvariantError:
        LOG.exception("something that can't be true is: the API stops")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
