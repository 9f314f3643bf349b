"""Calls about beneficiaries and where they are paid."""

from strongroom.api import present
from strongroom.api.call import Call, Reply
from strongroom.api.paging import page, read_page
from strongroom.api.reading import beneficiary_name, destination_record, read_body, refuse, where
from strongroom.api.schemas import BeneficiaryBody, BeneficiaryList, DestinationBody
from strongroom.api.service import Service
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import BeneficiaryId
from strongroom.protocol.identifier import beneficiary_id
from strongroom.store import beneficiaries
from strongroom.store.record import BeneficiaryRequest


def read_beneficiary(call: Call) -> BeneficiaryBody:
    body = read_body(call.value, BeneficiaryBody)
    beneficiary_name(body.name)
    if body.external_id is not None and not body.external_id.isprintable():
        raise refuse(Code.INVALID, "must hold only characters that can be seen", "external_id")
    return body


async def create(service: Service, call: Call, body: BeneficiaryBody) -> Reply:
    key, evidence = call.signed()
    organisation, client = call.key.organisation, call.key.client
    beneficiary = beneficiary_id(organisation, client, key)
    payable = where(body.destination, service.intake.forbidden_addresses(organisation), "destination.")
    record = destination_record(organisation, beneficiary, body.name, body.destination.network, payable, 1, None)
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
    if known is None:
        raise _not_found(call)
    payable = where(body, service.intake.forbidden_addresses(organisation), "")
    record = destination_record(
        organisation, beneficiary, known.name, body.network, payable, body.version, body.previous
    )
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


def _not_found(call: Call) -> RefusalError:
    return refuse(Code.NOT_FOUND, f"there is no beneficiary {call.parameters[0]}")
