"""Numbers that change while somebody looks: server-sent events, one connection for each open page."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from strongroom.console.call import Call
from strongroom.console.web import Reply
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.store import console, console_pages
from strongroom.store.session import Session

EVERY_S: Final = 2
LIFE_S: Final = 600
"""A browser connects again by itself; then the session is looked at again."""


async def show(call: Call) -> Reply:
    return Reply(200, _numbers(call), "text/event-stream", [(b"x-accel-buffering", b"no")])


async def _numbers(call: Call) -> AsyncIterator[bytes]:
    organisation, wanted, said = call.who.session.organisation, call.request.query.get("request", ""), b""
    for _ in range(LIFE_S // EVERY_S):
        numbers: dict[str, JsonValue] = {}
        async with call.service.pool.acquire() as connection:
            session = await console.find_session(connection, call.who.session.token_hash)
            if session is None or session.ended_at is not None:
                return  # it ended, or goes on under another token, with which the browser connects again
            counts = await console_pages.counts_by_state(connection, organisation)
            numbers["waiting"] = await console_pages.waiting_count(connection, organisation)
            if wanted:
                numbers["request"] = await _standing(connection, call, wanted)
        numbers["held"] = counts.get("held", 0)
        numbers["exceptions"] = counts.get("held", 0) + counts.get("failed", 0) + counts.get("returned", 0)
        now = encode(numbers)
        if now != said:
            said = now
            yield b"event: numbers\ndata: " + now + b"\n\n"
        await asyncio.sleep(EVERY_S)


async def _standing(connection: Session, call: Call, request_hash: str) -> str:
    """What an open preview is compared with: as long as it is the same, nothing changed."""
    found = await console_pages.request(connection, call.who.session.organisation, request_hash)
    return "gone" if found is None else f"{found.is_newest}-{len(found.people)}-{found.items}"
