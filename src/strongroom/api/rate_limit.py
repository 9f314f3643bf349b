"""How many requests a second one address or one key may make. Money limits are elsewhere: in intake and the signer."""

import time
from collections.abc import Callable

from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.instant import SECOND_MS


class RateLimiter:
    """A fixed window of a second for each name: cheap, and at worst twice the rate over the edge of two seconds.

    Only the names of the current second are kept, so that a flood of them is forgotten with it.
    """

    def __init__(self, per_second: int, what: str, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.per_second = per_second
        self._what = what
        self._clock_ns = clock_ns
        self._second = 0
        self._counts: dict[str, int] = {}

    def hit(self, name: str) -> int:
        """Count one request; how many more this second has. Raises: RefusalError `rate_limited`."""
        second = self._clock_ns() // 1_000_000_000
        if second != self._second:
            self._second, self._counts = second, {}
        count = self._counts.get(name, 0) + 1
        if count > self.per_second:
            detail = f"more than {self.per_second} requests a second {self._what}"
            raise RefusalError(Refusal(Code.RATE_LIMITED, detail, None, SECOND_MS))
        self._counts[name] = count
        return self.per_second - count
