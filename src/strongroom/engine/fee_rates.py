"""Tells the record what chains ask for now, so that a preview can say what a payout may cost. Decides nothing."""

import logging
from typing import Final

from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.engine.bench import Bench
from strongroom.rails.evm.fees import BASE_FEE_ROOM
from strongroom.rails.port import RailError
from strongroom.store.fee_rates import FeeRate, keep_fee_rate

LOG = logging.getLogger("strongroom.engine")
EVERY_MS: Final = 30 * SECOND_MS
_UNITS: Final = 1_000


class FeeRates:
    """Asks each node now and then. One that doesn't answer leaves what it said before, which grows old."""

    def __init__(self) -> None:
        self._due_at = Instant(0)

    async def publish(self, bench: Bench) -> None:
        now = bench.clock()
        if now < self._due_at:
            return
        self._due_at = Instant(now + EVERY_MS)
        for network, rail in bench.rails.items():
            try:
                rate = await rail.fee_rate()
            except RailError as fault:
                LOG.info("%s: its fees aren't known: %s", network, fault)
                continue
            await keep_fee_rate(bench.connection, network, FeeRate(rate, rate, now))
        for network, account in bench.accounts.items():
            try:
                market = await account.fees()
            except RailError as fault:
                LOG.info("%s: its fees aren't known: %s", network, fault)
                continue
            expected = (market.base_fee + market.priority_fee) * _UNITS
            offered = (market.base_fee * BASE_FEE_ROOM + market.priority_fee) * _UNITS
            await keep_fee_rate(bench.connection, network, FeeRate(expected, offered, now))
