"""What somebody asks for, read from its evidence: a client's signed HTTP request, or a person's record.

A person asks with the record `strongroom/intent/v1`: path and body as a client would send them, asserted with a passkey
as approvals are. The person stands where the client stands, in ids and limits too. `created_ms` bounds the record's
age as `created` does a client's; who lies about it makes it older, or a minute younger. `deployment` keeps it out of
every other deployment, a successor with the same people included.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import KeyId, Maker, OrganisationId, parse_idempotency_key
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.approval import PersonAssertion, assertion_document, hear, take_assertion
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.client_request import (
    ClientEvidence,
    Request,
    read_client_request,
    request_of,
    take_base64,
    take_client_evidence,
)
from strongroom.protocol.record import read_record
from strongroom.protocol.signature_base import content_digest
from strongroom.protocol.standing import Standing
from strongroom.protocol.webauthn import RelyingParty

INTENT_TYPE: Final = "strongroom/intent/v1"


@dataclass(frozen=True, slots=True)
class PersonEvidence:
    """A person's record, byte for byte, and their assertion over it."""

    record: bytes
    given: PersonAssertion

    def document(self) -> JsonValue:
        """As it stands in frames between processes."""
        return {"assertion": assertion_document(self.given), "record": b64encode(self.record).decode()}


Evidence = ClientEvidence | PersonEvidence


def read_request(evidence: Evidence, deployment: str, organisation: OrganisationId) -> Request:
    """Raises: SignatureError, DocumentError if it asks for nothing here; whose it is isn't verified yet."""
    if isinstance(evidence, ClientEvidence):
        return read_client_request(evidence, deployment)
    fields = read_record(evidence.record, INTENT_TYPE)
    fields.exactly("deployment", deployment)
    fields.exactly("organisation", organisation)
    fields.exactly("person", evidence.given.person)
    created = Instant(fields.integer("created_ms", 0, INSTANT_MAXIMUM))
    key = fields.parsed("idempotency_key", parse_idempotency_key)
    path, body = fields.text("path"), fields.take("body")
    fields.close()
    if not isinstance(body, dict):
        raise DocumentError("body", "must be an object")
    raw = encode(body)
    return request_of(path, evidence.given.person, created, key, raw, content_digest(raw))


def maker_of(
    evidence: Evidence, request: Request, scope: Permission, standing: Standing, party: RelyingParty, now: Instant
) -> Maker | None:
    """Who signed it, None if they may not ask for `scope`. Raises: SignatureError, WebauthnError."""
    if isinstance(evidence, PersonEvidence):
        if not standing.may_ask(evidence.given.person, scope, now):
            return None
        return hear(evidence.record, INTENT_TYPE, evidence.given, standing, party).person
    found = standing.client_of(KeyId(request.key_id), scope)
    if found is None:
        return None
    evidence.verify(found[1])
    return found[0].id


def take_evidence(value: object, field: str) -> Evidence:
    """Evidence as `document` writes it: a list for a client's, an object for a person's. Raises: DocumentError."""
    if not isinstance(value, dict):
        return take_client_evidence(value, field)
    fields = Fields(value, field)
    record, given = take_base64(fields.take("record"), fields.path("record")), take_assertion(fields.inner("assertion"))
    return fields.done(PersonEvidence(record, given))
