"""What the station posts, and what it fetches: assertions over the signer's requests, and the items of a run.

No session comes along: what is posted is signed in itself, and verified here only so that nonsense isn't kept. The
signer verifies all of it again and counts. A run's items are read with a token that the console's link carried, once.
"""

import json
from typing import Final

from strongroom.console.call import Call
from strongroom.console.session import token_hash
from strongroom.console.web import JSON, Reply, WebError
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import INSTANT_MAXIMUM
from strongroom.protocol.approval import (
    APPROVAL_REQUEST_TYPE,
    PersonAssertion,
    assertion_document,
    hear,
    take_assertion,
    take_assertions,
)
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse, parse_object
from strongroom.protocol.genesis import parse_genesis
from strongroom.protocol.negative import parse_negative
from strongroom.protocol.standing import Standing, open_standing
from strongroom.protocol.webauthn import WebauthnError
from strongroom.store import approvals, console, console_pages
from strongroom.store.approvals import StoredApproval

SENTENCES_MAXIMUM: Final = 16
INSTRUCTION_MAXIMUM: Final = 16_384
_ADDED: Final = ("index", "run", "type")
"""What a leaf of a run has beside the item as it was sent."""


async def items(call: Call) -> Reply:
    """Every item of a run, and the destination records that they name."""
    async with call.service.pool.acquire() as connection:
        found = await console.answer(connection, token_hash(call.parameters[0]), "items", None, call.now)
        if found is None or found[0] is None:
            raise WebError(403, "This link was used, or is too old. Open the request from the console again.")
        leaves, records = await console_pages.run_items(connection, found[0])
    sent: list[JsonValue] = []
    for leaf in leaves:
        item = dict(parse_object(leaf))
        sent.append({name: value for name, value in item.items() if name not in _ADDED})
    return Reply(200, encode({"destinations": [record.decode() for record in records], "items": sent}), JSON)


async def approve(call: Call) -> Reply:
    """An approver's assertion over a request of the signer's, with the sentences that they confirmed."""
    fields = posted(call)
    try:
        given = take_assertion(fields.inner("assertion"))
        request_hash = fields.text("request")
        confirmed = sentences(fields.take("confirmed"))
        fields.close()
    except DocumentError as fault:
        raise WebError(422, str(fault)) from fault
    async with call.service.pool.acquire() as connection:
        found = await approvals.read(connection, request_hash)
        if found is None:
            raise WebError(404, "There is no such request.")
        genesis = parse_genesis(await approvals.read_genesis(connection))
        standing = open_standing(*await approvals.read_documents(connection, found.organisation), genesis.mode)
        try:
            hear(found.request, APPROVAL_REQUEST_TYPE, given, standing, genesis.relying_party)
        except WebauthnError as fault:
            raise WebError(403, f"The assertion doesn't hold: {fault}") from fault
        _check_counts(call, given, found, standing)
        text = json.dumps(assertion_document(given))
        await approvals.give(connection, request_hash, given.person, given.credential.hex(), text, call.now)
        if confirmed:
            await console.act(connection, found.organisation, given.person, None, "confirm", found.subject,
                              "; ".join(confirmed), call.seat.network, call.now)
        after = await approvals.read(connection, request_hash)
    people = 0 if after is None else len(after.people)
    return Reply(201, encode({"approvals": found.approvals, "people": people}), JSON)


def _check_counts(call: Call, given: PersonAssertion, found: StoredApproval, standing: Standing) -> None:
    """That this approval can count for this request at all, and that the request is alive. Raises: WebError."""
    request = parse_object(found.request)
    if not standing.may_approve(given.person, INSTANT_MAXIMUM):
        raise WebError(403, "You aren't an approver: this approval would never count.")
    excluded = request["excluded"]
    if isinstance(excluded, list) and given.person in excluded:
        raise WebError(403, "You speak for who asked for it or named its destination: this approval would never count.")
    if not found.is_newest:
        raise WebError(409, "The signer has made a newer request for it: open it from the console.")
    if int(str(request["expires_ms"])) <= call.now:
        raise WebError(409, "The request has expired: the signer makes another.")


def sentences(value: object) -> list[str]:
    """Raises: DocumentError."""
    if not isinstance(value, list) or len(value) > SENTENCES_MAXIMUM or not all(type(each) is str for each in value):
        raise DocumentError("confirmed", f"must be a list of at most {SENTENCES_MAXIMUM} sentences")
    return value


async def instruct(call: Call) -> Reply:
    """What guard has kept, or what more people must assert before guard takes it: for the next of them to join.

    Each assertion is verified by guard and by the signer; here it is kept only, for who opens the page.
    """
    fields = posted(call)
    try:
        given = take_assertions(fields, "assertions")
        length = fields.integer("control_length", 0, 2**53) if fields.has("control_length") else None
        raw = fields.text("record", INSTRUCTION_MAXIMUM).encode()
        fields.close()
        negative = parse_negative(raw)
    except DocumentError as fault:
        raise WebError(422, str(fault)) from fault
    async with call.service.pool.acquire() as connection:
        genesis = parse_genesis(await approvals.read_genesis(connection))
        standing = open_standing(*await approvals.read_documents(connection, negative.organisation), genesis.mode)
        try:
            heard = [hear(raw, negative.type, each, standing, genesis.relying_party) for each in given]
        except WebauthnError as fault:
            raise WebError(403, f"An assertion doesn't hold: {fault}") from fault
        if not heard:
            raise WebError(422, "assertions: nobody has asserted it")
        assertions: list[JsonValue] = [assertion_document(each) for each in given]
        await console.instruct(
            connection, negative.organisation, negative.action.value, negative.object, raw.decode(),
            encode(assertions).decode(), length, heard[-1].person, call.seat.network, negative.expires, call.now,
        )
    return Reply(201, encode({"kept": True}), JSON)


def posted(call: Call) -> Fields:
    """Raises: WebError."""
    if call.request.headers.get("content-type", "").partition(";")[0] != JSON:
        raise WebError(415, "this takes JSON")
    try:
        return Fields(parse(call.request.body))
    except (CanonicalError, DocumentError) as fault:
        raise WebError(400, str(fault)) from fault
