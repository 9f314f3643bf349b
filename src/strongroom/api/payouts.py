"""Calls about payouts."""

import base64
from typing import Final

from strongroom.api import people, present
from strongroom.api.call import Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.reading import check_payout, payout_request, read_body, refuse
from strongroom.api.schemas import (
    CancelAnswer,
    CancelBody,
    EvidenceAnswer,
    PayoutBody,
    PayoutList,
    ReceiptAnswer,
    UnpaidAnswer,
)
from strongroom.api.service import Service
from strongroom.domain.document import Fields
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import BeneficiaryId, IdempotencyKey, OrganisationId, PayoutId, is_person
from strongroom.domain.instant import InstantError, parse_instant
from strongroom.domain.money import AssetId
from strongroom.domain.payout import State
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.approval import take_assertion
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.identifier import payout_id
from strongroom.store import audit, payouts, progress
from strongroom.store.fee_rates import read_fee_rates
from strongroom.store.record import UnpayableRequest
from strongroom.store.session import Session

RECEIPT_RETRY_MS: Final = 1_000
_PREVIEW_KEY: Final = IdempotencyKey("preview")


def read_payout(call: Call) -> PayoutBody:
    body = read_body(call.value, PayoutBody)
    check_payout(body, call.now)
    return body


async def create(service: Service, call: Call, body: PayoutBody) -> Reply:
    key, evidence = call.signed()
    try:
        request = payout_request(body, call.key.organisation, call.key.client, key)
    except RefusalError as fault:
        payout = payout_id(call.key.organisation, call.key.client, key)
        unpayable = UnpayableRequest(payout, BeneficiaryId(body.beneficiary), AssetId(body.asset), fault.refusal)
        raise RefusalError(await service.intake.refuse(call.caller, unpayable, evidence)) from fault
    answer = await service.intake.pay(call.caller, request, evidence)
    if isinstance(answer, Refusal):
        raise RefusalError(answer)
    return Reply(201, present.payout_answer(answer.payout), answer.replayed)


async def preview(service: Service, call: Call, body: PayoutBody) -> Reply:
    request = payout_request(body, call.key.organisation, call.key.client, call.idempotency_key or _PREVIEW_KEY)
    answers = await service.intake.preview(call.caller, [request])
    if isinstance(answers, Refusal):
        raise RefusalError(answers)
    if isinstance(answers[0], Refusal):
        raise RefusalError(answers[0])
    async with service.pool.acquire() as connection:
        rates = await read_fee_rates(connection)
    return Reply(200, present.preview_answer(answers[0], rates, call.now))


def read_filters(call: Call) -> tuple[payouts.PayoutFilter, int, int]:
    query = call.query
    created_after = None
    if "created_after" in query:
        try:
            created_after = parse_instant(query["created_after"])
        except InstantError as fault:
            raise refuse(Code.INVALID, str(fault), "created_after") from fault
    if "state" in query and query["state"] not in set(State):
        raise refuse(Code.INVALID, f"must be one of {', '.join(State)}", "state")
    filters = payouts.PayoutFilter(
        query.get("beneficiary"), query.get("external_id"), query.get("run"), query.get("state"), created_after,
        query.get("chain_transaction"),
    )
    return filters, *read_page(query)


async def find(service: Service, call: Call, asked: tuple[payouts.PayoutFilter, int, int]) -> Reply:
    filters, after, limit = asked
    async with service.pool.acquire() as connection:
        found = await payouts.find(connection, call.key.organisation, filters, after, limit)
        far = await progress.read_progress(connection, [each.id for each in found])
    answers = [present.payout_answer(each, far.get(each.id, progress.NOTHING)) for each in found]
    return Reply(200, PayoutList(answers, page(found, limit)))


def read_items_filters(call: Call) -> tuple[payouts.PayoutFilter, int, int]:
    filters, after, limit = read_filters(call)
    return payouts.PayoutFilter(run=call.parameters[0], state=filters.state), after, limit


async def show(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        found = await payouts.read(connection, call.key.organisation, PayoutId(call.parameters[0]))
        if found is None:
            raise _not_found(call)
        far = await progress.read_progress(connection, [found.id])
    return Reply(200, present.payout_answer(found, far.get(found.id, progress.NOTHING)))


async def evidence(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        stored = await payouts.read_evidence(connection, call.key.organisation, PayoutId(call.parameters[0]))
        if stored is None:
            raise _not_found(call)
        public_key = stored.public_key or await _persons_key(connection, call.key.organisation, stored)
    request = stored.evidence
    return Reply(
        200,
        EvidenceAnswer(
            method=request.method,
            path=request.path,
            authority=request.authority,
            key_id=stored.key_id,
            public_key=_base64(public_key),
            idempotency_key=request.idempotency_key,
            signature_base=_base64(request.signature_base),
            signature=_base64(request.signature),
            body=_base64(request.body),
            received_at=format_instant(request.received_at),
            run=stored.run,
            run_index=stored.run_index,
            run_item=None if stored.item is None else _base64(stored.item),
        ),
    )


async def _persons_key(
    connection: Session, organisation: OrganisationId, stored: payouts.StoredEvidence
) -> bytes:
    """Of the credential with which a person asserted their record, if the running roster has it still."""
    if not is_person(stored.key_id):
        return b""
    _, standing = await people.running(connection, organisation)
    given = take_assertion(Fields(parse_object(stored.evidence.signature)))
    credential = standing.credential(given.person, given.credential)
    return b"" if credential is None else credential.public_key


async def receipt(service: Service, call: Call, _: None) -> Reply:
    payout = PayoutId(call.parameters[0])
    async with service.pool.acquire() as connection:
        leaf_id = await payouts.read_leaf_id(connection, call.key.organisation, payout)
        if leaf_id is None:
            raise _not_found(call)
        found = await audit.read_receipt(connection, leaf_id)
        unpaid = await progress.read_unpaid_receipt(connection, payout)
    if found is None:
        refusal = Refusal(Code.IN_PROGRESS, "the log's next checkpoint will have it", None, RECEIPT_RETRY_MS)
        raise RefusalError(refusal)
    return Reply(
        200,
        ReceiptAnswer(
            payout, found.leaf_index, found.leaf, found.size, [each.hex() for each in found.proof], found.note,
            None if unpaid is None else UnpaidAnswer(unpaid.receipt.decode(), unpaid.signature.hex()),
        ),
    )


def read_cancel(call: Call) -> IdempotencyKey:
    return IdempotencyKey(read_body(call.value, CancelBody).idempotency_key)


async def cancel(service: Service, call: Call, key: IdempotencyKey) -> Reply:
    _, signed = call.signed()
    answer = await service.intake.cancel(call.caller, PayoutId(call.parameters[0]), key, signed)
    if isinstance(answer, Refusal):
        raise RefusalError(answer)
    payout = answer.payout
    return Reply(202, CancelAnswer(payout.id, payout.state.value, payout.cancel_requested), answer.replayed)


def read_nothing(_: Call) -> None:
    """For calls that have neither body nor query."""


def _not_found(call: Call) -> RefusalError:
    return refuse(Code.NOT_FOUND, f"there is no payout {call.parameters[0]}")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
