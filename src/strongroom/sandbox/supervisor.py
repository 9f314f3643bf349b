"""Starts everything in its order, keeps it running, and ends it in the other order. One process for one sandbox.

`python -m strongroom.sandbox.supervisor --data DIR --ports BASE --rails LIST`. Says what it does in
DIR/progress.log; DIR/sandbox.json with `ready` true is written last. What dies is started again, a few times; what
keeps dying ends the sandbox with its reason. If the supervisor itself dies, the kernel ends its children.
"""

import argparse
import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from nacl.signing import SigningKey

from strongroom.domain.instant import Instant
from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import FoundingOrganisation, Genesis, Mode, deployment_id
from strongroom.protocol.record_writer import write_genesis
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.tree_head import log_origin
from strongroom.protocol.webauthn import RelyingParty
from strongroom.sandbox import evm, parts, trusted
from strongroom.sandbox.bitcoin import COOKIE_FILE, Bitcoin, BitcoinError, forget_filters, node_arguments
from strongroom.sandbox.documents import Documents, read_deployment
from strongroom.sandbox.environment import VARIABLES
from strongroom.sandbox.evm import Evm, EvmError
from strongroom.sandbox.funding import Nodes, fund_wallets, open_vaults
from strongroom.sandbox.organisation import (
    BITCOIN,
    EVM,
    FINALITY_BLOCKS,
    Made,
    assets_of,
    make_organisation,
    write_private,
)
from strongroom.sandbox.ports import Ports, PortTakenError
from strongroom.sandbox.process import Child, ProcessError, give, user_of
from strongroom.store import session
from strongroom.store.migrate import MigrationError, migrate
from strongroom.store.organisations import found_deployment
from strongroom.store.postgres import Cluster, PostgresError
from strongroom.store.roles import set_passwords

READY_TIMEOUT_S: Final = 30
POLL_S: Final = 0.25
RESTARTS_MAXIMUM: Final = 5
RESTARTS_WITHIN_S: Final = 60
MINE_EVERY_S: Final = 1
READERS: Final = ("engine", "watch", "guard")
"""Of the Bitcoin node."""

FAULTS: Final = (
    PostgresError, PortTakenError, parts.PartError, trusted.TrustedError, ProcessError, BitcoinError, EvmError,
    MigrationError,
    *session.FAULTS,
)


class SandboxError(Exception):
    """The sandbox can't go on; the message says why and what to do."""


class _StopAskedError(Exception):
    """Somebody stops the sandbox while it is still starting."""


class Supervisor:
    def __init__(self, data: Path, ports: Ports, rails: frozenset[str]) -> None:
        self.data = data
        self.ports = ports
        self.rails = rails
        self.nodes = Nodes()
        self.children: list[Child] = []
        self.cluster = Cluster(data / "postgres", ports.postgres)
        self.sockets = trusted.Sockets(trusted.runtime_folder(data))
        self.simulated_genesis = ""
        self._blocks_due: dict[Bitcoin | Evm, int] = {}
        self._restarts: dict[str, deque[float]] = {}
        self._starting = True
        self._stopping = False

    def run(self) -> None:
        """Until told to stop. Raises: SandboxError and what its parts raise."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        started = time.monotonic()
        try:
            self.ports.check()
            self._start()
            self._starting = False
            self.say(f"ready after {time.monotonic() - started:.1f} s")
            self._watch()
        except _StopAskedError:
            return
        finally:
            self._starting = False
            self._end()

    def say(self, text: str) -> None:
        with (self.data / "progress.log").open("a") as log:
            log.write(text + "\n")

    def _start(self) -> None:
        bitcoind, anvil = self._part("bitcoin", parts.bitcoind), self._part("evm", parts.anvil)
        self.say("starting PostgreSQL")
        self.cluster.start()
        asyncio.run(self._prepare_database())
        tokens: dict[str, str] = {}
        if bitcoind is not None:
            self.nodes.bitcoin = self._start_bitcoin(bitcoind)
        if anvil is not None:
            self.nodes.evm, tokens = self._start_evm(anvil)
        if "simulated" in self.rails:
            self._start_simulated()
        is_new = not (self.data / "deployment.json").exists()
        made: Made | None = None
        if is_new:
            self.say("making the genesis record and the first organisation")
            made = asyncio.run(self._found(assets_of(tokens, self.rails)))
        self._start_trusted()
        if made is not None:
            self._let_in(made)
        self._open_vaults()
        self._start_product()
        self._write_document(ready=True)

    def _part(self, rail: str, find: Callable[[parts.Say], list[str]]) -> list[str] | None:
        """The command of a rail's node; what can't be had is gone on without, if another rail was asked for."""
        if rail not in self.rails:
            return None
        try:
            return find(self.say)
        except parts.PartError as fault:
            if self.rails == {rail}:
                raise
            self.say(f"going on without the rail {rail}: {fault}")
            self.rails -= {rail}
            return None

    async def _prepare_database(self) -> None:
        await migrate(self.cluster.owner_dsn)
        file = self.data / "roles.json"
        if not file.exists():
            names = ("api", "watch", "engine", "console")
            write_private(file, json.dumps({f"strongroom_{name}": secrets.token_urlsafe(24) for name in names}))
        await set_passwords(self.cluster.owner_dsn, json.loads(file.read_text()))

    def _start_bitcoin(self, command: Sequence[str]) -> Bitcoin:
        self.say("starting a Bitcoin node (regtest)")
        folder, user = self._folder("bitcoin"), user_of(2, Path(command[0]))
        forget_filters(folder)
        child = self._child(
            "bitcoin",
            [*command, *node_arguments(folder, self.ports.bitcoin_rpc, [self._folder(each) for each in READERS])],
            user,
        )
        node = Bitcoin(f"http://127.0.0.1:{self.ports.bitcoin_rpc}", folder / "regtest" / ".cookie")
        try:
            node.wait(child.running)
        except BitcoinError as fault:
            raise fault if child.running() else child.fail("ended at once") from fault
        node.prepare()
        return node

    def _start_evm(self, command: Sequence[str]) -> tuple[Evm, dict[str, str]]:
        self.say("starting an EVM node (anvil) with the test tokens")
        folder, user = self._folder("evm"), user_of(3, Path(command[0]))
        child = self._child(
            "evm", [*command, *evm.node_arguments(folder, self.ports.evm)], user, {"HOME": str(folder)}
        )
        node = Evm(f"http://127.0.0.1:{self.ports.evm}")
        try:
            node.wait(child.running)
        except EvmError as fault:
            raise fault if child.running() else child.fail("ended at once") from fault
        return node, node.deploy_tokens()

    async def _found(self, assets: Mapping[str, str]) -> Made:
        """The genesis record, the log's key, and the first organisation; once in the life of a sandbox."""
        now = Instant(time.time_ns() // 1_000_000)
        made = make_organisation(self.data / "keys", "Example Rides", assets)
        key, guard_key = self._make_key("checkpoint"), self._make_key("guard")
        statement_key = trusted.make_signer_keys(self.data)
        founding = FoundingOrganisation(
            made.new.id,
            record_hash(POLICY_TYPE, made.new.policy).hex(),
            roster_hash(made.new.roster),
        )
        station = RelyingParty(trusted.STATION_HOST, frozenset({trusted.station_origin(self.ports)}))
        genesis = write_genesis(Genesis(Mode.SANDBOX, now, key, statement_key, guard_key, station, (founding,)))
        trusted.begin_journal(self.data, genesis)
        await found_deployment(self.cluster.owner_dsn, deployment_id(genesis), genesis, made.new, now)
        document = {
            "deployment": deployment_id(genesis), "checkpoint_public_key": key.hex(),
            "statement_public_key": statement_key.hex(), "guard_public_key": guard_key.hex(),
            "relying_party": {"id": station.id, "origin": next(iter(station.origins))},
            **made.document,
        }
        write_private(self.data / "deployment.json", json.dumps(document, indent=1) + "\n")
        return made

    def _make_key(self, name: str) -> bytes:
        """A new Ed25519 key in NAME.key; its public half."""
        key = SigningKey.generate()
        write_private(self.data / f"{name}.key", bytes(key).hex() + "\n")
        return bytes(key.verify_key)

    def _start_simulated(self) -> None:
        self.say("starting the simulated chain")
        child = self._child("simulated", [
            sys.executable, "-m", "strongroom.sandbox.simulated_chain", "--listen",
            f"127.0.0.1:{self.ports.simulated}", "--state", str(self._folder("simulated") / "chain"),
            "--mine-every-ms", str(trusted.MINE_EVERY_MS),
        ], user_of(trusted.SIMULATED))
        self.simulated_genesis = trusted.chain_genesis(self._simulated_url, child)
        self.nodes.simulated_url = self._simulated_url

    def _start_trusted(self) -> None:
        """Guard first: the signer says nothing before it has met guard."""
        self.say("starting guard, the signer and the link between them")
        genesis = (self.data / "genesis.json").read_bytes()
        user = user_of(trusted.GUARD)
        self._private_copy("guard.key", "guard", user)
        folder = self._folder("guard")
        self._product("guard", trusted.GUARD, trusted.guard_config(
            folder, self.ports.guard_signer, self.ports.guard, genesis, self._nodes("guard")))
        trusted.signer_child(self.data, self.sockets, self._child)
        self._product("link", trusted.LINK, {
            "guard_host": "127.0.0.1", "guard_port": self.ports.guard_signer,
            "signer_socket": str(self.sockets.path("link")),
        })
        trusted.ask_signer(self.sockets.path("admin"), Ask.STATUS, {})
        self._product("notify", trusted.NOTIFY, trusted.notify_config(self.data, self._deployment()))
        if self.nodes.evm is not None:
            told = trusted.guardian_config(self.data, self.ports.guard, EVM, self.ports.evm)
            self._product("guardian", trusted.GUARDIAN, told)
        self.say(f"members are told of pending changes by messages in {self.data / 'notify' / 'mail' / 'new'}")

    def _let_in(self, made: Made) -> None:
        admin = self.sockets.path("admin")
        trusted.let_in(admin, made.new.policy, made.new.roster)
        fund_wallets(admin, self.nodes, made.new.id, made.new.opening, self.data / "keys" / made.new.id)

    def _open_vaults(self) -> None:
        if self.nodes.evm is not None:
            open_vaults(self.sockets.path("admin"), self.nodes.evm, self.data / "keys")

    @property
    def _console_url(self) -> str:
        return f"http://console.localhost:{self.ports.console}"

    @property
    def _simulated_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.simulated}"

    def _nodes(self, process: str) -> dict[str, dict[str, object]]:
        """What a process is told of chains that can be paid on."""
        nodes: dict[str, dict[str, object]] = {}
        if "simulated" in self.rails:
            nodes[simulated.NETWORK] = {"genesis": self.simulated_genesis, "url": self._simulated_url}
        if self.nodes.bitcoin is not None:
            nodes[BITCOIN] = {
                "genesis": self.nodes.bitcoin.genesis(), "url": f"http://127.0.0.1:{self.ports.bitcoin_rpc}",
                "cookie_file": str(self._folder(process) / COOKIE_FILE),
            }
        if self.nodes.evm is not None:
            finality = {} if process == "guard" else {"finality": FINALITY_BLOCKS}  # guard goes by the policies
            nodes[EVM] = {
                "genesis": self.nodes.evm.genesis(), "url": f"http://127.0.0.1:{self.ports.evm}", **finality,
            }
        return nodes

    def _start_product(self) -> None:
        deployment = self._deployment()["deployment"]
        roles = json.loads((self.data / "roles.json").read_text())
        dsn = {name: self.cluster.dsn(name, password) for name, password in roles.items()}
        listen = f"127.0.0.1:{self.ports.api}"
        self.say("starting watch, the engine, the API, the station and the console")
        key_file = self._private_copy("checkpoint.key", "watch", user_of(1))
        self._product("watch", 1, {
            "database_url": dsn["strongroom_watch"], "checkpoint_key_file": str(key_file),
            "origin": log_origin(deployment), "last_checkpoint_file": str(key_file.with_name("last_checkpoint")),
            "nodes": self._nodes("watch"), "chains_folder": str(self._chains_folder()),
            "guard_url": f"http://127.0.0.1:{self.ports.guard}", "deployment": deployment,
            "guard_public_key": self._deployment().get("guard_public_key"),
            "station_url": trusted.station_origin(self.ports),
        })
        self._product("engine", trusted.ENGINE, {
            "database_url": dsn["strongroom_engine"], "nodes": self._nodes("engine"),
            "guard_url": f"http://127.0.0.1:{self.ports.guard}",
            "signer_socket": str(self.sockets.path("engine")),
        })
        api = self._product("api", 0, {
            "listen": listen, "authority": listen, "database_url": dsn["strongroom_api"], "deployment": deployment,
            "metrics_listen": f"127.0.0.1:{self.ports.api_metrics}",
        })
        self._wait_ready(api, f"http://{listen}/readyz")
        self._product("station", trusted.STATION, trusted.station_config(self.ports, self._deployment()))
        self._product("console", trusted.CONSOLE, {
            "listen": f"127.0.0.1:{self.ports.console}", "origin": self._console_url,
            "station_origin": trusted.station_origin(self.ports),
            "database_url": dsn["strongroom_console"],
            "deployment": deployment, "is_sandbox": True,
        })

    def _product(self, name: str, place: int, config: Mapping[str, object]) -> Child:
        file = self._folder(name) / "config.json"
        write_private(file, json.dumps(config, indent=1) + "\n")
        give(file, user_of(place))
        module = f"strongroom.{name}.main"
        if name == "guard":
            command = trusted.in_core_environment(module, "--config", str(file))
            return self._child(name, command, user_of(place), VARIABLES)
        return self._child(name, [sys.executable, "-m", module, "--config", str(file)], user_of(place))

    def _child(
        self, name: str, command: list[str], user: int | None, environment: Mapping[str, str] | None = None,
        *, inherited: Sequence[int] = (), rewound: Sequence[int] = (), locks_memory: bool = False,
    ) -> Child:
        folder = self._folder(name)
        give(folder, user)
        child = Child(
            name, command, self.data / f"{name}.log", user, environment or {}, inherited=inherited, rewound=rewound,
            locks_memory=locks_memory,
        )
        child.start()
        self.children.append(child)
        return child

    def _folder(self, name: str) -> Path:
        folder = self.data / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _chains_folder(self) -> Path:
        """Watch's, for what it has read of chains."""
        folder = self._folder("watch") / "chains"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _private_copy(self, name: str, process: str, user: int | None) -> Path:
        """A secret where only the process that needs it can read it."""
        copy = self._folder(process) / name
        write_private(copy, (self.data / name).read_text())
        give(copy, user)
        return copy

    def _wait_ready(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if not child.running():
                raise child.fail("ended at once")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, timeout=1, trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)
        raise child.fail(f"wasn't ready in {READY_TIMEOUT_S} s")

    def _watch(self) -> None:
        """Keep everything running, and mine a block a second while something waits for one."""
        mined = time.monotonic()
        while not self._stopping:
            if not self.cluster.running():
                self._note_restart("postgres")
                self.say("PostgreSQL ended; starting it again")
                self.cluster.start()
                self._write_document(ready=True)
            for child in self.children:
                if not child.running():
                    self._note_restart(child.name)
                    self.say(f"{child.name} ended; starting it again")
                    if child.name == "bitcoin":
                        forget_filters(self._folder(child.name))
                    child.start()
                    self._write_document(ready=True)
                    self._prepare_again(child)
            if time.monotonic() - mined >= MINE_EVERY_S:
                mined = time.monotonic()
                self._mine()
            time.sleep(POLL_S)

    def _prepare_again(self, child: Child) -> None:
        """What a node forgets when it ends: its open wallet, or a contract that wasn't saved yet."""
        try:
            if child.name == "bitcoin" and self.nodes.bitcoin is not None:
                self.nodes.bitcoin.wait(child.running)
                self.nodes.bitcoin.prepare()
            if child.name == "evm" and self.nodes.evm is not None:
                self.nodes.evm.wait(child.running)
                self.nodes.evm.deploy_tokens()
                self._open_vaults()
        except (BitcoinError, EvmError, parts.PartError, trusted.TrustedError) as fault:
            self.say(f"{child.name} isn't ready again: {fault}")

    def _mine(self) -> None:
        """What stands in a block waits for as many more as make it final."""
        for node in (self.nodes.bitcoin, self.nodes.evm):
            try:
                if node is not None and node.pending():
                    self._blocks_due[node] = FINALITY_BLOCKS
                if node is not None and self._blocks_due.get(node):
                    self._blocks_due[node] -= 1
                    node.mine()
            except (BitcoinError, EvmError) as fault:
                self.say(f"mining waits: {fault}")

    def _note_restart(self, name: str) -> None:
        times = self._restarts.setdefault(name, deque(maxlen=RESTARTS_MAXIMUM))
        if len(times) == RESTARTS_MAXIMUM and time.monotonic() - times[0] < RESTARTS_WITHIN_S:
            raise SandboxError(f"{name} keeps ending; see {self.data / name}.log")
        times.append(time.monotonic())

    def _end(self) -> None:
        self.say("stopping")
        for child in reversed(self.children):
            child.stop()
        self.cluster.stop()
        if (self.data / "deployment.json").exists():
            self._write_document(ready=False)
        self.say("stopped")

    def _stop(self, *_: object) -> None:
        self._stopping = True
        if self._starting:
            self._starting = False  # once: what is being ended must not be interrupted again
            raise _StopAskedError

    def _deployment(self) -> dict[str, Any]:
        return read_deployment(self.data)

    def _write_document(self, *, ready: bool) -> None:
        urls = {"console_url": self._console_url, "station_url": trusted.station_origin(self.ports)}
        Documents(self.data, self.ports, self.rails, self.nodes).write(
            self.children, self.cluster, self.sockets.path("admin"), urls, ready=ready)


def explain(fault: BaseException) -> str:
    """What went wrong, and for the usual causes what to do."""
    if isinstance(fault, OSError) and fault.errno == errno.ENOSPC:
        return f"the disk is full ({fault.filename or 'while writing'}): free some space, or move it with --data"
    if os.strerror(errno.ENOSPC) in str(fault):
        return f"the disk is full: free some space, or move it with --data. {fault}"
    if os.strerror(errno.EFBIG) in str(fault):
        return f"a file may not grow any more (ulimit -f): raise the limit. {fault}"
    if isinstance(fault, PermissionError):
        return f"{fault.filename} can't be written: give the folder to this user, or move it with --data"
    return str(fault)


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom sandbox supervisor")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ports", type=int, required=True)
    parser.add_argument("--rails", required=True)
    asked = parser.parse_args()
    supervisor = Supervisor(asked.data, Ports(asked.ports), frozenset(asked.rails.split(",")))
    try:
        supervisor.run()
    except (SandboxError, *FAULTS) as fault:
        supervisor.say(f"failed: {explain(fault)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
