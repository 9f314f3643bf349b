"""`init`: the genesis ceremony of a deployment, step by step; nothing that exists is made anew or overwritten.

Keys are made on the machines that use them, and only their public halves travel. What opens or moves money is never an
argument and never in this process: keys are drawn in the signer's own environment, by its ceremony, and written to
files that their owner alone can read.
"""

import json
import subprocess
import time
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cyclopts import Parameter

from strongroom.cli import founding
from strongroom.cli.enrolment import read_enrolment, read_makers, unattested
from strongroom.cli.files import refuse_existing, write_new
from strongroom.cli.output import Exit, Stop, fields, say, show
from strongroom.cli.session import Json
from strongroom.cli.skeleton import TEAMS, skeleton
from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import GENESIS_TYPE, Genesis, Mode, deployment_id, parse_genesis
from strongroom.protocol.record_writer import write_genesis
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.webauthn import RelyingParty
from strongroom.sandbox.environment import VARIABLES, NoEnvironmentError, core_command
from strongroom.sandbox.trusted import SignerRefusedError, TrustedError, ask_signer, let_in

CEREMONY_TIMEOUT_S: Final = 60
KEY_DIGITS: Final = 64
KEYS: Final = 3

app = cyclopts.App(name="init", help="Found a deployment: docs/operations.md walks through it.")

Folder = Annotated[Path, Parameter("--folder", help="The signer's own; its user's alone")]
Out = Annotated[Path, Parameter("--out", help="The file to make; refused if it is there")]
Policy = Annotated[Path, Parameter("--policy", help="The organisation's first policy, JSON")]
Roster = Annotated[Path, Parameter("--roster", help="The organisation's first roster, JSON")]


@app.command(name="identity", sort_key=1)
def make_identity(*, out: Out, as_json: Json = False) -> int:
    """Make an age identity, which opens a key file, as `age-keygen` does; prints its recipient."""
    refuse_existing(out)
    recipient = _ceremony("identity", str(out.absolute()))
    show({"file": str(out), "recipient": recipient}, as_json, recipient)
    return Exit.DONE


@app.command(name="key", sort_key=2)
def make_key(*, out: Out, as_json: Json = False) -> int:
    """Make the key of guard, or watch's for checkpoints, on its own machine; prints its public half."""
    refuse_existing(out)
    public = _ceremony("key", str(out.absolute()))
    show({"file": str(out), "public_key": public}, as_json, public)
    return Exit.DONE


@app.command(name="keys", sort_key=3)
def make_keys(
    *,
    folder: Folder,
    recipient: Annotated[list[str], Parameter("--recipient", negative="", help="age1…, who can open it; repeatable")],
    as_json: Json = False,
) -> int:
    """Make the signer's key file, as the signer's user; prints the statement key, which genesis names."""
    statement_key = _ceremony("keys", str(folder.absolute()), *recipient)
    show({"file": str(folder / "keys.age"), "statement_key": statement_key}, as_json, statement_key)
    return Exit.DONE


app.command(
    "strongroom.cli.token:make_token_key", name="token-key", sort_key=3,
    help="Make a payment key in a hardware module, as the signer's user; prints its public key",
)


@app.command(name="draft", sort_key=4)
def draft(
    *, team: Annotated[int, Parameter("--team", help="How many people: 3, 6 or 12")], policy: Policy, roster: Roster
) -> int:
    """Propose a policy and a roster, to think about and to fill in."""
    if team not in TEAMS:
        raise Stop(Exit.USAGE, f"--team: must be one of {', '.join(map(str, TEAMS))}")
    refuse_existing(policy)
    refuse_existing(roster)
    for file, document in zip((policy, roster), skeleton(team), strict=True):
        write_new(file, json.dumps(document, indent=2) + "\n")
    say(f"{policy} and {roster} are proposals: fill in what says FILL IN, and weigh every number")
    return Exit.DONE


app.command(
    "strongroom.cli.enrol:make_credential", name="credential", sort_key=5,
    help="Make a person's credential on a security key; prints what goes into the roster",
)


@app.command(name="genesis", sort_key=6)
def make_genesis(
    *,
    mode: Annotated[Mode, Parameter("--mode", help="production, or sandbox")],
    statement_key: Annotated[str, Parameter("--statement-key", help="The signer's, public, hex")],
    guard_key: Annotated[str, Parameter("--guard-key", help="Guard's, public, hex")],
    checkpoint_key: Annotated[str, Parameter("--checkpoint-key", help="Watch's, public, hex")],
    relying_party: Annotated[str, Parameter("--relying-party", help="The name that passkeys are for")],
    origin: Annotated[list[str], Parameter("--origin", negative="", help="Of the station, https://…; repeatable")],
    policy: Policy,
    roster: Roster,
    out: Out,
    enrolment: Annotated[
        list[Path] | None, Parameter("--enrolment", negative="", help="Of each credential; repeatable. For production")
    ] = None,
    makers: Annotated[
        Path | None, Parameter("--makers", help="Certificates, PEM, of makers of security keys. For production")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make the genesis record; prints its hash, which guard's operator types, and what the policy means."""
    refuse_existing(out)
    party = RelyingParty(relying_party, frozenset(origin))
    try:
        founders = founding.read_founders(policy, roster, mode)
        founding.check_relying_party(party)
        enrolments = [read_enrolment(each) for each in enrolment or ()]
        trusted_makers = () if makers is None else read_makers(makers)
        genesis = Genesis(
            mode, Instant(time.time_ns() // 1_000_000), _public_key("--checkpoint-key", checkpoint_key),
            _public_key("--statement-key", statement_key), _public_key("--guard-key", guard_key), party,
            (founders.founding,),
        )
        raw = write_genesis(genesis)
        parse_genesis(raw)
    except (founding.FoundingError, DocumentError) as fault:
        raise Stop(Exit.FAILED, f"no genesis was made: {fault}") from fault
    if len({genesis.checkpoint_key, genesis.statement_key, genesis.guard_key}) != KEYS:
        raise Stop(Exit.REFUSED, "no genesis was made: the three keys must be three")
    refused = [
        *founding.refusals(founders, party), *unattested(founders.roster, enrolments, party, trusted_makers),
    ] if mode is Mode.PRODUCTION else []
    if refused:
        raise Stop(Exit.REFUSED, "no genesis was made, since production refuses this:\n  " + "\n  ".join(refused))
    write_new(out, raw.decode())
    _show_genesis(out, raw, founders, as_json)
    return Exit.DONE


@app.command(name="journal", sort_key=7)
def begin_journal(
    *,
    folder: Folder,
    genesis: Annotated[Path, Parameter("--genesis", help="The genesis record")],
    as_json: Json = False,
) -> int:
    """Begin the signer's journal with the genesis record, as the signer's user; prints the deployment's id."""
    deployment = _ceremony("found", str(folder.absolute()), str(genesis.absolute()))
    raw = genesis.read_bytes()
    show({"deployment": deployment, "genesis_hash": _hash(raw)}, as_json, deployment)
    return Exit.DONE


@app.command(name="organisation", sort_key=8)
def let_organisation_in(
    *,
    admin_socket: Annotated[Path, Parameter("--admin-socket", help="The signer's, for the admin's user alone")],
    policy: Policy,
    roster: Roster,
    as_json: Json = False,
) -> int:
    """Let an organisation in, at the running signer; one that genesis names only with what genesis names."""
    try:
        status = ask_signer(admin_socket, Ask.STATUS, {})
        policy_raw, roster_raw = founding.canonical(policy), founding.canonical(roster)
        let_in(admin_socket, policy_raw, roster_raw)
        after = ask_signer(admin_socket, Ask.STATUS, {})
    except SignerRefusedError as fault:
        raise Stop(Exit.REFUSED, str(fault)) from fault
    except TrustedError as fault:
        raise Stop(Exit.UNREACHABLE, str(fault)) from fault
    except founding.FoundingError as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    new = sorted(after["organisations"].keys() - status["organisations"].keys())
    text = f"{new[0]} is in" if new else "it was in already, with this policy and roster"
    value = {"deployment": after["deployment"], "new": new, "organisations": sorted(after["organisations"])}
    show(value, as_json, text)
    return Exit.DONE


app.command(
    "strongroom.cli.database:found_database", name="database", sort_key=9,
    help="Write the deployment and its organisation into PostgreSQL, as its owner",
)
app.command(
    "strongroom.cli.profiling:make_profile", name="profile", sort_key=10,
    help="Make the profile with which people and programs reach a deployment",
)


def _show_genesis(out: Path, raw: bytes, founders: founding.Founders, as_json: bool) -> None:
    tiers, people = founding.tier_sentences(founders), founding.approver_sentences(founders)
    governed, advice = founding.delay_sentence(founders), founding.advice(founders)
    deployment, organisation = deployment_id(raw), founders.policy.organisation
    head = fields((
        ("genesis hash", _hash(raw)), ("deployment", deployment), ("organisation", organisation), ("file", out),
    ))
    parts = [head, "Guard's operator types the genesis hash into guard's configuration, read from this screen."]
    for title, lines in (
        ("Who must approve", tiers), ("Who can approve, for each client", people), ("Who governs", [governed]),
        ("Think again about", advice),
    ):
        if lines:
            parts.append("\n".join([title, *(f"  {line}" for line in lines)]))
    value = {
        "approvers": people, "deployment": deployment, "file": str(out), "genesis_hash": _hash(raw),
        "governance": governed, "organisation": organisation, "tiers": tiers, "warnings": advice,
    }
    show(value, as_json, "\n\n".join(parts))


def _hash(raw: bytes) -> str:
    return record_hash(GENESIS_TYPE, raw).hex()


def _public_key(name: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(text) != KEY_DIGITS or len(key) != KEY_DIGITS // 2:
        raise founding.FoundingError(f"{name}: must be {KEY_DIGITS} hex digits")
    return key


def _ceremony(*arguments: str) -> str:
    """A step that makes or touches secrets, in the signer's environment; what it says is public. Raises: Stop."""
    try:
        command = core_command("strongroom.signer.ceremony", *arguments)
    except NoEnvironmentError as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=CEREMONY_TIMEOUT_S, env=VARIABLES, cwd="/"
    )
    if done.returncode != 0:
        raise Stop(Exit.FAILED, done.stderr.strip().removeprefix("ceremony: "))
    return done.stdout.strip()
