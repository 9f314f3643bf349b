"""Who is paid where: the list, and one with every destination that it ever had."""

from strongroom.console.call import Call
from strongroom.console.listing import PAGE, cursor, file_reply, is_file, next_page, wanted
from strongroom.console.web import Reply, WebError
from strongroom.domain.ids import IdError, parse_beneficiary_id
from strongroom.domain.timestamp import format_instant
from strongroom.store import beneficiaries, console_lists, console_pages

_COLUMNS = ("id", "name", "external_id", "version", "class", "network", "address", "cooling_until", "created_at")


async def show(call: Call) -> Reply:
    text = call.request.query.get("q", "").strip() or None
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.beneficiaries(
            connection, call.who.session.organisation, text, cursor(call), wanted(call)
        )
    if is_file(call):
        return file_reply(call, "beneficiaries", _COLUMNS, [
            (row.id, row.name, row.external_id, row.versions, row.destination_class, row.network, row.address,
             format_instant(row.cooling_until), format_instant(row.created_at)) for row in rows
        ])
    return call.page("beneficiaries.html", rows=rows[:PAGE], next=next_page(call, rows), text=text or "")


async def show_one(call: Call) -> Reply:
    try:
        name = parse_beneficiary_id(call.parameters[0])
    except IdError as fault:
        raise WebError(404, "There is no such beneficiary.") from fault
    async with call.service.pool.acquire() as connection:
        found = await beneficiaries.read(connection, call.who.session.organisation, name)
        if found is None:
            raise WebError(404, "There is no such beneficiary.")
        versions = await console_pages.versions(connection, name)
        past = await console_pages.past(connection, name, console_lists.NO_CURSOR)
    return call.page("beneficiary.html", beneficiary=found, versions=versions, past=past)
