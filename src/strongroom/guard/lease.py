"""What guard lets the signer sign: all, or only what saves money: while watch is silent, since it contradicted itself
about the audit log, or when a key seems to be stolen, as the keys of all organisations come from one seed.

What else watch alarms concerns one organisation, and stands elsewhere.
"""

from collections.abc import Callable
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import INSTANT_MAXIMUM, MINUTE_MS, Instant
from strongroom.guard.control_log import ControlLog
from strongroom.protocol.control import HEARTBEAT_TYPE, UNKNOWN_SPEND
from strongroom.protocol.guard_wire import Lease, open_frame
from strongroom.protocol.record import read_record
from strongroom.protocol.standings import Standings

SILENCE_MAXIMUM_MS: Final = MINUTE_MS


def hear(standings: Standings, frame: bytes, record_type: str, last: Instant, now: Instant) -> tuple[Fields, Instant]:
    """What watch says here and now, and its time, which is after `last`. Raises: DocumentError."""
    if standings.genesis is None:
        raise DocumentError("", "guard isn't enrolled")
    fields = read_record(open_frame(standings.genesis.checkpoint_key, frame, record_type), record_type)
    fields.exactly("deployment", standings.deployment)
    at = Instant(fields.integer("at_ms", 0, INSTANT_MAXIMUM))
    if at <= last or abs(at - now) > SILENCE_MAXIMUM_MS:
        raise DocumentError("at_ms", "isn't newer than the last that watch said, or far from guard's time")
    return fields, at


class Leases:
    """`monotonic_ns` counts on while the machine sleeps. A guard that has just started has heard nothing yet."""

    def __init__(self, log: ControlLog, monotonic_ns: Callable[[], int], contradicted: Callable[[], bool]) -> None:
        self._log = log
        self.is_contradicted = contradicted
        self._monotonic_ns = monotonic_ns
        self._heard_ns: int | None = None
        self._last = Instant(0)

    def beat(self, frame: bytes, now: Instant) -> None:
        """A heartbeat of watch's, newer than the last. Raises: DocumentError."""
        fields, at = hear(self._log.standings, frame, HEARTBEAT_TYPE, self._last, now)
        fields.close()
        self._last, self._heard_ns = at, self._monotonic_ns()

    def silence_ms(self) -> int | None:
        """Since watch's last heartbeat; None if there was none."""
        return None if self._heard_ns is None else (self._monotonic_ns() - self._heard_ns) // 1_000_000

    def lease(self) -> Lease:
        silence_ms = self.silence_ms()
        is_watched = silence_ms is not None and silence_ms < SILENCE_MAXIMUM_MS
        alarms = [name for standing in self._log.current.values() for name in standing.alarms]
        is_sound = not self.is_contradicted() and not any(name.startswith(UNKNOWN_SPEND) for name in alarms)
        return Lease.ALL if is_watched and is_sound else Lease.RECOVER
