"""A queue in which nobody waits for somebody else's thousands: clients take turns.

Has a named maximum for each client and for all; what comes above it is refused at once, never dropped later.
"""

from collections import OrderedDict, deque
from typing import Final, Generic, Protocol, TypeVar

QUEUED_MAXIMUM: Final = 20_000
QUEUED_PER_CLIENT_MAXIMUM: Final = 10_000


class Queued(Protocol):
    @property
    def turn(self) -> str:
        """Whose turn it takes: the client."""

    @property
    def alone(self) -> bool:
        """It can't share a batch with others."""


_Job = TypeVar("_Job", bound=Queued)


class QueueFullError(Exception):
    """Too much is waiting already."""


class FairQueue(Generic[_Job]):
    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, job: _Job) -> None:
        """Raises: QueueFullError."""
        jobs = self._waiting.get(job.turn)
        if self._size >= QUEUED_MAXIMUM or (jobs is not None and len(jobs) >= QUEUED_PER_CLIENT_MAXIMUM):
            raise QueueFullError
        if jobs is None:
            jobs = self._waiting[job.turn] = deque()
        jobs.append(job)
        self._size += 1

    def put_back(self, job: _Job) -> None:
        """First in its client's line again; this is never refused."""
        self._waiting.setdefault(job.turn, deque()).appendleft(job)
        self._size += 1

    def take(self, maximum: int) -> list[_Job]:
        """One job of each client in turn, up to `maximum`; a job that must be alone comes alone."""
        batch: list[_Job] = []
        while self._waiting and len(batch) < maximum:
            turn, jobs = next(iter(self._waiting.items()))
            if jobs[0].alone and batch:
                break
            batch.append(jobs.popleft())
            self._size -= 1
            if jobs:
                self._waiting.move_to_end(turn)
            else:
                del self._waiting[turn]
            if batch[-1].alone:
                break
        return batch
