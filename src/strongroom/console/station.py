"""Links to the approval station: the bytes that it shows, in the fragment, which browsers send to no server."""

from strongroom.console.call import Call
from strongroom.protocol import station_link
from strongroom.protocol.negative import Action
from strongroom.protocol.station_link import Asked, station_url
from strongroom.store.console_pages import Waiting


def asked(call: Call) -> Asked:
    """Whoever is signed in, with the credentials that the mirrored roster has."""
    person = call.who.person
    return Asked(person.id, person.name, [each.id for each in person.credentials])


def approve_link(call: Call, waiting: Waiting, items: str | None = None) -> str:
    """To approve one request of the signer's."""
    mirror = call.who.mirror
    document = station_link.approve(
        asked(call), waiting.request, waiting.signature, policy=mirror.policy_text.encode(),
        roster=mirror.roster_text.encode(), items=items,
    )
    return station_url(call.service.config.station_origin, document)


def instruct_link(call: Call, action: Action, subject: str) -> str:
    """To give guard an instruction, such as a freeze."""
    document = station_link.instruct(asked(call), call.who.session.organisation, action, subject)
    return station_url(call.service.config.station_origin, document)


def change_link(call: Call, document: str, raw: bytes, previous: bytes) -> str:
    """To agree to a new version of policy or roster."""
    return station_url(
        call.service.config.station_origin, station_link.change(asked(call), document, raw, previous)
    )


def enrol_link(call: Call, challenge: bytes) -> str:
    """To make an approval credential of one's own."""
    document = station_link.enrol(asked(call), call.who.session.organisation, challenge)
    return station_url(call.service.config.station_origin, document)


def intent_link(call: Call, record: bytes, destination: bytes) -> str:
    """To ask for a payout oneself; `destination` is the record that it names."""
    document = station_link.intent(
        asked(call), record, destination=destination, policy=call.who.mirror.policy_text.encode()
    )
    return station_url(call.service.config.station_origin, document)
