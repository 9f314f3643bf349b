"""Crashes of the journal on a disk that loses, tears and flips what wasn't synced: 50,000 under STRONGROOM_FAULTS=full.

A real kill can't show a missing sync, because the page cache survives it; this disk can. What guard knows is kept
beside it, as guard would: only what was synced is told to it. Each test of a planted fault shows that the same
simulation finds it.
"""

import hashlib
import os
import random
from contextlib import suppress
from typing import Final

import pytest
from tests.journal.disks import CrashingDisk, PowerError

from strongroom.journal import journal as module
from strongroom.journal.journal import BehindError, Journal

CRASHES: Final = 50_000 if os.environ.get("STRONGROOM_FAULTS") == "full" else 500
SEED: Final = 20261124
ENTRIES_BEFORE_A_FRESH_DISK: Final = 60


class BrokenError(Exception):
    """The simulation saw what must never be."""


class History:
    """One disk, what was appended to it in order, how much of it was acknowledged, and how much guard knows."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.disk = CrashingDisk(chance)
        self.appended: list[bytes] = []
        self.acknowledged = 0
        self.cosigned = 0
        self.backup = b""
        self.journal = self.start()
        self.brought_forward = 0
        self.torn = 0

    def guard_head(self, length: int) -> bytes:
        """Computed here by the formula, not by the code under test."""
        head = bytes(32)
        for entry in self.appended[:length]:
            head = hashlib.sha256(b"strongroom/journal/v1\0" + head + entry).digest()
        return head

    def start(self) -> Journal:
        journal = Journal.load(self.disk)
        self.check(journal)
        try:
            journal.settle(self.cosigned, self.guard_head(self.cosigned))
        except BehindError:
            self.brought_forward += 1
            journal.bring_forward(self.appended[journal.length : self.cosigned], self.guard_head(self.cosigned))
            journal.settle(self.cosigned, self.guard_head(self.cosigned))
        # What a crash took of the entries that nobody was told of is gone, and was never there.
        self.appended = self.appended[: journal.length]
        self.acknowledged = journal.length
        self.check(journal)
        return journal

    def check(self, journal: Journal) -> None:
        found = list(journal.entries())
        if found != self.appended[: len(found)]:
            raise BrokenError("an entry is there that was never written so")
        if len(found) < self.acknowledged:
            raise BrokenError(f"{self.acknowledged - len(found)} acknowledged entries are lost")
        if journal.length != len(found) or journal.head != self.guard_head(len(found)):
            raise BrokenError("the head is wrong")

    def work(self) -> None:
        """Appends, syncs and cosignatures, until the fuse burns down."""
        for _ in range(self.chance.randint(1, 6)):
            for _ in range(self.chance.choice((1, 1, 1, 3))):
                entry = self.chance.randbytes(self.chance.choice((1, 40, 300, 1_100)))
                self.appended.append(entry)
                self.journal.append(entry)
            self.journal.sync()
            self.acknowledged = self.journal.length
            if self.chance.random() < 0.7:
                self.cosigned = self.acknowledged

    def crash(self) -> None:
        """One life of the process and its end: by a kill, by a power failure, sometimes on an older disk."""
        self.disk.fuse = self.chance.choice((1, 2, 3, self.chance.randint(1, 16)))
        with suppress(PowerError):
            self.work()
        self.disk.fuse = 0
        if self.chance.random() < 0.8:
            self.disk.fail_power()
        if self.chance.random() < 0.03:
            self.disk.seen = bytearray(self.backup)
            self.disk.durable = self.backup
            self.acknowledged = 0
        elif self.chance.random() < 0.05:
            self.backup = self.disk.durable
        self.disk.fuse = self.chance.choice((0, 0, 0, 1, 2, 3))  # and sometimes again while it starts
        try:
            self.torn += Journal.load(self.disk).is_torn
            self.journal = self.start()
        except PowerError:
            self.disk.fuse = 0
            self.disk.fail_power()
            self.journal = self.start()
        self.disk.fuse = 0


def simulate(crashes: int, seed: int) -> tuple[int, int]:
    """How often the tail was torn, and how often the journal was brought forward. Raises: BrokenError."""
    chance = random.Random(seed)
    history, torn, forward = History(chance), 0, 0
    for _ in range(crashes):
        if len(history.appended) > ENTRIES_BEFORE_A_FRESH_DISK:
            torn, forward = torn + history.torn, forward + history.brought_forward
            history = History(chance)
        history.crash()
    return torn + history.torn, forward + history.brought_forward


@pytest.mark.faults
def test_every_synced_entry_survives_and_nothing_else_is_believed() -> None:
    print(f"{CRASHES} crashes from seed {SEED}")
    torn, forward = simulate(CRASHES, SEED)
    assert torn > CRASHES // 10
    assert forward > CRASHES // 200


@pytest.mark.faults
def test_a_journal_without_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "sync", lambda _: None)
    with pytest.raises(BrokenError, match="acknowledged entries are lost"):
        simulate(500, SEED)


@pytest.mark.faults
def test_a_journal_that_does_not_sync_what_it_found_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(journal: Journal) -> None:
        if journal.is_torn:
            journal._disk.truncate(journal._ends[-1])
        journal.is_torn = False

    monkeypatch.setattr(Journal, "_cut", cut)
    with pytest.raises(BrokenError):
        simulate(500, SEED)


@pytest.mark.faults
def test_a_journal_that_believes_a_frame_by_its_length_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def believing(disk: CrashingDisk, offset: int, head: bytes) -> tuple[bytes, bytes] | None:
        length = int.from_bytes(disk.read(offset, 4))
        raw = disk.read(offset + 4, length + 32)
        return (raw[:length], raw[length:]) if len(raw) == length + 32 and length else None

    monkeypatch.setattr(module, "_read_frame", believing)
    with pytest.raises((BrokenError, module.JournalError)):
        simulate(500, SEED)


@pytest.mark.faults
def test_a_journal_that_leaves_the_torn_tail_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "_cut", Journal.sync)
    with pytest.raises(BrokenError):
        simulate(500, SEED)
