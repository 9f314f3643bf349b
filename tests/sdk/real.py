"""The real API process over the test's PostgreSQL, with an organisation as the sandbox makes one."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.conftest import ROLE_PASSWORD, renamed

from strongroom.domain.instant import Instant
from strongroom.sandbox.organisation import EVM, Made, assets_of, make_organisation
from strongroom.sdk import AsyncClient, Client
from strongroom.store.organisations import found_deployment
from strongroom.store.postgres import Cluster, free_port

DEPLOYMENT = "0123456789abcdef"
DATABASE = "sdk_real"
READY_TIMEOUT_S = 30
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


@dataclass(frozen=True)
class RealApi:
    url: str
    document: dict[str, Any]

    @property
    def usdc(self) -> str:
        return f"{EVM}/erc20:{TOKEN}"

    def _arguments(self, name: str) -> tuple[str, str, str, str, str, bytes]:
        known = self.document["clients"][name]
        seed = bytes.fromhex(Path(known["private_key_file"]).read_text().strip())
        return self.url, DEPLOYMENT, self.document["organisation"], known["client_id"], known["key_id"], seed

    def client(self, name: str) -> Client:
        return Client(*self._arguments(name))

    def async_client(self, name: str) -> AsyncClient:
        return AsyncClient(*self._arguments(name))


@contextmanager
def real_api(cluster: Cluster, folder: Path) -> Iterator[RealApi]:
    made = make_organisation(folder, "Example Rides", assets_of({"USDC": TOKEN}))
    asyncio.run(_database(cluster, made))
    listen = f"127.0.0.1:{free_port()}"
    config = folder / "api.json"
    config.write_text(json.dumps({
        "listen": listen, "authority": listen, "metrics_listen": f"127.0.0.1:{free_port()}", "deployment": DEPLOYMENT,
        "database_url": cluster.dsn("strongroom_api", ROLE_PASSWORD, DATABASE),
    }))
    log = folder / "api.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom.api.main", "--config", str(config)], stdin=subprocess.DEVNULL,
            stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": "src"},
        )
    try:
        _wait(process, f"http://{listen}/readyz", log)
        yield RealApi(f"http://{listen}", made.document)
    finally:
        process.terminate()
        process.wait(20)


async def _database(cluster: Cluster, made: Made) -> None:
    connection = await asyncpg.connect(renamed(cluster.owner_dsn, "postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE strongroom")
    finally:
        await connection.close()
    dsn = renamed(cluster.owner_dsn, DATABASE)
    await found_deployment(dsn, DEPLOYMENT, b"{}", made.new, Instant(time.time_ns() // 1_000_000))


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the API ended at once:\n{log.read_text()}")
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the API wasn't ready in {READY_TIMEOUT_S} s:\n{log.read_text()}")
