"""The real API process on a real database, and the owner's view of what it left there."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.conftest import ROLE_PASSWORD, renamed

from strongroom.store.organisations import record_deployment
from strongroom.store.postgres import Cluster, free_port

DEPLOYMENT = "0123456789abcdef"
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20


class Owner:
    """One connection of the owner's, for tests that look behind the API or change what no client may."""

    def __init__(self, dsn: str) -> None:
        self._runner = asyncio.Runner()
        self.dsn = dsn
        self._connection: asyncpg.Connection = self._runner.run(asyncpg.connect(dsn))
        tables = self.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'strongroom' ORDER BY 1")
        self._tables = [row["tablename"] for row in tables]

    def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return self._runner.run(self._connection.fetch(sql, *arguments))

    def value(self, sql: str, *arguments: object) -> Any:
        return self._runner.run(self._connection.fetchval(sql, *arguments))

    def execute(self, sql: str, *arguments: object) -> None:
        self._runner.run(self._connection.execute(sql, *arguments))

    def run(self, work: Any) -> Any:
        """A coroutine function that is given the connection."""
        return self._runner.run(work(self._connection))

    def counts(self) -> dict[str, int]:
        """How many rows every table has: what a refused request must leave as it was."""
        counts = ", ".join(f"(SELECT count(*) FROM strongroom.{name})" for name in self._tables)
        row = self.fetch(f"SELECT {counts}")[0]
        return dict(zip(self._tables, row.values(), strict=True))

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


class ApiProcess:
    """`python -m strongroom.api.main` with a configuration file of its own."""

    def __init__(self, folder: Path, database_url: str, **config: Any) -> None:
        self.port, metrics_port = free_port(), free_port()
        self.authority = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.authority}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.log = folder / "api.log"
        self.config = folder / "api.json"
        self.config.write_text(json.dumps({
            "listen": self.authority, "authority": self.authority, "database_url": database_url,
            "deployment": DEPLOYMENT, "metrics_listen": f"127.0.0.1:{metrics_port}",
            "per_address_per_second": 100_000, "per_key_per_second": 100_000, **config,
        }))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "ApiProcess":
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "strongroom.api.main", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": "src"},
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the API ended at once:\n{self.log.read_text()}")
            if self.ready():
                return self
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the API wasn't ready in {READY_TIMEOUT_S} s:\n{self.log.read_text()}")

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def ended(self, within_s: float) -> int | None:
        """The exit status, if the process ends within this time."""
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


@contextmanager
def fresh_database(cluster: Cluster, name: str, genesis: bytes = b"{}") -> Iterator[str]:
    """The owner's connection string of a migrated database that already has a deployment."""
    admin = Owner(renamed(cluster.owner_dsn, "postgres"))
    admin.execute(f"CREATE DATABASE {name} TEMPLATE strongroom")
    dsn = renamed(cluster.owner_dsn, name)
    try:
        asyncio.run(_found(dsn, genesis))
        yield dsn
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.close()


@contextmanager
def api_process(
    cluster: Cluster, folder: Path, name: str, genesis: bytes = b"{}", **config: Any
) -> Iterator[tuple[ApiProcess, Owner]]:
    """An API of its own on a database of its own."""
    with fresh_database(cluster, name, genesis) as dsn:
        api = ApiProcess(folder, cluster.dsn("strongroom_api", ROLE_PASSWORD, name), **config).start()
        owner = Owner(dsn)
        try:
            yield api, owner
        finally:
            owner.close()
            api.stop()


async def _found(dsn: str, genesis: bytes) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await record_deployment(connection, DEPLOYMENT, genesis, 1)  # type: ignore[arg-type]  # an instant
    finally:
        await connection.close()
