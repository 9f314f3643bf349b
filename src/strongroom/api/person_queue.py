"""Records what people asked for at the console, which reaches no other process: it leaves them in a table.

Each is read and answered as if it had come over HTTP (`person_intents`): the assertion signs it in. What couldn't be
recorded for now is tried again; asked for twice it is the same payout.
"""

import asyncio
import logging
from typing import Final

import msgspec

from strongroom.api import person_intents
from strongroom.api.call import JSON_TYPE, Call
from strongroom.api.problems import RequestIds, problem
from strongroom.api.reading import read_object
from strongroom.api.service import Service
from strongroom.domain.errors import CATALOGUE, Code, RefusalError
from strongroom.domain.instant import SECOND_MS
from strongroom.store import person_requests as store
from strongroom.store.person_requests import PersonRequest
from strongroom.store.session import FAULTS

LOG: Final = logging.getLogger("strongroom.api")
INTERVAL_MS: Final = 100


class PersonQueue:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._ids = RequestIds()
        self._after = 0
        """All with a number up to this one are answered."""

    async def serve(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.step()
            except FAULTS as fault:
                LOG.warning("what people ask for waits: %s", type(fault).__name__)
            await asyncio.sleep(INTERVAL_MS / SECOND_MS)

    async def step(self) -> int:
        """Once; how many were answered."""
        async with self._service.pool.acquire() as connection:
            found = await store.waiting(connection, self._after)
        answered = 0
        for each in found:
            told = await self._answer(each)
            if told is not None:
                async with self._service.pool.acquire() as connection:
                    await store.answer(connection, each.id, *told, self._service.clock())
                answered += 1
        if found and answered == len(found):
            self._after = found[-1].id
        return answered

    async def _answer(self, asked: PersonRequest) -> tuple[int, str] | None:
        """None for what may be recorded later as it is. What is wrong in the record is its own answer."""
        try:
            raw = f'{{"assertion":{asked.assertion},"record":{msgspec.json.encode(asked.record).decode()}}}'.encode()
            key = await person_intents.sign_in(self._service, (), raw)
            now = self._service.clock()
            call = Call(
                key, "POST", "/v1/person-intents", (), {}, JSON_TYPE, raw, read_object(raw), None, None, now
            )
            reply = await person_intents.ask(self._service, call, person_intents.read_intent(call))
        except RefusalError as fault:
            if CATALOGUE[fault.refusal.code].status >= CATALOGUE[Code.INTERNAL].status:
                return None
            return fault.refusal.row.status, problem(fault.refusal, self._ids.draw()).decode()
        return reply.status, msgspec.json.encode(reply.body).decode()
