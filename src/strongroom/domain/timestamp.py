"""Times as they are written on the wire: RFC 3339 in UTC with `Z` and milliseconds. `instant` reads them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from strongroom.domain.instant import INSTANT_MAXIMUM, SECOND_MS, Instant, InstantError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def format_instant(instant: Instant) -> str:
    """`2026-11-24T09:30:00.000Z`; `instant` is 0 to `INSTANT_MAXIMUM`. Raises: InstantError."""
    if not 0 <= instant <= INSTANT_MAXIMUM:
        raise InstantError(f"{instant} ms is outside the years 1970 to 9999")
    whole = _EPOCH + timedelta(milliseconds=instant - instant % SECOND_MS)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{instant % SECOND_MS:03d}Z"
