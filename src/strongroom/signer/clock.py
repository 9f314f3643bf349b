"""Two clocks, because one can be set: how much time has passed at least, and how much at most.

Windows, cooling-off and delays go by `at_least`, the smaller of what the monotonic and the wall clock say; every
expiry goes by `at_most`, the larger. Whoever sets the wall clock can make the signer refuse, and can't make it forget
what was spent nor believe what has expired. Across a restart the monotonic clock says nothing and guard, which signs
its own time, takes its place. `at_least` never goes back; `at_most` only when wall and guard agree that it is far ahead
of both (ADR 0029). Where time is read from is an argument: `boot_ns` and `time_ns`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import HOUR_MS, MINUTE_MS, Instant
from strongroom.protocol.entry import Reading

MILLISECOND_NS: Final = 1_000_000


def boot_ns() -> int:
    """Monotonic, and goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Start:
    """A life of the signer began at `reading`, when guard's time was `guard`."""

    reading: Reading
    guard: Instant


def resume(before: Start, last: Reading, wall: Instant, guard_now: Instant) -> Reading:
    """Where to start again after `last`, the newest reading in the journal, in the life that began with `before`.

    Guard's time is compared with guard's time only: what the wall said in the life before may have been a lie. What
    guard saw pass since `before` passed partly in that life, at most and at least as much as its readings say.
    """
    wall_ms, guard_ms = wall - last.wall, guard_now - before.guard
    guard_least_ms = guard_ms - (last.at_most - before.reading.at_most)
    guard_most_ms = guard_ms - (last.at_least - before.reading.at_least)
    return Reading(
        at_least=Instant(last.at_least + max(0, min(wall_ms, guard_least_ms))),
        at_most=Instant(last.at_most + max(0, wall_ms, guard_most_ms)), wall=wall,
    )


def brought_back(last: Reading, guard_now: Instant) -> Instant | None:
    """What passed at most, if wall and guard agree within a minute that it is less by more than an hour; else None.

    One of the two is honest, so the later of them isn't before the true time; the minute more is for their difference.
    """
    agreed = max(last.at_least, last.wall, guard_now)
    is_agreed = abs(last.wall - guard_now) <= MINUTE_MS
    return Instant(agreed + MINUTE_MS) if is_agreed and last.at_most - agreed > HOUR_MS else None


class Clock:
    """Counts in nanoseconds: at every reading the smaller and the larger progress are added up, and in milliseconds
    the rounding of many readings would stop the one clock and double the other.
    """

    def __init__(self, monotonic_ns: Callable[[], int], wall_ns: Callable[[], int], start: Reading) -> None:
        """`start` is what `resume` made, or genesis' wall time three times."""
        self._monotonic_ns, self._wall_ns, self._start = monotonic_ns, wall_ns, start
        self._last = (monotonic_ns(), wall_ns())
        self._least_ns = 0
        self._most_ns = 0

    def bring_back(self, at_most: Instant) -> None:
        """From now on no more has passed than this. Whatever lives by what had passed before must end now."""
        self._most_ns = (at_most - self._start.at_most) * MILLISECOND_NS

    def read(self) -> Reading:
        """Now; read once for each decision. Differences of readings are exact to a millisecond."""
        monotonic, wall = self._monotonic_ns(), self._wall_ns()
        progress = (monotonic - self._last[0], wall - self._last[1])
        self._last = (monotonic, wall)
        self._least_ns += max(0, min(progress))
        self._most_ns += max(0, *progress)
        return Reading(
            at_least=Instant(self._start.at_least + self._least_ns // MILLISECOND_NS),
            at_most=Instant(self._start.at_most - -self._most_ns // MILLISECOND_NS),
            wall=Instant(wall // MILLISECOND_NS),
        )
