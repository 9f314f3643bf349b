"""What comes of it when ledger and chain were held against each other: a row of what was found, an alarm of what is
missing or was taken, and in suspense what nobody expected. For every kind of chain the same.
"""

import logging
from dataclasses import replace

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.control import UNKNOWN_SPEND
from strongroom.store import reconciliations as store
from strongroom.store.reconciliations import Found
from strongroom.store.session import Connection
from strongroom.watch.alarms import Alarms

LOG = logging.getLogger("strongroom.watch")


class Findings:
    """Of one watch."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._last: dict[tuple[OrganisationId, str], Found] = {}

    async def keep(self, connection: Connection, found: Found, now: Instant) -> None:
        """A row when something but the block changed."""
        last = self._last.get((found.organisation, found.asset))
        if last is None or replace(found, height=last.height, block_hash=last.block_hash) != last:
            await store.keep(connection, found, now)
            if not found.is_whole:
                LOG.warning("%s: %s: chain %d, expected %d at block %d", found.organisation, found.asset, found.chain,
                            found.expected, found.height)
            self._last[found.organisation, found.asset] = found

    async def alarm_unknown(
        self, connection: Connection, organisation: OrganisationId, spend: str, minor: int, now: Instant
    ) -> None:
        detail = f"{spend} took {minor} that nobody here signed for"
        await self.alarm_once(connection, organisation, f"{UNKNOWN_SPEND}{spend[:40]}", detail, now)

    async def alarm_once(
        self, connection: Connection, organisation: OrganisationId, name: str, detail: str, now: Instant
    ) -> None:
        """Something that happened: once it was resolved, it is over."""
        if not await store.was_raised(connection, organisation, name):
            await self._alarm(connection, organisation, name, detail, now)

    async def alarm_deficit(self, connection: Connection, found: Found, missing: int, now: Instant) -> None:
        """Only of a wallet that was whole once: one that isn't funded yet lacks what its opening says."""
        if not await store.was_whole(connection, found.organisation, found.asset):
            return
        name = f"deficit.{found.network}"
        if not await store.is_raised(connection, found.organisation, name, found.asset):
            detail = f"{missing} of {found.asset} are missing at block {found.height}"
            await self._alarm(connection, found.organisation, name, detail, now)

    async def hold_surplus(self, connection: Connection, found: Found, surplus: int, now: Instant) -> None:
        """In suspense, where nobody can be promised it."""
        entry = f"surplus:{found.network}:{found.height}:{found.block_hash}:{found.asset}"
        if await store.post_surplus(connection, found.organisation, found.asset, surplus, entry, now):
            LOG.warning("%s: %d of %s came that nobody expected; it is in suspense", found.organisation, surplus,
                        found.asset)

    async def lose_surplus(self, connection: Connection, found: Found, missing: int, now: Instant) -> None:
        """Of what is missing, what was in suspense: strangers sent it, it was final, and a reorg took it back. It was
        never promised to anybody."""
        entry = f"surplus-gone:{found.network}:{found.height}:{found.block_hash}:{found.asset}"
        if await store.take_surplus_back(connection, found.organisation, found.asset, missing, entry, now):
            LOG.warning("%s: what came of %s and nobody expected is gone again; %d were missing", found.organisation,
                        found.asset, missing)

    async def _alarm(
        self, connection: Connection, organisation: OrganisationId, name: str, detail: str, now: Instant
    ) -> None:
        if await self._alarms.raise_alarm(organisation, name, detail, now):
            await store.keep_alarm(connection, organisation, name, detail, now)
