"""How much went out lately: sums over a sliding window, never too small.

A window is kept in buckets, so that its memory has a bound whatever the traffic. A bucket leaves the sum
only when all of it is older than the window: what is reported is the exact sum or, for at most one
bucket's length, a little more. The same holds when the clock steps back. Losing the state must be read as
"spent": whoever keeps windows rebuilds them from the record.
"""

from collections import deque
from collections.abc import Hashable, Iterator

from strongroom.domain.instant import Instant

BUCKETS_PER_WINDOW = 96
"""A day in quarters of an hour, an hour in less than forty seconds."""
COUNT_MINIMUM = 1_000
"""So many windows of an organisation may stand there, empty or not."""


class Window:
    """The sum of what was added in the last `span_ms` milliseconds; values and sums are in one unit."""

    __slots__ = ("_bucket_ms", "_buckets", "_span_ms", "_total")

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._bucket_ms = max(1, span_ms // BUCKETS_PER_WINDOW)
        self._buckets: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, value: int, at: Instant) -> None:
        """Count `value`; negative only to undo at once. An `at` before the newest bucket counts into the newest."""
        number = at // self._bucket_ms
        buckets = self._buckets
        if buckets and buckets[-1][0] >= number:
            newest, sum_before = buckets[-1]
            buckets[-1] = (newest, sum_before + value)
        else:
            buckets.append((number, value))
        self._total += value

    def used(self, now: Instant) -> int:
        """The sum at `now`; buckets that have left are forgotten."""
        while self._buckets and self._leaves_at(self._buckets[0][0]) <= now:
            self._total -= self._buckets.popleft()[1]
        return self._total

    def leaving(self) -> Iterator[tuple[Instant, int]]:
        """When each bucket leaves, and its sum: the oldest first."""
        return ((self._leaves_at(number), bucket_sum) for number, bucket_sum in self._buckets)

    def _leaves_at(self, number: int) -> Instant:
        return Instant((number + 1) * self._bucket_ms + self._span_ms)


class Windows:
    """The windows of one organisation, each made when first counted into.

    Empty ones are dropped whenever there are twice as many as were left the last time.
    """

    __slots__ = ("_count_maximum", "_windows")

    def __init__(self) -> None:
        self._windows: dict[tuple[Hashable, int], Window] = {}
        self._count_maximum = COUNT_MINIMUM

    def used(self, key: Hashable, span_ms: int, now: Instant) -> int:
        window = self._windows.get((key, span_ms))
        return window.used(now) if window is not None else 0

    def leaving(self, key: Hashable, span_ms: int) -> Iterator[tuple[Instant, int]]:
        window = self._windows.get((key, span_ms))
        return window.leaving() if window is not None else iter(())

    def add(self, key: Hashable, span_ms: int, value: int, at: Instant) -> None:
        window = self._windows.get((key, span_ms))
        if window is None:
            if len(self._windows) >= self._count_maximum:
                self._count_maximum = max(COUNT_MINIMUM, 2 * self.forget_empty(at))
            window = self._windows[(key, span_ms)] = Window(span_ms)
        window.add(value, at)

    def forget_empty(self, now: Instant) -> int:
        """Drop the windows that hold nothing any more; how many are left."""
        for key in [key for key, window in self._windows.items() if window.used(now) == 0]:
            del self._windows[key]
        return len(self._windows)
