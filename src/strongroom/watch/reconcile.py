"""After every block: is what the ledger says what stands on the chain, to the unit, and was each spend one of ours?

Three sources. The chain: blocks that watch reads itself, by the addresses that the engine published. The ledger: its
postings. The journal's spends: the attempts that the engine holds the signer's bytes of; what stands in a block and
isn't one of them was signed by somebody who isn't our signer, or our record was rolled back. Not covered: addresses
that the engine kept to itself, and chains that no reader is written for.

A surplus goes to suspense once it is final, and comes out of it if a reorg takes it back all the same. A deficit or an
unknown spend is an alarm, and guard's lease falls.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Policy
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import CoinsError
from strongroom.rails.port import Rail, RailError
from strongroom.store import reconciliations as store
from strongroom.store.organisations import read_policies
from strongroom.store.reconciliations import Found, Recorded
from strongroom.store.session import Connection
from strongroom.watch.alarms import Alarms
from strongroom.watch.chain_base import BaseFile, Holding
from strongroom.watch.chain_view import ChainView
from strongroom.watch.findings import Findings

LOG = logging.getLogger("strongroom.watch")
SETTLED: Final = "settled"
LOOK_S: Final = 2
"""Files of PostgreSQL that somebody changes under it are written in no log of its."""


class Reconciler:
    def __init__(
        self, rails: Mapping[str, Rail], alarms: Alarms, founded: Instant, chains_folder: Path | None = None
    ) -> None:
        self._views = {
            network: ChainView(
                rail, COIN_FORMATS[network], founded,
                None if chains_folder is None else BaseFile(chains_folder, network),
            )
            for network, rail in rails.items() if network in COIN_FORMATS
        }
        self._findings = Findings(alarms)
        self._policies: Mapping[OrganisationId, Policy] = {}
        self._owners: dict[str, dict[str, OrganisationId]] = {}
        self._read_s = -float(LOOK_S)
        self._written = ""

    async def step(self, connection: Connection, now: Instant) -> bool:
        """Every wallet on every chain that was read to its tip: after each block, as soon as anything was written to
        PostgreSQL, by whomever, and every few seconds whatever it says of itself.

        Whether every chain could be read, up to its tip. Raises what PostgreSQL raises.
        """
        is_seeing = True
        written = await store.last_written(connection)
        if is_due := time.monotonic() - self._read_s >= LOOK_S:
            self._policies, self._read_s = await read_policies(connection), time.monotonic()
        is_time = is_due or written != self._written
        self._written = written
        for network, view in self._views.items():
            if is_time:
                self._owners[network] = await store.wallet_addresses(connection, network)
            before = view.tip
            try:
                is_at_tip = await view.advance(self._owners[network])
            except (RailError, CoinsError) as fault:
                LOG.warning("%s can't be reconciled now: %s", network, fault)
                is_seeing = False
                continue
            is_seeing = is_seeing and is_at_tip
            if is_at_tip and (is_time or view.tip != before):
                await self._reconcile_all(connection, network, now)
        return is_seeing

    async def _reconcile_all(self, connection: Connection, network: str, now: Instant) -> None:
        for organisation, holding in self._views[network].holdings().items():
            policy = self._policies.get(organisation)
            if policy is not None and network in policy.wallets:
                await self._reconcile(connection, organisation, policy, network, holding, now)

    async def _reconcile(
        self, connection: Connection, organisation: OrganisationId, policy: Policy, network: str,
        holding: Holding, now: Instant,
    ) -> None:
        view = self._views[network]
        asset = view.reader.asset
        recorded = await store.read_recorded(connection, organisation, network, asset, holding.spends.keys())
        if recorded is None:
            return
        unknown = {each: minor for each, minor in holding.spends.items() if each not in recorded.states}
        expected = self._expected(view, organisation, holding, recorded)
        difference = holding.balance - expected
        is_whole = difference == 0 and not unknown
        found = Found(
            organisation, network, asset, *view.tip, holding.balance, recorded.posted, expected, is_whole,
        )
        await self._findings.keep(connection, found, now)
        for chain_transaction, minor in unknown.items():
            await self._findings.alarm_unknown(connection, organisation, chain_transaction, minor, now)
        missing = -(difference + sum(unknown.values()))
        if missing > 0:
            await self._findings.alarm_deficit(connection, found, missing, now)
            await self._findings.lose_surplus(connection, found, missing, now)
        height, _ = view.tip
        finality = policy.wallets[network].finality_blocks
        young = sum(minor for at, minor in holding.incomes if height - at + 1 < finality)
        surplus = difference + sum(unknown.values()) - young
        if surplus > 0:
            await self._findings.hold_surplus(connection, found, surplus, now)

    def _expected(
        self, view: ChainView, organisation: OrganisationId, holding: Holding, recorded: Recorded
    ) -> int:
        """What the chain should hold: the ledger, less what left and isn't settled, and with what is settled and gone.

        An attempt that is settled here and stands in no block was taken back by a reorg that the engine hasn't seen.
        """
        left = sum(
            minor for each, minor in holding.spends.items() if recorded.states.get(each, SETTLED) != SETTLED
        )
        back = 0
        for raw in recorded.absent.values():
            absent = view.reader.read_unsigned(raw)
            back += view.outflow(absent.outputs, organisation, sum(coin.amount for coin in absent.inputs))
        return recorded.posted - left + back
