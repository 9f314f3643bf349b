"""Disks to test the journal with: one that keeps all, and one that loses, tears and flips what wasn't synced."""

import random

SECTOR = 512


class MemoryDisk:
    """Keeps everything at once; `failing` names the calls that fail."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = bytearray(raw)
        self.failing: set[str] = set()
        self.calls: list[str] = []
        self.is_closed = False

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise OSError(5, f"{name} failed")

    def read(self, offset: int, length: int) -> bytes:
        self._called("read")
        return bytes(self.raw[offset : offset + length])

    def append(self, raw: bytes) -> None:
        if "append" in self.failing:
            self.raw += raw[: len(raw) // 2]
        self._called("append")
        self.raw += raw

    def sync(self) -> None:
        self._called("sync")

    def truncate(self, length: int) -> None:
        self._called("truncate")
        del self.raw[length:]

    def close(self) -> None:
        self.is_closed = True


class PowerError(Exception):
    """The power failed, or the process was killed, in the middle of a call."""


class CrashingDisk:
    """What was synced stays; a crash may keep, lose, tear or flip the rest, sector by sector.

    `seen` is what the process reads (the page cache), `durable` what is safe. A kill leaves the cache to the next
    process, a power failure doesn't.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.durable = b""
        self.seen = bytearray()
        self.fuse = 0
        """The power fails at this call, counted down; 0 for never."""

    def _burn(self) -> None:
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise PowerError

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.seen[offset : offset + length])

    def append(self, raw: bytes) -> None:
        try:
            self._burn()
        except PowerError:
            self.seen += raw[: self.chance.randrange(len(raw) + 1)]
            raise
        self.seen += raw

    def sync(self) -> None:
        try:
            self._burn()
        except PowerError:
            if self.chance.random() < 0.5:
                self.durable = bytes(self.seen)
            raise
        self.durable = bytes(self.seen)

    def truncate(self, length: int) -> None:
        self._burn()
        del self.seen[length:]

    def close(self) -> None:
        pass

    def kill(self) -> None:
        """The process dies and the machine goes on: some of the cache is written meanwhile, all of it is there."""

    def fail_power(self) -> None:
        """Only what was synced is sure to be there again."""
        chance = self.chance
        common = next(
            (at for at, pair in enumerate(zip(self.durable, self.seen, strict=False)) if pair[0] != pair[1]),
            min(len(self.durable), len(self.seen)),
        )
        if common < len(self.durable) and chance.random() < 0.5:
            self.seen = bytearray(self.durable)  # a truncation that never reached the disk, and nothing after it
        else:
            end = chance.randint(common, len(self.seen))
            if chance.random() < 0.3:
                end = len(self.seen)
            self.seen = self._decay(bytes(self.seen[:end]), common)
        self.durable = bytes(self.seen)

    def _decay(self, raw: bytes, start: int) -> bytearray:
        left = bytearray(raw)
        spoil = self.chance.choice(("nothing", "nothing", "lose", "flip", "both"))
        while start < len(left) and spoil != "nothing":
            end = min(len(left), (start // SECTOR + 1) * SECTOR)
            if spoil in ("lose", "both") and self.chance.random() < 0.5:
                left[start:end] = bytes(end - start)
            if spoil in ("flip", "both") and self.chance.random() < 0.5:
                left[self.chance.randrange(start, end)] ^= 1 << self.chance.randrange(8)
            start = end
        return left
