"""`init database`: tells PostgreSQL who the organisation, its people and its clients are, over the owner's connection.

What is written is exactly what genesis names: its hashes are held against both documents before anything is touched.
Asked again it changes nothing; other documents than those that are there are refused. The signer believes none of it:
it was let in by `init organisation`, with the same documents.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.files import write_new
from strongroom.cli.founding import FoundingError, canonical, client_name
from strongroom.cli.output import Exit, Stop, fields, say, show
from strongroom.cli.session import Json
from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.domain.money import MoneyError, parse_amount_minor
from strongroom.domain.policy import Policy, parse_policy
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.genesis import Genesis, deployment_id, parse_genesis
from strongroom.protocol.roster import Roster, parse_roster, roster_hash
from strongroom.protocol.standing import policy_hash
from strongroom.store.founding import OtherDocumentsError, found
from strongroom.store.migrate import MigrationError, migrate
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation
from strongroom.store.roles import set_passwords
from strongroom.store.session import FAULTS

ROLES: Final = ("strongroom_api", "strongroom_engine", "strongroom_watch")
URL_MAXIMUM: Final = 4_096


def found_database(
    *,
    owner: Annotated[Path, Parameter("--owner", help="A file with the owner's connection string, postgresql://…")],
    genesis: Annotated[Path, Parameter("--genesis", help="The genesis record")],
    policy: Annotated[Path, Parameter("--policy", help="The organisation's first policy, JSON")],
    roster: Annotated[Path, Parameter("--roster", help="The organisation's first roster, JSON")],
    name: Annotated[str, Parameter("--name", help="How the organisation is called")],
    passwords: Annotated[
        Path | None, Parameter("--passwords", help="A file of the processes' roles; drawn if it isn't there")
    ] = None,
    opening: Annotated[
        list[str] | None,
        Parameter("--opening", negative="", help="SYMBOL=AMOUNT that its wallet will be funded with, base units"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Bring the database up to date, and write the deployment and an organisation into it.

    With the owner's connection string, from a file. Asked again it changes nothing.
    """
    url = read_owner(owner)
    try:
        record = canonical(genesis)
        new = _organisation(parse_genesis(record), canonical(policy), canonical(roster), name, opening or ())
    except (FoundingError, DocumentError) as fault:
        raise Stop(Exit.REFUSED, f"nothing was written: {fault}") from fault
    words = None if passwords is None else _passwords(passwords)
    try:
        applied = asyncio.run(migrate(url))
        if words is not None:
            asyncio.run(set_passwords(url, words))
        is_new = asyncio.run(found(url, deployment_id(record), record, new, Instant(time.time_ns() // 1_000_000)))
    except OtherDocumentsError as fault:
        raise Stop(Exit.REFUSED, f"nothing was written: {fault}") from fault
    except (MigrationError, *FAULTS) as fault:
        raise Stop(Exit.FAILED, f"the database doesn't take it: {fault}") from fault
    for each in applied:
        say(f"applied {each}")
    value = {"deployment": deployment_id(record), "is_new": is_new, "migrations": applied, "organisation": new.id}
    told = "is in the database" if is_new else "was there already, with these documents"
    show(value, as_json, fields([("deployment", deployment_id(record)), (new.id, told)]))
    return Exit.DONE


def _organisation(
    genesis: Genesis, policy_raw: bytes, roster_raw: bytes, name: str, opening: Sequence[str]
) -> NewOrganisation:
    """Raises: FoundingError if genesis names other documents; DocumentError."""
    policy = parse_policy(parse_object(policy_raw))
    roster = parse_roster(roster_raw, genesis.mode)
    if policy.organisation != roster.organisation:
        raise FoundingError("--roster: organisation: is another than the policy's")
    named = next((each for each in genesis.organisations if each.organisation == policy.organisation), None)
    if named is None:
        raise FoundingError(f"--policy: genesis names no organisation {policy.organisation}")
    for option, ours, theirs in (
        ("--policy", policy_hash(policy_raw), named.policy), ("--roster", roster_hash(roster_raw), named.roster),
    ):
        if ours != theirs:
            raise FoundingError(f"{option}: isn't the document that genesis names for {policy.organisation}")
    return NewOrganisation(
        policy.organisation, name, policy_raw, roster_raw, _clients(roster), _opening(policy, opening), "opening"
    )


def _clients(roster: Roster) -> list[NewClient]:
    return [
        NewClient(each.id, client_name(each), [NewKey(key.id, key.public_key, key.scopes) for key in each.keys])
        for each in roster.clients
    ]


def _opening(policy: Policy, given: Sequence[str]) -> Mapping[str, int]:
    """By the asset's name. Raises: FoundingError."""
    known = {rule.symbol: asset for asset, rule in policy.assets.items()}
    found: dict[str, int] = {}
    for each in given:
        symbol, _, amount = each.partition("=")
        if symbol not in known or known[symbol] in found:
            raise FoundingError(f"--opening: {each!r} must be SYMBOL=AMOUNT, once for one of {', '.join(known)}")
        try:
            found[known[symbol]] = parse_amount_minor(amount)
        except MoneyError as fault:
            raise FoundingError(f"--opening: {each!r}: {fault}") from fault
    return found


def _passwords(file: Path) -> dict[str, str]:
    """Of the processes' roles, by role; drawn when the file isn't there. Raises: Stop."""
    if not file.exists():
        drawn = {role: secrets.token_urlsafe(24) for role in ROLES}
        write_new(file, json.dumps(drawn, indent=1) + "\n", mode=0o600)
        return drawn
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as fault:
        raise Stop(Exit.FAILED, f"--passwords: {file} can't be read as JSON") from fault
    if not isinstance(found, dict) or set(found) != set(ROLES) or not all(
        isinstance(each, str) and each for each in found.values()
    ):
        raise Stop(Exit.FAILED, f"--passwords: {file} must have a password for each of {', '.join(ROLES)}")
    return found


def read_owner(file: Path) -> str:
    """The owner's connection string, from a file's first line. Raises: Stop."""
    try:
        with file.open() as handle:
            found = handle.read(URL_MAXIMUM).partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise Stop(Exit.NOT_FOUND, f"--owner: {file} can't be read") from fault
    if not found.startswith(("postgresql://", "postgres://")):
        raise Stop(Exit.USAGE, f"--owner: the first line of {file} must be like postgresql://USER:PASSWORD@HOST/DATABASE")
    return found
