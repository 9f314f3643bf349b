"""The station process: reads its files and its configuration once, and serves them until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop

from strongroom.protocol.station_bundle import bundle_document
from strongroom.station.app import BUNDLE, App, read_files
from strongroom.station.config import Config, ConfigError, parse_listen, read_config

LOG: Final = logging.getLogger("strongroom.station")
CONNECTIONS_MAXIMUM: Final = 500


class _Server(uvicorn.Server):
    """Signals are ours."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


async def serve(config: Config, folder: Path = BUNDLE) -> None:
    """Until SIGTERM or SIGINT."""
    files = read_files(folder, config)
    host, port = parse_listen(config.listen)
    server = _Server(uvicorn.Config(
        App(config, files), host, port, loop="none", ws="none", lifespan="off", access_log=False, log_config=None,
        server_header=False, proxy_headers=False, limit_concurrency=CONNECTIONS_MAXIMUM, timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    ))

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    LOG.info("listening on %s; the bundle is %s", config.listen, bundle_document(files)["hash"])
    await server.serve()


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve station")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        uvloop.run(serve(read_config(parser.parse_args().config)))
    except ConfigError as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
