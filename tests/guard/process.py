"""Guard and link as processes, and this side of their sockets."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.guard.world import World, b64
from tests.ports import free_port

from strongroom.protocol.approval import assertion_document
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ByPeople, ByWatch

PATIENCE_S = 20


def eventually(is_so: Any) -> bool:
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


class Process:
    """One of ours, by its own pid; what it logs goes to a file."""

    def __init__(
        self, module: str, config: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log_file = config.with_suffix(".log")
        self.started = len(self.log) if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--config", str(config), *arguments], stdout=log, stderr=log,
                env=environment,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.wait()


class GuardProcess(Process):
    """`python -m strongroom.guard.main` over a world's store."""

    def __init__(
        self, world: World, *arguments: str, env: Mapping[str, str] | None = None, **config: Any
    ) -> None:
        """`env` to run a patched copy."""
        self.world = world
        self.signer_port, self.officers_port = free_port(), free_port()
        listens = {
            "signer_listen": f"127.0.0.1:{self.signer_port}", "officers_listen": f"127.0.0.1:{self.officers_port}",
        }
        super().__init__("strongroom.guard.main", world.write_config(**listens | config), *arguments, environment=env)

    def ready(self) -> "GuardProcess":
        if not eventually(lambda: self.log[self.started :].count("guard listens") or self.process.poll() is not None):
            raise AssertionError(f"guard doesn't listen: {self.log}")
        return self

    def call(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.officers_port, timeout=PATIENCE_S)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, raw)
        answer = connection.getresponse()
        read = json.loads(answer.read())
        is_problem = answer.headers["content-type"] == "application/problem+json"
        if is_problem is not (answer.status >= 400):
            raise AssertionError(f"{answer.status} as {answer.headers['content-type']}")
        connection.close()
        return answer.status, read

    def give(self, given: ByPeople | ByWatch | ClientEvidence, **changes: Any) -> tuple[int, Any]:
        document = {"organisation": self.world.organisations[0], **given_document(given)} | changes
        return self.call("POST", "/v1/alarms" if isinstance(given, ByWatch) else "/v1/negatives", document)

    def beat(self) -> str:
        status, document = self.call("POST", "/v1/heartbeat", {"frame": b64(self.world.beat(time.time_ns() // 10**6))})
        if status != 200:
            raise AssertionError(document)
        return str(document["lease"])


def given_document(given: ByPeople | ByWatch | ClientEvidence) -> dict[str, Any]:
    match given:
        case ByPeople(record, assertions):
            return {"record": b64(record), "assertions": [assertion_document(each) for each in assertions]}
        case ByWatch(frame):
            return {"frame": b64(frame)}
        case _:
            return {"evidence": given.document()}


class Wire:
    """Frames over one socket: four bytes of length, then as many."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(PATIENCE_S)

    @classmethod
    def to(cls, port: int) -> "Wire":
        return cls(socket.create_connection(("127.0.0.1", port), PATIENCE_S))

    def send(self, frame: bytes) -> None:
        self.connection.sendall(len(frame).to_bytes(4) + frame)

    def receive(self) -> bytes:
        """Raises: EOFError."""
        return self._read(int.from_bytes(self._read(4)))

    def exchange(self, frame: bytes) -> bytes:
        self.send(frame)
        return self.receive()

    def ends(self) -> bool:
        """Whether the other side closed it without another word."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self.connection.recv(length - len(parts))
            if not part:
                raise EOFError("the connection ended")
            parts += part
        return bytes(parts)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """The signer's Unix socket for link."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(4)
        listener.settimeout(PATIENCE_S)
        yield listener


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate and its key, for loopback."""
    files = str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1],
        ],
        check=True, capture_output=True,
    )
    return files
