"""The watch process: sequences the audit log and signs its checkpoints, follows what was signed on its chain, holds the
ledger against it, tells guard that it looks, and has guard cosign the checkpoints.

When PostgreSQL goes away it waits and comes back. When the stored tree isn't the one that it signed, it stops: that
is no fault to go on after, somebody changed the log or put an older database in its place. It knows what it signed
from a file of its own. A leaf that is changed without its hash is for `audit verify` to find.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from nacl.signing import SigningKey

from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.protocol.checkpoint import Checkpoint, CheckpointError, sign_checkpoint, verify_checkpoint
from strongroom.protocol.genesis import deployment_id, parse_genesis
from strongroom.rails.port import RailError
from strongroom.rails.registry import open_account_rails, open_rails
from strongroom.store.approvals import read_genesis
from strongroom.store.audit_sequencer import Sequencer, SequencerTakenError
from strongroom.store.session import FAULTS, Session, SessionError, connect
from strongroom.watch.account_chain import AccountChain
from strongroom.watch.alarms import Alarms
from strongroom.watch.config import Config, ConfigError, read_config, read_key
from strongroom.watch.confirmations import Follower
from strongroom.watch.heartbeat import Heartbeat
from strongroom.watch.memory import Memory
from strongroom.watch.reconcile import Reconciler
from strongroom.watch.station import StationWatch
from strongroom.watch.witnessing import Witnessing

LOG = logging.getLogger("strongroom.watch")
RETRY_S: Final = 1
FOLLOW_S: Final = 0.25
HEARTBEAT_S: Final = 5
WITNESS_S: Final = 0.5
BLIND_MAXIMUM_S: Final = 15
STATION_S: Final = 60


async def watch(config: Config, key: SigningKey, stop: asyncio.Event) -> None:
    """Until told to stop. Raises: InvariantError, SessionError."""
    while not stop.is_set():
        try:
            await _watch_once(config, key, stop)
        except (SequencerTakenError, *FAULTS) as fault:
            LOG.warning("%s; again in %d s", fault, RETRY_S)
            await _pause(stop, RETRY_S)


async def _watch_once(config: Config, key: SigningKey, stop: asyncio.Event) -> None:
    """With one connection, until it fails or we are stopped."""
    connection = await connect(config.database_url, "strongroom watch")
    try:
        memory = Memory(Path(config.last_checkpoint_file))
        verify, last = _verifier(config, key), memory.recall()
        signed = None if last is None else verify(last)
        if signed is not None:
            LOG.info("%d leaves were signed, says %s", signed[0], memory.file)
        sequencer = await Sequencer.start(connection, _signer(config, key, memory), verify, signed)
        LOG.info("the audit log has %d leaves", sequencer.frontier.size)
        while not stop.is_set():
            if not await sequencer.step(_now()):
                await _pause(stop, config.interval_ms / SECOND_MS)
    finally:
        await connection.close(timeout=5)


@dataclass(slots=True)
class Eyes:
    """When the chains were read last, by a clock that isn't set; a watch that is blind doesn't say that all is well."""

    looked_s: float = -BLIND_MAXIMUM_S

    def are_open(self, config: Config) -> bool:
        return not config.nodes or time.monotonic() - self.looked_s < BLIND_MAXIMUM_S


async def follow_chains(config: Config, alarms: Alarms, eyes: Eyes, stop: asyncio.Event) -> None:
    """What was signed, on its chain, and whether the ledger is what stands there, until told to stop."""
    rails, account_rails = open_rails(config.nodes), open_account_rails(config.nodes)
    follower, reconciler = Follower(rails), None
    chains: list[AccountChain] = []
    folder = None if config.chains_folder is None else Path(config.chains_folder)
    while config.nodes and not stop.is_set():
        try:
            for rail in rails.values():
                await rail.identity()
            for each in account_rails.values():
                await each.identity()
            connection = await connect(config.database_url, "strongroom watch: chains")
            try:
                if reconciler is None:
                    since = await founded(connection, config.deployment)
                    reconciler = Reconciler(rails, alarms, since, folder)
                    chains = [AccountChain(rail, alarms, since, folder) for rail in account_rails.values()]
                while not stop.is_set():
                    await follower.follow(connection, _now())
                    seen = [await reconciler.step(connection, _now())]
                    seen += [await each.look(connection, _now()) for each in chains]
                    if all(seen):
                        eyes.looked_s = time.monotonic()
                    await _pause(stop, FOLLOW_S)
            finally:
                await connection.close(timeout=5)
        except (RailError, *FAULTS) as fault:
            LOG.warning("%s; again in %d s", fault, RETRY_S)
            await _pause(stop, RETRY_S)


async def founded(connection: Session, deployment: str) -> Instant:
    """When the deployment was, by the genesis record, which its id is the hash of. Raises: ConfigError."""
    raw = await read_genesis(connection)
    if deployment_id(raw) != deployment:
        raise ConfigError(f"deployment: the database's genesis record isn't that of {deployment}")
    return parse_genesis(raw).created


async def tell_guard(
    config: Config, guard_url: str, key: SigningKey, alarms: Alarms, eyes: Eyes, stop: asyncio.Event
) -> None:
    """A heartbeat every few seconds while all is well, until told to stop."""
    heartbeat = Heartbeat(guard_url, config.deployment, key)
    while not stop.is_set():
        is_well = not alarms.undelivered and eyes.are_open(config)
        is_heard = is_well and await heartbeat.beat(_now())
        await _pause(stop, HEARTBEAT_S if is_heard else RETRY_S)
    await heartbeat.close()


async def be_witnessed(config: Config, guard_url: str, key: SigningKey, stop: asyncio.Event) -> None:
    """Have guard cosign the newest checkpoint, until told to stop."""
    witnessing = Witnessing(guard_url, bytes.fromhex(config.guard_public_key or ""), config.deployment, key)
    while not stop.is_set():
        try:
            connection = await connect(config.database_url, "strongroom watch: witness")
            try:
                while not stop.is_set():
                    is_cosigned = await witnessing.step(connection, _now)
                    await _pause(stop, WITNESS_S if is_cosigned else RETRY_S)
            finally:
                await connection.close(timeout=5)
        except FAULTS as fault:
            LOG.warning("%s; again in %d s", fault, RETRY_S)
            await _pause(stop, RETRY_S)
    await witnessing.close()


async def look_at_station(config: Config, station_url: str, stop: asyncio.Event) -> None:
    """What the station serves, at the start and every minute, until told to stop."""
    station = StationWatch(station_url)
    while not stop.is_set():
        try:
            connection = await connect(config.database_url, "strongroom watch: station")
            try:
                await station.look(connection, _now())
            finally:
                await connection.close(timeout=5)
            await _pause(stop, STATION_S)
        except FAULTS as fault:
            LOG.warning("%s; again in %d s", fault, RETRY_S)
            await _pause(stop, RETRY_S)


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def _signer(config: Config, key: SigningKey, memory: Memory) -> Callable[[int, bytes], str]:
    def sign(size: int, root: bytes) -> str:
        note = sign_checkpoint(Checkpoint(config.origin, size, root), config.origin, key)
        memory.keep(note)
        return note

    return sign


def _verifier(config: Config, key: SigningKey) -> Callable[[str], tuple[int, bytes]]:
    def verify(note: str) -> tuple[int, bytes]:
        try:
            checkpoint = verify_checkpoint(note, config.origin, config.origin, bytes(key.verify_key))
        except CheckpointError as fault:
            raise InvariantError(f"a stored checkpoint isn't ours: {fault}") from fault
        return checkpoint.size, checkpoint.root

    return verify


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _run(config: Config, key: SigningKey) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    alarms, eyes = Alarms(config.guard_url, config.deployment, key), Eyes()
    tasks = [
        asyncio.create_task(watch(config, key, stop)), asyncio.create_task(follow_chains(config, alarms, eyes, stop))
    ]
    if config.guard_url is not None:
        tasks.append(asyncio.create_task(tell_guard(config, config.guard_url, key, alarms, eyes, stop)))
    if config.guard_url is not None and config.guard_public_key is not None:
        tasks.append(asyncio.create_task(be_witnessed(config, config.guard_url, key, stop)))
    else:
        LOG.warning("guard_url and guard_public_key aren't both configured: nobody cosigns the audit log's checkpoints")
    if config.station_url is not None:
        tasks.append(asyncio.create_task(look_at_station(config, config.station_url, stop)))
    try:
        await asyncio.gather(*tasks)
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await alarms.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve watch")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        config = read_config(parser.parse_args().config)
        uvloop.run(_run(config, read_key(config)))
    except (ConfigError, SessionError) as fault:
        LOG.error("%s", fault)
        return 1
    except InvariantError as fault:
        LOG.error("the audit log isn't what was signed, so nothing more is: %s", fault)
        LOG.error("where an older database was put back on purpose, a person moves the last checkpoint's file away")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
