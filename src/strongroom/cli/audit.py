"""Commands about the audit log: write it to a file, and check such a file without any server."""

import asyncio
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, say, show
from strongroom.cli.profile import read_profile
from strongroom.cli.session import Data, Json, document, profile_file
from strongroom.protocol.audit_export import ExportError, Verified, verify_export
from strongroom.store.audit_export import NothingToExportError, export_log
from strongroom.store.session import FAULTS, SessionError

app = cyclopts.App(name="audit", help="Export the audit log, and verify an export without any server.")

SAY_EVERY = 50_000


@app.command
def export(file: Path, /, *, data: Data = None, as_json: Json = False) -> int:
    """Write the whole log, up to its newest checkpoint, to FILE."""
    sandbox = document(data)
    try:
        lines = asyncio.run(_write(file, sandbox["database_url"], f"strongroom/{sandbox['deployment']}"))
    except (NothingToExportError, SessionError, *FAULTS) as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    key = sandbox["checkpoint_public_key"]
    text = f"{lines} lines in {file}\nverify it anywhere: strongroom audit verify {file} --key {key}"
    if as_json:
        show({"file": str(file), "lines": lines, "checkpoint_public_key": key}, True, "")
    else:
        say(text)
    return Exit.DONE


@app.command
def verify(
    file: Path,
    /,
    *,
    key: Annotated[str | None, Parameter("--key", help="The log's public key, in hex; else the sandbox's")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Check an export: every leaf, their order, and the signed root. Needs no server and no database."""
    try:
        public_key = bytes.fromhex(key if key is not None else _sandbox_key(data))
        with file.open("rb") as lines:
            found = verify_export(lines, public_key)
    except ExportError as fault:
        value = {"verified": False, "leaf": fault.leaf, "reason": fault.reason}
        show(value, as_json, f"NOT VERIFIED: {fault}")
        return Exit.NOT_VERIFIED
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"{file}: {fault.strerror}") from fault
    except ValueError as fault:
        raise Stop(Exit.USAGE, f"--key: {fault}") from fault
    value = {"verified": True, "size": found.size, "root": found.root.hex(), "origin": found.origin}
    show(value, as_json, _text(found))
    return Exit.DONE


async def _write(file: Path, dsn: str, origin: str) -> int:
    count = 0
    with file.open("wb") as out:
        async for line in export_log(dsn, origin):
            out.write(line)
            count += 1
            if count % SAY_EVERY == 0:
                say(f"{count} lines")
    return count


def _sandbox_key(data: Path | None) -> str:
    try:
        return str(read_profile(profile_file(data))["checkpoint_public_key"])
    except Stop as fault:
        raise Stop(Exit.USAGE, f"--key is needed, as there is nothing to take it from: {fault}") from fault


def _text(found: Verified) -> str:
    return f"verified: {found.size} leaves of {found.origin}, root {found.root.hex()}"
