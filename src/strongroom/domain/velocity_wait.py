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
    at = now
    if over > 0:
        for leaves, bucket_sum in windows.leaving(key, span_ms):
            over -= bucket_sum
            at = leaves
            if over <= 0:
                break
    return at
