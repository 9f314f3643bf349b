"""Calls about beneficiaries and where they are paid."""

from strongroom.api import present
from strongroom.api.call import Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.reading import beneficiary_name, check_visible, destination_record, read_body, refuse, where
from strongroom.api.schemas import BeneficiaryBody, BeneficiaryList, DestinationBody, DestinationFields
from strongroom.api.service import Service
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import BeneficiaryId, OrganisationId
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.identifier import beneficiary_id
from strongroom.store import beneficiaries
from strongroom.store.record import BeneficiaryRequest


def read_beneficiary(call: Call) -> BeneficiaryBody:
    body = read_body(call.value, BeneficiaryBody)
    beneficiary_name(body.name)
    check_visible("external_id", body.external_id)
    return body


async def create(service: Service, call: Call, body: BeneficiaryBody) -> Reply:
    key, evidence = call.signed()
    organisation, client = call.key.organisation, call.key.client
    beneficiary = beneficiary_id(organisation, client, key)
    record = _record(organisation, beneficiary, body.name, body.destination, "destination.", 1, None)
    request = BeneficiaryRequest(beneficiary, key, body.external_id, record)
    answer = await service.intake.declare(call.caller, request, evidence)
    if isinstance(answer, Refusal):
        raise RefusalError(answer)
    return Reply(201, present.beneficiary_answer(answer), answer.replayed)


def read_destination(call: Call) -> DestinationBody:
    return read_body(call.value, DestinationBody)


async def add_destination(service: Service, call: Call, body: DestinationBody) -> Reply:
    _, evidence = call.signed()
    organisation = call.key.organisation
    beneficiary = BeneficiaryId(call.parameters[0])
    async with service.pool.acquire() as connection:
        known = await beneficiaries.read(connection, organisation, beneficiary)
    record: DestinationRecord | Refusal = _not_found(call).refusal
    if known is not None:
        record = _record(organisation, beneficiary, known.name, body, "", body.version, body.previous)
    answer = await service.intake.add_destination(call.caller, beneficiary, record, evidence)
    if isinstance(answer, Refusal):
        raise RefusalError(answer)
    return Reply(202, present.beneficiary_answer(answer), answer.replayed)


def read_filters(call: Call) -> tuple[str | None, int, int]:
    return call.query.get("external_id"), *read_page(call.query)


async def find(service: Service, call: Call, asked: tuple[str | None, int, int]) -> Reply:
    external_id, after, limit = asked
    async with service.pool.acquire() as connection:
        found = await beneficiaries.find(connection, call.key.organisation, external_id, after, limit)
    return Reply(200, BeneficiaryList([present.beneficiary_answer(each) for each in found], page(found, limit)))


async def show(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        found = await beneficiaries.read(connection, call.key.organisation, BeneficiaryId(call.parameters[0]))
    if found is None:
        raise _not_found(call)
    return Reply(200, present.beneficiary_answer(found))


def _record(
    organisation: OrganisationId, beneficiary: BeneficiaryId, name: str, fields: DestinationFields, prefix: str,
    version: int, previous: str | None,
) -> DestinationRecord | Refusal:
    """The record, or what is wrong with its address: intake answers that when the idempotency key is new."""
    try:
        payable = where(fields, prefix)
    except RefusalError as fault:
        return fault.refusal
    return destination_record(organisation, beneficiary, name, fields.network, payable, version, previous)


def _not_found(call: Call) -> RefusalError:
    return refuse(Code.NOT_FOUND, f"there is no beneficiary {call.parameters[0]}")
