"""Commands that bring a sandbox up and down, and look at it."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, fields, say, show, table
from strongroom.cli.session import Json, SandboxFolder, folder
from strongroom.sandbox import commands

PORTS_DEFAULT: Final = 8420
POLL_S: Final = 1.0

app = cyclopts.App(name="sandbox", help="More of the sandbox.")

Ports = Annotated[int, Parameter("--ports", help="The first of its ports")]


def up(
    *,
    data: SandboxFolder = None,
    ports: Ports = PORTS_DEFAULT,
    detach: Annotated[bool, Parameter("--detach", negative="", help="Return when it is ready")] = False,
    rails: Annotated[str, Parameter("--rails", help="bitcoin,evm,bank or simulated")] = "bitcoin,evm,bank,simulated",
    as_json: Json = False,
) -> int:
    """Start PostgreSQL, a Bitcoin node, an EVM node, watch and the API on this machine."""
    where, started = folder(data), time.monotonic()
    try:
        document = commands.up(where, ports, rails, lambda line: say(f"{time.monotonic() - started:5.1f} s  {line}"))
    except commands.SandboxFault as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    text = fields(
        (
            ("API", document["api_url"]),
            ("organisation", document["organisation"]),
            ("deployment", document["deployment"]),
            ("everything else", where / "sandbox.json"),
            ("first payout", "examples/first_payout.sh"),
            ("stop it", f"bin/strongroom down --data {where}"),
        )
    )
    show(document, as_json, text)
    if not detach:
        try:
            say("running; Ctrl-C stops it")
            while commands.status(where)["supervisor"] is not None:
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            commands.down(where, say)
    return Exit.DONE


def down(*, data: SandboxFolder = None, as_json: Json = False) -> int:
    """Stop a sandbox and all that it started."""
    try:
        stopped = commands.down(folder(data), say)
    except commands.SandboxFault as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    if as_json:
        show({"stopped": stopped}, True, "")
    else:
        say("stopped" if stopped else "nothing runs")
    return Exit.DONE


def status(*, data: SandboxFolder = None, as_json: Json = False) -> int:
    """What runs, asked of the processes themselves; and what each wallet holds by ledger, chain and journal."""
    try:
        found = commands.status(folder(data))
        found["assets"] = commands.standing(folder(data)) if found["ready"] else []
    except commands.SandboxFault as fault:
        raise Stop(Exit.NOT_FOUND, str(fault)) from fault
    rows = [
        (name, each["pid"], "running" if each["running"] else "ended", (found["isolation"] or {}).get(name, ""))
        for name, each in found["processes"].items()
    ]
    listing = table(("process", "pid", "state", "isolation"), rows)
    state = "ready" if found["ready"] else "not ready"
    told = f"{listing}\n\n{_assets(found['assets'])}\n\n{_station(found['station'])}{state}  {found['api_url'] or ''}"
    show(found, as_json, told)
    return Exit.DONE if found["ready"] else Exit.FAILED


def _station(found: dict[str, Any] | None) -> str:
    """Where people approve, and the hash of all that is served there: watch puts each into the audit log."""
    if found is None:
        return ""
    return f"station  {found['url']}  bundle {found['bundle'] or 'NOT SEEN: ' + found['fault']}\n"


def _assets(rows: list[dict[str, Any]]) -> str:
    """Ledger and chain to the base unit, and what was signed by the record and by the journal."""
    stands = {None: "not looked at", True: "equal", False: "NOT EQUAL"}
    return table(
        ("asset", "ledger", "under way", "chain", "signed by record", "by journal", ""),
        [
            (each["symbol"], each["ledger"], each["under_way"], each["chain"], each["signed_by_record"],
             each["signed_by_journal"], stands[each["is_equal"]])
            for each in rows
        ],
    )


def doctor(*, data: SandboxFolder = None, ports: Ports = PORTS_DEFAULT, as_json: Json = False) -> int:
    """Look whether a sandbox could start here, and say what is missing."""
    findings = commands.doctor(folder(data), ports)
    rows = [
        (each.what, "good" if each.good else "BAD", each.detail, "" if each.good else each.advice) for each in findings
    ]
    value = [asdict(each) for each in findings]
    show(value, as_json, table(("what", "", "found", "what to do"), rows))
    return Exit.DONE if all(each.good for each in findings) else Exit.FAILED


@app.command
def organisation(
    *,
    data: SandboxFolder = None,
    name: Annotated[str, Parameter("--name", help="How it is called")] = "Example Rides",
    as_json: Annotated[bool, Parameter("--json", negative="", help="Always JSON, as sandbox.json is")] = True,
) -> int:
    """Make a fresh organisation with clients, people, wallets and budgets of its own; prints it like sandbox.json."""
    try:
        made = commands.organisation(folder(data), name)
    except commands.SandboxFault as fault:
        raise Stop(Exit.UNREACHABLE, str(fault)) from fault
    show(made, as_json, "")
    return Exit.DONE


