"""What waits for the intake writer, and how it is answered: once, by whoever is first, and never with a guess."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import SECOND_MS
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import PayoutRequest
from strongroom.store import payouts
from strongroom.store.intake_payout import Ask, Rows
from strongroom.store.intake_state import IntakeState
from strongroom.store.record import BeneficiaryRecord, Caller, Evidence, Preview, Recorded, RunRecord
from strongroom.store.writing import Writing

RETRY_AFTER_MS: Final = SECOND_MS

NOT_READY: Final = Refusal(
    Code.UNAVAILABLE, "the request may or may not be recorded: send it again as it is", None, RETRY_AFTER_MS
)

Answer = Recorded | BeneficiaryRecord | RunRecord | list[Preview | Refusal] | Refusal


@dataclass(slots=True, eq=False)
class Job:
    """What waits for the writer: a payout to go with others, or work that is done alone."""

    caller: Caller
    answer: "asyncio.Future[Answer]"
    request: PayoutRequest | None = None
    evidence: Evidence | None = None
    work: Callable[[Writing], Awaitable[Answer]] | None = None
    signed_sha256: str = field(default="")

    @property
    def turn(self) -> str:
        return self.caller.client

    @property
    def alone(self) -> bool:
        return self.work is not None


@dataclass(slots=True)
class Decided:
    """A batch of payouts that is decided and not recorded yet.

    `answers` has None for a payout that is there already: it is answered from the record. `used` is what the batch
    takes from each wallet, in base units. `rows` is what will be recorded, None if nothing is.
    """

    jobs: list[Job]
    followers: dict[str, list[Job]]
    answers: list[Answer | None]
    rows: Rows | None
    used: dict[int, int]

    def all_jobs(self) -> list[Job]:
        return [*self.jobs, *(job for jobs in self.followers.values() for job in jobs)]


def ask_of(job: Job, state: IntakeState) -> Ask:
    if job.request is None:
        raise InvariantError("a batch holds something that isn't a payout")
    return Ask(job.caller, job.request, state.take_evidence(), job.signed_sha256)


def payout_of(job: Job) -> PayoutId:
    if job.request is None:
        raise InvariantError("a batch holds something that isn't a payout")
    return job.request.id


def debt_of(job: Job) -> tuple[str, str]:
    if job.request is None:
        raise InvariantError("a batch holds something that isn't a payout")
    return job.caller.client, job.request.external_id


async def follow(connection: asyncpg.Connection, leader: Job, answer: Answer, job: Job) -> Answer:
    """The answer to a job that came with another of the same key: the same, if it is the same request."""
    one, other = leader.evidence, job.evidence
    if one is None or other is None:
        raise InvariantError("a payout was asked for without evidence")
    if (one.method, one.path, one.body) == (other.method, other.path, other.body):
        return replace(answer, replayed=True) if isinstance(answer, Recorded) else answer
    is_used = isinstance(answer, Refusal) and answer.code is Code.IDEMPOTENCY_KEY_REUSED
    if isinstance(answer, Recorded) or is_used:
        return await replay(connection, job)
    return NOT_READY  # the other request was refused, so this one is the first of its key: it is to be sent again


async def replay(connection: asyncpg.Connection, job: Job) -> Recorded | Refusal:
    """Answer again as the first time, or say what differs."""
    if job.request is None or job.evidence is None:
        raise InvariantError("only a payout can be replayed here")
    recorded = await payouts.read_at_intake(connection, job.caller.organisation, job.request.id)
    if recorded is None:
        raise InvariantError(f"payout {job.request.id} was there a moment ago")
    difference = await payouts.first_difference(connection, job.request.id, job.evidence)
    return Recorded(recorded, replayed=True) if difference is None else difference


def settle(jobs: Iterable[Job], answer: Answer) -> None:
    for job in jobs:
        if not job.answer.done():
            job.answer.set_result(answer)
