"""`recover`: how an organisation goes on when signer and guard have both lost some of the journal (ADR 0034).

Four steps, on the machines that they need: `begin` beside the signer makes the papers, `sign` adds a person's assertion
wherever the key is, `send` gives them to the signer, `book` tells the database. What was asked for before is void then,
all clients are new, and for 24 hours nothing is paid.
"""

import asyncio
import re
import secrets
import time
from base64 import b32encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from strongroom.cli.approve import As, OnKey, signers_of
from strongroom.cli.database import read_owner
from strongroom.cli.files import refuse_existing, write_new
from strongroom.cli.founding import FoundingError, canonical, client_name
from strongroom.cli.output import Exit, Stop, fields, say, show
from strongroom.cli.papers import Papers, keep_papers, new_record, read_papers, write_papers
from strongroom.cli.session import Data, Json, document, speaking
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import ClientId, KeyId, parse_client_id
from strongroom.domain.instant import Instant
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import Roster, RosterClient, parse_roster, roster_hash
from strongroom.protocol.signer_wire import RECOVERY_TYPE, Ask
from strongroom.protocol.standing import policy_hash
from strongroom.sandbox.trusted import SignerRefusedError, TrustedError, ask_signer
from strongroom.store.founding import OtherDocumentsError, book_recovery
from strongroom.store.organisations import NewClient, NewKey
from strongroom.store.session import FAULTS

app = cyclopts.App(name="recover", help="Go on when signer and guard have both lost some: docs/operations.md.")

_HASH: Final = re.compile(r"[0-9a-f]{64}")

Socket = Annotated[Path, Parameter("--admin-socket", help="The signer's, for the admin's user alone")]
File = Annotated[Path, Parameter(help="The papers, as `recover begin` made them")]


@app.command(sort_key=1)
def begin(
    *,
    admin_socket: Socket,
    epoch: Annotated[str, Parameter("--epoch", help="The 64 digits that guard's recovery was begun with")],
    policy: Annotated[Path, Parameter("--policy", help="The policy in force by the signer's journal, JSON")],
    roster: Annotated[Path, Parameter("--roster", help="The roster in force by the signer's journal, JSON")],
    new_key: Annotated[
        list[str],
        Parameter("--new-key", negative="", help="CLIENT=KEY: who takes a client's place, by a new public key, hex"),
    ],
    out: Annotated[Path, Parameter("--out", help="The papers to make; refused if they are there")],
    new_roster: Annotated[Path, Parameter("--new-roster", help="The new roster to make, for `init profile`")],
) -> int:
    """Make the papers: the next roster with new clients, and the record that people assert."""
    refuse_existing(out)
    refuse_existing(new_roster)
    if _HASH.fullmatch(epoch) is None:
        raise Stop(Exit.USAGE, "--epoch: must be 64 lower-case hex digits, as guard was given them")
    try:
        policy_raw, roster_raw = canonical(policy), canonical(roster)
        before = parse_roster(roster_raw, Mode.SANDBOX)  # its mode is the signer's to know
        status = _asked(admin_socket, Ask.STATUS, {})
        known = status["organisations"].get(before.organisation)
        if known is None:
            raise FoundingError(f"{roster}: the signer's journal doesn't know {before.organisation}")
        for file, ours, theirs in (
            (policy, policy_hash(policy_raw), known["policy"]), (roster, roster_hash(roster_raw), known["roster"]),
        ):
            if ours != theirs:
                raise FoundingError(f"{file}: isn't the one in force in the signer's journal, with the hash {theirs}")
        clients = tuple(_replaced(before, _new_keys(new_key)))
        made = write_roster(replace(before, version=before.version + 1, previous=known["roster"], clients=clients))
        journal = {"head": status["journal_head"], "length": status["journal_length"]}
        write_papers(out, new_record(status["deployment"], epoch, journal, policy_raw, made), policy_raw, made)
    except (FoundingError, DocumentError) as fault:
        raise Stop(Exit.FAILED, f"no papers were made: {fault}") from fault
    write_new(new_roster, made.decode())
    say(_shown(read_papers(out)))
    for client in before.clients:
        if client.id not in _new_keys(new_key):
            say(f"{client.id} ({client_name(client)}) has nobody in its place: name a --new-key if it should")
    say(f"next: a quorum asserts it: strongroom recover sign {out} --as LOGIN, on any machine")
    return Exit.DONE


@app.command(sort_key=2)
@speaking
def sign(
    file: File, /, *, people: As = None, security_key: OnKey = False, data: Data = None, as_json: Json = False
) -> int:
    """Show the papers, and add the assertions of people of the profile; on as many machines as needed."""
    profile = document(data)
    papers = _papers(file)
    for name, ours in (("deployment", papers.deployment), ("organisation", papers.organisation)):
        if profile[name] != ours:
            raise Stop(Exit.REFUSED, f"{file}: {name}: is {ours}, and the profile's is {profile[name]}")
    signers = signers_of(profile, people, security_key)
    say(_shown(papers))
    for signer in signers:
        if signer.person in {each.person for each in papers.assertions}:
            say(f"{signer.name} has asserted it already")
            continue
        papers = papers.with_assertion(signer.asserts(papers.record, RECOVERY_TYPE))
        keep_papers(file, papers)
        say(f"asserted by {signer.name}")
    given = [_name(papers, each.person) for each in papers.assertions]
    show({"asserted": given, "file": str(file)}, as_json, fields([("asserted by", ", ".join(given))]))
    return Exit.DONE


@app.command(sort_key=3)
def send(file: File, /, *, admin_socket: Socket, as_json: Json = False) -> int:
    """Give the papers to the signer, which goes on by them if they are a quorum's."""
    papers = _papers(file)
    answer = _asked(admin_socket, Ask.RECOVER, papers.ask())
    until = format_instant(Instant(answer["spent_until_ms"]))
    show(
        {"organisation": papers.organisation, "nothing_is_paid_until": until}, as_json,
        fields([("goes on", papers.organisation), ("nothing is paid until", until)]),
    )
    say("next: the same for every other organisation; guard ends by itself when all have said so: start it as usual;\n"
        f"then tell the database: strongroom recover book {file} --owner FILE")
    return Exit.DONE


@app.command(sort_key=4)
def book(
    file: File, /, *,
    owner: Annotated[Path, Parameter("--owner", help="A file with the owner's connection string, postgresql://…")],
    as_json: Json = False,
) -> int:
    """Tell the database of the new roster and clients; keys of before can't sign in any more."""
    papers, url = _papers(file), read_owner(owner)
    clients = [
        NewClient(each.id, client_name(each), [NewKey(key.id, key.public_key, key.scopes) for key in each.keys])
        for each in papers.roster.clients
    ]
    now = Instant(time.time_ns() // 1_000_000)
    try:
        is_new = asyncio.run(book_recovery(
            url, papers.deployment, papers.organisation, papers.roster.version, papers.roster_raw, clients, now
        ))
    except OtherDocumentsError as fault:
        raise Stop(Exit.REFUSED, f"nothing was written: {fault}") from fault
    except FAULTS as fault:
        raise Stop(Exit.FAILED, f"the database doesn't take it: {fault}") from fault
    told = "is in the database" if is_new else "was there already"
    value = {"is_new": is_new, "organisation": papers.organisation, "version": papers.roster.version}
    show(value, as_json, fields([(f"roster {papers.roster.version} of {papers.organisation}", told)]))
    say("next: profiles with the new clients: strongroom init profile --roster … --client-key …")
    return Exit.DONE


def _new_keys(given: Sequence[str]) -> Mapping[ClientId, bytes]:
    """Raises: FoundingError."""
    found: dict[ClientId, bytes] = {}
    for each in given:
        name, _, key = each.partition("=")
        try:
            client = parse_client_id(name)
        except ValueError as fault:
            raise FoundingError(f"--new-key: {name!r} {fault}") from fault
        if _HASH.fullmatch(key) is None or client in found:
            raise FoundingError(f"--new-key: {name} must have one new public key of 64 lower-case hex digits")
        found[client] = bytes.fromhex(key)
    return found


def _replaced(before: Roster, keys: Mapping[ClientId, bytes]) -> Iterator[RosterClient]:
    """Those that take the place of clients: with new names, one new key each, the same scopes and custodians."""
    unknown = keys.keys() - {each.id for each in before.clients}
    if unknown:
        raise FoundingError(f"--new-key: the roster has no client {min(unknown)}")
    for client in before.clients:
        if client.id in keys:
            scopes = tuple(dict.fromkeys(scope for key in client.keys for scope in key.scopes))
            key = replace(client.keys[0], id=KeyId(_fresh("ak_")), public_key=keys[client.id], scopes=scopes)
            yield replace(client, id=ClientId(_fresh("cl_")), keys=(key,))


def _fresh(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]


def _asked(socket: Path, ask: Ask, body: Mapping[str, Any]) -> Any:
    try:
        return ask_signer(socket, ask, body)
    except SignerRefusedError as fault:
        raise Stop(Exit.REFUSED, str(fault)) from fault
    except TrustedError as fault:
        raise Stop(Exit.UNREACHABLE, str(fault)) from fault


def _papers(file: Path) -> Papers:
    try:
        return read_papers(file)
    except FoundingError as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault


def _name(papers: Papers, person: str) -> str:
    return next((each.name for each in papers.roster.people if each.id == person), person)


def _shown(papers: Papers) -> str:
    """All that is asserted and for people to judge."""
    roster = papers.roster
    return fields([
        ("to assert", "what was asked for before is void, and these clients take the place of all others"),
        ("for", papers.organisation), ("deployment", papers.deployment), ("epoch", papers.epoch),
        ("journal kept", f"{papers.journal_length} entries, head {papers.journal_head}"),
        ("policy", f"version {papers.policy.version}, {policy_hash(papers.policy_raw)}"),
        ("roster", f"version {roster.version}, {roster_hash(papers.roster_raw)}"),
        *(("person", f"{each.name} ({', '.join(each.groups) or 'no group'})") for each in roster.people),
        *(("new client", f"{each.id} ({client_name(each)}), key {key.public_key.hex()}")
          for each in roster.clients for key in each.keys),
    ])
