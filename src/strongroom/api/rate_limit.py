"""How many requests a second one address or one key may make. Money limits are elsewhere: in intake and the signer."""

from dataclasses import dataclass

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.instant import SECOND_MS


@dataclass(frozen=True, slots=True)
class Standing:
    """What the headers RateLimit and RateLimit-Policy say."""

    limit: int
    remaining: int


class RateLimiter:
    """A fixed window of a second for each name: cheap, and at worst twice the rate over the edge of two seconds."""

    def __init__(self, per_second: int, what: str) -> None:
        self._item = RateLimitItemPerSecond(per_second)
        self._what = what
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, name: str) -> Standing:
        """Count one request. Raises: RefusalError `rate_limited`."""
        if not self._limiter.hit(self._item, name):
            detail = f"more than {self._item.amount} requests a second {self._what}"
            raise RefusalError(Refusal(Code.RATE_LIMITED, detail, None, SECOND_MS))
        return Standing(self._item.amount, max(0, self._limiter.get_window_stats(self._item, name).remaining))
