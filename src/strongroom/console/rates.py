"""How many requests a second one address may make, so that nobody guesses, or wears the database out."""

import time
from collections.abc import Callable

from strongroom.console.web import WebError


class Rates:
    """A fixed window of a second; only the addresses of this second are kept."""

    def __init__(self, per_second: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._per_second = per_second
        self._clock_ns = clock_ns
        self._second = 0
        self._counts: dict[str, int] = {}

    def hit(self, address: str) -> None:
        """Raises: WebError."""
        second = self._clock_ns() // 1_000_000_000
        if second != self._second:
            self._second, self._counts = second, {}
        self._counts[address] = self._counts.get(address, 0) + 1
        if self._counts[address] > self._per_second:
            raise WebError(429, "Too many requests from this address. Wait a second.")
