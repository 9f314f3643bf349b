"""Step-up: a person says yes, with the passkey, to exactly one change.

The record `strongroom/step-up/v1` names the change, all of its fields, the session and its end; its hash is the
challenge. It is kept until it is answered and used once, so neither another change nor the same again goes by it.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from strongroom.console.call import Call
from strongroom.console.passkey import PasskeyError, check_assertion, read_assertion
from strongroom.console.session import CHALLENGE_LIFE_MS
from strongroom.console.web import WebError
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object, record_hash
from strongroom.store import console
from strongroom.store.session import Session

STEP_UP_TYPE: Final = "strongroom/step-up/v1"
FIELD: Final = "step_up"
"""The field of a form that carries the assertion."""

NETWORK: Final = "use this network"
"""The change that a session on a new network needs first."""


async def ask(connection: Session, call: Call, act: str, fields: Mapping[str, str]) -> bytes:
    """The challenge for a change."""
    visitor = call.who
    expires = Instant(call.now + CHALLENGE_LIFE_MS)
    record: dict[str, JsonValue] = {
        "act": act, "expires_ms": expires, "fields": dict(fields), "organisation": visitor.session.organisation,
        "person": visitor.person.id, "record_id": secrets.token_hex(32), "session": visitor.session.id,
        "type": STEP_UP_TYPE,
    }
    raw = encode(record)
    challenge = record_hash(STEP_UP_TYPE, raw)
    await console.challenge(connection, challenge, "step_up", visitor.session.id, raw.decode(), expires, call.now)
    return challenge


async def check_step_up(connection: Session, act: str, call: Call) -> dict[str, str]:
    """The fields of the form without the assertion, if it holds for just these. Raises: WebError."""
    fields = dict(call.form)
    given = fields.pop(FIELD, "")
    await hear(connection, call, act, fields, given)
    return fields


async def hear(connection: Session, call: Call, act: str, fields: Mapping[str, str], given: str) -> None:
    """That the person said yes to this change, now. Raises: WebError."""
    session = call.who.session
    try:
        signed = read_assertion(parse_object(given.encode()))
    except (PasskeyError, CanonicalError) as fault:
        raise WebError(403, "This needs your passkey: use the button on the page.") from fault
    found = await console.answer(connection, signed.challenge, "step_up", session.id, call.now)
    if found is None or found[0] is None:
        raise WebError(403, "The confirmation was used before, or is too old. Try again.")
    record = parse_object(found[0].encode())
    if record["act"] != act or record["fields"] != dict(fields):
        raise WebError(403, "The confirmation was for something else. Nothing was changed.")
    credential = await console.find_credential(connection, signed.credential)
    if credential is None or credential.person != session.person:
        raise WebError(403, "That isn't a passkey of yours.")
    try:
        check_assertion(signed, credential.public_key, call.service.config.relying_party)
    except PasskeyError as fault:
        raise WebError(403, f"The passkey's answer doesn't hold: {fault}") from fault
