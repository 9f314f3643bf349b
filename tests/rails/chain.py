"""A simulated chain process for tests: started, killed with SIGKILL, started again on the same file."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

HOST = "127.0.0.1"
PORTS = itertools.cycle(range(26_000 + os.getpid() * 37 % 900, 27_000))
START_TIMEOUT_S = 20
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}


def free_port() -> int:
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise AssertionError("there is always a next port")


class Chain:
    """Its sandbox-only calls, for the test that is the outside world."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._options = options
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "strongroom.sandbox.simulated_chain", "--listen", f"{HOST}:{self.port}",
            "--state", str(self.state), *self._options,
        ]
        with self.state.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                self._client.get("/tip").raise_for_status()
                return
            time.sleep(0.02)
        raise AssertionError(f"the chain didn't start:\n{self.state.with_suffix('.log').read_text()}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def close(self) -> None:
        self.kill()
        self._client.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def refused(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        """What a refused call says."""
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == 400, f"{path}: {answer.status_code} {answer.text}"
        return str(answer.json()["error"])

    def fund(self, address: str, amount: int) -> str:
        return str(self.call("POST", "/fund", {"address": address, "amount": str(amount)})["txid"])

    def mine(self, blocks: int = 1) -> int:
        return int(self.call("POST", "/mine", {"blocks": blocks})["height"])

    def fault(self, fault: str, **fields: Any) -> None:
        self.call("POST", "/faults", {"fault": fault, **fields})

    def faults(self) -> list[dict[str, Any]]:
        """Those that are still armed."""
        return list(self.call("GET", "/faults")["faults"])

    def behave(self) -> None:
        self.call("DELETE", "/faults")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(START_TIMEOUT_S)


@contextlib.contextmanager
def running_chain(folder: Path, *options: str) -> Iterator[Chain]:
    chain = Chain(folder / "chain", *options)
    try:
        chain.start()
        yield chain
    finally:
        chain.close()
