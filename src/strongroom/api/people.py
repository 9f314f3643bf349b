"""People who sign in by an assertion: over exactly what one call is about, and for this call only.

The roster is the one that the database mirrors. Who is suspended, or barred after a change of it, isn't known here.
"""

from strongroom.api.reading import refuse
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.errors import Code
from strongroom.domain.ids import ClientId, KeyId, OrganisationId, PersonId
from strongroom.domain.permissions import Permission, SignIn
from strongroom.protocol.approval import PersonAssertion, hear, take_assertion
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.genesis import Genesis, parse_genesis
from strongroom.protocol.standing import Standing, open_standing
from strongroom.protocol.webauthn import WebauthnError
from strongroom.store import approvals
from strongroom.store.organisations import ClientKey
from strongroom.store.session import Session


async def running(connection: Session, organisation: OrganisationId) -> tuple[Genesis, Standing]:
    """What this database says is in force in an organisation that it knows."""
    genesis = parse_genesis(await approvals.read_genesis(connection))
    return genesis, open_standing(*await approvals.read_documents(connection, organisation), genesis.mode)


def read_given(value: JsonValue, field: str = "") -> PersonAssertion:
    """Raises: RefusalError."""
    try:
        return take_assertion(Fields(value, field))
    except DocumentError as fault:
        raise refuse(Code.INVALID, fault.reason, fault.field) from fault


def check_assertion(
    raw: bytes, record_type: str, given: PersonAssertion, genesis: Genesis, standing: Standing
) -> None:
    """That the assertion is over these bytes, by a credential in the roster. Raises: RefusalError."""
    try:
        hear(raw, record_type, given, standing, genesis.relying_party)
    except WebauthnError as fault:
        raise refuse(Code.SIGNATURE_INVALID, str(fault), fault.field) from fault


def signed_in(person: PersonId, organisation: OrganisationId, *permissions: Permission) -> ClientKey:
    """A person in the place of a client's key."""
    return ClientKey(
        KeyId(person), ClientId(person), organisation, SignIn.ASSERTION, b"", frozenset(permissions), (), False
    )
