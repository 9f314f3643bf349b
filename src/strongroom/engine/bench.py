"""What every step of the engine works with: the record, the signer, the rails, the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import MINUTE_MS, SECOND_MS, Instant
from strongroom.domain.payout import HoldReason
from strongroom.engine.signer_client import SignerClient
from strongroom.protocol.signer_wire import RefusedAnswer
from strongroom.rails.port import Rail
from strongroom.store.session import Connection

SOON_MS: Final = SECOND_MS
LATER_MS: Final = MINUTE_MS

# What a refusal of the signer means for a payout: why it waits. What isn't listed is looked at by people.
_HOLDS: Final = {
    "destination-cooled": HoldReason.COOLING, "destination-current": HoldReason.COOLING,
    "limit-window": HoldReason.LIMIT_WINDOW, "limit-tier": HoldReason.LIMIT_WINDOW, "not-frozen": HoldReason.FREEZE,
    "limit-fees": HoldReason.FEE, "bytes-fee": HoldReason.FEE, "lease-fresh": HoldReason.ALARM,
    "guard-agrees": HoldReason.ALARM,
}
_SOON: Final = frozenset({"destination-cooled", "not-frozen", "lease-fresh", "guard-agrees"})


@dataclass(slots=True)
class Bench:
    connection: Connection
    signer: SignerClient
    rails: Mapping[str, Rail]
    clock: Callable[[], Instant]


def hold_of(refused: RefusedAnswer, now: Instant) -> tuple[HoldReason, Instant]:
    """Why a payout waits that the signer refused, and when to ask again."""
    wait_ms = SOON_MS if refused.rule in _SOON else LATER_MS
    return _HOLDS.get(refused.rule, HoldReason.SCREENING), Instant(now + wait_ms)
