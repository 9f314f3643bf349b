"""What the rate limiter of the API costs a request; it is asked twice for each, by address and by key."""

import time

from strongroom.api.rate_limit import RateLimiter


def hit_us(count: int, names: int = 1_000) -> float:
    limiter = RateLimiter(count, "in a benchmark")
    asked = [f"198.51.100.{number}" for number in range(names)]
    started = time.perf_counter()
    for number in range(count):
        limiter.hit(asked[number % names])
    return (time.perf_counter() - started) / count * 1e6
