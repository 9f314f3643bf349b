"""Intake: the one writer that records what clients ask for, many requests to a commit.

A natural group commit: while one batch is being written, the next gathers and is decided; no timer waits for
company. What is decided ahead stands on the batch before it, and is thrown away if that isn't recorded. An answer
is given only after PostgreSQL has said that it is on disk. If the outcome of a commit isn't known, the caller hears
"not ready", never "done": the same request again, under the same key, finds out.

Exactly one writer may record. It holds an advisory lock, and an epoch that every transaction of its checks: one that
was thought dead can't commit a word after another took over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId, IdempotencyKey, PayoutId, RunId
from strongroom.domain.instant import HOUR_MS, SECOND_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.payout import PayoutRequest
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.run_tree import Seal
from strongroom.store import intake_beneficiary, intake_run
from strongroom.store.fair_queue import FairQueue, QueueFullError
from strongroom.store.intake_job import (
    NOT_READY,
    RETRY_AFTER_MS,
    Answer,
    Decided,
    Job,
    ask_of,
    debt_of,
    follow,
    payout_of,
    replay,
    settle,
)
from strongroom.store.intake_payout import (
    AlreadyRecordedError,
    Ask,
    Batch,
    RevokedError,
    look_up,
    record_singles,
    rows_of_singles,
    signed_sha256,
)
from strongroom.store.intake_preview import preview
from strongroom.store.intake_state import IntakeState, load_state, read_policy_versions
from strongroom.store.intake_unpayable import refuse_unpayable
from strongroom.store.record import (
    BeneficiaryRecord,
    BeneficiaryRequest,
    Caller,
    Evidence,
    Preview,
    Recorded,
    RunItem,
    RunRecord,
    UnpayableRequest,
)
from strongroom.store.session import FAULTS, connect
from strongroom.store.writing import Writing

BATCH_MAXIMUM: Final = 256
SHARED_MINIMUM: Final = 64
"""A batch is half of what waits, so that the other half is decided while it is written; but not less than this."""
QUIET_TURNS: Final = 2
"""A request is read in one turn of the loop and asks in the next."""
RECONNECT_MS: Final = 200
WRITER_LOCK: Final = 7163829167
POLICY_CHECK_MS: Final = SECOND_MS

Clock = Callable[[], Instant]

KEY_REVOKED: Final = Refusal(Code.KEY_REVOKED, "the key that signed this request is revoked")
QUEUE_FULL: Final = Refusal(
    Code.UNAVAILABLE, "too many requests are waiting: nothing was recorded", None, RETRY_AFTER_MS
)


class WriterTakenError(Exception):
    """Another intake writer holds the lock."""


class Intake:
    """The writer and its queue. Made by `start`; ended by `stop`."""

    def __init__(self, dsn: str, clock: Clock) -> None:
        self._dsn = dsn
        self._clock = clock
        self._queue: FairQueue[Job] = FairQueue()
        self._wake = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._state: IntakeState | None = None
        self._epoch = 0
        self._policies_checked = Instant(0)
        self._windows_swept = Instant(0)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._decided: Decided | None = None

    @classmethod
    async def start(cls, dsn: str, clock: Clock) -> "Intake":
        """Take the writer's lock and a new epoch. Raises: WriterTakenError, SessionError, or asyncpg's errors."""
        intake = cls(dsn, clock)
        await intake._connect()
        intake._task = asyncio.create_task(intake._run(), name="intake writer")
        return intake

    async def stop(self) -> None:
        """Answer what waits, then end; the lock is free when this returns."""
        self._stopping = True
        self._wake.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            await self._disconnect()

    def ready(self) -> bool:
        is_alive = self._task is not None and not self._task.done()
        return self._connection is not None and is_alive and not self._stopping

    async def ended(self) -> None:
        """When the writer has ended. Raises: what ended it, if that was a fault: then the process must end too."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def pay(self, caller: Caller, request: PayoutRequest, evidence: Evidence) -> Recorded | Refusal:
        """Record one payout, or find the one that this key made before."""
        job = Job(caller, self._future(), request, evidence, signed_sha256=signed_sha256(evidence))
        answer = await self._put(job)
        if not isinstance(answer, Recorded | Refusal):
            raise InvariantError("a payout was answered with something else")
        return answer

    async def refuse(self, caller: Caller, request: UnpayableRequest, evidence: Evidence) -> Refusal:
        """Why not to record a payout whose amount no asset can have."""
        answer = await self._alone(caller, lambda to: refuse_unpayable(to, caller, request, evidence))
        if not isinstance(answer, Refusal):
            raise InvariantError("a payout that can't be was answered with something else")
        return answer

    async def declare(
        self, caller: Caller, request: BeneficiaryRequest, evidence: Evidence
    ) -> BeneficiaryRecord | Refusal:
        """Record a beneficiary with its first destination."""
        answer = await self._alone(caller, lambda to: intake_beneficiary.declare(to, caller, request, evidence))
        if not isinstance(answer, BeneficiaryRecord | Refusal):
            raise InvariantError("a declaration was answered with something else")
        return answer

    async def add_destination(
        self, caller: Caller, beneficiary: BeneficiaryId, record: DestinationRecord | Refusal, evidence: Evidence
    ) -> BeneficiaryRecord | Refusal:
        """Record the next version of a destination; only the client that declared the last one may.

        A refusal instead of the record is what was found wrong at the edge; it is answered when the key is new.
        """
        answer = await self._alone(
            caller, lambda to: intake_beneficiary.add_destination(to, caller, beneficiary, record, evidence)
        )
        if not isinstance(answer, BeneficiaryRecord | Refusal):
            raise InvariantError("a destination was answered with something else")
        return answer

    async def open_run(
        self, caller: Caller, run: intake_run.RunRequest, evidence: Evidence
    ) -> RunRecord | Refusal:
        """Record a run with its first items, sealed at once if the request carries its seal."""
        return await self._run_job(caller, lambda to: intake_run.open_run(to, caller, run, evidence))

    async def add_items(
        self, caller: Caller, run: RunId, first_index: int, items: list[RunItem] | Refusal, evidence: Evidence
    ) -> RunRecord | Refusal:
        """Record more items of an open run, all of them or none; a refusal as for a destination."""
        return await self._run_job(
            caller, lambda to: intake_run.add_items(to, caller, run, first_index, items, evidence)
        )

    async def seal_run(self, caller: Caller, run: RunId, seal: Seal, evidence: Evidence) -> RunRecord | Refusal:
        """Record a run's seal, if it says what the items say."""
        return await self._run_job(caller, lambda to: intake_run.seal_run(to, caller, run, seal, evidence))

    async def cancel_run(
        self, caller: Caller, run: RunId, idempotency_key: IdempotencyKey, evidence: Evidence
    ) -> RunRecord | Refusal:
        """Record the wish that what isn't planned yet of a run shall not go out."""
        return await self._run_job(
            caller, lambda to: intake_run.cancel_run(to, caller, run, idempotency_key, evidence)
        )

    async def cancel(
        self, caller: Caller, payout: PayoutId, idempotency_key: IdempotencyKey, evidence: Evidence
    ) -> Recorded | Refusal:
        """Record the wish that a payout shall not go out; it isn't cancelled before the signer says so."""
        answer = await self._alone(
            caller, lambda to: intake_run.cancel_payout(to, caller, payout, idempotency_key, evidence)
        )
        if not isinstance(answer, Recorded | Refusal):
            raise InvariantError("a cancel request was answered with something else")
        return answer

    async def preview(self, caller: Caller, requests: list[PayoutRequest]) -> list[Preview | Refusal] | Refusal:
        """What would happen to these payouts now, each for itself. Nothing is stored or counted."""
        answer = await self._alone(caller, lambda to: preview(to, caller, requests))
        if not isinstance(answer, list | Refusal):
            raise InvariantError("a preview was answered with something else")
        return answer

    async def _run_job(
        self, caller: Caller, work: Callable[[Writing], Awaitable[Answer]]
    ) -> RunRecord | Refusal:
        answer = await self._alone(caller, work)
        if not isinstance(answer, RunRecord | Refusal):
            raise InvariantError("a run was answered with something else")
        return answer

    async def _alone(self, caller: Caller, work: Callable[[Writing], Awaitable[Answer]]) -> Answer:
        return await self._put(Job(caller, self._future(), work=work))

    def _future(self) -> "asyncio.Future[Answer]":
        return asyncio.get_running_loop().create_future()

    async def _put(self, job: Job) -> Answer:
        if not self.ready():
            return NOT_READY
        try:
            self._queue.put(job)
        except QueueFullError:
            return QUEUE_FULL
        self._wake.set()
        return await job.answer

    async def _run(self) -> None:
        """Batch after batch until stopped; a failed connection is made again."""
        while not (self._stopping and len(self._queue) == 0 and self._decided is None):
            if self._decided is None:
                await self._wake.wait()
            batch = self._queue.take(min(BATCH_MAXIMUM, max(SHARED_MINIMUM, len(self._queue) // 2)))
            if not batch and self._decided is None:
                self._wake.clear()
                if self._stopping:
                    return
                continue
            ahead, self._decided = self._decided, None
            waiting = [*batch, *(() if ahead is None else ahead.all_jobs())]
            try:
                self._decided = await self._step(ahead, batch)
            except FAULTS:
                settle(waiting, NOT_READY)
                await self._reconnect()
            except BaseException:
                settle(waiting, NOT_READY)
                self._turn_away()
                raise

    async def _step(self, ahead: Decided | None, batch: list[Job]) -> Decided | None:
        """Record what was decided before, and decide about `batch` meanwhile; what that leaves to be recorded.

        The two overlap when the decision needs nothing but what was looked up before the other batch was sent:
        PostgreSQL writes one while we think about the next.
        """
        if ahead is not None and (not batch or batch[0].alone or self._is_stale(batch)):
            await self._finish(ahead)
            ahead = None
        if not batch:
            return None
        await self._refresh(batch)
        if batch[0].alone:
            await self._do_alone(batch[0])
            return None
        jobs, followers = self._without_conflicts(batch, () if ahead is None else ahead.jobs)
        if not jobs:  # all of them wait for what is ahead
            if ahead is not None:
                await self._finish(ahead)
            return None
        connection, state, now = self._live()
        asks = [ask_of(job, state) for job in jobs]
        used = {} if ahead is None else ahead.used
        deciding = Batch(connection, state, await look_up(connection, state, asks), now, used)
        if ahead is None:
            return await self._decide(deciding, asks, jobs, followers)
        if not all(deciding.is_plain(ask) for ask in asks):
            as_decided = await self._finish(ahead)
            decided = await self._decide(deciding, asks, jobs, followers) if as_decided else None
        else:
            finishing = asyncio.create_task(self._finish(ahead))
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # by now the statement has been written to its socket
                decided = await self._decide(deciding, asks, jobs, followers)
            finally:
                as_decided = await finishing
        if not as_decided:  # then this batch was decided upon something that isn't so
            for job in reversed([*jobs, *(job for each in followers.values() for job in each)]):
                self._queue.put_back(job)
            return None
        return decided

    async def _finish(self, decided: Decided) -> bool:
        """Record a batch and answer it; false when it wasn't recorded as it was decided."""
        connection, _, _ = self._live()
        try:
            if decided.rows is not None:
                await record_singles(connection, self._epoch, decided.rows)
        except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError):
            # Something that the lookup didn't show: another process moved funds meanwhile. Each for itself.
            await self._reload()
            for job in decided.all_jobs():
                await self._pay_single(job)
            return False
        for job, answer in zip(decided.jobs, decided.answers, strict=True):
            final = await replay(connection, job) if answer is None else answer
            settle([job], final)
            for follower in decided.followers.get(payout_of(job), ()):
                settle([follower], await follow(connection, job, final, follower))
        await self._gather()
        return True

    async def _gather(self) -> None:
        """Let those in who are at the door, who may have been answered just now: what they ask has arrived, and is
        read before the next batch is taken, for a batch costs much the same whatever its size. Nobody is waited for:
        it ends when two turns of the loop brought nobody, or with as many as a batch takes at least.
        """
        quiet = 0
        while quiet < QUIET_TURNS and len(self._queue) < SHARED_MINIMUM:
            before = len(self._queue)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._queue) == before else 0

    async def _pay_single(self, job: Job) -> None:
        connection, state, now = self._live()
        asks = [ask_of(job, state)]
        deciding = Batch(connection, state, await look_up(connection, state, asks), now, {})
        decided = await self._decide(deciding, asks, [job], {})
        try:
            if decided.rows is not None:
                await record_singles(connection, self._epoch, decided.rows)
        except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError):
            await self._reload()
            settle([job], NOT_READY)
            return
        (answer,) = decided.answers
        settle([job], await replay(connection, job) if answer is None else answer)

    async def _decide(
        self, deciding: Batch, asks: list[Ask], jobs: list[Job], followers: dict[str, list[Job]]
    ) -> Decided:
        answers: list[Answer | None] = []
        for place, ask in enumerate(asks):
            try:
                decided = await deciding.decide(place, ask)
                answers.append(decided if isinstance(decided, Refusal) else Recorded(decided))
            except AlreadyRecordedError:
                answers.append(None)
            except RevokedError:
                answers.append(KEY_REVOKED)
        evidence = {ask.evidence: job.evidence for job, ask in zip(jobs, asks, strict=True) if job.evidence}
        taken = [(each, evidence[each.ask.evidence]) for each in deciding.taken]
        rows = rows_of_singles(deciding.state, taken) if taken else None
        return Decided(jobs, followers, answers, rows, deciding.used)

    def _without_conflicts(
        self, batch: list[Job], ahead: Sequence[Job]
    ) -> tuple[list[Job], dict[str, list[Job]]]:
        """One job for each payout, and those that follow it under the same key.

        Two asks about one external id never share a batch, and none is decided while one about the same payout or
        external id is being recorded: the second must see what the first did, and waits.
        """
        jobs: dict[str, Job] = {}
        followers: dict[str, list[Job]] = {}
        payouts_ahead = {payout_of(job) for job in ahead}
        debts = {debt_of(job) for job in ahead}
        later: list[Job] = []
        for job in batch:
            payout, debt = payout_of(job), debt_of(job)
            if payout in jobs:
                followers.setdefault(payout, []).append(job)
            elif payout in payouts_ahead or debt in debts:
                later.append(job)
            else:
                jobs[payout] = job
                debts.add(debt)
        for job in reversed(later):
            self._queue.put_back(job)
        return list(jobs.values()), followers

    async def _do_alone(self, job: Job) -> None:
        connection, state, now = self._live()
        if job.work is None:
            raise InvariantError("there is no work to do")
        try:
            answer = await job.work(Writing(connection, state, now, self._epoch))
        except RevokedError:
            await self._reload()
            answer = KEY_REVOKED
        except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError):
            await self._reload()
            answer = NOT_READY
        settle([job], answer)

    def _live(self) -> tuple[asyncpg.Connection, IntakeState, Instant]:
        if self._connection is None or self._state is None:
            raise InvariantError("the intake writer works without a connection")
        return self._connection, self._state, self._clock()

    async def _refresh(self, batch: list[Job]) -> None:
        """See new policies within a second, new organisations at once; forget windows that are empty."""
        connection, state, now = self._live()
        if self._is_stale(batch):
            self._policies_checked = now
            if await read_policy_versions(connection) != state.policy_versions:
                await self._reload()
        if now - self._windows_swept >= HOUR_MS:
            self._windows_swept = now
            for windows in state.windows.values():
                windows.forget_empty(now)

    def _is_stale(self, batch: list[Job]) -> bool:
        """The policies must be looked at again before `batch` is decided."""
        _, state, now = self._live()
        is_known = all(job.caller.organisation in state.policies for job in batch)
        return not is_known or now - self._policies_checked >= POLICY_CHECK_MS

    async def _reload(self) -> None:
        connection, _, now = self._live()
        self._state = await load_state(connection, now)

    async def _connect(self) -> None:
        connection = await connect(self._dsn, "strongroom intake")
        try:
            if not await connection.fetchval(f"SELECT pg_try_advisory_lock({WRITER_LOCK})"):
                raise WriterTakenError("another intake writer is at work on this database")
            self._epoch = await connection.fetchval("SELECT strongroom.intake_begin($1)", self._clock())
            self._state = await load_state(connection, self._clock())
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAULTS):
                await connection.execute(f"SELECT pg_advisory_unlock({WRITER_LOCK})")  # a closed session ends later
                await connection.close(timeout=5)

    async def _reconnect(self) -> None:
        """Until PostgreSQL is back or we are stopped; whoever waits meanwhile is told to come again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()  # a good-bye to a session that doesn't answer takes seconds
        while not self._stopping:
            settle(self._queue.take(BATCH_MAXIMUM), NOT_READY)
            with contextlib.suppress(WriterTakenError, *FAULTS):
                await self._connect()
                return
            await asyncio.sleep(RECONNECT_MS / SECOND_MS)
        self._turn_away()

    def _turn_away(self) -> None:
        """Nobody will answer those who wait: tell them to come again."""
        while batch := self._queue.take(BATCH_MAXIMUM):
            settle(batch, NOT_READY)
