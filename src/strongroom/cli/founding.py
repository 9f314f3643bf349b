"""What the genesis ceremony looks at before anything is final: the first policy and roster, and the station's name.

People write the two documents by hand, with spaces as they like; what is hashed and sent to the signer is their
canonical form, which is the same each time. What the signer would refuse is refused here, and in production what must
not be founded so; what is only unwise is a warning, from `advice`.
"""

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.advice.problems import Problem, read_policy
from strongroom.advice.quorums import approvers, are_enough, roster_warnings
from strongroom.advice.sums import people_text, span_text, sum_text
from strongroom.advice.warnings import warnings
from strongroom.domain.document import DocumentError
from strongroom.domain.permissions import MOVES_MONEY, NAMES_DESTINATIONS, Permission
from strongroom.domain.policy import Policy, Tier
from strongroom.formats import simulated
from strongroom.protocol.canonical import CanonicalError, encode, parse_object
from strongroom.protocol.genesis import FoundingOrganisation, Mode
from strongroom.protocol.roster import CredentialClass, Person, Roster, RosterClient, parse_roster, roster_hash
from strongroom.protocol.standing import policy_hash
from strongroom.protocol.webauthn import RelyingParty

DOCUMENT_MAXIMUM: Final = 2**20
TEST_NETWORKS: Final = {
    simulated.NETWORK: "the simulated chain",
    "eip155:31337": "a test chain",
    "bip122:0f9188f13cb7b2c71f2a335e3a4fc328": "Bitcoin's regtest",
    "bip122:000000000933ea01ad0ee984209779ba": "Bitcoin's testnet",
    "bip122:00000008819873e925422c1ff0f99f7c": "Bitcoin's signet",
    "bip122:00000000da84f2bafbbc53dee25a72ae": "Bitcoin's testnet 4",
    "eip155:11155111": "Ethereum's Sepolia",
    "eip155:17000": "Ethereum's Holesky",
}


class FoundingError(Exception):
    """It can't be founded so; the message names file and field."""


@dataclass(frozen=True, slots=True)
class Founders:
    """The first policy and roster of one organisation, and their canonical bytes."""

    policy: Policy
    policy_raw: bytes
    roster: Roster
    roster_raw: bytes

    @property
    def founding(self) -> FoundingOrganisation:
        return FoundingOrganisation(
            self.policy.organisation, policy_hash(self.policy_raw), roster_hash(self.roster_raw)
        )


def read_founders(policy: Path, roster: Path, mode: Mode) -> Founders:
    """Raises: FoundingError with all that is wrong in the policy, or the first thing in the roster."""
    policy_raw, roster_raw = canonical(policy), canonical(roster)
    read = read_policy(policy_raw)
    if isinstance(read, list):
        raise FoundingError("; ".join(_problem(policy, each) for each in read))
    try:
        people = parse_roster(roster_raw, mode)
    except DocumentError as fault:
        raise FoundingError(f"{roster}: {fault}") from fault
    if read.organisation != people.organisation:
        raise FoundingError(f"{roster}: organisation: is another than the policy's")
    for file, version in ((policy, read.version), (roster, people.version)):
        if version != 1:
            raise FoundingError(f"{file}: version: a deployment begins with version 1")
    return Founders(read, policy_raw, people, roster_raw)


def canonical(file: Path) -> bytes:
    """A document's canonical bytes, however it was written. Raises: FoundingError."""
    try:
        with file.open("rb") as handle:
            raw = handle.read(DOCUMENT_MAXIMUM + 1)
    except OSError as fault:
        raise FoundingError(f"{file}: {fault.strerror}") from fault
    if len(raw) > DOCUMENT_MAXIMUM:
        raise FoundingError(f"{file}: is longer than {DOCUMENT_MAXIMUM} bytes")
    try:
        return encode(parse_object(raw))
    except CanonicalError as fault:
        raise FoundingError(f"{file}: {fault}") from fault


def check_relying_party(party: RelyingParty) -> None:
    """As browsers ask it: the origins are of the id's own domain. Raises: FoundingError."""
    for origin in party.origins:
        scheme, _, rest = origin.partition("://")
        host = rest.partition(":")[0]
        if scheme not in ("http", "https") or rest != rest.lower() or not host or "/" in rest:
            raise FoundingError(f"--origin: {origin!r} must be like https://station.example.org, without a path")
        if host != party.id and not host.endswith(f".{party.id}"):
            raise FoundingError(f"--origin: {origin!r} isn't of {party.id}: no passkey would answer there")


def refusals(founders: Founders, party: RelyingParty) -> Iterator[str]:
    """What must not be founded for production, a sentence each. Software keys and origins are the parsers'."""
    policy, roster = founders.policy, founders.roster
    for network in sorted({rule.network for rule in policy.assets.values()} | set(policy.wallets)):
        if network in TEST_NETWORKS:
            yield f"policy: {network} is {TEST_NETWORKS[network]}, which pays nobody"
    if _is_address(party.id):
        yield f"--relying-party: {party.id} is an address; passkeys are for names"
    for at, tier in enumerate(policy.tiers):
        if tier.approvals and not are_enough(approvers(roster, ()), tier):
            asks = people_text(tier.approvals, tier.groups)
            yield f"policy: tiers[{at}]: asks {asks} with credentials, and the roster hasn't got them"
    name = policy.governance.group
    group = next((each for each in roster.groups if each.name == name), None)
    able = [person for person in roster.people if name in person.groups and person.credentials]
    if group is None or len(able) < group.threshold:
        yield f"policy: governance.group: {name} has no quorum with credentials: nothing could be changed or unfrozen"
    keys = [each.credential_class for person in able for each in person.credentials]
    if CredentialClass.TERMINAL not in keys:
        yield f"roster: nobody of {name} has a credential of class terminal, without which nothing could be changed"


def advice(founders: Founders) -> list[str]:
    """What is allowed and unwise."""
    found = [*warnings(founders.policy), *roster_warnings(founders.policy, founders.roster)]
    return [f"{each.field}: {each.reason}" for each in found]


def tier_sentences(founders: Founders) -> list[str]:
    """Who must approve, from the smallest sum to what is refused."""
    policy, said, above = founders.policy, list[str](), ""
    for tier in policy.tiers:
        up_to = f"{sum_text(tier.up_to_reference_minor, policy.reference_currency)} {policy.reference_currency}"
        said.append(f"{above}up to {up_to}: {people_text(tier.approvals, tier.groups)}")
        above = f"above {up_to}, "
    return [*said, f"{above.removesuffix(', ')}: refused"]


def approver_sentences(founders: Founders) -> list[str]:
    """For each client that pays: who can approve what it asks for, and in which groups they stand."""
    said = []
    for client in founders.roster.clients:
        if not any(MOVES_MONEY & set(key.scopes) for key in client.keys):
            continue
        able = approvers(founders.roster, [client])
        names = ", ".join(f"{each.name} ({', '.join(each.groups) or 'no group'})" for each in able)
        said.append(f"{client.id}: {names or 'nobody'}{_short(founders.policy.tiers, able)}")
    return said


def client_name(client: RosterClient) -> str:
    """What commands call it, by what its keys may do."""
    scopes: set[Permission] = {scope for key in client.keys for scope in key.scopes}
    if scopes & MOVES_MONEY:
        return "payouts"
    return "beneficiaries" if scopes & NAMES_DESTINATIONS else "reader"


def delay_sentence(founders: Founders) -> str:
    governance = founders.policy.governance
    group = next((each for each in founders.roster.groups if each.name == governance.group), None)
    members = sum(governance.group in person.groups for person in founders.roster.people)
    quorum = f"{group.threshold} of the {members} in" if group is not None else "a quorum of"
    delay = "at once" if governance.delay_ms == 0 else f"after {span_text(governance.delay_ms)}"
    return f"{quorum} {governance.group} change policy and roster, {delay}, and unfreeze"


def _short(tiers: Sequence[Tier], able: Collection[Person]) -> str:
    lacking = [tier for tier in tiers if tier.approvals and not are_enough(able, tier)]
    return f"; not enough for {people_text(lacking[0].approvals, lacking[0].groups)}" if lacking else ""


def _problem(file: Path, problem: Problem) -> str:
    return f"{file}: {problem.field}: {problem.reason}" if problem.field else f"{file}: {problem.reason}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
