"""The guard process: opens its store, listens to the signer and to officers, and stops when its disk fails.

`--reconcile` is for its operator, after the store was restored or lost: listens to the signer alone, until guard has
its whole journal, and ends. `--recover EPOCH` likewise, when the signer has lost some as well. `--tree` takes the
operator's word about the audit log, and ends.
"""

import argparse
import asyncio
import gc
import logging
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.guard.config import Config, ConfigError, parse_listen, read_config, read_key, server_context
from strongroom.guard.control_log import ControlLog
from strongroom.guard.cosigner import Cosigner
from strongroom.guard.eyes import Eyes
from strongroom.guard.lease import Leases
from strongroom.guard.marker import Marker
from strongroom.guard.officers import HEAD_MAXIMUM, Limiter, Officers
from strongroom.guard.reconcile import Reconciler
from strongroom.guard.signer_side import SignerSide
from strongroom.guard.witness import Witness, open_chain
from strongroom.journal.journal import JournalError
from strongroom.protocol.entry import read_entry
from strongroom.protocol.standings import KINDS, Standings

LOG: Final = logging.getLogger("strongroom.guard")
Serve = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Guard:
    """All parts, over the store that the configuration names. Raises: ConfigError, JournalError, OSError."""

    def __init__(
        self, config: Config, kind: type[Witness], clock: Callable[[], Instant], monotonic_ns: Callable[[], int]
    ) -> None:
        key, marker = read_key(config), Marker(Path(config.marker_file))
        journal = open_chain(config.folder, "journal", marker.mark.journal if marker.mark is not None else None)
        standings = Standings(config.genesis_hash)
        for read in map(read_entry, journal.entries()):
            if read[0] in KINDS:
                standings.apply(*read)
        self.log = ControlLog(open_chain(config.folder, "control"), marker, standings)
        contradiction = Path(config.folder, "contradiction.json")
        self.cosigner = Cosigner(contradiction, marker, self.log, key, clock)
        self.leases = Leases(self.log, monotonic_ns, contradiction.exists)
        self.eyes = Eyes(config.nodes, key, self.log, clock)
        self.witness = kind(config.folder, journal, marker, self.log, self.leases, key, clock)


class Listeners:
    """Until told to end, or a fault that isn't a connection's."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._fault: JournalError | None = None

    def end(self, fault: JournalError | None = None) -> None:
        self._fault = self._fault or fault
        self._ended.set()

    async def listen(self, listen: tuple[str, int], context: ssl.SSLContext | None, serve: Serve) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                # There is none if the peer is gone already.
                if (peer := writer.get_extra_info("peername")) is not None:
                    await serve(peer[0], reader, writer)
            except JournalError as fault:
                self.end(fault)
            except OSError as fault:
                LOG.info("a connection broke: %s", fault)
                writer.transport.abort()  # what isn't sent yet would hold it open
            finally:
                writer.close()

        return await asyncio.start_server(connected, *listen, ssl=context, limit=HEAD_MAXIMUM)

    async def ended(self) -> None:
        """Raises: JournalError."""
        await self._ended.wait()
        if self._fault is not None:
            raise self._fault


async def serve(config: Config, *, reconciles: bool, epoch: str = "") -> None:
    """Until SIGTERM or SIGINT, or until reconciled; with an `epoch`, as a recovery.

    Raises: ConfigError, JournalError, OSError, DocumentError.
    """
    guard, listeners = Guard(config, Reconciler if reconciles else Witness, clock, boot_ns), Listeners()
    if isinstance(guard.witness, Reconciler) and epoch:
        guard.witness.recover(epoch)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, listeners.end)

    def answer(frame: bytes) -> bytes:
        answered = guard.witness.answer(frame)
        if isinstance(guard.witness, Reconciler) and guard.witness.is_done:
            listeners.end()
        return answered

    tls = server_context("signer_tls", config.signer_tls) if config.signer_tls is not None else None
    signer_listen = parse_listen("signer_listen", config.signer_listen, config.signer_tls)
    servers = [await listeners.listen(signer_listen, tls, SignerSide(answer).serve)]
    if not reconciles:
        tls = server_context("officers_tls", config.officers_tls) if config.officers_tls is not None else None
        officers_listen = parse_listen("officers_listen", config.officers_listen, config.officers_tls)
        limiter = Limiter(config.requests_per_second, clock)
        officers = Officers(guard.witness, guard.log, guard.leases, guard.eyes, guard.cosigner, limiter, clock)
        servers.append(await listeners.listen(officers_listen, tls, officers.serve))
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # nearly nothing of a request is in cycles
    LOG.info("guard reads a node of %s", ", ".join(config.nodes) or "no network: it attests nothing")
    LOG.info("guard listens, at entry %d%s", guard.witness.head.length, ", restored" * guard.witness.is_restored)
    await listeners.ended()
    for server in servers:
        server.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve guard")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--reconcile", action="store_true", help="after a restore: take the signer's journal, and end")
    parser.add_argument("--recover", metavar="EPOCH", default="", help="when the signer has lost some too")
    parser.add_argument("--tree", metavar="SIZE:ROOT", default="", help="what was cosigned last of the audit log; ends")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config, epoch = read_config(arguments.config), arguments.recover
        if arguments.tree:
            Guard(config, Witness, clock, boot_ns).cosigner.name_tree(arguments.tree)
        else:
            asyncio.run(serve(config, reconciles=arguments.reconcile or bool(epoch), epoch=epoch))
    except (ConfigError, JournalError, DocumentError, OSError) as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
