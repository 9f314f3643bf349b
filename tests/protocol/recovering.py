"""The record of a recovery, and the clients of a new generation, for tests."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from nacl.signing import SigningKey

from strongroom.domain.ids import ClientId, KeyId, OrganisationId
from strongroom.protocol.approval import PersonAssertion, assertion_document
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.roster import Roster, roster_hash
from strongroom.protocol.signer_wire import RECOVERY_TYPE
from strongroom.protocol.standing import policy_hash

EPOCH = "e" * 64


def new_client(letter: str, place: int) -> tuple[ClientId, KeyId, SigningKey]:
    """Who stands in a new roster in the place of the client at this one, with one key."""
    name = letter + chr(97 + place) * 25
    return ClientId(f"cl_{name}"), KeyId(f"ak_{name}"), SigningKey(f"{letter}{place}".encode() * 16)


def new_roster(before: Roster, letter: str) -> Roster:
    """The next one with the same people, and clients of whom nothing was there before; each with its first key."""
    clients = []
    for place, client in enumerate(before.clients):
        name, key_id, key = new_client(letter, place)
        keys = (replace(client.keys[0], id=key_id, public_key=bytes(key.verify_key)),)
        clients.append(replace(client, id=name, keys=keys))
    return replace(before, version=before.version + 1, previous="ab" * 32, clients=tuple(clients))


def recovery_record(
    deployment: str, organisation: OrganisationId, journal: Head, policy: bytes, roster: bytes,
    wrong: dict[str, Any] | None = None,
) -> bytes:
    """What the people assert; `wrong` are other fields."""
    return encode({
        "deployment": deployment, "epoch": EPOCH, "journal": {"head": journal.head.hex(), "length": journal.length},
        "organisation": organisation, "policy": policy_hash(policy), "roster": roster_hash(roster),
        "type": RECOVERY_TYPE,
    } | (wrong or {}))


def recovery_ask(
    record: bytes, policy: bytes, roster: bytes, given: Iterable[PersonAssertion]
) -> dict[str, JsonValue]:
    """What the signer is given."""
    raws = {"policy": policy, "record": record, "roster": roster}
    assertions: list[JsonValue] = [assertion_document(each) for each in given]
    return {"assertions": assertions, **{name: b64encode(raw).decode() for name, raw in raws.items()}}
