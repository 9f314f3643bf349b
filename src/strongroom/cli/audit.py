"""Commands about the audit log: write it to a file, and check such a file without any server."""

import asyncio
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, say, show
from strongroom.cli.profile import read_profile
from strongroom.cli.session import Data, Json, document, profile_file
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.audit_export import ExportError, Verified, verify_export
from strongroom.protocol.tree_head import log_origin
from strongroom.store.audit_export import NothingToExportError, export_log
from strongroom.store.session import FAULTS, SessionError

app = cyclopts.App(name="audit", help="Export the audit log, and verify an export without any server.")

SAY_EVERY = 50_000


@app.command
def export(
    file: Path,
    /,
    *,
    everything: Annotated[
        bool, Parameter("--all", negative="", help="Up to the newest checkpoint, also if guard hasn't cosigned it yet")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Write the whole log, up to the newest checkpoint that guard cosigned, to FILE."""
    sandbox = document(data)
    try:
        lines = asyncio.run(_write(file, sandbox["database_url"], log_origin(sandbox["deployment"]), everything))
    except (NothingToExportError, SessionError, *FAULTS) as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    key, witness = sandbox["checkpoint_public_key"], sandbox.get("guard_public_key")
    more = f" --witness {witness}" if witness is not None and not everything else ""
    text = f"{lines} lines in {file}\nverify it anywhere: strongroom audit verify {file} --key {key}{more}"
    if as_json:
        keys = {"checkpoint_public_key": key, "guard_public_key": witness}
        show({"file": str(file), "lines": lines, **keys}, True, "")
    else:
        say(text)
    return Exit.DONE


@app.command
def verify(
    file: Path,
    /,
    *,
    key: Annotated[
        str | None, Parameter("--key", help="Watch's public key, in hex; else both keys are the profile's")
    ] = None,
    witness: Annotated[
        str | None, Parameter("--witness", help="Guard's public key, in hex: guard must have cosigned the checkpoint")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Check an export: every leaf, their order, and the signed root. Needs no server and no database.

    Without --witness whoever has watch's key can have written another history.
    """
    if key is None:
        key, known = _known_keys(data)
        witness = witness or known
    public_key = _public_key("--key", key)
    witness_key = _public_key("--witness", witness) if witness is not None else None
    try:
        with file.open("rb") as lines:
            found = verify_export(lines, public_key, witness_key)
    except ExportError as fault:
        value = {"verified": False, "leaf": fault.leaf, "reason": fault.reason}
        show(value, as_json, f"NOT VERIFIED: {fault}")
        return Exit.NOT_VERIFIED
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"{file}: {fault.strerror}") from fault
    value = {
        "verified": True, "size": found.size, "root": found.root.hex(), "origin": found.origin,
        "witnessed_at": None if found.witnessed_s is None else _at(found.witnessed_s),
    }
    show(value, as_json, _text(found))
    return Exit.DONE


async def _write(file: Path, dsn: str, origin: str, everything: bool) -> int:
    count = 0
    with file.open("wb") as out:
        async for line in export_log(dsn, origin, everything=everything):
            out.write(line)
            count += 1
            if count % SAY_EVERY == 0:
                say(f"{count} lines")
    return count


def _known_keys(data: Path | None) -> tuple[str, str | None]:
    """Watch's and guard's, by the profile."""
    try:
        profile = read_profile(profile_file(data))
        return str(profile["checkpoint_public_key"]), profile.get("guard_public_key")
    except Stop as fault:
        raise Stop(Exit.USAGE, f"--key is needed, as there is nothing to take it from: {fault}") from fault


def _public_key(option: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as fault:
        raise Stop(Exit.USAGE, f"{option}: {fault}") from fault
    if len(key) != 32:
        raise Stop(Exit.USAGE, f"{option}: must be 64 hex digits, an Ed25519 public key")
    return key


def _at(seconds: int) -> str:
    return format_instant(Instant(seconds * SECOND_MS))


def _text(found: Verified) -> str:
    by = "signed by watch"
    if found.witnessed_s is not None:
        by += f", witnessed by guard at {_at(found.witnessed_s)}"
    return f"verified: {found.size} leaves of {found.origin}, root {found.root.hex()}, {by}"
