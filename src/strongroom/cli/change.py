"""Changes of policy and roster: what is running, what is proposed, and people's assertions over it.

What is shown is read from the bytes that are asserted, and compared with the running version that they name by its
hash: who lies about either shows something that the signer won't take. Nothing is asserted before it is shown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from strongroom.advice.bound import bounds
from strongroom.advice.difference import Change, differences
from strongroom.advice.problems import read_policy
from strongroom.advice.proposal import TYPES, name_of
from strongroom.advice.quorums import roster_warnings
from strongroom.advice.roster_difference import roster_differences
from strongroom.advice.warnings import warnings
from strongroom.cli import policy_text
from strongroom.cli.approve import As, OnKey, Signer, post, signers_of
from strongroom.cli.founding import FoundingError, canonical
from strongroom.cli.output import Exit, Stop, fields, say, show, table
from strongroom.cli.session import LIMIT_DEFAULT, PAGE_MAXIMUM, Data, Json, Limit, document, reader, speaking
from strongroom.domain.document import DocumentError
from strongroom.domain.policy import Policy
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.genesis import Mode
from strongroom.protocol.roster import Roster, parse_roster
from strongroom.sdk.calls import CallPlan

app = cyclopts.App(name="change", help="Changes of policy and roster: what waits, and what you assert.")
people = cyclopts.App(name="people", help="Who is in the running roster, and changes of it.")

Name = Annotated[str, Parameter(help="The change's hash, or its start")]
File = Annotated[Path, Parameter(help="JSON: the running version with what shall differ")]
START_MINIMUM: Final = 8


@dataclass(frozen=True, slots=True)
class Documents:
    """Policy and roster that are running, by the API."""

    policy: Policy
    roster: Roster
    raws: dict[str, bytes]


@app.command(name="list", sort_key=1)
@speaking
def list_changes(*, limit: Limit = LIMIT_DEFAULT, data: Data = None, as_json: Json = False) -> int:
    """List what was proposed, the oldest first."""
    with reader(document(data)) as api:
        found = [each for each, _ in zip(api.pages("/v1/changes", {"limit": str(min(limit, PAGE_MAXIMUM))}),
                                         range(limit), strict=False)]
    rows = [(each["id"][:16], each["document"], each["version"], each["state"].replace("_", " "),
             f"{len(each['people'])} of {each['needed']}", each["due_at"] or each["created_at"]) for each in found]
    show(found, as_json, table(("change", "document", "version", "state", "people", "at"), rows))
    return Exit.DONE


@app.command(name="show", sort_key=2)
@speaking
def show_change(change: Name, /, *, data: Data = None, as_json: Json = False) -> int:
    """Show what a change says otherwise than what is running, and what that is worth to each attacker."""
    profile = document(data)
    found, running = _found(profile, change), _running(profile)
    text = f"{_state(found)}\n\n{_difference(found['document'], found['raw'].encode(), running)}"
    show({**found, "changes": _changes(found["document"], found["raw"].encode(), running)}, as_json, text)
    return Exit.DONE


@app.command(name="assert", sort_key=3)
@speaking
def assert_change(
    change: Name, /, *, people: As = None, security_key: OnKey = False, data: Data = None, as_json: Json = False
) -> int:
    """Want a change that somebody proposed: show it, and assert exactly its bytes. `strongroom veto` ends one."""
    profile = document(data)
    found, running = _found(profile, change), _running(profile)
    signers = signers_of(profile, people, security_key)
    raw = found["raw"].encode()
    say(_difference(found["document"], raw, running))
    for signer in signers:
        given = assertion_document(signer.asserts(raw, TYPES[found["document"]]))
        found = post(profile, f"{profile['api_url']}/v1/changes/{found['id']}/assertions", given)
        say(f"asserted by {signer.name}")
    return _end(found, as_json)


@speaking
def propose_policy(
    file: File, /, *, people: As = None, security_key: OnKey = False, data: Data = None, as_json: Json = False
) -> int:
    """Propose the next policy: show what it changes, and assert it. It needs the quorum of those who govern."""
    return _propose("policy", file, people, security_key, data, as_json)


@people.command(name="propose", sort_key=3)
@speaking
def propose_roster(
    file: File, /, *, people: As = None, security_key: OnKey = False, data: Data = None, as_json: Json = False
) -> int:
    """Propose the next roster: people, roles, credentials, clients and their keys."""
    return _propose("roster", file, people, security_key, data, as_json)


@speaking
def show_policy(*, data: Data = None) -> int:
    """Print the running policy, to edit and to propose."""
    return _print(data, "policy")


@people.command(name="show", sort_key=2)
@speaking
def show_roster(*, data: Data = None) -> int:
    """Print the running roster, to edit and to propose."""
    return _print(data, "roster")


@people.command(name="list", sort_key=1)
@speaking
def list_people(*, data: Data = None, as_json: Json = False) -> int:
    """List the people of the running roster: what they are and what they can sign with."""
    found = _running(document(data)).roster
    rows = [(each.id, each.name, ", ".join(each.roles), ", ".join(each.groups),
             ", ".join(key.credential_class for key in each.credentials)) for each in found.people]
    value = [
        {"id": each.id, "name": each.name, "roles": list(each.roles), "groups": list(each.groups),
         "credentials": [key.credential_class.value for key in each.credentials]} for each in found.people
    ]
    show(value, as_json, table(("person", "name", "roles", "groups", "credentials"), rows))
    return Exit.DONE


def _print(data: Path | None, name: str) -> int:
    show(json.loads(_running(document(data)).raws[name]), True, "")
    return Exit.DONE


def _propose(
    name: str, file: Path, logins: Sequence[str] | None, security_key: bool, data: Path | None, as_json: bool
) -> int:
    profile = document(data)
    running = _running(profile)
    raw = _next(name, file, running)
    signers = signers_of(profile, logins, security_key)
    say(_difference(name, raw, running))
    return _end(_send(profile, name, raw, signers), as_json)


def _send(profile: dict[str, Any], name: str, raw: bytes, signers: Sequence[Signer]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for signer in signers:
        given = assertion_document(signer.asserts(raw, TYPES[name]))
        body = {"assertion": given, "document": name, "raw": raw.decode()}
        found = post(profile, f"{profile['api_url']}/v1/changes", body)
        say(f"asserted by {signer.name}")
    return found


def _end(found: dict[str, Any], as_json: bool) -> int:
    show(found, as_json, _state(found))
    return Exit.DONE if len(found["people"]) >= found["needed"] else Exit.WAITS


def _state(found: dict[str, Any]) -> str:
    return fields([
        ("change", found["id"]), ("of", f"{found['document']}, version {found['version']}"),
        ("state", found["state"].replace("_", " ")), ("because", found["detail"] or None),
        ("asserted", f"{len(found['people'])} of {found['needed']}"), ("in force", found["due_at"]),
        ("until", found["expires_at"] if found["state"] == "proposed" else None),
    ])


def _next(name: str, file: Path, running: Documents) -> bytes:
    """The file as the next version: who edited the running one needn't compute its hash. Raises: Stop."""
    try:
        value = parse_object(canonical(file))
    except FoundingError as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    before = parse_object(running.raws[name])
    if (value.get("version"), value.get("previous")) == (before["version"], before["previous"]):
        value["version"] = (running.policy if name == "policy" else running.roster).version + 1
        value["previous"] = name_of(name, running.raws[name])
        say(f"{file} becomes version {value['version']}")
    return encode(value)


def _read(name: str, raw: bytes) -> Policy | Roster:
    """Raises: Stop with what is wrong."""
    try:
        if name == "roster":
            return parse_roster(raw, Mode.SANDBOX)  # its mode is the signer's to know
        found = read_policy(raw)
    except DocumentError as fault:
        raise Stop(Exit.FAILED, f"the {name}: {fault}") from fault
    if isinstance(found, list):
        raise Stop(Exit.FAILED, f"the {name}: {found[0].field}: {found[0].reason}")
    return found


def _difference(name: str, raw: bytes, running: Documents) -> str:
    after = _read(name, raw)
    if after.previous != name_of(name, running.raws[name]):
        return f"The {name} that it follows isn't running (any more): the signer won't take it."
    people = after if isinstance(after, Roster) else running.roster
    policy = after if isinstance(after, Policy) else running.policy
    warned = [*(warnings(policy) if isinstance(after, Policy) else []), *roster_warnings(policy, people)]
    said = [f"Think again: {each.field}: {each.reason}" for each in warned]
    rows = policy_text.moved(bounds(running.policy, running.roster), bounds(policy, people))
    if isinstance(after, Policy):
        text = policy_text.compared(running.policy, after, differences(running.policy, after), rows, None)
        return "\n".join([text, *said])
    same = replace(policy, version=after.version)
    before = replace(policy, version=running.roster.version)
    text = policy_text.compared(before, same, roster_differences(running.roster, after), rows, None)
    return "\n".join([f"The roster, {text}", *said])


def _changes(name: str, raw: bytes, running: Documents) -> list[dict[str, Any]]:
    after = _read(name, raw)
    if after.previous != name_of(name, running.raws[name]):
        return []
    found: list[Change] = (
        roster_differences(running.roster, after) if isinstance(after, Roster) else differences(running.policy, after)
    )
    return [{"field": each.field, "before": each.before, "after": each.after, "way": each.way.value} for each in found]


def _running(profile: dict[str, Any]) -> Documents:
    raws: dict[str, bytes] = {}
    with reader(profile) as api:
        for name in ("policy", "roster"):
            answer = api.send(CallPlan("GET", f"/v1/{name}"))
            raws[name] = answer["raw"].encode()
            if name_of(name, raws[name]) != answer["hash"]:
                raise Stop(Exit.NOT_VERIFIED, f"the API's {name} isn't the one of its hash")
    policy, roster = _read("policy", raws["policy"]), _read("roster", raws["roster"])
    if not isinstance(policy, Policy) or not isinstance(roster, Roster):
        raise Stop(Exit.NOT_VERIFIED, "the API's documents aren't what they say")
    return Documents(policy, roster, raws)


def _found(profile: dict[str, Any], name: str) -> dict[str, Any]:
    """The change of this hash, or of which this is the start. Raises: Stop."""
    if len(name) < START_MINIMUM:
        raise Stop(Exit.USAGE, f"{name}: give at least {START_MINIMUM} digits of the hash")
    with reader(profile) as api:
        found = [each for each in api.pages("/v1/changes", {"limit": str(PAGE_MAXIMUM)}) if each["id"].startswith(name)]
    if len(found) != 1:
        raise Stop(Exit.NOT_FOUND, f"{'no' if not found else 'more than one'} change begins with {name}")
    (one,) = found
    if name_of(one["document"], one["raw"].encode()) != one["id"]:
        raise Stop(Exit.NOT_VERIFIED, f"the API's bytes of {one['id']} aren't of this hash")
    change: dict[str, Any] = one
    return change
