"""The trusted half of a sandbox: signer, guard, the link between them, and the engine that asks.

Each is a process with a user and a folder of its own; signer, its ceremony and guard have an environment of their own.
The signer gets listening sockets and an opened age identity from here and opens nothing else; they live as long as the
supervisor, so that a signer that is started again has them.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.genesis import GENESIS_TYPE
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.sandbox.environment import VARIABLES, NoEnvironmentError, core_command
from strongroom.sandbox.evm_vault import guardian_key
from strongroom.sandbox.organisation import write_private
from strongroom.sandbox.ports import Ports
from strongroom.sandbox.process import Child, user_of

SIGNER, GUARD, LINK, ENGINE, SIMULATED, NOTIFY, STATION, CONSOLE, GUARDIAN = 4, 5, 6, 7, 8, 9, 10, 11, 12
"""Places in the list of users."""
SOCKET_PATH_MAXIMUM: Final = 100
ASK_TIMEOUT_S: Final = 30
CEREMONY_TIMEOUT_S: Final = 30
MINE_EVERY_MS: Final = 500
STATION_HOST: Final = "station.localhost"
"""A host of its own, so that no other page can ask for its passkeys; browsers find it on this machine."""
TOKEN_FILE: Final = "token.json"  # noqa: S105 a file's name


class TrustedError(Exception):
    """The trusted half can't be set up; the message says why."""


class SignerRefusedError(TrustedError):
    """The signer answered, and said no; the message has its rule and reason."""


@dataclass(slots=True)
class Sockets:
    """Listening Unix sockets that the signer inherits, and where others find them."""

    folder: Path
    listeners: dict[str, socket.socket] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.sock"

    def listen(self, name: str, user: int | None) -> int:
        """The descriptor of a new socket that only `user` may connect to."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        if user is not None:
            os.chown(path, user, user)
        listener.listen(8)
        self.listeners[name] = listener
        return listener.fileno()


def runtime_folder(data: Path) -> Path:
    """A folder for sockets whose path is short enough for one (107 bytes)."""
    folder = data / "run"
    if len(str(folder / "engine.sock")) > SOCKET_PATH_MAXIMUM:
        folder = Path(tempfile.gettempdir()) / f"strongroom-{record_hash('sandbox', str(data).encode()).hex()[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    return folder


def make_signer_keys(data: Path) -> bytes:
    """The signer's folder with its sealed keys, and the identity that opens them; the statement key."""
    folder = data / "signer"
    folder.mkdir(mode=0o700, exist_ok=True)
    identity = data / "signer.identity"
    identity.unlink(missing_ok=True)  # of an attempt that ended before its keys were made
    recipient = _ceremony("identity", str(identity))
    return bytes.fromhex(_ceremony("keys", str(folder), recipient))


def begin_journal(data: Path, genesis: bytes) -> None:
    """The journal's first entry, and the same genesis hash for guard's operator to type."""
    file = data / "genesis.json"
    write_private(file, genesis.decode())
    _ceremony("found", str(data / "signer"), str(file))
    folder = data / "signer"
    user = user_of(SIGNER)
    if user is not None:
        for each in (folder, *folder.iterdir()):
            os.chown(each, user, user)


def signer_child(data: Path, sockets: Sockets, make: Callable[..., Child]) -> Child:
    """With TOKEN_FILE in the sandbox's folder its Bitcoin keys are in a token: there a `pin_file` is named in the place
    of a descriptor, and a key without an organisation is of the first."""
    identity = os.open(data / "signer.identity", os.O_RDONLY)
    engine_user, user = user_of(ENGINE), user_of(SIGNER)
    own = os.geteuid()
    descriptors = {
        "admin": sockets.listen("admin", None), "engine": sockets.listen("engine", engine_user),
        "link": sockets.listen("link", user_of(LINK)),
    }
    config: dict[str, object] = {
        "admin_user": own, "engine_user": own if engine_user is None else engine_user, "folder": str(data / "signer"),
        "identity": identity, **descriptors,
    }
    secrets = [identity]
    if (data / TOKEN_FILE).exists():
        token = json.loads((data / TOKEN_FILE).read_text())
        token["pin"] = os.open(token.pop("pin_file"), os.O_RDONLY)
        first = {"organisation": json.loads((data / "deployment.json").read_text())["organisation"]}
        token["keys"] = [first | each for each in token["keys"]]
        secrets.append(token["pin"])
        config["token"] = _private(data / "signer" / TOKEN_FILE, token, user)
    command = in_core_environment("strongroom.signer.main", _private(data / "signer" / "config.json", config, user))
    inherited = (*secrets, *descriptors.values())
    return make("signer", command, user, VARIABLES, inherited=inherited, rewound=secrets, locks_memory=True)


def _private(file: Path, value: Mapping[str, object], user: int | None) -> str:
    """A file that this user alone reads; its path."""
    write_private(file, json.dumps(value, sort_keys=True) + "\n")
    if user is not None:
        os.chown(file, user, user)
    return str(file)


def guard_config(
    folder: Path, signer_port: int, officers_port: int, genesis: bytes, nodes: Mapping[str, object]
) -> dict[str, object]:
    """Guard's own node is the sandbox's only one."""
    store = folder / "store"
    store.mkdir(mode=0o700, exist_ok=True)
    return {
        "folder": str(store), "marker_file": str(folder / "marker"), "key_file": str(folder / "guard.key"),
        "genesis_hash": record_hash(GENESIS_TYPE, genesis).hex(), "signer_listen": f"127.0.0.1:{signer_port}",
        "nodes": nodes, "officers_listen": f"127.0.0.1:{officers_port}",
    }


def notify_config(data: Path, deployment: Mapping[str, Any]) -> dict[str, object]:
    """Messages go into a folder. Guard's notices have a second name where notify's user can reach them, and can only
    read; guard's own folder stays closed.
    """
    written, shared = data / "guard" / "store" / "notices.jsonl", data / "notices"
    written.touch(mode=0o600)
    guard, reader = user_of(GUARD), user_of(NOTIFY)
    if guard is not None and reader is not None:
        os.chown(written, guard, reader)
        written.chmod(0o640)
    shared.mkdir(mode=0o711, exist_ok=True)
    shared.chmod(0o711)
    (shared / written.name).unlink(missing_ok=True)
    (shared / written.name).hardlink_to(written)
    return {
        "deployment": deployment["deployment"], "folder": str(data / "notify"),
        "maildir": str(data / "notify" / "mail"),
        "members": {each["id"]: f"{each['login']}@sandbox.example" for each in deployment["people"]},
        "notices_file": str(shared / written.name), "sender": "guard@sandbox.example",
    }


def guardian_config(data: Path, guard_port: int, network: str, node_port: int) -> dict[str, object]:
    """Its key is copied where it alone can read it; what it signs stands beside."""
    folder = data / "guardian"
    for each in (folder, folder / "pauses"):
        each.mkdir(mode=0o700, exist_ok=True)
    write_private(folder / "guardian.key", guardian_key(data / "keys").read_text())
    return {
        "folder": str(folder / "pauses"), "guard_url": f"http://127.0.0.1:{guard_port}",
        "key_file": str(folder / "guardian.key"), "nodes": {network: [f"http://127.0.0.1:{node_port}"]},
    }


def ask_signer(path: Path, ask: Ask, body: Mapping[str, JsonValue]) -> Any:
    """One question on the admin socket. Raises: SignerRefusedError, or TrustedError if nobody answers."""
    frame = write_ask(ask, body)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ASK_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(len(frame).to_bytes(4) + frame)
            length = int.from_bytes(_receive(connection, 4))
            answer = read_answer(_receive(connection, length))
    except OSError as fault:
        raise TrustedError(f"the signer doesn't answer on {path}: {fault}") from fault
    if isinstance(answer, RefusedAnswer):
        raise SignerRefusedError(f"the signer refused: {answer.rule}: {answer.reason}")
    return answer


def let_in(path: Path, policy: bytes, roster: bytes) -> None:
    """An organisation, on the admin socket."""
    body: dict[str, JsonValue] = {"policy": b64encode(policy).decode(), "roster": b64encode(roster).decode()}
    ask_signer(path, Ask.ORGANISATION, body)


def chain_genesis(url: str, child: Child) -> str:
    """The first block of the simulated chain, once it answers. Raises: ProcessError."""
    deadline = time.monotonic() + ASK_TIMEOUT_S
    while time.monotonic() < deadline and child.running():
        try:
            genesis: str = httpx.get(f"{url}/identity", timeout=2, trust_env=False).json()["genesis"]
        except (httpx.HTTPError, KeyError, ValueError):
            time.sleep(0.05)
            continue
        return genesis
    raise child.fail("doesn't answer")


def station_origin(ports: Ports) -> str:
    return f"http://{STATION_HOST}:{ports.station}"


def station_config(ports: Ports, founded: Mapping[str, Any]) -> dict[str, object]:
    """What the station is told; a sandbox from before keeps the relying party of its genesis."""
    return {
        "listen": f"127.0.0.1:{ports.station}", "origin": station_origin(ports),
        "console_origin": f"http://console.localhost:{ports.console}",
        "guard_origin": f"http://127.0.0.1:{ports.guard}", "relying_party_id": founded["relying_party"]["id"],
        "deployment": founded["deployment"], "statement_public_key": founded["statement_public_key"],
    }


def _ceremony(*arguments: str) -> str:
    command = in_core_environment("strongroom.signer.ceremony", *arguments)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=CEREMONY_TIMEOUT_S, check=False, env=VARIABLES
    )
    if done.returncode != 0:
        raise TrustedError(f"the ceremony failed: {done.stderr.strip()}")
    return done.stdout.strip()


def in_core_environment(module: str, *arguments: str) -> list[str]:
    """How to start a process of the trusted core. Raises: TrustedError."""
    try:
        return core_command(module, *arguments)
    except NoEnvironmentError as fault:
        raise TrustedError(str(fault)) from fault


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        part = connection.recv(min(65_536, length - len(parts)))
        if not part:
            raise ConnectionError("the connection ended")
        parts += part
    return parts
