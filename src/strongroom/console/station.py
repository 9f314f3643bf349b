"""Links to the approval station: the bytes that it shows, in the fragment, which browsers send to no server."""

from base64 import urlsafe_b64encode

from strongroom.console.call import Call
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.store.console_pages import Waiting


def approve_link(call: Call, waiting: Waiting) -> str:
    """To approve one request of the signer's, by whoever is signed in."""
    person = call.who.person
    credentials: list[JsonValue] = [each.id.hex() for each in person.credentials]
    return _link(call, {
        "credentials": credentials, "items": None, "kind": "approve", "name": person.name, "person": person.id,
        "request": waiting.request.decode(), "signature": waiting.signature.hex(),
    })


def instruct_link(call: Call, action: str, subject: str) -> str:
    """To give guard an instruction, such as a freeze."""
    visitor = call.who
    credentials: list[JsonValue] = [each.id.hex() for each in visitor.person.credentials]
    return _link(call, {
        "action": action, "credentials": credentials, "kind": "instruct", "name": visitor.person.name,
        "object": subject, "organisation": visitor.session.organisation, "person": visitor.person.id,
    })


def _link(call: Call, document: dict[str, JsonValue]) -> str:
    fragment = urlsafe_b64encode(encode(document)).decode().rstrip("=")
    return f"{call.service.config.station_origin}/#{fragment}"
