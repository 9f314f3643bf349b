"""Cosigns the audit log's checkpoints, as C2SP's tlog-witness does: a tree that only grows, and never two of them.

Watch's signature is needed and isn't enough, since its key may be stolen. The head that was cosigned last stands in the
marker, on disk before the cosignature is given. Who lost it cosigns nothing until guard's operator has named it. If
watch signs what doesn't go on from it, that is kept in `contradiction.json`: as long as the file is there, guard lets
the signer do no more than save money. What the leaves say isn't looked at here.
"""

import logging
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.guard.control_log import ControlLog
from strongroom.guard.lease import hear
from strongroom.guard.marker import EMPTY, Marker, write_last
from strongroom.journal.journal import JournalError
from strongroom.protocol.canonical import encode
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head
from strongroom.protocol.merkle import HASH_LENGTH, PROOF_MAXIMUM, MerkleError, verify_consistency
from strongroom.protocol.record import take_bytes
from strongroom.protocol.tree_head import TREE_TYPE, cosign, head_text, log_origin, witness_name

LOG: Final = logging.getLogger("strongroom.guard")
SIZE_MAXIMUM: Final = 2**48
_TREE: Final = re.compile("([0-9]{1,14}):([0-9a-f]{64})")


class StaleError(Exception):
    """The proof doesn't begin at the tree that guard cosigned last, which has `size` leaves."""

    def __init__(self, size: int) -> None:
        super().__init__(f"guard cosigned {size} leaves last, and the proof must begin there")
        self.size = size


class Cosigner:
    """`contradiction` is a file in guard's folder."""

    def __init__(
        self, contradiction: Path, marker: Marker, log: ControlLog, key: SigningKey, clock: Callable[[], Instant]
    ) -> None:
        self._contradiction, self._marker, self._log, self._key, self._clock = contradiction, marker, log, key, clock
        self._last = Instant(0)

    @property
    def tree(self) -> Head:
        """Size and root that were cosigned last; zeros if guard doesn't know."""
        return (self._marker.mark or EMPTY).tree

    def cosign(self, frame: bytes) -> str:
        """The line to put below watch's note. Raises: StaleError, DocumentError; JournalError."""
        now, standings = self._clock(), self._log.standings
        fields, at = hear(standings, frame, TREE_TYPE, self._last, now)
        tree = Head(fields.integer("size", 1, SIZE_MAXIMUM), take_bytes(fields, "root", HASH_LENGTH, HASH_LENGTH))
        old, longest = fields.integer("old_size", 0, SIZE_MAXIMUM), (PROOF_MAXIMUM + 1) * HASH_LENGTH
        proof = take_bytes(fields, "proof", HASH_LENGTH, longest) if fields.has("proof") else b""
        fields.close()
        self._last = at
        hashes = [proof[place : place + HASH_LENGTH] for place in range(0, len(proof), HASH_LENGTH)]
        self._check_goes_on(tree, old, hashes, frame)
        if tree != self.tree:
            self._marker.write(replace(self._marker.mark or EMPTY, tree=tree))
        origin = log_origin(standings.deployment)
        return cosign(head_text(origin, tree.length, tree.head), witness_name(origin), self._key, now // 1_000)

    def name_tree(self, said: str) -> None:
        """The operator's word about what was cosigned last, SIZE:ROOT. Raises: JournalError."""
        match = _TREE.fullmatch(said)
        if match is None or self._marker.mark is None:
            raise JournalError("--tree is SIZE:ROOT in digits and hex, and guard must be enrolled or reconciled before")
        self._marker.write(replace(self._marker.mark, tree=Head(int(match[1]), bytes.fromhex(match[2]))))
        LOG.warning("the tree of %s leaves with root %s is taken as what guard cosigned last", *match.groups())

    def _check_goes_on(self, tree: Head, old: int, proof: list[bytes], frame: bytes) -> None:
        last = self.tree
        if last.head == EMPTY_HEAD:
            raise DocumentError("", "guard doesn't know which tree it cosigned last: its operator must name it")
        if tree.length >= last.length != old:
            raise StaleError(last.length)
        try:
            if last.length:
                verify_consistency(last.length, tree.length, last.head, tree.head, proof)
        except MerkleError as fault:
            reason = f"contradicts the tree of {last.length} leaves that guard cosigned: {fault}"
            self._keep_contradiction(frame, last, reason)
            raise DocumentError("root", reason) from fault

    def _keep_contradiction(self, frame: bytes, last: Head, reason: str) -> None:
        """The first one; that the file is there is the alarm, even if it is torn."""
        LOG.error("ALARM: a checkpoint that watch signed %s", reason)
        if self._contradiction.exists():
            return
        said = encode({
            "at_ms": self._clock(), "frame": b64encode(frame).decode(), "reason": reason, "root": last.head.hex(),
            "size": last.length,
        })
        write_last(self._contradiction, said, "xb", "contradiction")
