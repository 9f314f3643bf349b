"""A small deployment of real processes, for attackers who have real sockets and real SQL and nothing else.

The sandbox's own supervisor starts it: PostgreSQL with its roles, API, signer, guard, link, watch, engine and a
chain's node, each as the user that it has in a sandbox. One ground serves all cases, each with an organisation of
its own (`firm`). A control puts processes of a patched copy in the place of the shipped ones, which know nothing of it.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
from tests.adversary.build import Patch, patched
from tests.ports import port_block
from tests.sandbox.box import Box

from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox import trusted
from strongroom.sandbox.ports import Ports
from strongroom.sandbox.process import Child, user_of
from strongroom.sandbox.supervisor import Supervisor

PATIENCE_S = 60
CORE = ("signer", "guard")
"""They run alone in their environment, where no variable names another source."""
_FROM_COPY = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__', "
    "alter_sys=True)"
)

UNHURRIED: Mapping[str, Mapping[str, object]] = {
    "guard": {"requests_per_second": 10_000},
    "api": {"per_address_per_second": 10_000, "per_key_per_second": 10_000},
}
"""Attacker, honest parties and watch all come from one address here."""

Result = TypeVar("Result")


class Unhurried(Supervisor):
    def _product(self, name: str, place: int, config: Mapping[str, object]) -> Child:
        return super()._product(name, place, {**config, **UNHURRIED.get(name, {})})


class Ground:
    def __init__(self, data: Path, base: int, rails: frozenset[str]) -> None:
        self.data = data
        self.ports = Ports(base)
        self.supervisor = Unhurried(data, self.ports, rails)
        self.chain = httpx.Client(base_url=f"http://127.0.0.1:{self.ports.simulated}", timeout=10, trust_env=False)
        self.guard = httpx.Client(base_url=f"http://127.0.0.1:{self.ports.guard}", timeout=10, trust_env=False)
        self.api_url = f"http://127.0.0.1:{self.ports.api}"
        self.closing: list[Callable[[], None]] = [self.chain.close, self.guard.close]
        """What is open on this side."""
        self.officers: dict[str, Callable[[str], object]] = {}
        """By organisation: have one of its officers resolve an alarm."""
        self.alarmed: dict[str, set[str]] = {}
        """By organisation: what watch ever raised."""
        self._shipped: dict[str, Sequence[str]] = {}
        self._over = threading.Event()

    def begin(self) -> None:
        self.supervisor._start()
        self._shipped = {child.name: child.command for child in self.supervisor.children}
        self.document = self.supervisor._deployment()
        self.supervisor._write_document(ready=True)
        self.calm()

    def end(self) -> None:
        for close in self.closing:
            close()
        for node in (self.supervisor.nodes.bitcoin, self.supervisor.nodes.evm):
            if node is not None:
                node.close()
        self.supervisor._end()
        for listener in self.supervisor.sockets.listeners.values():
            listener.close()
        self._over.set()

    # The processes.

    def child(self, name: str) -> Child:
        return next(each for each in self.supervisor.children if each.name == name)

    def stop(self, *names: str) -> None:
        for name in names:
            self.child(name).stop()

    def start(self, *names: str) -> None:
        """What doesn't run, in this order."""
        for name in names:
            if not self.child(name).running():
                self.child(name).start()
        if "api" in names:
            self.supervisor._wait_ready(self.child("api"), f"{self.api_url}/readyz")
        if "signer" in names:
            trusted.ask_signer(self.admin_socket, Ask.STATUS, {})

    def restart(self, *names: str) -> None:
        self.stop(*names)
        self.start(*names)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        self.stop(name)
        try:
            yield
        finally:
            self.start(name)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """What ends is started again meanwhile, and blocks are mined, as in a sandbox. By a thread that stays: with it
        the kernel would end what it started.
        """
        stopped = threading.Event()

        def watch() -> None:
            self.supervisor._watch()
            stopped.set()
            self._over.wait()

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            self.supervisor._stopping = True
            assert stopped.wait(PATIENCE_S), self.logs()

    def begin_log_anew(self) -> None:
        """A person lets watch begin anew, and guard's operator names that log; docs/operations.md."""
        newest = "SELECT note FROM strongroom.audit_checkpoints ORDER BY size DESC LIMIT 1"
        _, size, root, *_ = str(self.query("owner", newest)[0]["note"]).splitlines()
        guard = self.child("guard")
        command = guard.command
        with self.without("guard"):
            (self.data / "guard" / "store" / "contradiction.json").unlink(missing_ok=True)
            guard.command = [*command, "--tree", f"{size}:{b64decode(root).hex()}"]
            guard.start()
            guard.command = command
            assert guard.process is not None
            assert guard.process.wait(30) == 0, self.logs()
        (self.data / "watch" / "last_checkpoint").unlink()
        self.start("watch")

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Signer and guard are afterwards as they were: a guard that lied has parted from its signer for good."""
        files = [self.data / name for name in ("signer", "guard")]
        saved = self.data / "saved"
        with self._ended("signer", "guard"):
            for each in files:
                subprocess.run(["cp", "-a", str(each), str(saved / each.name)], check=True)
        try:
            yield
        finally:
            with self._ended("signer", "guard"):
                for each in files:
                    shutil.rmtree(each)
                    (saved / each.name).rename(each)

    @contextmanager
    def _ended(self, *names: str) -> Iterator[None]:
        (self.data / "saved").mkdir(exist_ok=True)
        self.stop(*names)
        try:
            yield
        finally:
            self.start(*reversed(names))

    @property
    def admin_socket(self) -> Path:
        return self.supervisor.sockets.path("admin")

    def engine_socket(self) -> socket.socket:
        """A connection to the signer as the engine's user has it: the signer asks the kernel who connects."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE_S)
        user, own = user_of(trusted.ENGINE), os.geteuid()
        try:
            if user is not None:
                os.seteuid(user)
            connection.connect(str(self.supervisor.sockets.path("engine")))
        finally:
            os.seteuid(own)
        return connection

    @contextmanager
    def patched(self, names: Sequence[str], patches: Sequence[Patch]) -> Iterator[None]:
        """These processes run from a copy with these patches meanwhile."""
        with tempfile.TemporaryDirectory(prefix="strongroom-build-") as folder:
            Path(folder).chmod(0o755)
            source = patched(Path(folder), *patches)
            for each in (Path(folder), *Path(folder).rglob("*")):
                each.chmod(0o755 if each.is_dir() else 0o644)
            try:
                for name in names:
                    self._move(name, source)
                self.restart(*names)
                self.calm()
                yield
            finally:
                for name in names:
                    self.child(name).command, self.child(name).environment = self._shipped[name], _variables(name)
                self.restart(*names)

    def _move(self, name: str, source: Path) -> None:
        child = self.child(name)
        if name not in CORE:
            child.environment = {"PYTHONPATH": str(source)}
            return
        python, *switches = self._shipped[name]
        module = switches.index("-m") + 1
        child.command = [
            python, *switches[: module - 1], "-c", _FROM_COPY, str(source), switches[module], *switches[module + 1 :],
        ]

    # What everybody can ask.

    def resolve(self) -> None:
        """Officers believe that every alarm is a false one: here no attack is held up by what watch sees."""
        for name, standing in self.status()["organisations"].items():
            for alarm in standing["alarms"]:
                self.alarmed.setdefault(name, set()).add(alarm)
                self.officers[name](alarm)

    def calm(self) -> None:
        """Until guard lets everything be signed: watch looks, and no alarm stands."""

        def is_calm() -> bool:
            self.resolve()
            stands = self.status()
            return stands["lease"] == "all" and not any(each["alarms"] for each in stands["organisations"].values())

        self.eventually(is_calm, "guard's lease is whole")

    def status(self) -> Any:
        """Raises: httpx.HTTPError when guard is down, or was asked too often in this second."""
        return self.guard.get("/v1/status").raise_for_status().json()

    def alarms(self, organisation: str, what: str) -> None:
        """Until watch has raised such an alarm; it is resolved."""

        def is_raised() -> bool:
            self.resolve()
            return any(each.startswith(what) for each in self.alarmed.get(organisation, ()))

        self.eventually(is_raised, f"watch raises {what}")

    def eventually(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if holds():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_S} s: {what}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self) -> str:
        files = [self.data / f"{each.name}.log" for each in self.supervisor.children]
        return "\n".join(f"{file.name}: {file.read_text(errors='replace')[-1_500:]}" for file in files)

    def mine(self, blocks: int = 1) -> None:
        self.chain.post("/mine", json={"blocks": blocks}).raise_for_status()

    def blocks(self) -> list[list[bytes]]:
        """The raw chain transactions of every block."""
        tip = self.chain.get("/tip").json()["height"]
        found = [self.chain.get(f"/blocks/{height}").json()["transactions"] for height in range(tip + 1)]
        return [[bytes.fromhex(signed) for signed in block] for block in found]

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of this deployment's operator."""
        return Box(self.data, self.ports.base).run(*words)

    # PostgreSQL.

    def with_files(self, act: Callable[[Path], None], *, watch: bool = True) -> None:
        """With PostgreSQL and all who use it stopped; watch doesn't begin again unless it should."""
        users = ("api", "engine", "watch")
        self.stop(*users)
        self.supervisor.cluster.stop()
        act(self.supervisor.cluster.data)
        self.supervisor.cluster.start()
        self.start(*(each for each in users if watch or each != "watch"))

    def dsn(self, role: str) -> str:
        """`owner`, or the role of a process, with the password that this has."""
        if role == "owner":
            return self.supervisor.cluster.owner_dsn
        return str(json.loads((self.data / role / "config.json").read_text())["database_url"])

    def sql(self, role: str, work: Callable[["asyncpg.Connection"], Awaitable[Result]]) -> Result:
        """With a connection as this role."""

        async def run() -> Result:
            connection = await asyncpg.connect(self.dsn(role))
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(run())

    def query(self, role: str, statement: str, *arguments: object) -> list[Any]:
        return self.sql(role, lambda connection: connection.fetch(statement, *arguments))

    def as_owner(self, *statements: tuple[Any, ...]) -> None:
        """All of them in one database transaction, by somebody who can take away every trigger: its administrator."""

        async def work(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")
                for statement, *arguments in statements:
                    await connection.execute(statement, *arguments)

        self.sql("owner", work)


def _variables(name: str) -> dict[str, str]:
    return dict(trusted.VARIABLES) if name in CORE else {}


@contextmanager
def ground(*rails: str) -> Iterator[Ground]:
    """Running, and gone afterwards whatever happened. On the simulated chain, or on these."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="strongroom-ground-", dir=where))
    folder.chmod(0o755)
    with port_block() as block:
        data = folder / "data"
        data.mkdir(mode=0o711)
        made = Ground(data, block.base, frozenset(rails or ("simulated",)))
        try:
            made.begin()
            yield made
        finally:
            made.end()
            shutil.rmtree(folder, ignore_errors=True)
