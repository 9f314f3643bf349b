"""What people approve: the request that the signer makes and signs, and the assertions that come back.

The signer writes the request itself, so that what people see is what it will check. An approval is a WebAuthn
assertion over the hash of these verbatim bytes, bound to a random ticket, to the policy, roster and freeze epoch of its
moment, and to an end.
"""

from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import PersonId, parse_person_id
from strongroom.domain.instant import DAY_MS
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.record import take_bytes
from strongroom.protocol.roster import CREDENTIAL_ID_MAXIMUM, CredentialClass
from strongroom.protocol.standing import Standing
from strongroom.protocol.webauthn import Assertion, RelyingParty, WebauthnError, verify_assertion

APPROVAL_REQUEST_TYPE: Final = "strongroom/approval-request/v1"
REQUEST_LIFE_MAXIMUM_MS: Final = DAY_MS
ASSERTIONS_MAXIMUM: Final = 32
TICKET_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class PersonAssertion:
    """Whose assertion it says it is; `Assertion` is what the browser or key gave back."""

    person: PersonId
    credential: bytes
    assertion: Assertion


@dataclass(frozen=True, slots=True)
class Heard:
    """One person whose assertion over exactly these bytes holds."""

    person: PersonId
    credential: bytes
    credential_class: CredentialClass
    groups: frozenset[str]


def approval_request(subject: dict[str, JsonValue], terms: dict[str, JsonValue]) -> bytes:
    """The canonical bytes of a request: who is paid what (`subject`), and under which terms."""
    return encode({**subject, **terms, "type": APPROVAL_REQUEST_TYPE})


def hear(record: bytes, record_type: str, given: PersonAssertion, standing: Standing, party: RelyingParty) -> Heard:
    """That a person of the roster signed these bytes with a credential of theirs. Raises: WebauthnError.

    Each record is used once, by its ticket or id, so an old assertion gains nothing.
    """
    credential = standing.credential(given.person, given.credential)
    person = standing.person(given.person)
    if credential is None or person is None:
        raise WebauthnError("credential", f"isn't one of {given.person} in the roster in force")
    verify_assertion(given.assertion, record_hash(record_type, record), party, credential.public_key)
    return Heard(given.person, credential.id, credential.credential_class, frozenset(person.groups))


def take_assertions(fields: Fields, name: str) -> tuple[PersonAssertion, ...]:
    """A list of assertions as `assertion_document` writes them. Raises: DocumentError."""
    return tuple(take_assertion(each) for each in fields.each(name, 0, ASSERTIONS_MAXIMUM))


def assertion_document(given: PersonAssertion) -> dict[str, JsonValue]:
    return {
        "authenticator_data": given.assertion.authenticator_data.hex(),
        "client_data": given.assertion.client_data.hex(), "credential": given.credential.hex(), "person": given.person,
        "signature": given.assertion.signature.hex(),
    }


def take_assertion(fields: Fields) -> PersonAssertion:
    """One assertion. Raises: DocumentError."""
    return fields.done(PersonAssertion(
        fields.parsed("person", parse_person_id), take_bytes(fields, "credential", 1, CREDENTIAL_ID_MAXIMUM),
        Assertion(take_bytes(fields, "client_data", 1, 8_192), take_bytes(fields, "authenticator_data", 1, 1_024),
                  take_bytes(fields, "signature", 1, 256)),
    ))
