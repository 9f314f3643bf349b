"""One chain of accounts, as watch follows it: read blocks, report what became of calls and batches, hold the ledger
against the chain. In this order, so that all that is said is as of the same blocks; what was told is folded last.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Policy
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.vault_history import FinalityBroken
from strongroom.rails.evm.vault_sums import Base
from strongroom.rails.port import RailError
from strongroom.store.organisations import read_policies
from strongroom.store.session import Connection
from strongroom.watch.account_confirmations import AccountFollower
from strongroom.watch.account_reconcile import AccountReconciler
from strongroom.watch.account_view import AccountView, Wanted
from strongroom.watch.alarms import Alarms
from strongroom.watch.chain_base import KeptFile
from strongroom.watch.findings import Findings

LOG = logging.getLogger("strongroom.watch")
LOOK_S: Final = 2
"""Who changes PostgreSQL under it is found so soon, though no block came, or none with anything of ours."""
CALM_S: Final = 0.45
"""So seldom a node is asked while no call waits for a block."""


class AccountChain:
    def __init__(self, rail: AccountRail, alarms: Alarms, founded: Instant, folder: Path | None = None) -> None:
        file = None if folder is None else KeptFile(folder, rail.network, Base)
        self._network = rail.network
        self._view = AccountView(rail, founded, file)
        self._findings = Findings(alarms)
        self._follower = AccountFollower(rail, self._findings)
        self._reconciler = AccountReconciler(rail, self._findings)
        self._policies: Mapping[OrganisationId, Policy] = {}
        self._wanted = Wanted(self._network, {})
        self._read_s = -float(LOOK_S)
        self._stepped_s = -CALM_S
        self._is_owed = True
        self._is_seeing = False

    async def look(self, connection: Connection, now: Instant) -> bool:
        """A step, or what the last one said while nothing waits and that wasn't long ago."""
        if not self._is_seeing or self._follower.is_waiting or time.monotonic() - self._stepped_s >= CALM_S:
            self._is_seeing = await self.step(connection, now)
            self._stepped_s = time.monotonic()
        return self._is_seeing

    async def step(self, connection: Connection, now: Instant) -> bool:
        """Whether the chain could be read up to its tip. Raises what PostgreSQL raises."""
        is_due = time.monotonic() - self._read_s >= LOOK_S
        if is_due:
            self._policies, self._read_s = await read_policies(connection), time.monotonic()
            self._wanted = Wanted(self._network, self._policies)
            self._follower.learn(self._policies)
        try:
            history, progress = await self._view.advance(self._wanted)
            is_complete = await self._follower.follow(connection, history, progress.is_at_tip, now)
            self._view.fold(self._wanted)
            self._is_owed = self._is_owed or is_due or progress.has_news
            if progress.is_at_tip and self._is_owed:
                await self._reconciler.reconcile(
                    connection, self._view, self._wanted, self._policies, now, is_complete=is_complete
                )
                self._is_owed = False
        except FinalityBroken as fault:
            LOG.error("%s: %s", self._network, fault)
            await self._alarm_finality(connection, str(fault), now)
            self._view.begin_anew()
            return False
        except RailError as fault:
            LOG.warning("%s can't be followed now: %s", self._network, fault)
            return False
        return progress.is_at_tip

    async def _alarm_finality(self, connection: Connection, detail: str, now: Instant) -> None:
        history = self._view.history
        name = f"finality.{self._network}.{0 if history is None else history.final.height}"
        for organisation in self._wanted.owners.values():
            await self._findings.alarm_once(connection, organisation, name, detail, now)
