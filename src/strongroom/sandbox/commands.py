"""The sandbox's commands: up, down, status, doctor, and a fresh organisation. The command line calls these."""

import asyncio
import contextlib
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from httpx import HTTPError

from strongroom.domain.instant import Instant
from strongroom.sandbox.bitcoin import Bitcoin, BitcoinError
from strongroom.sandbox.evm import Evm, EvmError
from strongroom.sandbox.evm_vault import vault_of
from strongroom.sandbox.funding import Nodes, fund_wallets
from strongroom.sandbox.organisation import make_organisation, write_private
from strongroom.sandbox.parts import PartError
from strongroom.sandbox.ports import Ports, PortTakenError
from strongroom.sandbox.process import Known, private_log, start_time, wait_until_gone, why_not_isolated
from strongroom.sandbox.standing import standing_of
from strongroom.sandbox.trusted import TrustedError, let_in
from strongroom.store.organisations import NewOrganisation, add_organisation
from strongroom.store.postgres import PostgresError, find_binaries
from strongroom.store.session import FAULTS
from strongroom.watch.station import BundleError, served_bundle

UP_TIMEOUT_S: Final = 600
DOWN_TIMEOUT_S: Final = 60
DISK_NEEDED: Final = 2 * 2**30
RAILS: Final = ("bitcoin", "evm", "bank", "simulated")

Say = Callable[[str], None]


class SandboxFault(Exception):
    """A command of the sandbox failed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor looked at; `advice` is there when it isn't good."""

    what: str
    good: bool
    detail: str
    advice: str = ""


def up(data: Path, base: int, rails: str, say: Say) -> dict[str, Any]:
    """Start a sandbox in the background, and wait until it is ready; its document. Raises: SandboxFault.

    One that runs already is left as it is.
    """
    unknown = [rail for rail in rails.split(",") if rail not in RAILS]
    if unknown:
        raise SandboxFault(f"there is no rail {unknown[0]!r}; there are {', '.join(RAILS)}")
    try:
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o711)
        with private_log(data / "up.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once start one
            supervisor = _supervisor(data) or _start(data, base, rails)
    except OSError as fault:
        raise SandboxFault(f"{data} can't be written: {fault.strerror}") from fault
    try:
        return _wait(data, supervisor, say)
    except KeyboardInterrupt:
        down(data, say)
        raise


def down(data: Path, say: Say) -> bool:
    """Stop a sandbox, also one whose supervisor was killed; False if none ran. Raises: SandboxFault."""
    supervisor = _supervisor(data)
    is_running = supervisor is not None or any(each.alive() for each in _children(data))
    if supervisor is not None:
        say("stopping the sandbox")
        supervisor.signal(signal.SIGTERM)
        if not wait_until_gone(supervisor, DOWN_TIMEOUT_S):
            supervisor.signal(signal.SIGKILL)
            wait_until_gone(supervisor, DOWN_TIMEOUT_S)
    _end_children(data)
    with contextlib.suppress(SandboxFault):
        document = read_document(data)
        if document.pop("ready", False):  # whoever should have written that it has ended was killed
            document.pop("api_url", None)
            write_private(data / "sandbox.json", json.dumps({"ready": False, **document, "pids": {}}, indent=1) + "\n")
    return is_running


def status(data: Path) -> dict[str, Any]:
    """What is true now: asked of the processes, not read from a file. Raises: SandboxFault if there is no sandbox."""
    document = read_document(data)
    supervisor = _supervisor(data)
    processes = {
        name: {"pid": pid, "running": Known(pid, started).alive()} for name, (pid, started) in _recorded(data).items()
    }
    ready = False
    if supervisor is not None and "api_url" in document:
        with contextlib.suppress(httpx.HTTPError):
            ready = httpx.get(document["api_url"] + "/readyz", timeout=2, trust_env=False).status_code == 200
    return {
        "ready": ready, "supervisor": None if supervisor is None else supervisor.pid, "processes": processes,
        "deployment": document.get("deployment"), "api_url": document.get("api_url"),
        "isolation": document.get("isolation"), "station": _station(document) if ready else None,
    }


def _station(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where people approve, and the hash of what is really served there; null, and why, if it can't be had."""
    url = document.get("station_url")
    if url is None:
        return None
    try:
        return {"url": url, "bundle": served_bundle(url)}
    except BundleError as fault:
        return {"url": url, "bundle": None, "fault": str(fault)}


def standing(data: Path) -> list[dict[str, Any]]:
    """What the first organisation's wallets hold, by ledger, chain and journal. Raises: SandboxFault."""
    document = read_document(data)
    symbols = {asset: symbol for symbol, asset in document["assets"].items()}
    rows = standing_of(data, document["database_url"], document["organisation"])
    return [{"symbol": symbols.get(each["asset"], each["asset"]), **each} for each in rows]


def organisation(data: Path, name: str = "Example Rides") -> dict[str, Any]:
    """A fresh organisation in a running sandbox, in the form of sandbox.json. Raises: SandboxFault."""
    document = read_document(data)
    if not status(data)["ready"]:
        raise SandboxFault(f"the sandbox in {data} doesn't run: strongroom up")
    made = make_organisation(data.resolve() / "keys", name, document["assets"])
    now = Instant(time.time_ns() // 1_000_000)
    try:
        asyncio.run(add_organisation(document["database_url"], made.new, now))
        let_in(Path(document["admin_socket"]), made.new.policy, made.new.roster)
        _fund(document, made.new, data.resolve() / "keys" / made.new.id)
    except FAULTS as fault:
        raise SandboxFault(f"the database doesn't take it: {fault}") from fault
    except (TrustedError, BitcoinError, EvmError, PartError, HTTPError) as fault:
        raise SandboxFault(f"the new organisation isn't whole: {fault}") from fault
    whole = {**document, **made.document}
    if "evm" in whole:
        whole["evm"] = {**whole["evm"], "hot_vault": vault_of(made.new.id)}
    write_private(data.resolve() / "keys" / made.new.id / "sandbox.json", json.dumps(whole, indent=1) + "\n")
    time.sleep(1.1)  # the API sees new organisations within a second
    return whole


def _fund(document: Mapping[str, Any], new: NewOrganisation, keys: Path) -> None:
    """Raises: TrustedError, BitcoinError, EvmError, HTTPError."""
    bitcoin, evm = document.get("bitcoin"), document.get("evm")
    nodes = Nodes(
        document.get("simulated", {}).get("url", ""),
        None if bitcoin is None else Bitcoin(bitcoin["rpc_url"], Path(bitcoin["cookie_file"])),
        None if evm is None else Evm(evm["rpc_url"]),
    )
    fund_wallets(Path(document["admin_socket"]), nodes, new.id, new.opening, keys)
    for node in (nodes.bitcoin, nodes.evm):
        if node is not None:
            node.close()


def doctor(data: Path, base: int) -> list[Finding]:
    """What a sandbox needs, and whether it is there. Changes nothing, fetches nothing."""
    findings = [Finding("python", sys.version_info >= (3, 11), sys.version.split()[0], "Python 3.11 or newer")]
    there = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    findings.append(Finding("disk", free >= DISK_NEEDED, f"{free // 2**20} MiB free", "a sandbox needs 2 GiB"))
    try:
        findings.append(Finding("postgres", True, str(find_binaries())))
    except PostgresError as fault:
        findings.append(Finding("postgres", False, "not found", str(fault)))
    for name, tools in (("bitcoind", ("bitcoind", "apt-get")), ("anvil", ("anvil", "npm"))):
        found = next((tool for tool in tools if shutil.which(tool)), None)
        detail = "not found" if found is None else f"by {found}"
        findings.append(Finding(name, found is not None, detail, f"install one of: {', '.join(tools)}"))
    if _supervisor(data) is None:
        try:
            Ports(base).check()
            findings.append(Finding("ports", True, f"{base} and what follows are free"))
        except PortTakenError as fault:
            findings.append(Finding("ports", False, "taken", str(fault)))
    else:
        findings.append(Finding("sandbox", bool(status(data)["ready"]), "runs", "see DIR/progress.log"))
    findings.append(Finding("isolation", True, why_not_isolated() or "a user for each process"))
    return findings


def read_document(data: Path) -> dict[str, Any]:
    """Raises: SandboxFault."""
    try:
        found: dict[str, Any] = json.loads((data / "sandbox.json").read_text())
    except FileNotFoundError as fault:
        raise SandboxFault(f"there is no sandbox in {data}: strongroom up") from fault
    except (OSError, json.JSONDecodeError) as fault:
        raise SandboxFault(f"{data / 'sandbox.json'} can't be read: {fault}") from fault
    return found


def _start(data: Path, base: int, rails: str) -> Known:
    """A supervisor of its own session. Raises: OSError."""
    _end_children(data)  # of a supervisor that was killed just now
    write_private(data / "progress.log", "")
    with private_log(data / "supervisor.log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom.sandbox.supervisor", "--data", str(data.resolve()), "--ports", str(base),
             "--rails", rails],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )
    known = Known(process.pid, start_time(process.pid) or 0)
    try:
        write_private(data / "supervisor.json", json.dumps({"pid": known.pid, "started": known.started}) + "\n")
    except OSError:
        process.kill()  # nobody would ever find it
        raise
    return known


def _end_children(data: Path) -> None:
    """Raises: SandboxFault."""
    for each in _children(data):
        if each.alive():
            each.signal(signal.SIGTERM)
            if not wait_until_gone(each, 10):
                each.signal(signal.SIGKILL)
                if not wait_until_gone(each, 10):
                    raise SandboxFault(f"process {each.pid} can't be ended")


def _wait(data: Path, supervisor: Known, say: Say) -> dict[str, Any]:
    """Pass on what the supervisor says until it is ready or gone."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    shown = 0
    while time.monotonic() < deadline:
        alive = supervisor.alive()
        lines = (data / "progress.log").read_text().splitlines()
        for line in lines[shown:]:
            say(line)
        shown = len(lines)
        if any(line.startswith("ready") for line in lines) and alive:
            return read_document(data)
        if not alive:
            failed = [place for place, line in enumerate(lines) if line.startswith("failed: ")]
            said = "\n".join(lines[failed[-1] :]) if failed else f"see {data / 'supervisor.log'}"
            reason = said.removeprefix("failed: ")
            raise SandboxFault(f"the sandbox didn't start: {reason}")
        time.sleep(0.1)
    raise SandboxFault(f"the sandbox wasn't ready in {UP_TIMEOUT_S} s: see {data / 'progress.log'}")


def _supervisor(data: Path) -> Known | None:
    with contextlib.suppress(OSError, json.JSONDecodeError, KeyError):
        found = json.loads((data / "supervisor.json").read_text())
        known = Known(found["pid"], found["started"])
        if known.alive():
            return known
    return None


def _recorded(data: Path) -> dict[str, tuple[int, int]]:
    with contextlib.suppress(OSError, json.JSONDecodeError):
        found = json.loads((data / "processes.json").read_text())
        return {name: (pid, started) for name, (pid, started) in found.items()}
    return {}


def _children(data: Path) -> list[Known]:
    return [Known(pid, started) for pid, started in _recorded(data).values()]


