"""The rate limiter alone, with a clock that stands still."""

import pytest

from strongroom.api.rate_limit import RateLimiter
from strongroom.domain.errors import Code, RefusalError

SECOND_NS = 1_000_000_000


class Clock:
    now = 17 * SECOND_NS

    def __call__(self) -> int:
        return self.now


def test_the_request_above_the_rate_is_refused_until_the_second_is_over() -> None:
    clock = Clock()
    limiter = RateLimiter(3, "with one key", clock)
    assert [limiter.hit("one") for _ in range(3)] == [2, 1, 0]
    with pytest.raises(RefusalError, match="more than 3 requests a second with one key") as refused:
        limiter.hit("one")
    assert refused.value.refusal.code is Code.RATE_LIMITED
    assert refused.value.refusal.retry_after_ms == 1_000
    clock.now += SECOND_NS - 1
    with pytest.raises(RefusalError):
        limiter.hit("one")
    clock.now += 1
    assert limiter.hit("one") == 2


def test_names_have_rates_of_their_own_and_are_forgotten_with_their_second() -> None:
    clock = Clock()
    limiter = RateLimiter(1, "from one address", clock)
    for number in range(100):
        assert limiter.hit(f"198.51.100.{number}") == 0
    clock.now += SECOND_NS
    limiter.hit("198.51.100.1")
    assert len(limiter._counts) == 1
