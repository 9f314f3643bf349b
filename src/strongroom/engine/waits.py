"""Puts payouts that are ready aside for a better moment, whichever chain pays them."""

from collections.abc import Sequence

from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason
from strongroom.engine.bench import LATER_MS, Bench
from strongroom.engine.triage import hold
from strongroom.store.engine import DuePayout, Reason


def shown_rate(rate: int, digits: int = 3) -> str:
    """Of so many decimal digits, as people write it: 62, or 62.5."""
    whole, rest = divmod(rate, 10**digits)
    return f"{whole}.{rest:0{digits}}".rstrip("0").rstrip(".")


async def too_dear(bench: Bench, payouts: Sequence[DuePayout], reason: Reason) -> bool:
    """They are held, and keep their money: fees fall again."""
    return await put_aside(bench, payouts, HoldReason.FEE, LATER_MS, reason)


async def put_aside(
    bench: Bench, payouts: Sequence[DuePayout], why: HoldReason, wait_ms: int, reason: Reason
) -> bool:
    """They are held for so long, and keep their money. Always news."""
    async with bench.connection.transaction():
        for payout in payouts:
            await hold(bench, payout, why, Instant(bench.clock() + wait_ms), reason)
    return True
