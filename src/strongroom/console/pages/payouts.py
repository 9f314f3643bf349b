"""Payouts: a list that filters in its address, one with all that is known of it, and the search for support."""

from typing import Final

from strongroom.console.call import Call
from strongroom.console.listing import PAGE, cursor, file_reply, is_file, next_page, wanted
from strongroom.console.web import Reply, WebError
from strongroom.domain.explanation import explain
from strongroom.domain.ids import IdError, PayoutId, RunId, parse_payout_id, parse_run_id
from strongroom.domain.payout import State
from strongroom.domain.timestamp import format_instant
from strongroom.store import audit, console_lists, payouts, progress, runs
from strongroom.store.checkpoints import checkpoints_of
from strongroom.store.console_lists import ListedPayout

FOUND_MAXIMUM: Final = 50
TEXT_MAXIMUM: Final = 255
_COLUMNS: Final = (
    "id", "beneficiary", "name", "amount", "asset", "network", "external_id", "state", "hold", "created_at",
)


async def show(call: Call) -> Reply:
    states = [each for each in call.request.query.get("state", "").split(",") if each]
    if any(each not in [state.value for state in State] for each in states):
        raise WebError(400, "state: there is no such state")
    query = call.request.query
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.payouts(
            connection, call.who.session.organisation, states, cursor(call), wanted(call),
            query.get("beneficiary") or None, query.get("run") or None,
        )
    if is_file(call):
        return file_reply(call, "payouts", _COLUMNS, [_cells(row) for row in rows])
    return call.page(
        "payouts.html", rows=rows[:PAGE], next=next_page(call, rows), states=list(State), chosen=query.get("state", ""),
    )


async def exceptions(call: Call) -> Reply:
    """What is held, failed or came back, by reason, with what comes next."""
    organisation = call.who.session.organisation
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.exceptions(connection, organisation, cursor(call), wanted(call))
        counts = await console_lists.exception_counts(connection, organisation)
        held = {row.id: await payouts.read(connection, organisation, PayoutId(row.id)) for row in rows[:PAGE]}
    if is_file(call):
        return file_reply(call, "exceptions", _COLUMNS, [_cells(row) for row in rows])
    steps = {name: explain(found.state, found.hold)[1] for name, found in held.items() if found is not None}
    return call.page(
        "exceptions.html", rows=rows[:PAGE], next=next_page(call, rows), counts=counts, steps=steps,
        largest=max((count for _, _, count in counts), default=1),
    )


async def find(call: Call) -> Reply:
    """By payee, external id, chain transaction or run: where it is, why, and what comes next, in words."""
    text = call.request.query.get("q", "").strip()[:TEXT_MAXIMUM]
    rows: list[ListedPayout] = []
    words: dict[str, tuple[str, str]] = {}
    if text:
        async with call.service.pool.acquire() as connection:
            organisation = call.who.session.organisation
            rows = await console_lists.find_payouts(connection, organisation, text, FOUND_MAXIMUM)
            for row in rows:
                found = await payouts.read(connection, organisation, PayoutId(row.id))
                if found is not None:
                    words[row.id] = explain(found.state, found.hold)
    return call.page("find.html", text=text, rows=rows, words=words)


async def show_one(call: Call) -> Reply:
    organisation, name = call.who.session.organisation, _payout(call.parameters[0])
    async with call.service.pool.acquire() as connection:
        found = await payouts.read(connection, organisation, name)
        if found is None:
            raise WebError(404, "There is no such payout.")
        how_far = (await progress.read_progress(connection, [name]))[name]
        evidence = await payouts.read_evidence(connection, organisation, name)
        leaves = await console_lists.leaves(connection, organisation, name, console_lists.NO_CURSOR, PAGE)
        receipt = await audit.read_receipt(connection, found.position)
    return call.page(
        "payout.html", payout=found, progress=how_far, checkpoints=checkpoints_of(found, how_far),
        words=explain(found.state, found.hold), evidence=evidence, leaves=leaves, receipt=receipt,
    )


async def show_run(call: Call) -> Reply:
    organisation = call.who.session.organisation
    try:
        name: RunId = parse_run_id(call.parameters[0])
    except IdError as fault:
        raise WebError(404, "There is no such run.") from fault
    async with call.service.pool.acquire() as connection:
        found = await runs.read(connection, organisation, name)
        if found is None:
            raise WebError(404, "There is no such run.")
        rows = await console_lists.payouts(connection, organisation, [], cursor(call), wanted(call), run=name)
    if is_file(call):
        return file_reply(call, name, _COLUMNS, [_cells(row) for row in rows])
    return call.page("run.html", run=found, rows=rows[:PAGE], next=next_page(call, rows))


def _payout(text: str) -> PayoutId:
    try:
        return parse_payout_id(text)
    except IdError as fault:
        raise WebError(404, "There is no such payout.") from fault


def _cells(row: ListedPayout) -> tuple[object, ...]:
    return (
        row.id, row.beneficiary, row.name, str(row.amount), row.asset, row.network, row.external_id, row.state,
        row.hold, format_instant(row.created_at),
    )
