"""Writes the records that people make: genesis, roster, instructions. Signer and guard only read them."""

from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.genesis import GENESIS_TYPE, Genesis
from strongroom.protocol.negative import Action, Negative
from strongroom.protocol.roster import ROSTER_TYPE, Person, Roster, RosterClient


def write_genesis(genesis: Genesis) -> bytes:
    """The canonical bytes that are hashed. Raises: CanonicalError."""
    organisations: list[JsonValue] = [
        {"organisation": each.organisation, "policy": each.policy, "roster": each.roster}
        for each in genesis.organisations
    ]
    party: JsonValue = {"id": genesis.relying_party.id, "origins": [*sorted(genesis.relying_party.origins)]}
    return encode({
        "checkpoint_key": genesis.checkpoint_key.hex(), "created_ms": genesis.created,
        "guard_key": genesis.guard_key.hex(), "mode": genesis.mode.value, "organisations": organisations,
        "relying_party": party, "statement_key": genesis.statement_key.hex(), "type": GENESIS_TYPE,
    })


def write_roster(roster: Roster) -> bytes:
    """The canonical bytes that are hashed. Raises: CanonicalError for a name without a UTF-8 form."""
    groups: list[JsonValue] = [{"name": group.name, "threshold": group.threshold} for group in roster.groups]
    return encode({
        "clients": [*map(_client, roster.clients)], "groups": groups, "organisation": roster.organisation,
        "people": [*map(_person, roster.people)], "previous": roster.previous, "type": ROSTER_TYPE,
        "version": roster.version,
    })


def write_negative(negative: Negative) -> bytes:
    """The canonical bytes that people assert."""
    said: dict[str, JsonValue] = {
        "expires_ms": negative.expires, "object": negative.object, "organisation": negative.organisation,
        "record_id": negative.record_id, "type": negative.type,
    }
    if negative.action is Action.RELEASE:
        return encode({**said, "attempts": [*negative.attempts], "reason": negative.reason})
    return encode({**said, "action": negative.action.value, "freeze_epoch": negative.freeze_epoch})


def _person(person: Person) -> dict[str, JsonValue]:
    credentials: list[JsonValue] = [
        {"class": each.credential_class.value, "id": each.id.hex(), "public_key": each.public_key.hex()}
        for each in person.credentials
    ]
    return {
        "credentials": credentials, "groups": [*person.groups], "id": person.id, "name": person.name,
        "roles": [*map(str, person.roles)],
    }


def _client(client: RosterClient) -> dict[str, JsonValue]:
    keys: list[JsonValue] = [
        {"id": key.id, "public_key": key.public_key.hex(), "scopes": [*map(str, key.scopes)]} for key in client.keys
    ]
    return {"custodians": [*client.custodians], "id": client.id, "keys": keys}
