"""Calls about runs: many payouts, sealed by one root."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from strongroom.api import payouts, present
from strongroom.api.call import CSV_TYPE, Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.reading import (
    beneficiary_name,
    check_payout,
    check_visible,
    payout_request,
    read_body,
    refuse,
    seal,
    where,
)
from strongroom.api.schemas import (
    CancelBody,
    DestinationFields,
    FieldProblem,
    PayoutBody,
    PreviewRow,
    RunBody,
    RunItemBody,
    RunItemsBody,
    RunList,
    RunPreviewAnswer,
    SealBody,
)
from strongroom.api.service import Service
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import IdempotencyKey, RunId
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import PayoutRequest
from strongroom.formats.payee_file import PayeeFileError, PayeeRow, parse_payee_file
from strongroom.protocol.canonical import CanonicalError
from strongroom.protocol.identifier import run_id
from strongroom.protocol.run_tree import Seal, item_leaf
from strongroom.store import beneficiaries, runs
from strongroom.store.fee_rates import read_fee_rates
from strongroom.store.intake_run import RunRequest
from strongroom.store.payouts import PayoutFilter
from strongroom.store.record import Preview, RunItem, RunRecord

_NAMED: Final = ("name", "network", "address")
_UNDECLARED: Final = "ben_" + "a" * 26
_NO_DIGEST: Final = "0" * 64


def read_run(call: Call) -> tuple[RunBody, Seal | None]:
    body = read_body(call.value, RunBody)
    check_visible("external_id", body.external_id)
    _check_items(call, body.items)
    return body, None if body.seal is None else seal(body.seal, "seal.")


async def create(service: Service, call: Call, asked: tuple[RunBody, Seal | None]) -> Reply:
    body, sealed = asked
    key, evidence = call.signed()
    run = run_id(call.key.organisation, call.key.client, key)
    request = RunRequest(run, key, body.external_id, _items(call, run, 0, body.items), sealed)
    return _reply(201, await service.intake.open_run(call.caller, request, evidence))


def read_items(call: Call) -> RunItemsBody:
    body = read_body(call.value, RunItemsBody)
    _check_items(call, body.items)
    return body


async def add_items(service: Service, call: Call, body: RunItemsBody) -> Reply:
    _, evidence = call.signed()
    run = RunId(call.parameters[0])
    items = _items(call, run, body.first_index, body.items)
    return _reply(201, await service.intake.add_items(call.caller, run, body.first_index, items, evidence))


def read_seal(call: Call) -> Seal:
    return seal(read_body(call.value, SealBody), "")


async def add_seal(service: Service, call: Call, sealed: Seal) -> Reply:
    _, evidence = call.signed()
    return _reply(201, await service.intake.seal_run(call.caller, RunId(call.parameters[0]), sealed, evidence))


def read_cancel(call: Call) -> IdempotencyKey:
    return IdempotencyKey(read_body(call.value, CancelBody).idempotency_key)


async def cancel(service: Service, call: Call, key: IdempotencyKey) -> Reply:
    _, evidence = call.signed()
    return _reply(202, await service.intake.cancel_run(call.caller, RunId(call.parameters[0]), key, evidence))


async def show(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        found = await runs.read(connection, call.key.organisation, RunId(call.parameters[0]))
    if found is None:
        raise refuse(Code.NOT_FOUND, f"there is no run {call.parameters[0]}")
    return Reply(200, present.run_answer(found))


async def items(service: Service, call: Call, asked: tuple[PayoutFilter, int, int]) -> Reply:
    async with service.pool.acquire() as connection:
        if await runs.read_at_intake(connection, call.key.organisation, RunId(call.parameters[0])) is None:
            raise refuse(Code.NOT_FOUND, f"there is no run {call.parameters[0]}")
    return await payouts.find(service, call, asked)


def read_list(call: Call) -> tuple[int, int]:
    return read_page(call.query)


async def find(service: Service, call: Call, asked: tuple[int, int]) -> Reply:
    after, limit = asked
    async with service.pool.acquire() as connection:
        found = await runs.find(connection, call.key.organisation, after, limit)
    return Reply(200, RunList([present.run_answer(each) for each in found], page(found, limit)))


def read_preview(call: Call) -> RunBody | list[PayeeRow]:
    if call.content_type.partition(";")[0].strip() != CSV_TYPE:
        return read_run(call)[0]
    try:
        return parse_payee_file(call.body)
    except PayeeFileError as fault:
        raise refuse(Code.INVALID, f"the file {fault}", "") from fault


async def preview(service: Service, call: Call, asked: RunBody | list[PayeeRow]) -> Reply:
    """Row by row: what would happen, or what is wrong. A row that declares a new payee can't be assessed yet."""
    if isinstance(asked, RunBody):
        bodies: list[tuple[int, PayoutBody | Refusal]] = list(enumerate(asked.items))
    else:
        payees = {row.fields["beneficiary"] for row in asked if "beneficiary" in row.fields}
        async with service.pool.acquire() as connection:
            digests = await beneficiaries.newest_digests(connection, call.key.organisation, payees)
        bodies = [(row.number, _row_body(call, row, digests)) for row in asked]
    requests: list[tuple[int, PayoutRequest | Refusal]] = [
        (row, body if isinstance(body, Refusal) else _request_or_refusal(call, body, f"preview {row}"))
        for row, body in bodies
    ]
    good = [request for _, request in requests if isinstance(request, PayoutRequest)]
    answers = await service.intake.preview(call.caller, good)
    if isinstance(answers, Refusal):
        raise RefusalError(answers)
    async with service.pool.acquire() as connection:
        rates = await read_fee_rates(connection)
    left = iter(answers)
    rows: list[PreviewRow] = []
    totals: Counter[str] = Counter()
    for row, request in requests:
        answer = request if isinstance(request, Refusal) else next(left)
        if isinstance(answer, Preview) and isinstance(request, PayoutRequest):
            totals[request.amount.asset] += request.amount.minor
            rows.append(PreviewRow(row, present.preview_answer(answer, rates, call.now), None))
        elif isinstance(answer, Refusal):
            rows.append(PreviewRow(row, None, FieldProblem(answer.code.value, answer.detail, answer.field)))
    amounts = {name: str(total) for name, total in totals.items()}
    return Reply(200, RunPreviewAnswer(len(rows), amounts, present.fee_ranges(rows), rows))


def _row_body(call: Call, row: PayeeRow, digests: Mapping[str, str]) -> PayoutBody | Refusal:
    """A row of a file as the body of a payout, to the newest destination of its beneficiary."""
    if row.fault:
        return Refusal(Code.INVALID, row.fault, "")
    named = {name: text for name, text in row.fields.items() if name in _NAMED}
    value = {name: text for name, text in row.fields.items() if name not in _NAMED}
    payee = value.setdefault("beneficiary", _UNDECLARED)
    try:
        body = read_body({**value, "destination_digest": digests.get(payee, _NO_DIGEST)}, PayoutBody)
        check_payout(body, call.now)
        if named:
            beneficiary_name(named["name"])
            where(DestinationFields(network=named["network"], address=named["address"]), "")
            raise refuse(Code.NOT_FOUND, "the payee must be declared first; run import does it", "beneficiary")
    except RefusalError as fault:
        return fault.refusal
    return body


def _request_or_refusal(call: Call, body: PayoutBody, key: str) -> PayoutRequest | Refusal:
    if isinstance(body, RunItemBody):
        key = body.idempotency_key
    try:
        return payout_request(body, call.key.organisation, call.key.client, IdempotencyKey(key.replace(" ", "-")))
    except RefusalError as fault:
        return fault.refusal


def _check_items(call: Call, items: Sequence[RunItemBody]) -> None:
    for index, item in enumerate(items):
        try:
            check_payout(item, call.now)
        except RefusalError as fault:
            raise RefusalError(fault.refusal.within(f"items[{index}]")) from fault


def _items(call: Call, run: RunId, first_index: int, bodies: Sequence[RunItemBody]) -> list[RunItem] | Refusal:
    """Items with their leaves, which are made from what was sent and not from what was read; or the first amount
    that can't be, which intake answers when the idempotency key is new."""
    sent = call.value["items"]
    if not isinstance(sent, list):
        raise InvariantError("the schema lets no items by that aren't a list")
    items: list[RunItem] = []
    for index, (body, value) in enumerate(zip(bodies, sent, strict=True)):
        key = IdempotencyKey(body.idempotency_key)
        try:
            request = payout_request(body, call.key.organisation, call.key.client, key)
            items.append(RunItem(request, item_leaf(value, run, first_index + index)))
        except RefusalError as fault:
            return fault.refusal.within(f"items[{index}]")
        except CanonicalError as fault:
            raise refuse(Code.INVALID, str(fault), f"items[{index}]") from fault
    return items


def _reply(status: int, answer: RunRecord | Refusal) -> Reply:
    if isinstance(answer, Refusal):
        raise RefusalError(answer)
    return Reply(status, present.run_answer(answer), answer.replayed)

