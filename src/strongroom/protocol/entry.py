"""Entries of the signer's journal: what it verified, decided and signed, in the order in which it did.

The signer writes them and reads them again at every start; guard keeps a copy, and reads from it who may give it
instructions. The journal's chain says that an entry is the one that was written, so here only its form is read.
"""

from dataclasses import dataclass
from enum import StrEnum

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.record import parse_fields


class Kind(StrEnum):
    GENESIS = "genesis"
    """`genesis`: the record, base64. Always the first entry, and only there."""
    ORGANISATION = "organisation"
    """`policy`, `roster`: base64. An organisation of genesis, or one let in later."""
    RESUMED = "resumed"
    """`guard_ms`: the signer started again, and that was guard's time."""
    CORRECTED = "corrected"
    """`guard_ms`: wall and guard agreed that what passed at most was far ahead, and it was brought back."""
    DESTINATIONS = "destinations"
    INTENTS = "intents"
    RUN = "run"
    REQUEST = "request"
    SPEND = "spend"
    ABANDONED = "abandoned"
    """A spend that guard didn't cosign and that was never signed."""
    TOMBSTONE = "tombstone"
    VOID = "void"
    """`organisation`, `object`, `void`, `attestations`: a signed payout can never be paid, as guard's eyes show."""
    ROTATED = "rotated"
    """`organisation`, `network`: change goes to the keys of the next generation from here on."""
    CONTROL = "control"
    """`entry`: an entry of guard's control log, base64; applied, or void if it doesn't hold."""
    CHANGE = "change"
    """`organisation`, `document` (`roster` or `policy`), `raw` (base64), `people`: a change that a quorum wants."""
    NOTICED = "noticed"
    """`organisation`, `change`: guard has cosigned the change and told its members; the delay begins."""
    RECOVERED = "recovered"
    """`organisation`, `epoch`, `policy`, `roster` (base64), `people`: how a quorum goes on without what was lost."""
    ENDED = "ended"
    """`organisation`, `change`, `is_in_force`: the change came into force, or was vetoed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The signer's clocks: how much time has passed at least and at most, and what the wall says; milliseconds.

    All three start at genesis' wall time. Windows, cooling-off and delays go by `at_least`, every expiry by `at_most`.
    """

    at_least: Instant
    at_most: Instant
    wall: Instant


def write_entry(kind: Kind, clock: Reading, body: dict[str, JsonValue]) -> bytes:
    return encode({**body, "clock": [clock.at_least, clock.at_most, clock.wall], "type": _type(kind)})


Entry = tuple[Kind, Reading, Fields]


def read_entry(raw: bytes) -> Entry:
    """Raises: DocumentError."""
    fields = parse_fields(raw)
    name = fields.text("type")
    kind = next((each for each in Kind if name == _type(each)), None)
    if kind is None:
        raise DocumentError("type", "isn't a kind of entry")
    clock = fields.take("clock")
    if not isinstance(clock, list) or len(clock) != 3 or any(type(value) is not int for value in clock):
        raise DocumentError("clock", "must be three integers")
    return kind, Reading(*(Instant(value) for value in clock)), fields


def _type(kind: Kind) -> str:
    return f"strongroom/journal/{kind.value}/v1"
