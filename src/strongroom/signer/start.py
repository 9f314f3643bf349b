"""How a signer begins: it reads its journal, compares it with guard's copy, and goes on from there or not at all.

A journal that guard knows to be longer was rolled back; it is brought forward from guard's copy, whose newest head must
carry this signer's own signature. One that differs is a fork, for people to look into. Nothing is appended before.
"""

from collections.abc import Callable

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.journal.journal import BehindError, ForkError, Journal
from strongroom.protocol import guard_wire
from strongroom.protocol.guard_wire import FetchAnswer, SyncAnswer
from strongroom.protocol.journal_chain import Head, head_after
from strongroom.signer.book import Book
from strongroom.signer.clock import Clock, resume
from strongroom.signer.guard_link import Link, Partner
from strongroom.signer.keys import KeyStore

Random = Callable[[int], bytes]


class StartError(Exception):
    """The signer can't begin; the message says why."""


class Opening:
    """A journal that isn't settled yet, the book that it makes, and guard to compare it with."""

    def __init__(self, journal: Journal, keys: KeyStore, link: Link, random: Random) -> None:
        """Raises: StartError if these aren't the keys of this journal's deployment, or it is empty."""
        self.journal, self.book = journal, Book()
        self._keys, self._guard = keys, Partner(link, keys.statement_sign, random, self.book)
        for entry in journal.entries():
            self.book.apply(entry)
        if journal.length == 0:
            raise StartError("the journal is empty: a signer begins with the genesis ceremony")
        if self.book.genesis.statement_key != keys.statement_public_key:
            raise StartError("the key file isn't the one of this journal's genesis")

    def settle(self) -> Instant:
        """Compare with guard, bring forward what was lost; guard's time. Raises: LinkError, StartError."""
        answer = self._ask_head()
        try:
            self.journal.settle(answer.journal.length, answer.journal.head)
        except BehindError:
            self._bring_forward(answer.journal)
            return self.settle()  # which took its time, and guard's is asked for anew
        except ForkError as fault:
            raise StartError(str(fault)) from fault
        return answer.now

    def clock(self, guard_now: Instant, wall_ns: Callable[[], int], boot_ns: Callable[[], int]) -> Clock:
        """Goes on after the newest entry, by the more careful of wall and guard."""
        wall = Instant(wall_ns() // 1_000_000)
        return Clock(boot_ns, wall_ns, resume(self.book.started, self.book.clock, wall, guard_now))

    def _ask_head(self) -> SyncAnswer:
        """Guard's head, asked with a Sync that offers nothing.

        Only a journal that has just begun offers its genesis: an empty guard enrols it. One that is empty before a
        longer journal lost its store, and is for its operator to reconcile.
        """
        offered = tuple(self.journal.entries()) if self.journal.length == 1 else ()
        return self._guard.sync(Head(self.journal.length, self.journal.head), offered)

    def _bring_forward(self, wanted: Head) -> None:
        """All that guard has beyond ours. Nothing is believed before its end carries our own signature."""
        entries: list[bytes] = []
        first = self.journal.length
        while first + len(entries) < wanted.length:
            answer = self._guard.fetch(first + len(entries))
            if not answer.entries or answer.journal != wanted:
                raise StartError("guard doesn't give what it says that it has")
            entries += answer.entries
            self._check_own(answer)
        if head_after(self.journal.head, entries) != wanted.head:
            raise StartError("guard's copy doesn't continue this journal: people must look into it")
        self.journal.bring_forward(entries, wanted.head)
        for entry in entries:
            self.book.apply(entry)

    def _check_own(self, answer: FetchAnswer) -> None:
        statement = guard_wire.head_statement(self.book.deployment, answer.journal)
        try:
            guard_wire.open_frame(
                self._keys.statement_public_key, answer.head_signature + statement, guard_wire.HEAD_TYPE
            )
        except DocumentError as fault:
            raise StartError("guard's copy isn't signed by this signer") from fault
