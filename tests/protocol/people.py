"""An organisation for tests: people with passkeys, clients with keys, its roster, and what they sign."""

from dataclasses import dataclass
from typing import Any

import rfc8785
from nacl.signing import SigningKey
from tests.domain.policy_document import policy_document
from tests.protocol.passkey import Passkey

from strongroom.domain.ids import ClientId, IdempotencyKey, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.http_signature import SignedRequest, parse_signature, sign_request
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.negative import NEGATIVE_TYPE
from strongroom.protocol.roster import (
    Credential,
    CredentialClass,
    Group,
    Person,
    Role,
    Roster,
    RosterClient,
    RosterKey,
)
from strongroom.protocol.signature_base import content_digest

NOW = Instant(1_800_000_000_000)
ORGANISATION = OrganisationId("org_" + "a" * 26)
OTHER = OrganisationId("org_" + "b" * 26)


@dataclass(frozen=True)
class Human:
    """A person with one software passkey."""

    letter: str
    roles: tuple[Role, ...]
    groups: tuple[str, ...]

    @property
    def id(self) -> PersonId:
        return PersonId("pe_" + self.letter * 26)

    @property
    def passkey(self) -> Passkey:
        return Passkey(seed=1_000 + ord(self.letter))

    def person(self) -> Person:
        credential = Credential(self.letter.encode(), self.passkey.public_key, CredentialClass.SOFTWARE)
        return Person(self.id, f"{self.letter.upper()} Example", self.roles, self.groups, (credential,))

    def asserts(self, record: bytes, record_type: str = NEGATIVE_TYPE, **wrong: Any) -> PersonAssertion:
        assertion = self.passkey.asserts(record_hash(record_type, record), **wrong)
        return PersonAssertion(self.id, self.letter.encode(), assertion)


ADA = Human("a", (Role.APPROVER,), ())
CLEO = Human("c", (Role.OFFICER,), ("officers",))
DAN = Human("d", (Role.OFFICER,), ("officers",))
VIC = Human("v", (Role.VIEWER,), ())
STRANGER = Human("s", (Role.OFFICER,), ("officers",))
PEOPLE = (ADA, CLEO, DAN, VIC)


@dataclass(frozen=True)
class Payer:
    """A client with one key that may pay and cancel."""

    letter: str
    scopes: tuple[Permission, ...] = (Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL)

    @property
    def id(self) -> ClientId:
        return ClientId("cl_" + self.letter * 26)

    @property
    def key_id(self) -> KeyId:
        return KeyId("ak_" + self.letter * 26)

    @property
    def key(self) -> SigningKey:
        return SigningKey(self.letter.encode() * 32)

    def client(self) -> RosterClient:
        return RosterClient(self.id, (RosterKey(self.key_id, bytes(self.key.verify_key), self.scopes),), ())

    def payout(self, key: str, organisation: OrganisationId = ORGANISATION) -> str:
        return payout_id(organisation, self.id, IdempotencyKey(key))

    def cancels(
        self, key: str, deployment: str, payout: str | None = None, signed_by: SigningKey | None = None,
        header: str = "cancel-1", path: str | None = None, body: bytes | None = None,
    ) -> ClientEvidence:
        """The signed request that cancels the payout made under `key`."""
        body = rfc8785.dumps({"idempotency_key": key}) if body is None else body
        request = SignedRequest(
            "POST", "127.0.0.1:8420", path or f"/v1/payouts/{payout or self.payout(key)}/cancel", "?",
            "application/json", content_digest(body), header, None, None,
        )
        made, signature = sign_request(
            request, self.key_id, signed_by or self.key, deployment, NOW // 1_000, 300
        )
        whole = SignedRequest(
            request.method, request.authority, request.path, request.query, request.content_type,
            request.content_digest, request.idempotency_key, made, signature,
        )
        parsed = parse_signature(whole, deployment)
        return ClientEvidence(parsed.base, parsed.signature, body)


PAYER, NEIGHBOUR = Payer("p"), Payer("n")
READER = Payer("r", (Permission.PAYOUTS_READ,))


def roster(organisation: OrganisationId = ORGANISATION, people: tuple[Human, ...] = PEOPLE, **changes: Any) -> Roster:
    clients = tuple(each.client() for each in (PAYER, NEIGHBOUR, READER)) if organisation == ORGANISATION else ()
    values: dict[str, Any] = {
        "organisation": organisation, "version": 1, "previous": None,
        "people": tuple(each.person() for each in people), "groups": (Group("officers", 2),), "clients": clients,
    }
    return Roster(**values | changes)


def policy(organisation: OrganisationId = ORGANISATION, **changes: Any) -> bytes:
    return rfc8785.dumps(policy_document(organisation=organisation, **changes))
