"""Commands about policies, offline: what is wrong in one, what it bounds, what a change does.

Everything is computed by `advice` from the documents; no process is asked, but for recorded payouts by `simulate`.
"""

from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter, validators

from strongroom.advice.bound import bounds
from strongroom.advice.cases import parse_cases, try_cases
from strongroom.advice.difference import differences
from strongroom.advice.problems import Problem, read_policy
from strongroom.advice.quorums import roster_warnings
from strongroom.advice.simulation import Recorded, check_assets, compare, read_recorded, replay
from strongroom.advice.warnings import warnings
from strongroom.cli import policy_text as text
from strongroom.cli.output import Exit, Stop, bar, say, show
from strongroom.cli.session import Data, Json, client, document, speaking
from strongroom.domain.document import DocumentError
from strongroom.domain.instant import DAY_MS, Instant, parse_instant
from strongroom.domain.policy import Policy
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse
from strongroom.protocol.genesis import Mode
from strongroom.protocol.roster import Roster, parse_roster
from strongroom.protocol.standing import policy_hash

app = cyclopts.App(name="policy", help="Check, compare and try policies, before anybody signs one; propose one.")
app.command("strongroom.cli.change:propose_policy", name="propose", help="Propose the next policy, and assert it")
app.command("strongroom.cli.change:show_policy", name="show", help="Print the running policy, to edit and to propose")

DOCUMENT_MAXIMUM_BYTES: Final = 2**20
PAYOUTS_MAXIMUM_BYTES: Final = 2**28
DAYS_MAXIMUM: Final = 3_650
SHOWN_EVERY: Final = 5_000

File = Annotated[Path | None, Parameter(help="A policy (strongroom/policy/v1); else the sandbox's")]
RosterFile = Annotated[Path | None, Parameter("--roster", help="Look at its people as well (strongroom/roster/v1)")]
Destinations = Annotated[
    int | None,
    Parameter(help="How many addresses could be paid; else any number", validator=validators.Number(gte=0)),
]
Days = Annotated[int, Parameter(help="How far back", validator=validators.Number(gte=1, lte=DAYS_MAXIMUM))]

@app.command
def check(
    file: File = None, /, *, roster: RosterFile = None,
    strict: Annotated[bool, Parameter(negative="", help="Fail on warnings too")] = False,
    data: Data = None, as_json: Json = False,
) -> int:
    """Name all that is wrong in a policy, and warn about what is unwise. Exits with 1 if anything is wrong."""
    name, raw = _read_or_ours(file, data, "policy.json")
    found = read_policy(raw)
    problems = found if isinstance(found, list) else []
    warned = []
    if not isinstance(found, list):
        people = _roster(roster)
        warned = warnings(found) + (roster_warnings(found, people) if people is not None else [])
    value = {
        "file": str(name),
        "problems": [{"field": each.field, "reason": each.reason} for each in problems],
        "warnings": [{"field": each.field, "reason": each.reason} for each in warned],
    }
    show(value, as_json, text.checked(name, found, warned))
    return Exit.FAILED if problems or (strict and warned) else Exit.DONE


@app.command
def diff(old: Path, new: Path, /, *, as_json: Json = False) -> int:
    """Say what a new policy says otherwise, what gets looser, and what that is worth to each attacker."""
    old_raw, (before, after) = _read(old), (_policy(each, _read(each)) for each in (old, new))
    follows = text.follows(before, after, policy_hash(old_raw))
    changes, rows = differences(before, after), text.moved(bounds(before), bounds(after))
    value = {
        "follows": follows is None, "why_not": follows,
        "changes": [
            {"field": each.field, "before": each.before, "after": each.after, "way": each.way.value}
            for each in changes
        ],
        "bounds": [each.document() for each in rows],
    }
    show(value, as_json, text.compared(before, after, changes, rows, follows))
    return Exit.DONE


@app.command
def bound(
    file: File = None, /, *, roster: RosterFile = None, destinations: Destinations = None, data: Data = None,
    as_json: Json = False,
) -> int:
    """Compute the most that each attacker can take in 24 hours, and say which rule holds it."""
    policy = _policy(*_read_or_ours(file, data, "policy.json"))
    rows = bounds(policy, _roster(roster), destinations)
    show(text.bound_document(policy, rows), as_json, text.bound_page(policy, rows))
    return Exit.DONE


@app.command(name="test")
def try_on(file: Path, cases: Path, /, *, as_json: Json = False) -> int:
    """Try a policy on the cases of a file (strongroom/policy-cases/v1). Exits with 1 if one fails."""
    policy = _policy(file, _read(file))
    try:
        tried = list(try_cases(policy, parse_cases(_json(cases, DOCUMENT_MAXIMUM_BYTES))))
    except DocumentError as fault:
        raise Stop(Exit.FAILED, f"{cases}: {fault}") from fault
    failed = [each for each in tried if not each.passed]
    value = {
        "passed": len(tried) - len(failed), "failed": len(failed),
        "cases": [
            {"name": each.case.name, "passed": each.passed, "expected": str(each.case.expected), "got": each.got}
            for each in tried
        ],
    }
    show(value, as_json, text.tried(tried))
    return Exit.FAILED if failed else Exit.DONE


@app.command
@speaking
def simulate(
    file: Path, /, *,
    payouts: Annotated[
        Path | None, Parameter(help="Recorded payouts, as `payout list --json` gives them; else the sandbox's")
    ] = None,
    running: Annotated[Path | None, Parameter(help="The policy that was in force; else the sandbox's")] = None,
    days: Days = 30,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Say what a policy would have done to recorded payouts: who would have been asked, what would have waited."""
    new = _policy(file, _read(file))
    in_force = _policy(*_read_or_ours(running, data, "policy.json"))
    recorded = _recorded(payouts, data, days, in_force)
    try:
        check_assets(new, recorded)
    except DocumentError as fault:
        raise Stop(Exit.FAILED, f"{file}: {fault}") from fault
    total = 2 * len(recorded)
    with bar(total, "payouts replayed") as show_bar:

        def heard(done: int) -> None:
            if total <= SHOWN_EVERY or done % SHOWN_EVERY == 0 or done == total:
                show_bar(done)

        before = replay(in_force, recorded, heard)
        after = replay(new, recorded, lambda done: heard(len(recorded) + done))
    replayed = compare(before, after, recorded)
    show(text.simulated_document(in_force, replayed), as_json, text.simulated(in_force, replayed))
    return Exit.DONE


def _recorded(file: Path | None, data: Path | None, days: int, in_force: Policy) -> list[Recorded]:
    """Of the last days: before now, or before the newest of a file."""
    if file is not None:
        document_of_rows = _json(file, PAYOUTS_MAXIMUM_BYTES)
        rows: Any = document_of_rows.get("data") if isinstance(document_of_rows, Mapping) else document_of_rows
        if not isinstance(rows, list):
            raise Stop(Exit.FAILED, f"{file}: must be a list of payouts, or have one as `data`")
        since_of: dict[str, Instant] = {}
    else:
        rows, since_of = _from_the_api(data, days, in_force)
    try:
        found = read_recorded(rows, since_of)
    except DocumentError as fault:
        raise Stop(Exit.FAILED, f"{file or 'the API'}: {fault}") from fault
    newest = max((each.created_at for each in found), default=Instant(0))
    return [each for each in found if file is None or each.created_at > newest - days * DAY_MS]


def _from_the_api(
    data: Path | None, days: int, in_force: Policy
) -> tuple[list[dict[str, Any]], dict[str, Instant]]:
    """Payouts, and when each destination was declared: by its beneficiary, later versions by their cooling-off."""
    since = format_instant(Instant(max(0, int(time() * 1_000) - days * DAY_MS)))
    since_of: dict[str, Instant] = {}
    with client(document(data), "payouts") as api:
        rows = list(api.payouts.list(limit="200", created_after=since))
        say(f"{len(rows)} payouts of the last {days} days")
        for beneficiary in api.beneficiaries.list(limit="200"):
            for each in beneficiary["destinations"]:
                cooling_ms = {str(name): ms for name, ms in in_force.cooling_off_ms.items()}[each["class"]]
                declared_at = Instant(parse_instant(each["cooling_until"]) - cooling_ms)
                first = parse_instant(beneficiary["created_at"])
                since_of[each["digest"]] = first if each["version"] == 1 else declared_at
    return rows, since_of


def _policy(file: Path, raw: bytes) -> Policy:
    """Raises: Stop with the first thing that is wrong."""
    found = read_policy(raw)
    if isinstance(found, list):
        more = f" (and {len(found) - 1} more: strongroom policy check {file})" if len(found) > 1 else ""
        raise Stop(Exit.FAILED, f"{file}: {_one(found[0])}{more}")
    return found


def _one(problem: Problem) -> str:
    return f"{problem.field}: {problem.reason}" if problem.field else problem.reason


def _roster(file: Path | None) -> Roster | None:
    if file is None:
        return None
    try:
        return parse_roster(_read(file), Mode.SANDBOX)
    except DocumentError as fault:
        raise Stop(Exit.FAILED, f"{file}: {fault}") from fault


def _read_or_ours(file: Path | None, data: Path | None, name: str) -> tuple[Path, bytes]:
    """The file, or the document of this name that the sandbox's organisation was made with."""
    if file is not None:
        return file, _read(file)
    known = document(data)
    ours = known.file.parent / "keys" / known["organisation"] / name
    if "ready" not in known:
        raise Stop(Exit.USAGE, f"name a file: {known.file} is no sandbox, which alone keeps its {name}")
    return ours, _read(ours)


def _read(file: Path, maximum_bytes: int = DOCUMENT_MAXIMUM_BYTES) -> bytes:
    try:
        if file.stat().st_size > maximum_bytes:
            raise Stop(Exit.FAILED, f"{file} has more than {maximum_bytes} bytes")
        return file.read_bytes()
    except FileNotFoundError as fault:
        raise Stop(Exit.NOT_FOUND, f"there is no file {file}") from fault
    except OSError as fault:
        raise Stop(Exit.FAILED, f"{file} can't be read: {fault.strerror}") from fault


def _json(file: Path, maximum_bytes: int) -> JsonValue:
    try:
        return parse(_read(file, maximum_bytes))
    except CanonicalError as fault:
        raise Stop(Exit.FAILED, f"{file}: {fault.reason}") from fault
