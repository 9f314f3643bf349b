"""The roster `strongroom/roster/v1`: the people, credentials, groups and client keys of one organisation.

Versioned; each version names the hash of the one before. A key or credential stands in it once, so that one key
never speaks for two; whether it stood in an earlier version or another organisation is for the journal to say, and
who may change a roster is for the signer.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import (
    ClientId,
    KeyId,
    OrganisationId,
    PersonId,
    parse_client_id,
    parse_key_id,
    parse_organisation_id,
    parse_person_id,
)
from strongroom.domain.permissions import Permission, ScopeError, SignIn, parse_scopes
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record import read_record, take_bytes, take_distinct, take_version
from strongroom.protocol.webauthn import WebauthnError, check_credential_key

ROSTER_TYPE: Final = "strongroom/roster/v1"
PEOPLE_MAXIMUM: Final = 200
CREDENTIALS_MAXIMUM: Final = 8
GROUPS_MAXIMUM: Final = 32
CLIENTS_MAXIMUM: Final = 200
KEYS_MAXIMUM: Final = 16
CREDENTIAL_ID_MAXIMUM: Final = 1_023
CREDENTIAL_KEY_MAXIMUM: Final = 128


class Role(StrEnum):
    VIEWER = "viewer"
    SUPPORT = "support"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    APPROVER = "approver"
    TREASURER = "treasurer"
    OFFICER = "officer"
    DEVELOPER = "developer"
    ADMIN = "admin"


class CredentialClass(StrEnum):
    """How hard the key is to steal: a file, a browser's passkey, or a device that shows what it signs."""

    SOFTWARE = "software"
    BROWSER = "browser"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Credential:
    """An approval credential; `public_key` is COSE (`webauthn.check_credential_key`)."""

    id: bytes
    public_key: bytes
    credential_class: CredentialClass


@dataclass(frozen=True, slots=True)
class Person:
    id: PersonId
    name: str
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    credentials: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`threshold` of its members make its quorum."""

    name: str
    threshold: int


@dataclass(frozen=True, slots=True)
class RosterKey:
    """A client's Ed25519 key and what it may ask for."""

    id: KeyId
    public_key: bytes
    scopes: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class RosterClient:
    """`custodians` can reach the client's keys: their approvals don't count for its payouts."""

    id: ClientId
    keys: tuple[RosterKey, ...]
    custodians: tuple[PersonId, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    organisation: OrganisationId
    version: int
    previous: str | None
    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    clients: tuple[RosterClient, ...]


def roster_hash(raw: bytes) -> str:
    """What the next version names as `previous`: 64 hex digits for the verbatim bytes."""
    return record_hash(ROSTER_TYPE, raw).hex()


def parse_roster(raw: bytes, mode: Mode) -> Roster:
    """A roster from its verbatim bytes; software keys only in a sandbox. Raises: DocumentError."""
    fields = read_record(raw, ROSTER_TYPE)
    version, previous = take_version(fields)
    roster = Roster(
        organisation=fields.parsed("organisation", parse_organisation_id), version=version, previous=previous,
        people=tuple(_person(each) for each in fields.each("people", 0, PEOPLE_MAXIMUM)),
        groups=tuple(_group(each) for each in fields.each("groups", 0, GROUPS_MAXIMUM)),
        clients=tuple(_client(each) for each in fields.each("clients", 0, CLIENTS_MAXIMUM)),
    )
    fields.close()
    _check_unique(roster)
    _check_references(roster)
    credentials = [each for person in roster.people for each in person.credentials]
    if mode is not Mode.SANDBOX and any(each.credential_class is CredentialClass.SOFTWARE for each in credentials):
        raise DocumentError("people", "software keys are for sandboxes only")
    return roster


def _person(fields: Fields) -> Person:
    return fields.done(Person(
        id=fields.parsed("id", parse_person_id), name=fields.text("name"),
        roles=take_distinct(fields, "roles", len(Role), Role),
        groups=take_distinct(fields, "groups", GROUPS_MAXIMUM, str),
        credentials=tuple(_credential(each) for each in fields.each("credentials", 0, CREDENTIALS_MAXIMUM)),
    ))


def _credential(fields: Fields) -> Credential:
    credential = Credential(
        take_bytes(fields, "id", 1, CREDENTIAL_ID_MAXIMUM), take_bytes(fields, "public_key", 1, CREDENTIAL_KEY_MAXIMUM),
        fields.parsed("class", CredentialClass),
    )
    try:
        check_credential_key(credential.public_key)
    except WebauthnError as fault:
        raise DocumentError(fields.path("public_key"), fault.reason) from fault
    fields.close()
    return credential


def _group(fields: Fields) -> Group:
    return fields.done(Group(fields.text("name"), fields.integer("threshold", 1, PEOPLE_MAXIMUM)))


def _client(fields: Fields) -> RosterClient:
    return fields.done(RosterClient(
        id=fields.parsed("id", parse_client_id),
        keys=tuple(_key(each) for each in fields.each("keys", 0, KEYS_MAXIMUM)),
        custodians=take_distinct(fields, "custodians", PEOPLE_MAXIMUM, parse_person_id),
    ))


def _key(fields: Fields) -> RosterKey:
    scopes = take_distinct(fields, "scopes", len(Permission), str)
    try:
        parse_scopes(scopes, SignIn.CLIENT_SIGNATURE)
    except ScopeError as fault:
        raise DocumentError(fields.path("scopes"), str(fault)) from fault
    return fields.done(RosterKey(
        fields.parsed("id", parse_key_id), take_bytes(fields, "public_key", 32, 32), tuple(map(Permission, scopes))
    ))


def _check_unique(roster: Roster) -> None:
    credentials = [credential for person in roster.people for credential in person.credentials]
    keys = [key for client in roster.clients for key in client.keys]
    for field, names in (
        ("people", [person.id for person in roster.people]),
        ("people.credentials", [credential.id for credential in credentials]),
        ("people.credentials", [credential.public_key for credential in credentials]),
        ("groups", [group.name for group in roster.groups]), ("clients", [client.id for client in roster.clients]),
        ("clients.keys", [key.id for key in keys]), ("clients.keys", [key.public_key for key in keys]),
    ):
        if len(set(names)) != len(names):
            raise DocumentError(field, "one stands there twice")


def _check_references(roster: Roster) -> None:
    """Groups and custodians exist, and no quorum asks for more people than there are."""
    members = Counter(group for person in roster.people for group in person.groups)
    for name in members.keys() - {group.name for group in roster.groups}:
        raise DocumentError("people.groups", f"there is no group {name!r}")
    for group in roster.groups:
        if group.threshold > members[group.name]:
            raise DocumentError("groups", f"{group.name!r} has fewer members than its threshold")
    custodians = {person for client in roster.clients for person in client.custodians}
    if not custodians <= {person.id for person in roster.people}:
        raise DocumentError("clients.custodians", "one isn't among the people")
