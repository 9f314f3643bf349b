"""What work that is done alone gets from the intake writer: the connection, the state, and a fenced transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from strongroom.domain.ids import ClientId, IdempotencyKey
from strongroom.domain.instant import Instant
from strongroom.store.intake_payout import RevokedError, record_evidence
from strongroom.store.intake_state import IntakeState
from strongroom.store.record import Caller, Evidence


@dataclass(slots=True)
class Writing:
    connection: asyncpg.Connection
    state: IntakeState
    now: Instant
    epoch: int

    @asynccontextmanager
    async def recording(self, caller: Caller, evidence: Evidence, number: int) -> AsyncIterator[None]:
        """A database transaction in which the request itself is recorded first. Raises: RevokedError."""
        async with self.connection.transaction():
            await self.connection.execute("SELECT strongroom.intake_enter($1)", self.epoch)
            if await self.connection.fetchval(
                "SELECT EXISTS (SELECT FROM strongroom.key_revocations WHERE key_id = $1)", caller.key_id
            ):
                raise RevokedError
            await record_evidence(self.connection, self.epoch, number, caller, evidence)
            yield

    async def other_request(self, client: ClientId, key: IdempotencyKey) -> tuple[int, str] | None:
        """The evidence number and the result of a request that has no object of its own, if there was one."""
        row = await self.connection.fetchrow(
            "SELECT evidence, result FROM strongroom.other_requests WHERE client = $1 AND idempotency_key = $2",
            client, key,
        )
        return None if row is None else (row["evidence"], row["result"])

    async def record_other(self, caller: Caller, evidence: Evidence, number: int, result: str) -> None:
        await self.connection.execute(
            "SELECT strongroom.intake_other($1, $2, $3, $4)", caller.client, evidence.idempotency_key, number, result
        )
