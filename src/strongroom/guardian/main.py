"""The guardian process: asks guard what stands, and pauses every vault while an alarm says that a key is stolen.

It believes guard, on whose machine it runs, and holds one key, which can pause and nothing else. What it signs it keeps
in a folder, so that people can bring it where its own roads are held up. It never unpauses: only a vault's owner can,
and as long as the alarm stands the vault is paused again.
"""

import argparse
import asyncio
import logging
import re
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import msgspec

from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import address_of
from strongroom.formats.vault_orders import Pause
from strongroom.guardian.config import GWEI, Config, ConfigError, read_config, read_key
from strongroom.guardian.message import keep, sign_pause
from strongroom.guardian.relay import Bringer, Standing, ask_vault
from strongroom.protocol.control import UNKNOWN_SPEND
from strongroom.rails.evm.rpc import Rpc
from strongroom.rails.port import RailError

LOG: Final = logging.getLogger("strongroom.guardian")
GUARD_TIMEOUT_S: Final = 5
_VAULT: Final = re.compile("0x[0-9a-fA-F]{40}")


class Organisation(msgspec.Struct):
    alarms: list[str]
    vaults: dict[str, str]


class Status(msgspec.Struct):
    organisations: dict[str, Organisation]


class Guardian:
    """Of one guard. All organisations' keys come from one seed: an alarm of one pauses the vaults of all."""

    def __init__(self, config: Config, guard: httpx.AsyncClient) -> None:
        self._key, self._folder, self._guard = read_key(Path(config.key_file)), Path(config.folder), guard
        self.nodes = [(network, Rpc(url)) for network, urls in config.nodes.items() for url in urls]
        fee_maximum, stuck_s = config.fee_maximum_gwei * GWEI, config.stuck_ms / 1_000
        self._bringers = {rpc: Bringer(rpc, self._key, fee_maximum, stuck_s) for _, rpc in self.nodes}
        self._address = address_of(self._key.public_key.format(compressed=False))
        self._vaults: list[tuple[str, bytes]] = []
        self._is_alarmed = False
        self._said: dict[object, str] = {}
        LOG.info("the guardian is %s, whose ether pays for the gas", eip55(self._address))

    async def look(self) -> None:
        """What guard knows. While it can't be asked, what it said last stands."""
        try:
            answer = await self._guard.get("/v1/status")
            status = msgspec.json.decode(answer.raise_for_status().content, type=Status)
        except (httpx.HTTPError, msgspec.DecodeError) as fault:
            self._say("guard", f"guard can't be asked: {type(fault).__name__}: {fault}")
            return
        organisations = status.organisations.values()
        alarms = sorted({name for each in organisations for name in each.alarms if name.startswith(UNKNOWN_SPEND)})
        named = sorted({place for each in organisations for place in each.vaults.items()})
        self._vaults = [(network, bytes.fromhex(vault[2:])) for network, vault in named if _VAULT.fullmatch(vault)]
        self._is_alarmed = bool(alarms)
        said = f"ALARM: {', '.join(alarms)}" if alarms else "no alarm of stolen money"
        self._say("guard", f"vaults that guard tells of: {len(self._vaults)}; {said}")
        for network in sorted({network for network, _ in named} - {network for network, _ in self.nodes}):
            self._say(network, f"no node of {network} is configured: its vaults can't be paused from here")

    async def visit(self, network: str, rpc: Rpc) -> None:
        """By one node, whatever comes of the others: each vault that isn't paused yet, while there is an alarm."""
        ahead = 0
        for vault in [vault for of, vault in self._vaults if of == network and self._is_alarmed]:
            name = f"{network}: {eip55(vault)}"
            try:
                standing = await ask_vault(rpc, vault)
                if standing.is_paused:
                    self._say((rpc, vault), f"{name} is paused, in epoch {standing.epoch}")
                    continue
                self._check(network, standing)
                signed = sign_pause(self._key, Pause(standing.chain_id, vault, standing.epoch))
                self._say(signed, f"{name} is to be paused: anybody may bring {keep(self._folder, signed)}")
                taken = await self._bringers[rpc].bring(signed, ahead)
                ahead += 1
                if taken is not None:
                    LOG.warning("%s: the pause was sent as %s", name, taken)
            except (RailError, OSError) as fault:
                self._say((rpc, vault), f"{name} isn't paused by one node: {fault}")

    def _check(self, network: str, standing: Standing) -> None:
        """Raises: RailError."""
        if f"eip155:{standing.chain_id}" != network:
            raise RailError(f"the node is of chain {standing.chain_id}")
        if standing.guardian != self._address:
            raise RailError(f"its guardian is {eip55(standing.guardian)}, and not this one")

    def _say(self, about: object, text: str) -> None:
        """What is new."""
        if self._said.get(about) != text:
            self._said[about] = text
            LOG.warning("%s", text)


async def guard_vaults(config: Config) -> None:
    """Until SIGTERM or SIGINT. Raises: ConfigError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def again(act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await act()
            await asyncio.sleep(config.pause_ms / 1_000)

    try:
        context = ssl.create_default_context(cafile=config.guard_ca_file)
    except OSError as fault:
        raise ConfigError(f"guard_ca_file: {config.guard_ca_file}: {fault}") from fault
    client = httpx.AsyncClient(base_url=config.guard_url, timeout=GUARD_TIMEOUT_S, trust_env=False, verify=context)
    guardian = Guardian(config, client)
    # Each node by itself, as one that doesn't answer may take its time.
    visits = [partial(guardian.visit, network, rpc) for network, rpc in guardian.nodes]
    async with client:
        acts: list[Callable[[], Awaitable[None]]] = [guardian.look, *visits]
        tasks = [asyncio.create_task(again(act)) for act in acts]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for _, rpc in guardian.nodes:
        await rpc.close()
    for task in tasks:
        if not task.cancelled():
            task.result()  # a fault of ours


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve guardian")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(guard_vaults(read_config(parser.parse_args().config)))
    except ConfigError as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
