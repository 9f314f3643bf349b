"""The product's own side over HTTP: the real API process with one worker, and a load generator in another process.

Every request is signed and every signature is checked; only the rates per address and per key are set too high to
meet. Singles are payouts one to a request over many connections; runs are 1,000 payouts to a request, sealed.
"""

import contextlib
import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.asks import bodies, http_request
from benchmarks.ground import AUTHORITY, DEPLOYMENT, Ground
from benchmarks.http_client import write_requests
from benchmarks.machine import tree_cpu_s
from benchmarks.sample import Sample
from strongroom.api.config import PER_SECOND_MAXIMUM
from strongroom.domain.ids import IdempotencyKey
from strongroom.protocol.canonical import encode
from strongroom.protocol.identifier import run_id
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.store.postgres import free_port

START_TIMEOUT_S: Final = 20
ITEMS_PER_RUN: Final = 1_000


def singles(ground: Ground, count: int) -> list[bytes]:
    return [http_request(ground, "/v1/payouts", key, encode(body)) for key, body in bodies(ground, count)]


def runs(ground: Ground, count: int, items: int = ITEMS_PER_RUN) -> list[bytes]:
    return [_run(ground, items) for _ in range(count)]


def _run(ground: Ground, count: int) -> bytes:
    """One sealed run in one call."""
    key = IdempotencyKey(f"run-{secrets.token_hex(16)}")
    run = run_id(ground.payer.organisation, ground.payer.client, key)
    items: list[dict[str, Any]] = [{**body, "idempotency_key": each} for each, body in bodies(ground, count)]
    total = sum(int(item["amount"]) for item in items)
    root = run_root(item_leaf(item, run, index) for index, item in enumerate(items))
    seal: dict[str, Any] = {"count": count, "root": root.hex(), "totals": {items[0]["asset"]: str(total)}}
    return http_request(ground, "/v1/payout-runs", key, encode({"items": items, "seal": seal}))


def measure_http(
    ground: Ground, database: str, requests: list[bytes], connections: int, payouts_each: int = 1
) -> Sample:
    """All requests through a server that was started for them; the first few aren't counted."""
    warm = max(1, min(len(requests) // 10, connections))
    with _server(ground, database) as (server, port):
        _send(ground, port, requests[:warm], connections, server)
        seen, api_s, postgres_s = _send(ground, port, requests[warm:], connections, server)
    count = seen["answers"] * payouts_each
    return Sample(
        count, seen["seconds"], (api_s + postgres_s) / count * 1e6, postgres_s / count * 1e6,
        seen["p99_ms"], seen["p50_ms"],
    )


def _send(
    ground: Ground, port: int, requests: list[bytes], connections: int, server: int
) -> tuple[dict[str, Any], float, float]:
    """What the load generator saw, and the processor seconds that the API and PostgreSQL used meanwhile."""
    file = ground.folder / "requests"
    write_requests(file, requests)
    program = Path(__file__).parent / "http_client.py"
    command = [sys.executable, str(program), "127.0.0.1", str(port), str(connections), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        if client.stdin is None or client.stdout is None or client.stdout.readline() != "ready\n":
            raise RuntimeError("the load generator didn't start")
        api_s, postgres_s = tree_cpu_s(server), tree_cpu_s(ground.cluster.pid)
        client.stdin.write("go\n")
        client.stdin.flush()
        said = client.stdout.readline()
        api_s, postgres_s = tree_cpu_s(server) - api_s, tree_cpu_s(ground.cluster.pid) - postgres_s
    if client.returncode != 0:
        raise RuntimeError("the load generator failed; what it said stands above")
    seen: dict[str, Any] = json.loads(said)
    return seen, api_s, postgres_s


@contextlib.contextmanager
def _server(ground: Ground, database: str) -> Iterator[tuple[int, int]]:
    """The pid and the port of an API process that is ready."""
    port = free_port()
    config = ground.folder / "api.json"
    config.write_text(json.dumps({
        "listen": f"127.0.0.1:{port}",
        "authority": AUTHORITY,
        "database_url": ground.api_dsn(database),
        "deployment": DEPLOYMENT,
        "metrics_listen": f"127.0.0.1:{free_port()}",
        "per_address_per_second": PER_SECOND_MAXIMUM,
        "per_key_per_second": PER_SECOND_MAXIMUM,
    }))
    config.chmod(0o600)
    log = ground.folder / "api.log"
    with log.open("ab") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom.api.main", "--config", str(config)], stdout=handle, stderr=handle
        )
    try:
        _wait_until_ready(process, port, log)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        ready = f"http://127.0.0.1:{port}/readyz"
        with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the API didn't start; its log ends:\n{log.read_text()[-2_000:]}")
