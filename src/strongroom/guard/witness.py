"""The copy of the signer's journal, and guard's yes to its head: compare, swap, make it last, and only then answer.

Nothing of a Sync that isn't cosigned is kept. The signer is believed about what it decided, and not about which of
two journals is its own: its head must go on from guard's. An empty guard enrols a journal in which nothing was paid
yet and whose genesis its operator named; before any other it counts as restored.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.guard.control_log import ControlLog
from strongroom.guard.lease import Leases
from strongroom.guard.marker import EMPTY, FOUNDED, Marker
from strongroom.guard.notices import tell_members
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.entry import Entry, Kind, read_entry
from strongroom.protocol.guard_wire import FetchAnswer, Lease, Reason, Sync, SyncAnswer
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, head_after
from strongroom.protocol.standings import KINDS, Standings

_AGREE: Final = frozenset({Reason.COSIGNED, Reason.CONTROL, Reason.ALARM})
"""Of these the signer has the journal that guard has, and may hold a lease. Instructions it gets by these alone: one
that has lost some of its journal would apply a cancel to what it had signed, and say that it never was."""
_FOUNDING: Final = frozenset({Kind.GENESIS, Kind.ORGANISATION, Kind.RESUMED})


def open_chain(folder: str, name: str, last: Head | None = None) -> Journal:
    """What comes after `last` is cut: it was never answered to, so the signer will offer it again, or something else.

    Raises: JournalError, OSError.
    """
    disk = FileDisk(folder, name, create=not Path(folder, name).exists())
    chain = Journal.load(disk)
    chain.settle(chain.length, chain.head)
    if last is not None and chain.holds(last) and chain.length > last.length:
        tail = sum(len(raw) + 4 + len(EMPTY_HEAD) for raw in chain.entries(last.length))
        disk.truncate(os.fstat(disk.file).st_size - tail)
        disk.sync()
        chain = Journal.load(disk)
        chain.settle(chain.length, chain.head)
    return chain


class Witness:
    def __init__(
        self, folder: str, journal: Journal, marker: Marker, log: ControlLog, leases: Leases, key: SigningKey,
        clock: Callable[[], Instant],
    ) -> None:
        self._notices = Path(folder, "notices.jsonl")
        self._journal, self._marker, self._log = journal, marker, log
        self._leases, self._key, self._clock = leases, key, clock
        mark = marker.mark or EMPTY
        is_marked = marker.mark is not None or not journal.length
        has_all = journal.holds(mark.journal) and log.holds(mark.control) and log.holds(log.standings.control)
        self.is_restored = not (is_marked and has_all)
        tell_members(self._notices, log.standings)

    @property
    def head(self) -> Head:
        return Head(self._journal.length, self._journal.head)

    def lease(self) -> Lease:
        return Lease.NONE if self.is_restored or not self._journal.length else self._leases.lease()

    def answer(self, frame: bytes) -> bytes:
        """A signed answer to the signer's frame. Raises: DocumentError, EntryError; JournalError."""
        standings = self._log.standings
        if standings.genesis is None:
            offered = wire.parse_sync(frame[64:])
            if not offered.entries or offered.journal.length > len(offered.entries):
                return self._signed(self._answer(offered, Reason.UNRECONCILED))
            standings = self._offered(offered)
        key = standings.genesis.statement_key if standings.genesis is not None else b""
        with suppress(DocumentError):
            return self._fetched(wire.open_frame(key, frame, wire.FETCH_TYPE))
        sync = wire.parse_sync(wire.open_frame(key, frame, wire.SYNC_TYPE))
        statement = record_hash(wire.HEAD_TYPE, wire.head_statement(standings.deployment, sync.journal))
        try:
            VerifyKey(key).verify(statement, sync.head_signature)
        except BadSignatureError as fault:
            raise DocumentError("head_signature", "isn't the signer's over this head") from fault
        return self._signed(self._answer(sync, self._decide(sync)))

    def _offered(self, sync: Sync) -> Standings:
        """Before there is a genesis, the one that is offered names the signer, if it is what the operator named.

        Whoever offers less is only told, whoever it is, that guard has nothing: so the signer offers all.
        """
        standings = self._standings_after(map(read_entry, sync.entries[:1]))
        if standings.genesis is None or standings.genesis.guard_key != bytes(self._key.verify_key):
            raise DocumentError("entries", "don't begin with a genesis that names this guard's key")
        return standings

    def _signed(self, answer: SyncAnswer) -> bytes:
        return wire.sign_frame(self._key, wire.encode_sync_answer(answer), wire.SYNC_ANSWER_TYPE)

    def _fetched(self, raw: bytes) -> bytes:
        """Nothing, if guard's copy may not be the newest: from such nobody is brought forward."""
        nonce, first = wire.parse_fetch(raw)
        mark = self._marker.mark or EMPTY
        entries = () if self.is_restored else wire.fitting(self._journal.entries(first))
        answer = wire.encode_fetch_answer(FetchAnswer(nonce, mark.journal, mark.signature, entries))
        return wire.sign_frame(self._key, answer, wire.FETCH_ANSWER_TYPE)

    def _answer(self, sync: Sync, reason: Reason) -> SyncAnswer:
        lease = self.lease() if reason in _AGREE else Lease.NONE
        lease_ms = 0 if lease is Lease.NONE else wire.LEASE_MAXIMUM_MS
        missing = self._log.after(sync.control) if reason in _AGREE and self._log.holds(sync.control) else ()
        return SyncAnswer(
            sync.nonce, reason is Reason.COSIGNED, self.head, self._log.head, missing, lease, lease_ms, self._clock(),
            reason,
        )

    def _decide(self, sync: Sync) -> Reason:
        """Raises: DocumentError, EntryError; JournalError."""
        if self.is_restored:
            return Reason.UNRECONCILED
        reason = self._compare(sync)
        if reason is Reason.COSIGNED and not self._log.holds(sync.control):
            return Reason.FORK
        return self._swap(sync) if reason is Reason.COSIGNED else reason

    def _compare(self, sync: Sync) -> Reason:
        """Whether the entries go on from our head, and end in the one that is offered. Raises: as `_decide`."""
        own, first = self.head, sync.journal.length - len(sync.entries)
        if first < 0:
            raise DocumentError("journal", "is shorter than its entries")
        if sync.journal.length < own.length:
            return Reason.BEHIND if self._journal.holds(sync.journal) else Reason.FORK
        if first > own.length:
            return Reason.BEHIND
        held = sync.entries[: own.length - first]
        is_next = head_after(self._journal.head_at(first), held) == own.head
        is_whole = head_after(own.head, sync.entries[len(held) :]) == sync.journal.head
        return Reason.COSIGNED if is_next and is_whole else Reason.FORK

    def _swap(self, sync: Sync) -> Reason:
        """Keep what is new, unless it holds a spend that may not be. Raises: DocumentError, JournalError."""
        new, read = self._new(sync), [read_entry(raw) for raw in sync.entries]
        newly = read[len(read) - len(new) :]
        kinds = {kind for kind, _, _ in newly}
        if Kind.RECOVERED in kinds or (not self.head.length and not _FOUNDING.issuperset(kinds)):
            return Reason.UNRECONCILED
        refused = self._weigh_spends(sync, read)
        standings = self._standings_after(newly)
        if refused is not None or not self._log.holds(standings.control):
            return refused or Reason.FORK
        if new:
            self._keep(new, sync)
        if standings is not self._log.standings:
            self._log.follow(standings)
            tell_members(self._notices, standings)
        return Reason.COSIGNED

    def _new(self, sync: Sync) -> tuple[bytes, ...]:
        return sync.entries[len(sync.entries) - (sync.journal.length - self._journal.length) :]

    def _weigh_spends(self, sync: Sync, read: Sequence[Entry]) -> Reason | None:
        """Spends that weren't given up again need the whole control log, and a lease for what they do; those that pay,
        that watch alarms nothing of their organisation.

        What a signer left when it ended needs none: it is signed again under a lease only, and nothing waits for it.
        """
        spends: dict[str, tuple[str, str]] = {}
        left: set[str] = set()
        for kind, _, fields in read:
            if kind is Kind.SPEND:
                spends[fields.text("transaction")] = fields.text("operation"), fields.text("organisation")
            elif kind is Kind.ABANDONED:
                spends.pop(fields.text("transaction"), None)
            elif kind is Kind.RESUMED:
                left.update(spends)
        if spends and sync.control != self._log.head:
            return Reason.CONTROL
        waiting = [said for transaction, said in spends.items() if transaction not in left]
        paying = {organisation for operation, organisation in waiting if operation not in wire.RECOVERS}
        alarmed = {name for name, standing in self._log.current.items() if standing.alarms}
        if paying and (self.lease() is not Lease.ALL or not alarmed.isdisjoint(paying)):
            return Reason.ALARM
        return None

    def _standings_after(self, entries: Iterable[Entry]) -> Standings:
        told = [each for each in entries if each[0] in KINDS]
        standings = self._log.standings
        if told:
            standings = standings.copied()
        for kind, clock, fields in told:
            standings.apply(kind, clock, fields)
        return standings

    def _keep(self, new: tuple[bytes, ...], sync: Sync) -> None:
        """First the entries, then the marker that says that they count."""
        mark = self._marker.mark or FOUNDED
        if self._marker.mark is None:
            self._marker.write(mark)
        self._append(new)
        self._marker.write(replace(mark, journal=sync.journal, signature=sync.head_signature))

    def _append(self, entries: tuple[bytes, ...]) -> None:
        for raw in entries:
            self._journal.append(raw)
        self._journal.sync()
