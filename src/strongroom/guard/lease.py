"""What guard lets the signer sign: all, or only what saves money while watch is silent. Alarms stand elsewhere."""

from collections.abc import Callable
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.guard.control_log import ControlLog
from strongroom.protocol.control import read_heartbeat
from strongroom.protocol.guard_wire import Lease

SILENCE_MAXIMUM_MS: Final = MINUTE_MS


class Leases:
    """`monotonic_ns` counts on while the machine sleeps. A guard that has just started has heard nothing yet."""

    def __init__(self, log: ControlLog, monotonic_ns: Callable[[], int]) -> None:
        self._log = log
        self._monotonic_ns = monotonic_ns
        self._heard_ns: int | None = None
        self._last = Instant(0)

    def beat(self, frame: bytes, now: Instant) -> None:
        """A heartbeat of watch's, newer than the last. Raises: DocumentError."""
        standings = self._log.standings
        if standings.genesis is None:
            raise DocumentError("", "guard isn't enrolled")
        at = read_heartbeat(frame, standings.genesis, standings.deployment)
        if at <= self._last or abs(at - now) > SILENCE_MAXIMUM_MS:
            raise DocumentError("at_ms", "isn't newer than the last heartbeat, or far from guard's time")
        self._last, self._heard_ns = at, self._monotonic_ns()

    def silence_ms(self) -> int | None:
        """Since watch's last heartbeat; None if there was none."""
        return None if self._heard_ns is None else (self._monotonic_ns() - self._heard_ns) // 1_000_000

    def lease(self) -> Lease:
        silence_ms = self.silence_ms()
        is_watched = silence_ms is not None and silence_ms < SILENCE_MAXIMUM_MS
        return Lease.ALL if is_watched else Lease.RECOVER
