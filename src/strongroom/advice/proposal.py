"""What is wrong with a change of policy or roster before anybody asserts it, and whose assertion would count.

Says beforehand what the signer would say (`signer/changes`), by the versions that the caller believes to be in force.
Decides nothing: the signer looks again, by its own.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from strongroom.advice.problems import read_policy
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import PersonId
from strongroom.domain.policy import POLICY_TYPE, Policy
from strongroom.protocol.approval import PersonAssertion, hear
from strongroom.protocol.canonical import CanonicalError, encode, parse_object
from strongroom.protocol.genesis import Mode
from strongroom.protocol.roster import ROSTER_TYPE, CredentialClass, Roster, parse_roster, roster_hash
from strongroom.protocol.standing import Standing, policy_hash
from strongroom.protocol.webauthn import RelyingParty, WebauthnError

POLICY: Final = "policy"
ROSTER: Final = "roster"
TYPES: Final = {POLICY: POLICY_TYPE, ROSTER: ROSTER_TYPE}
BYTES_MAXIMUM: Final = 512 * 2**10
"""As base64 it still fits into one entry of the journal."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A document that may follow the running one; `digest` names it, in hex."""

    document: str
    raw: bytes
    digest: str
    parsed: Policy | Roster

    @property
    def record_type(self) -> str:
        return TYPES[self.document]


def read_proposal(document: str, raw: bytes, running: Standing, mode: Mode) -> Proposal:
    """Raises: DocumentError with the field at fault, if the signer wouldn't take it after what is running."""
    if document not in TYPES:
        raise DocumentError("document", f"must be {POLICY} or {ROSTER}")
    if len(raw) > BYTES_MAXIMUM:
        raise DocumentError("", f"is longer than {BYTES_MAXIMUM} bytes")
    _check_canonical(raw)
    parsed = _read_policy(raw) if document == POLICY else parse_roster(raw, mode)
    before, before_hash = (
        (running.policy, running.policy_hash) if document == POLICY else (running.roster, running.roster_hash)
    )
    if parsed.organisation != running.organisation:
        raise DocumentError("organisation", f"must be {running.organisation}")
    if parsed.version != before.version + 1:
        raise DocumentError("version", f"must be {before.version + 1}: version {before.version} is running")
    if parsed.previous != before_hash:
        raise DocumentError("previous", f"must be the hash of the running version, {before_hash}")
    if isinstance(parsed, Roster):
        _check_roster(parsed, running)
        _check_governed(running.policy, parsed, mode)
    else:
        _check_governed(parsed, running.roster, mode)
    return Proposal(document, raw, name_of(document, raw), parsed)


def name_of(document: str, raw: bytes) -> str:
    """What everybody calls a change: the hash of its verbatim bytes."""
    return policy_hash(raw) if document == POLICY else roster_hash(raw)


def why_not(person: PersonId, running: Standing) -> str | None:
    """Why this person's assertion would never count for a change; None if it can."""
    found, group = running.person(person), running.policy.governance.group
    if found is None:
        return f"{person} isn't in the running roster"
    if group not in found.groups:
        return f"{person} isn't of the group {group}, which alone changes policy and roster"
    return None


def consenting(
    proposal_type: str, raw: bytes, given: Iterable[PersonAssertion], running: Standing, party: RelyingParty
) -> list[PersonAssertion]:
    """Those whose assertion over exactly these bytes holds and can count, by what is running."""
    found: list[PersonAssertion] = []
    for each in given:
        with suppress(WebauthnError):
            if why_not(hear(raw, proposal_type, each, running, party).person, running) is None:
                found.append(each)
    return found


def needed(running: Standing) -> int:
    """How many people of the governing group a change needs."""
    name = running.policy.governance.group
    return next((each.threshold for each in running.roster.groups if each.name == name), 0)


def _check_canonical(raw: bytes) -> None:
    """Raises: DocumentError."""
    try:
        canonical = encode(parse_object(raw))
    except CanonicalError as fault:
        raise DocumentError(fault.field, fault.reason) from fault
    if canonical != raw:
        raise DocumentError("", "isn't in the canonical form of RFC 8785")


def _read_policy(raw: bytes) -> Policy:
    """Raises: DocumentError."""
    found = read_policy(raw)
    if isinstance(found, list):
        raise DocumentError(found[0].field, found[0].reason)
    return found


def _check_roster(after: Roster, running: Standing) -> None:
    """What the signer remembers of keys, as far as the running roster tells; and names that show all there is of them.

    Raises: DocumentError.
    """
    for at, person in enumerate(after.people):
        if not person.name.isprintable():
            raise DocumentError(f"people[{at}].name", "must hold only characters that can be seen")
    for at, group in enumerate(after.groups):
        if not group.name.isprintable():
            raise DocumentError(f"groups[{at}].name", "must hold only characters that can be seen")
    names = {public_key: key for key, (_, public_key) in running.enrolled.items()}
    for at, client in enumerate(after.clients):
        for place, key in enumerate(client.keys):
            mine = (client.id, key.public_key)
            if running.enrolled.get(key.id, mine) != mine or names.get(key.public_key, key.id) != key.id:
                field = f"clients[{at}].keys[{place}]"
                raise DocumentError(field, f"the key {key.id}, or its name, is another client's or another key")


def _check_governed(policy: Policy, roster: Roster, mode: Mode) -> None:
    """That somebody could change it back. Raises: DocumentError."""
    name = policy.governance.group
    group = next((each for each in roster.groups if each.name == name), None)
    able = [each for each in roster.people if name in each.groups and each.credentials]
    if group is None or len(able) < group.threshold:
        raise DocumentError("", f"no quorum of {name} with credentials would be left to change it back")
    classes = {each.credential_class for person in able for each in person.credentials}
    if mode is Mode.PRODUCTION and CredentialClass.TERMINAL not in classes:
        raise DocumentError("", f"nobody of {name} with a terminal would be left to change it back")
