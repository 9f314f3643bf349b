"""What a simulated chain can be told to do wrong, each a bounded number of times. Ordered by tests; not kept on disk.

The faults are those that real nodes have shown: an answer that comes late or never, though the work was done; a
transaction that is said to be relayed and is forgotten; one that waits for long, or for ever; a reorg; a lie.
"""

from typing import Annotated, Final, Literal

import msgspec

from strongroom.protocol.canonical import JsonValue

ARMED_MAXIMUM: Final = 1_000
DELAY_MAXIMUM_MS: Final = 60_000

Call = Literal["identity", "tip", "fee_rate", "coins", "broadcast", "status", "block"]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Blocks = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Txid = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]


class _Ordered(msgspec.Struct, forbid_unknown_fields=True, tag_field="fault", kw_only=True):
    """`count` is how many times it will still happen."""

    count: Count = 1


class LoseBroadcast(_Ordered, tag="lose_broadcast"):
    """A good broadcast is answered as accepted, and forgotten."""


class DelayAnswer(_Ordered, tag="delay_answer"):
    """The call is done at once, and answered after `ms`."""

    ms: Annotated[int, msgspec.Meta(ge=1, le=DELAY_MAXIMUM_MS)]
    call: Call = "broadcast"


class CutAnswer(_Ordered, tag="cut_answer"):
    """The call is done, and its connection is closed without an answer."""

    call: Call = "broadcast"


class Late(_Ordered, tag="late"):
    """Not mined for the next `blocks` blocks: this transaction from now on, or else the next one that is broadcast."""

    blocks: Blocks
    txid: Txid | None = None


class Skip(_Ordered, tag="skip"):
    """Never mined, for as long as faults aren't cleared."""

    txid: Txid


class Lie(_Ordered, tag="lie"):
    """The transaction's status is told as confirmed: in the tip, or in the block below the one that holds it."""

    txid: Txid
    mode: Literal["confirmed", "other_block"] = "confirmed"


class Dear(_Ordered, tag="dear"):
    """The fee is said to be this, so many times as it is asked for."""

    minor_per_1000_bytes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class Reorg(msgspec.Struct, forbid_unknown_fields=True, tag_field="fault", tag="reorg"):
    """At once: the last `depth` blocks make way for one more empty ones, and their transactions wait again."""

    depth: Blocks


Fault = LoseBroadcast | DelayAnswer | CutAnswer | Late | Skip | Lie | Dear


class FaultError(ValueError):
    """No fault that can be ordered; the message says why."""


def parse_fault(body: dict[str, JsonValue]) -> Fault | Reorg:
    """Raises: FaultError."""
    try:
        ordered: Fault | Reorg = msgspec.convert(body, Fault | Reorg)
    except msgspec.ValidationError as fault:
        raise FaultError(str(fault)) from fault
    return ordered


class Faults:
    """Those that are armed, and which transactions are held for now or for ever."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self._skipped: set[bytes] = set()
        self._earliest: dict[bytes, int] = {}

    def arm(self, fault: Fault, tip_height: int) -> None:
        """Raises: FaultError when too many are armed."""
        if isinstance(fault, Skip):
            self._skipped.add(bytes.fromhex(fault.txid))
        elif isinstance(fault, Late) and fault.txid is not None:
            self._earliest[bytes.fromhex(fault.txid)] = tip_height + fault.blocks + 1
        if len(self.armed) >= ARMED_MAXIMUM:
            raise FaultError(f"at most {ARMED_MAXIMUM} faults may be armed")
        self.armed.append(fault)

    def holds(self, txid: bytes, height: int) -> bool:
        """Whether it may not stand in the block of this height."""
        return txid in self._skipped or self._earliest.get(txid, 0) > height

    def taken(self, txid: bytes, tip_height: int) -> None:
        """A broadcast was taken: it may be the one that will be late."""
        late = next((each for each in self.armed if isinstance(each, Late) and each.txid is None), None)
        if late is not None:
            self._use(late)
            self._earliest[txid] = tip_height + late.blocks + 1

    def loses_broadcast(self) -> bool:
        return self._use(next((each for each in self.armed if isinstance(each, LoseBroadcast)), None))

    def lie(self, txid: bytes) -> str | None:
        """The mode of the lie that is due about it."""
        lie = next((each for each in self.armed if isinstance(each, Lie) and each.txid == txid.hex()), None)
        return lie.mode if lie is not None and self._use(lie) else None

    def fee_rate(self) -> int | None:
        dear = next((each for each in self.armed if isinstance(each, Dear)), None)
        return dear.minor_per_1000_bytes if dear is not None and self._use(dear) else None

    def delay_ms(self, call: str) -> int:
        delay = next((each for each in self.armed if isinstance(each, DelayAnswer) and each.call == call), None)
        return delay.ms if delay is not None and self._use(delay) else 0

    def cuts(self, call: str) -> bool:
        return self._use(next((each for each in self.armed if isinstance(each, CutAnswer) and each.call == call), None))

    def _use(self, fault: Fault | None) -> bool:
        if fault is None:
            return False
        fault.count -= 1
        if fault.count == 0:
            self.armed.remove(fault)
        return True
