"""`init profile`: makes a connection profile from genesis, roster and policy, for whoever works with a deployment."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from nacl.signing import SigningKey

from strongroom.cli.files import refuse_existing, write_new
from strongroom.cli.founding import FoundingError, canonical, client_name
from strongroom.cli.output import Exit, Stop, say
from strongroom.cli.profile import PROFILE_TYPE, read_profile
from strongroom.domain.document import DocumentError
from strongroom.domain.policy import parse_policy
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.genesis import Genesis, deployment_id, parse_genesis
from strongroom.protocol.roster import Person, Roster, parse_roster, roster_hash

_WORD: Final = re.compile(r"[a-z0-9]+")


def make_profile(
    *,
    genesis: Annotated[Path, Parameter("--genesis", help="The genesis record")],
    roster: Annotated[Path, Parameter("--roster", help="The organisation's roster, as it is in force")],
    policy: Annotated[Path, Parameter("--policy", help="The organisation's policy, for the names of assets")],
    api_url: Annotated[str, Parameter("--api-url", help="Where the API answers, https://…")],
    guard_url: Annotated[str, Parameter("--guard-url", help="Where guard answers officers, https://…")],
    out: Annotated[Path, Parameter("--out", help="The file to make; refused if it is there")],
    client_key: Annotated[
        list[Path] | None,
        Parameter("--client-key", negative="", help="Key file of a client of the roster; repeatable"),
    ] = None,
    ca_file: Annotated[Path | None, Parameter("--ca-file", help="Your own authority, PEM, behind https")] = None,
    admin_socket: Annotated[Path | None, Parameter("--admin-socket", help="The signer's, for who may use it")] = None,
) -> int:
    """Make a connection profile from a deployment's documents, for --profile.

    It holds no secret. A client's key file is named by what its key may do: payouts,
    beneficiaries, or reader. People get a login of their first name.
    """
    refuse_existing(out)
    try:
        record = canonical(genesis)
        made, people = parse_genesis(record), _roster(roster, canonical(roster), record)
        assets = {each.symbol: name for name, each in parse_policy(parse_object(canonical(policy))).assets.items()}
        clients = dict(_clients(people, client_key or ()))
    except (DocumentError, FoundingError) as fault:
        raise Stop(Exit.FAILED, f"no profile was made: {fault}") from fault
    document: dict[str, Any] = {
        "type": PROFILE_TYPE, "deployment": deployment_id(record), "organisation": people.organisation,
        "api_url": api_url, "guard_url": guard_url, **_keys(made), "assets": assets, "clients": clients,
        "relying_party": {"id": made.relying_party.id, "origin": min(made.relying_party.origins)},
        "people": list(_people(people.people)),
    }
    for name, file in (("ca_file", ca_file), ("admin_socket", admin_socket)):
        if file is not None:
            document[name] = str(file.absolute())
    write_new(out, json.dumps(document, indent=1) + "\n")
    try:
        read_profile(out)
    except Stop:
        out.unlink()
        raise
    logins = ", ".join(f"{each['login']} ({each['name']})" for each in document["people"])
    say(f"{out}: clients {', '.join(clients) or 'none'}; people {logins}")
    return Exit.DONE


def _roster(file: Path, raw: bytes, record: bytes) -> Roster:
    """A first version must be the one that genesis names. Raises: DocumentError, FoundingError."""
    genesis = parse_genesis(record)
    roster = parse_roster(raw, genesis.mode)
    named = {each.organisation: each.roster for each in genesis.organisations}
    if roster.version == 1 and named.get(roster.organisation, roster_hash(raw)) != roster_hash(raw):
        raise FoundingError(f"{file}: isn't the roster that genesis names")
    return roster


def _keys(genesis: Genesis) -> dict[str, str]:
    return {
        "checkpoint_public_key": genesis.checkpoint_key.hex(), "guard_public_key": genesis.guard_key.hex(),
        "statement_public_key": genesis.statement_key.hex(),
    }


def _clients(roster: Roster, files: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whose key each file holds. Raises: FoundingError."""
    known = {key.public_key: (client, key) for client in roster.clients for key in client.keys}
    seen: set[str] = set()
    for file in files:
        try:
            public = bytes(SigningKey(bytes.fromhex(file.read_text().strip())).verify_key)
        except (OSError, ValueError) as fault:
            raise FoundingError(f"--client-key: {file} can't be read as a key of 64 hex digits") from fault
        if public not in known:
            raise FoundingError(f"--client-key: the key in {file} is no client's of this roster")
        client, key = known[public]
        name = client_name(client)
        if name in seen:
            raise FoundingError(f"--client-key: {file} is the second that is called {name}")
        seen.add(name)
        yield name, {
            "client_id": client.id, "key_id": key.id, "private_key_file": str(file.absolute()),
            "scopes": [*key.scopes],
        }


def _people(people: Sequence[Person]) -> Iterator[dict[str, Any]]:
    taken: set[str] = set()
    for person in people:
        word = _WORD.search(person.name.lower())
        first = "person" if word is None else word[0]
        login = next(name for name in (first, *(f"{first}{at}" for at in range(2, 999))) if name not in taken)
        taken.add(login)
        yield {
            "id": person.id, "name": person.name, "login": login, "roles": [*person.roles],
            "groups": [*person.groups], "credential_ids": [each.id.hex() for each in person.credentials],
        }
