"""Reconciling: after its store was restored or lost, guard takes the signer's journal as the newest, once.

Its operator says so. The signer's journal must go on from what guard still has, be signed by the signer, and hold all
that the marker remembers; else both have lost something, and only people can say what was paid. Then its operator moves
its journal away and begins a recovery: guard takes what the signer has left when the quorum of each organisation has
said in it how to go on. Of that the signer is believed; `epoch` says that it was said for this recovery.
"""

import logging
import re
from base64 import b64decode
from typing import Final

from strongroom.guard.marker import EMPTY, Mark
from strongroom.guard.witness import Witness
from strongroom.journal.journal import JournalError
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.guard_wire import Reason, Sync
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, next_head

LOG: Final = logging.getLogger("strongroom.guard")
_EPOCH: Final = re.compile("[0-9a-f]{64}")


class Reconciler(Witness):
    """Done when the signer, having given everything, offers nothing more."""

    is_done = False
    epoch = ""
    """Of a recovery, or nothing."""

    def recover(self, epoch: str) -> None:
        """Raises: JournalError."""
        if self.head.length or _EPOCH.fullmatch(epoch) is None:
            raise JournalError("a recovery has an epoch of 64 hex digits, and begins with guard's journal moved away")
        self.epoch = epoch

    def _decide(self, sync: Sync) -> Reason:
        reason = self._compare(sync)
        if reason is not Reason.COSIGNED:
            return reason
        if self._log.standings.genesis is None:
            self._log.follow(self._standings_after(map(read_entry, sync.entries[:1])))
        self._append(self._new(sync))
        if not sync.entries and not self.is_done and (not self.epoch or self._is_recovered()):
            self._finish(sync)
        return Reason.LOST if self.epoch else Reason.UNRECONCILED

    def _is_recovered(self) -> bool:
        """Whether all organisations of the journal have said in this epoch how to go on."""
        read = [read_entry(raw) for raw in self._journal.entries()]
        said = {fields.text("organisation") for kind, _, fields in read if kind is Kind.RECOVERED
                and fields.text("epoch") == self.epoch}
        return said == self._standings_after(map(read_entry, self._journal.entries(1))).organisations.keys()

    def _finish(self, sync: Sync) -> None:
        """Raises: JournalError."""
        mark = self._marker.mark or EMPTY
        if not self.epoch and not self._journal.holds(mark.journal):
            raise JournalError(
                f"guard once cosigned {mark.journal.length} entries, which aren't among the signer's "
                f"{sync.journal.length}: both have lost some, and a quorum must say how to go on"
            )
        self._adopt_instructions()
        if not self._log.holds(mark.control):
            LOG.error("instructions up to number %d may be lost: give them again", mark.control.length)
        self._marker.write(Mark(sync.journal, sync.head_signature, self._log.head, mark.tree))
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
