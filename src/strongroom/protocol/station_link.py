"""What the console opens the station with: a document in the fragment of its address, which no server gets to see.

`https://STATION/#<base64url of the canonical JSON>`; docs/station.md says what each field is. The writer's side: the
reader is the station's own (`station/bundle/link.js`), which refuses unknown fields and believes nothing of it but what
is signed or hashed. Records go in as their text, so that what is shown is what is hashed.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.protocol.approval import PersonAssertion, assertion_document
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.negative import Action

FRAGMENT_MAXIMUM: Final = 1_000_000
"""Characters: what is longer doesn't fit into an address that every browser takes."""


class LinkError(ValueError):
    """What should be shown doesn't fit into an address."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked: their name as the console has it, and the ids of their approval credentials."""

    person: PersonId
    name: str
    credentials: Sequence[bytes]

    def document(self) -> dict[str, JsonValue]:
        return {"credentials": [each.hex() for each in self.credentials], "name": self.name, "person": self.person}


def station_url(origin: str, document: dict[str, JsonValue]) -> str:
    """The address to open. Raises: LinkError if it would be too long, CanonicalError."""
    fragment = urlsafe_b64encode(encode(document)).decode().rstrip("=")
    if len(fragment) > FRAGMENT_MAXIMUM:
        raise LinkError(f"has {len(fragment)} characters of at most {FRAGMENT_MAXIMUM}")
    return f"{origin}/#{fragment}"


def approve(
    asked: Asked, request: bytes, signature: bytes, *, policy: bytes | None = None, roster: bytes | None = None,
    items: str | None = None,
) -> dict[str, JsonValue]:
    """To approve what the signer asks for. `policy` and `roster` are the versions that the request names: with them
    amounts have decimals and people names. `items` is the token for a run's items (`GET /station/items/TOKEN`)."""
    return {
        **asked.document(), "items": items, "kind": "approve", "policy": _text(policy), "request": request.decode(),
        "roster": _text(roster), "signature": signature.hex(),
    }


def instruct(
    asked: Asked, organisation: OrganisationId, action: Action, subject: str, *, record: bytes | None = None,
    given: Sequence[PersonAssertion] = (),
) -> dict[str, JsonValue]:
    """To stop something, or let it go on. Without `record` the station makes one; with it, and what others have
    asserted over it so far, this person joins them."""
    return {
        **asked.document(), "action": action.value, "assertions": [*map(assertion_document, given)],
        "kind": "instruct", "object": subject, "organisation": organisation, "record": _text(record),
    }


def change(asked: Asked, document: str, record: bytes, previous: bytes | None) -> dict[str, JsonValue]:
    """To agree to a new version of the `policy` or the `roster`; `previous` is the one in force, None for the first."""
    return {
        **asked.document(), "document": document, "kind": "change", "previous": _text(previous),
        "record": record.decode(),
    }


def intent(
    asked: Asked, record: bytes, *, destination: bytes | None = None, policy: bytes | None = None,
    items: str | None = None,
) -> dict[str, JsonValue]:
    """To ask for something oneself: a record `strongroom/intent/v1`. For a payout `destination` is the record that it
    names; for a run `items` is the token by which the destinations of its items are fetched."""
    return {
        **asked.document(), "destination": _text(destination), "items": items, "kind": "intent",
        "policy": _text(policy), "record": record.decode(),
    }


def enrol(asked: Asked, organisation: OrganisationId, challenge: bytes) -> dict[str, JsonValue]:
    """To make an approval credential; `asked.credentials` are those that exist. The challenge is 32 random bytes."""
    return {**asked.document(), "challenge": challenge.hex(), "kind": "enrol", "organisation": organisation}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()
