"""When there will be room in a window again: of use to who estimates, not to who decides."""

from collections.abc import Hashable

from strongroom.domain.instant import Instant
from strongroom.domain.velocity import Windows


def fits_at(
    windows: Windows, key: Hashable, span_ms: int, value: int, maximum: int, now: Instant
) -> Instant | None:
    """The first instant from `now` on at which `value` more stays within `maximum`; None if never."""
    if value > maximum:
        return None
    over = windows.used(key, span_ms, now) + value - maximum
    at, leaving = now, windows.leaving(key, span_ms)
    while over > 0:  # all that is in the window leaves it at last
        at, bucket_sum = next(leaving)
        over -= bucket_sum
    return at
