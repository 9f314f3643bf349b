"""Points in time: integer milliseconds since 1970-01-01 UTC. The clock itself is always an argument.

On the wire a time is RFC 3339 in UTC with `Z` and milliseconds (`2026-11-24T09:30:00.000Z`); in signed
records it is the integer. Leap seconds don't exist here, as in POSIX time.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NewType

Instant = NewType("Instant", int)

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

INSTANT_MAXIMUM: Final = Instant(253_402_300_799_999)
"""The last millisecond of the year 9999, the end of RFC 3339."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC_3339 = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,3}))?Z")


class InstantError(ValueError):
    """The text isn't a time that Strongroom reads."""


def parse_instant(text: str) -> Instant:
    """RFC 3339 §5.6 in UTC, `T` and `Z` upper-case, at most milliseconds. Raises: InstantError."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise InstantError("must be a time in UTC such as 2026-11-24T09:30:00.000Z")
    # Not by strptime, which loads a module when it is first called: a signer that is locked down can't.
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    try:
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as fault:
        raise InstantError("must be a time that exists, such as 2026-11-24T09:30:00.000Z") from fault
    instant = (whole - _EPOCH) // _MILLISECOND + int((match[7] or "0").ljust(3, "0"))
    if instant < 0:
        raise InstantError("must not be before 1970")
    return Instant(instant)
