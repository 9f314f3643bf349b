"""Asks whether a payout may go where it goes: a port, and a first plug-in that knows a list of the company's own.

A hit holds the payout for people, and a screen that can't answer holds it as well. Trusted for nothing more: what is
clear here still has to pass the signer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from strongroom.store.engine import DuePayout

LIST_BYTES_MAXIMUM: Final = 16 * 2**20


class ScreeningError(Exception):
    """The screen can't answer; nothing is known."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Nothing is known against it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """`source` is who says so."""

    source: str
    detail: str


class Screen(Protocol):
    async def screen(self, payout: DuePayout) -> Clear | Hit:
        """Raises: ScreeningError."""


class NoScreen:
    """Where nobody is asked, everything is clear; it is a choice of the configuration and is logged at start."""

    async def screen(self, payout: DuePayout) -> Clear | Hit:
        return Clear()


class ListScreen:
    """Addresses that the company doesn't pay, one a line; what follows a `#` is why. Read again when the file changed.

    An address is compared as it is written: destinations have one spelling.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at: tuple[int, int] | None = None
        self._reasons: dict[str, str] = {}

    async def screen(self, payout: DuePayout) -> Clear | Hit:
        self._refresh()
        reason = self._reasons.get(payout.address)
        return Clear() if reason is None else Hit("the company's list", reason)

    def _refresh(self) -> None:
        try:
            state = self._file.stat()
            if (state.st_mtime_ns, state.st_size) == self._read_at:
                return
            if state.st_size > LIST_BYTES_MAXIMUM:
                raise ScreeningError(f"{self._file} is longer than {LIST_BYTES_MAXIMUM} bytes")
            lines = self._file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise ScreeningError(f"{self._file} can't be read: {fault}") from fault
        reasons: dict[str, str] = {}
        for line in lines:
            address, _, why = line.partition("#")
            if address.strip():
                reasons[address.strip()] = why.strip() or "it is on the list"
        self._reasons, self._read_at = reasons, (state.st_mtime_ns, state.st_size)
