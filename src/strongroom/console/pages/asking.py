"""Asking for a payout oneself: the form becomes a record that the station shows and the person asserts.

What is asked goes the road of a client's request, with the person as its maker: the API's one writer records it, the
signer verifies the assertion, and somebody else approves it, however small it is.
"""

import asyncio
import json
import re
from typing import Final

from strongroom.console.call import Call
from strongroom.console.pages.station import posted, sentences
from strongroom.console.session import draw_token
from strongroom.console.station import intent_link
from strongroom.console.web import JSON, Reply, WebError
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import IdError, OrganisationId, parse_beneficiary_id, parse_organisation_id
from strongroom.domain.policy import AssetRule
from strongroom.protocol.approval import PersonAssertion, assertion_document, hear, take_assertion
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.protocol.genesis import parse_genesis
from strongroom.protocol.request import INTENT_TYPE
from strongroom.protocol.standing import open_standing
from strongroom.protocol.webauthn import WebauthnError
from strongroom.store import approvals, beneficiaries, console, person_requests
from strongroom.store.session import Session

RECORD_MAXIMUM: Final = 64 * 2**10
TEXT_MAXIMUM: Final = 140
ANSWER_TRIES: Final = 100
ANSWER_EVERY_S: Final = 0.05
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,59})(?:\.([0-9]{1,30}))?")


async def ask(call: Call) -> Reply:
    """To the station, with what the form says."""
    form, visitor = call.form, call.who
    try:
        name = parse_beneficiary_id(form.get("beneficiary", ""))
    except IdError as fault:
        raise WebError(422, f"beneficiary: {fault}") from fault
    rule = next((each for each in visitor.mirror.policy.assets.values() if each.asset == form.get("asset")), None)
    if rule is None:
        raise WebError(422, "asset: isn't in the policy")
    external_id = form.get("external_id", "").strip()
    if not 1 <= len(external_id) <= TEXT_MAXIMUM:
        raise WebError(422, f"external_id: must have 1 to {TEXT_MAXIMUM} characters")
    async with call.service.pool.acquire() as connection:
        found = await beneficiaries.read(connection, visitor.session.organisation, name)
    if found is None:
        raise WebError(404, "There is no such beneficiary.")
    newest = found.destinations[-1]
    body: dict[str, JsonValue] = {
        "amount": str(base_units(form.get("amount", ""), rule)), "asset": rule.asset, "beneficiary": name,
        "destination_digest": newest.destination.digest, "external_id": external_id,
    }
    told = form.get("remittance_information", "").strip()
    if told:
        body["remittance_information"] = told[:TEXT_MAXIMUM]
    record = encode({
        "body": body, "created_ms": call.now, "deployment": call.service.config.deployment,
        "idempotency_key": f"console-{draw_token()}", "organisation": visitor.session.organisation,
        "path": "/v1/payouts", "person": visitor.person.id, "type": INTENT_TYPE,
    })
    return Reply(303, b"", headers=[(b"location", intent_link(call, record, newest.record).encode())])


async def take(call: Call) -> Reply:
    """What the station posts: record and assertion, which the API's writer reads, and its answer."""
    fields = posted(call)
    try:
        given = take_assertion(fields.inner("assertion"))
        confirmed = sentences(fields.take("confirmed"))
        record = fields.text("record", RECORD_MAXIMUM)
        fields.close()
        organisation = parse_organisation_id(str(parse_object(record.encode()).get("organisation")))
    except (DocumentError, CanonicalError, IdError) as fault:
        raise WebError(422, str(fault)) from fault
    async with call.service.pool.acquire() as connection:
        await _check_asserted(connection, organisation, record.encode(), given)
        number = await person_requests.ask(connection, record, json.dumps(assertion_document(given)), call.now)
        for _ in range(ANSWER_TRIES):
            answer = await person_requests.answer_of(connection, number)
            if answer is not None:
                break
            await asyncio.sleep(ANSWER_EVERY_S)
        else:
            raise WebError(503, "It is handed over, and not answered yet: look at Payouts before you ask again.")
        if answer.status >= 400:
            raise WebError(answer.status, str(json.loads(answer.body).get("detail", "It was refused.")))
        mirror = await call.service.mirrors.read(connection, organisation)
        if confirmed and mirror.person(given.person) is not None:
            await console.act(connection, organisation, given.person, None, "confirm", str(number),
                              "; ".join(confirmed), call.seat.network, call.now)
    return Reply(answer.status, answer.body.encode(), JSON)


async def _check_asserted(
    connection: Session, organisation: OrganisationId, record: bytes, given: PersonAssertion
) -> None:
    """That somebody of the roster asserted it, so that nonsense isn't kept; API and signer look again.

    Raises: WebError.
    """
    if not await approvals.knows(connection, organisation):
        raise WebError(404, "There is no such organisation.")
    genesis = parse_genesis(await approvals.read_genesis(connection))
    standing = open_standing(*await approvals.read_documents(connection, organisation), genesis.mode)
    try:
        hear(record, INTENT_TYPE, given, standing, genesis.relying_party)
    except WebauthnError as fault:
        raise WebError(403, f"The assertion doesn't hold: {fault}") from fault


def base_units(text: str, rule: AssetRule) -> int:
    """`1234.5` with the asset's decimals, exactly: no separators, no sign, no more places than it has.

    Raises: WebError.
    """
    match = _DECIMAL.fullmatch(text.strip())
    places = "" if match is None else match[2] or ""
    if match is None or len(places) > rule.decimals:
        raise WebError(422, f"amount: must be like 1234.5, with at most {rule.decimals} places")
    minor = int(match[1] + places.ljust(rule.decimals, "0"))
    if not 1 <= minor <= rule.maximum_minor:
        raise WebError(422, f"amount: must be above 0, and at most {rule.maximum_minor} base units")
    return minor
