"""A deployment that can be killed: a PostgreSQL cluster of its own, the real API and watch, and fresh organisations."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from nacl.signing import SigningKey
from tests.ports import PortBlock, port_block

from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import encode
from strongroom.sandbox.organisation import BITCOIN, EVM, make_organisation
from strongroom.sandbox.process import Child, start_time
from strongroom.sdk.signing import Credentials
from strongroom.store.migrate import migrate
from strongroom.store.organisations import add_organisation, record_deployment
from strongroom.store.postgres import Cluster
from strongroom.store.roles import set_passwords

DEPLOYMENT = "0123456789abcdef"
ORIGIN = f"strongroom/{DEPLOYMENT}"
NETWORK = EVM
USDC = f"{EVM}/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"
ASSETS = {"BTC": f"{BITCOIN}/slip44:0", "USDC": USDC}
READY_TIMEOUT_S = 60
PASSWORDS = {"strongroom_api": "for tests only", "strongroom_watch": "for tests only"}


@dataclass(frozen=True)
class Clients:
    """An organisation's clients that pay and declare, and the most that may be counted in a day."""

    organisation: str
    payer: Credentials
    declarer: Credentials
    limit_cents: int


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


class Deployment:
    """Made by `deployment()`. `api` and `watch` may be killed and started at any time."""

    def __init__(self, folder: Path, ports: PortBlock, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.ports = ports
        self.cluster = Cluster(folder / "postgres", ports.take(), settings)
        self.checkpoint_key = SigningKey.generate()
        (folder / "checkpoint.key").write_text(bytes(self.checkpoint_key).hex())
        self.api = self.make_api("api")
        self.watch = self._process("watch", {
            "database_url": self.dsn("watch"), "checkpoint_key_file": str(folder / "checkpoint.key"),
            "origin": ORIGIN, "interval_ms": 20, "last_checkpoint_file": str(folder / "last_checkpoint"),
            "deployment": DEPLOYMENT,
        })
        self.url = self.url_of("api")

    def dsn(self, role: str) -> str:
        return self.cluster.dsn(f"strongroom_{role}", PASSWORDS[f"strongroom_{role}"])

    def make_api(self, name: str) -> Child:
        """An API process with a port and a configuration of its own; not started."""
        port, metrics_port = self.ports.take(), self.ports.take()
        listen = f"127.0.0.1:{port}"
        config = {
            "listen": listen, "authority": listen, "database_url": self.dsn("api"), "deployment": DEPLOYMENT,
            "metrics_listen": f"127.0.0.1:{metrics_port}", "per_address_per_second": 100_000,
            "per_key_per_second": 100_000,
        }
        return self._process(name, config, "api")

    def _process(self, name: str, config: dict[str, Any], module: str | None = None) -> Child:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", f"strongroom.{module or name}.main", "--config", str(file)]
        return Child(name, command, self.folder / f"{name}.log")

    def url_of(self, name: str) -> str:
        config = json.loads((self.folder / f"{name}.json").read_text())
        return f"http://{config['listen']}"

    def start(self) -> None:
        """What doesn't run is started; returns when requests are taken."""
        if not self.cluster.running():
            self.cluster.start()
        for child in (self.api, self.watch):
            if not child.running():
                child.start()
        self.wait_ready()

    def wait_ready(self, name: str = "api") -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url_of(name)}/readyz", timeout=2, trust_env=False).status_code == 200:
                    return
            if name == "api" and not self.api.running():
                raise AssertionError(f"the API ended:\n{self.api.log.read_text()[-3_000:]}")
            time.sleep(0.02)
        raise AssertionError(f"{name} wasn't ready in {READY_TIMEOUT_S} s:\n{self.log_of(name)}")

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3_000:]

    def kill(self, what: str) -> None:
        """SIGKILL to `api`, `watch`, `postgres` with all its processes, or one `backend` that works for the API."""
        if what == "postgres":
            self.cluster.kill()
        elif what == "backend":
            kill_backend(self.cluster.pid)
        else:
            child = self.api if what == "api" else self.watch
            if child.process is not None:
                child.process.kill()
                child.process.wait()

    def add_organisation(self, limit_cents: int) -> Clients:
        """One whose destinations don't cool off, and of whose unattended payouts so much is counted in a day."""
        made = make_organisation(self.folder / "keys", "Example Rides", ASSETS)
        policy = json.loads(made.new.policy)
        policy["cooling_off_ms"] = dict.fromkeys(policy["cooling_off_ms"], 0)
        for limit in policy["limits"]:
            limit["maximum_reference_minor"] = str(limit_cents)
        new = replace(made.new, policy=encode(policy))
        asyncio.run(add_organisation(self.cluster.owner_dsn, new, now()))
        return Clients(
            made.new.id, _credentials(made.document, "payouts"), _credentials(made.document, "beneficiaries"),
            limit_cents,
        )

    def query(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """As the owner."""
        return asyncio.run(self._query(sql, *arguments))

    async def _query(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        owner = await asyncpg.connect(self.cluster.owner_dsn)
        try:
            return await owner.fetch(sql, *arguments)
        finally:
            await owner.close()


@contextmanager
def deployment(**settings: str) -> Iterator[Deployment]:
    """Running, with these settings of PostgreSQL, and gone afterwards whatever happened."""
    with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as name, port_block() as ports:
        Path(name).chmod(0o755)
        made = Deployment(Path(name), ports, settings)
        try:
            made.cluster.start()
            asyncio.run(_prepare(made.cluster.owner_dsn))
            made.start()
            yield made
        finally:
            made.api.stop()
            made.watch.stop()
            made.cluster.kill()


async def _prepare(owner_dsn: str) -> None:
    await migrate(owner_dsn)
    await set_passwords(owner_dsn, PASSWORDS)
    owner = await asyncpg.connect(owner_dsn)
    try:
        await record_deployment(owner, DEPLOYMENT, b"{}", now())
    finally:
        await owner.close()


def _credentials(document: dict[str, Any], client: str) -> Credentials:
    found = document["clients"][client]
    seed = bytes.fromhex(Path(found["private_key_file"]).read_text().strip())
    return Credentials(
        document["organisation"], found["client_id"], found["key_id"], DEPLOYMENT, SigningKey(seed)
    )


def kill_backend(postmaster: int) -> None:
    """One process of PostgreSQL that serves the API's role, chosen by how it calls itself."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == postmaster and b"strongroom_api" in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
                return


def descendants(pid: int) -> list[tuple[int, int]]:
    """(pid, start time) of all processes below this one."""
    parents: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(process.name))
    found, waiting = [], list(parents.get(pid, ()))
    while waiting:
        each = waiting.pop()
        found.append((each, start_time(each) or 0))
        waiting += parents.get(each, ())
    return found
