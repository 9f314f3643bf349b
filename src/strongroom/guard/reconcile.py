"""Reconciling: after its store was restored or lost, guard takes the signer's journal as the newest, once.

Its operator says so. The signer's journal must go on from what guard still has, be signed by the signer, and hold all
that the marker remembers; else both have lost something, and only people can say what was paid.
"""

import logging
from base64 import b64decode
from typing import Final

from strongroom.guard.marker import EMPTY, Mark
from strongroom.guard.witness import Witness
from strongroom.journal.journal import JournalError
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.guard_wire import Reason, Sync
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, next_head

LOG: Final = logging.getLogger("strongroom.guard")


class Reconciler(Witness):
    """Done when the signer, having given everything, offers nothing more."""

    is_done = False

    def _decide(self, sync: Sync) -> Reason:
        reason = self._compare(sync)
        if reason is not Reason.COSIGNED:
            return reason
        if self._log.standings.genesis is None:
            self._log.follow(self._standings_after(sync.entries[:1]))
        self._append(self._new(sync))
        if not sync.entries:
            self._finish(sync)
        return Reason.UNRECONCILED

    def _finish(self, sync: Sync) -> None:
        """Raises: JournalError."""
        mark = self._marker.mark or EMPTY
        if not self._journal.holds(mark.journal):
            raise JournalError(
                f"guard once cosigned {mark.journal.length} entries, which aren't among the signer's "
                f"{sync.journal.length}: both have lost some, and a quorum must say how to go on"
            )
        self._adopt_instructions()
        if not self._log.holds(mark.control):
            LOG.error("instructions up to number %d may be lost: give them again", mark.control.length)
        self._marker.write(Mark(sync.journal, sync.head_signature, self._log.head))
        LOG.info("reconciled at entry %d, head %s", sync.journal.length, sync.journal.head.hex())
        self.is_done = True

    def _adopt_instructions(self) -> None:
        """The journal holds those that the signer was given; ours may go further, but not elsewhere."""
        control = Head(0, EMPTY_HEAD)
        for raw in self._journal.entries():
            kind, _, fields = read_entry(raw)
            if kind is Kind.CONTROL:
                entry = b64decode(fields.text("entry", 2**20))
                control = Head(control.length + 1, next_head(control.head, entry))
                if control.length > self._log.head.length:
                    self._log.append(entry)
        if not self._log.holds(control):
            raise JournalError("the signer was given other instructions than guard has: people must look into it")
