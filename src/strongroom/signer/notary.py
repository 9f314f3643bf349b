"""Writes down and has guard agree: the only way in which anything gets into the journal.

An entry is applied to the book as it is written; `commit` makes what was written last. `agree` offers guard what it
doesn't have yet, applies what is new in guard's control log, and takes a lease. A spend is agreed only if guard has
persisted this very head, with its whole control log applied.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.journal.journal import Journal
from strongroom.protocol import guard_wire
from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.control import check_control, read_control
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.guard_wire import Lease, Reason, SyncAnswer
from strongroom.protocol.journal_chain import ENTRY_MAXIMUM, Head, head_after
from strongroom.protocol.negative import INSTRUCTION_FAULTS
from strongroom.signer.book import Book
from strongroom.signer.clock import MILLISECOND_NS, Clock, brought_back
from strongroom.signer.guard_link import Link, LinkError, Partner
from strongroom.signer.rules import Refused, Rule, refuse

AGREE_MAXIMUM_MS: Final = 10_000
"""However a hostile guard goes on, the signer answers others again after this; what was agreed by then stays agreed."""

Sign = Callable[[bytes], bytes]
Random = Callable[[int], bytes]


class Notary:
    def __init__(
        self, journal: Journal, book: Book, clock: Clock, sign: Sign, link: Link, random: Random,
        boot_ns: Callable[[], int],
    ) -> None:
        self.book = book
        self._journal = journal
        self._clock = clock
        self._sign = sign
        self._guard = Partner(link, sign, random, book)
        self._boot_ns = boot_ns
        self._guard_length = 0
        self._lease = Lease.NONE
        self.said: Reason | None = None
        self._lease_ends_ns = 0

    def reading(self) -> Reading:
        return self._clock.read()

    @property
    def head(self) -> Head:
        return Head(self._journal.length, self._journal.head)

    @property
    def lease(self) -> Lease:
        """What guard allows; timed from the sending of the nonce that it answers."""
        return self._lease if self._boot_ns() < self._lease_ends_ns else Lease.NONE

    def holds(self, head: Head) -> bool:
        return self._journal.holds(head)

    def write(self, kind: Kind, body: dict[str, JsonValue], clock: Reading) -> None:
        """Applied before it is written: what the book can't take ends the process, and never stands in the journal.

        Raises: Refused for more than an entry may be long.
        """
        entry = write_entry(kind, clock, body)
        if len(entry) > ENTRY_MAXIMUM:
            refuse(Rule.OPERATION_KNOWN, f"{kind.value} of {len(entry)} bytes are too much for one entry")
        self.book.apply(entry)
        self._journal.append(entry)

    def commit(self) -> None:
        """What was written lasts when this returns. Nothing that depends on it may be said before."""
        self._journal.sync()

    def statement(self, raw: bytes, record_type: str) -> bytes:
        return self._sign(record_hash(record_type, raw))

    def agree(self, *, wants_spend: bool = False) -> None:
        """Until guard has all that we have, and we have applied all that it has. Raises: Refused.

        A spend was decided before: an instruction that comes now refuses it, whatever it says.
        """
        ends_ns = self._boot_ns() + AGREE_MAXIMUM_MS * MILLISECOND_NS
        while self._boot_ns() <= ends_ns:
            answer = self._sync(wants_spend=wants_spend)
            self._apply_control(answer)
            if wants_spend and answer.control_entries:
                refuse(Rule.GUARD_AGREES, "instructions came after the decision: it must be made again")
            if answer.is_cosigned and answer.journal == self.head and answer.control == self.book.control:
                if wants_spend or not self._correct(answer.now):
                    return
            elif not answer.control_entries and not self._goes_on(answer):
                refuse(Rule.GUARD_AGREES, f"guard says: {answer.reason.value}")
        refuse(Rule.GUARD_AGREES, "guard doesn't come to an end")

    def _correct(self, guard_now: Instant) -> bool:
        """Whether what passed at most was brought back, in writing. Guard's time is fresh: of this answer."""
        at_most = brought_back(self.reading(), guard_now)
        if at_most is not None:
            self._clock.bring_back(at_most)
            self.write(Kind.CORRECTED, {"guard_ms": guard_now}, self.reading())
            self.commit()
        return at_most is not None

    def _goes_on(self, answer: SyncAnswer) -> bool:
        """Whether guard took some of what was offered, or named an earlier head of ours to go on from."""
        length, is_ours = answer.journal.length, self._journal.holds(answer.journal)
        goes_on = is_ours and length != self._guard_length
        if is_ours:
            self._guard_length = length
        return goes_on or (answer.is_cosigned and length < self._journal.length)

    def _sync(self, *, wants_spend: bool) -> SyncAnswer:
        entries = guard_wire.fitting(self._journal.entries(self._guard_length))
        end = self._guard_length + len(entries)
        journal = Head(end, self._journal.head_at(end))
        sent_ns = self._boot_ns()
        try:
            answer = self._guard.sync(journal, entries, wants_spend=wants_spend)
        except LinkError as fault:
            raise Refused(Rule.GUARD_AGREES, str(fault)) from fault
        if answer.is_cosigned and answer.journal != journal:
            refuse(Rule.GUARD_AGREES, "guard cosigned a head that it wasn't offered")
        self.said = answer.reason
        self._lease, self._lease_ends_ns = answer.lease, sent_ns + answer.lease_ms * MILLISECOND_NS
        if answer.is_cosigned:
            self._guard_length = answer.journal.length
        return answer

    def _apply_control(self, answer: SyncAnswer) -> None:
        """What is new in guard's control log; an instruction that doesn't hold is kept, and does nothing."""
        if not answer.control_entries:
            return
        if head_after(self.book.control.head, answer.control_entries) != answer.control.head and (
            answer.control.length <= self.book.control.length + len(answer.control_entries)
        ):
            refuse(Rule.GUARD_AGREES, "guard's control log doesn't continue what was applied")
        for raw in answer.control_entries:
            clock = self.reading()
            self.write(Kind.CONTROL, {"entry": b64encode(raw).decode(), **self._instruction(raw, clock)}, clock)
        self.commit()

    def _instruction(self, raw: bytes, clock: Reading) -> dict[str, JsonValue]:
        """What an entry of the control log comes to, or nothing if it doesn't hold by our own book."""
        book = self.book
        try:
            entry = read_control(raw)
            standing = book.organisations[entry.organisation].standing
            instruction = check_control(entry, standing, book.genesis, book.deployment, clock)
        except (*INSTRUCTION_FAULTS, KeyError):
            return {}
        released: JsonValue = [[each] for each in instruction.attempts]
        return {
            "action": instruction.action.value, "expires_ms": instruction.expires, "object": instruction.object,
            "organisation": entry.organisation, "people": [[person] for person in sorted(instruction.people)],
            "record_id": instruction.record_id, **({"attempts": released} if released else {}),
        }
