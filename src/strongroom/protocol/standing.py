"""Whose word counts in an organisation now: its policy and roster in force, what is frozen, revoked and suspended.

Signer and guard keep one each, from the same journal and control log. What stands here was verified before; nothing
here verifies. A freeze, a revocation or a suspension never makes anything possible that wasn't.
"""

from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import ClientId, KeyId, MakerKey, OrganisationId, PersonId, is_person
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import POLICY_TYPE, Policy, parse_policy
from strongroom.protocol.canonical import parse_object, record_hash
from strongroom.protocol.genesis import Mode
from strongroom.protocol.roster import Credential, Person, Role, Roster, RosterClient, parse_roster, roster_hash

SUSPENSION_MS: Final = 72 * HOUR_MS
"""A suspension lapses after this; making it last is a roster change."""
PROPOSER_BARRED_MS: Final = 7 * DAY_MS
WHOLE: Final = "organisation"
_ASKS: Final = {Permission.PAYOUTS_CREATE: Role.OPERATOR, Permission.BENEFICIARIES_CREATE: Role.OPERATOR}
"""The role in which a person may ask for what a client's key needs a scope for."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change of roster or policy that waits; `noticed` is when guard had told its members."""

    document: str
    raw: bytes
    people: tuple[PersonId, ...]
    since: Instant
    noticed: Instant | None = None


@dataclass(slots=True)
class Standing:
    """`frozen` holds scopes: `organisation`, or `asset:…`, `network:…`, `client:…`, `beneficiary:…`."""

    policy: Policy
    policy_hash: str
    roster: Roster
    roster_hash: str
    freeze_epoch: int = 0
    frozen: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    suspended: dict[PersonId, Instant] = field(default_factory=dict)
    suspended_by: dict[PersonId, Instant] = field(default_factory=dict)
    """When an officer last suspended somebody: once a day."""
    barred: dict[PersonId, Instant] = field(default_factory=dict)
    """Proposers of roster changes, until when they may not approve."""
    released: dict[str, list[str]] = field(default_factory=dict)
    """Payout to the attempts from which a quorum released its money: of use once guard has seen that they can't be."""
    used_records: set[str] = field(default_factory=set)
    alarms: set[str] = field(default_factory=set)
    """Watch's that no officer has resolved."""
    pending: dict[str, Pending] = field(default_factory=dict)
    vetoed: set[str] = field(default_factory=set)
    """Changes that ended so: what their quorum asserted is of no use again."""
    enrolled: dict[KeyId, tuple[ClientId, bytes]] = field(default_factory=dict)
    """Every client's key that ever stood in a roster: its name and bytes are one client's for ever."""

    @property
    def organisation(self) -> OrganisationId:
        return self.policy.organisation

    def enrol(self) -> None:
        for client in self.roster.clients:
            self.enrolled.update((key.id, (client.id, key.public_key)) for key in client.keys)

    def person(self, person: PersonId) -> Person | None:
        return next((each for each in self.roster.people if each.id == person), None)

    def client_of(self, key: KeyId, scope: Permission) -> tuple[RosterClient, bytes] | None:
        """The client and public key behind a key that may ask for `scope`, None if revoked or without it."""
        for client in self.roster.clients:
            for each in client.keys:
                if each.id == key and scope in each.scopes and key not in self.revoked:
                    return client, each.public_key
        return None

    def may_ask(self, key: MakerKey, scope: Permission, now: Instant) -> bool:
        """Whether a client's key has the scope, or a person the role for it, and isn't revoked or suspended."""
        person = self.person(PersonId(key)) if is_person(key) else None  # nobody is looked for by a client's key
        if person is None:
            return self.client_of(KeyId(key), scope) is not None
        return _ASKS.get(scope) in person.roles and not self.is_suspended(person.id, now)

    def credential(self, person: PersonId, credential: bytes) -> Credential | None:
        found = self.person(person)
        return next((each for each in found.credentials if each.id == credential), None) if found else None

    def is_suspended(self, person: PersonId, now: Instant) -> bool:
        return person in self.suspended and now - self.suspended[person] < SUSPENSION_MS

    def may_approve(self, person: PersonId, now: Instant) -> bool:
        """An approver who is neither suspended nor barred for having proposed a roster change."""
        found = self.person(person)
        is_approver = found is not None and Role.APPROVER in found.roles
        return is_approver and not self.is_suspended(person, now) and now >= self.barred.get(person, 0)

    def has_quorum(self, people: frozenset[PersonId]) -> bool:
        """As many of the governing group as its threshold asks; suspended people keep counting in the threshold."""
        group = next((each for each in self.roster.groups if each.name == self.policy.governance.group), None)
        members = {each.id for each in self.roster.people if self.policy.governance.group in each.groups}
        return group is not None and len(people & members) >= group.threshold

    def freezes(self, scopes: frozenset[str]) -> str | None:
        """The frozen scope that one of these falls into, None if there is none."""
        return next(iter(sorted(self.frozen & (scopes | {WHOLE}))), None)


def policy_hash(raw: bytes) -> str:
    return record_hash(POLICY_TYPE, raw).hex()


def open_standing(policy: bytes, roster: bytes, mode: Mode) -> Standing:
    """A new organisation's. Raises: DocumentError, CanonicalError."""
    parsed, people = parse_policy(parse_object(policy)), parse_roster(roster, mode)
    if parsed.organisation != people.organisation:
        raise DocumentError("organisation", "isn't the same in policy and roster")
    standing = Standing(parsed, policy_hash(policy), people, roster_hash(roster))
    standing.enrol()
    return standing
