"""Follows calls of vaults and their batches, and reports each change: of a chain transaction that it is mined, how
deep, that it failed, that its nonce is used by another; of each item of a batch what the vault did with it.

All is said as of the blocks that the history has read, so that both kinds of report, and what is reconciled, speak of
one chain. A report is news, not proof. It moves a payout along and never frees its money.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import FINALITY_MAXIMUM_BLOCKS, Policy
from strongroom.formats.coins import CoinsError
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_vault_call import VaultCall, parse_vault_call
from strongroom.formats.hot_vault import Batch, HotVaultError
from strongroom.rails.account_port import AccountRail, Mined, Replaced
from strongroom.rails.evm.settlement import Dead, Differs, ItemFate, NotSeen, Paid, Skipped, TakenOver
from strongroom.rails.evm.vault_history import VaultHistory
from strongroom.rails.port import Pending, RailError, Tip, Unseen
from strongroom.store import account_reports as store
from strongroom.store.account_reports import CallBytes, CallReport, ItemReport
from strongroom.store.session import Connection
from strongroom.watch.findings import Findings

LOG = logging.getLogger("strongroom.watch")
CALLS_MAXIMUM: Final = 2_000
"""That are kept at hand, read; a full one has 248 items."""
_IN_A_BLOCK: Final = frozenset({"confirmed", "reverted", "replaced"})


@dataclass(frozen=True, slots=True)
class Call:
    """An attempt, read. `hash` is what the chain calls it; `batch` what it pays, by its `name`; `about` are the names
    of all batches of which it decides."""

    organisation: OrganisationId
    call: VaultCall
    signed: bytes
    hash: str
    batch: Batch | None
    name: str
    about: frozenset[str]


def read_call(organisation: OrganisationId, raw: CallBytes) -> Call:
    """Raises: CoinsError, HotVaultError."""
    call = parse_vault_call(raw.unsigned)
    batch = call.batch if call.items else None
    name = "" if batch is None else batch.name.hex()
    covered = {each.hex() for each in call.kills} | {each.batch.hex() for each in call.retries}
    return Call(
        organisation, call, raw.signed, "0x" + keccak256(raw.signed).hex(), batch, name,
        frozenset(covered | {name} if name else covered),
    )


class AccountFollower:
    """Of one network. `learn` says from which depth on each organisation's policy calls something final."""

    def __init__(self, rail: AccountRail, findings: Findings) -> None:
        self._rail = rail
        self._findings = findings
        self._network = rail.network
        self._calls: dict[str, Call] = {}
        self._told: tuple[object, ...] = ()
        self.is_waiting = False
        """Whether a call that was signed isn't in a block."""
        self.finalities: Mapping[OrganisationId, int] = {}

    def learn(self, policies: Mapping[OrganisationId, Policy]) -> None:
        self.finalities = {
            organisation: policy.wallets[self._network].finality_blocks
            for organisation, policy in policies.items() if self._network in policy.wallets
        }

    async def follow(self, connection: Connection, history: VaultHistory, is_at_tip: bool, now: Instant) -> bool:
        """After each reading of blocks. Whether all is known of every call."""
        followed = await store.followed_calls(connection, self._network)
        calls = await self._read(connection, {each.chain_transaction: each.organisation for each in followed})
        ours = {each.hash: name for name, each in calls.items()}
        is_complete = len(calls) == len(followed) < store.FOLLOWED_MAXIMUM
        self.is_waiting = any(each.last.status not in _IN_A_BLOCK for each in followed)
        seen: list[tuple[str, CallReport]] = []
        for each in followed:
            call = calls.get(each.chain_transaction)
            try:
                said = None if call is None else await self._look(call, each.last, history, ours)
            except RailError as fault:  # one answer that can't be believed hides no others
                LOG.warning("%s: %s: %s", self._network, each.chain_transaction, fault)
                said = None
            is_complete = is_complete and said is not None
            if said is not None and said != each.last:
                seen.append((each.chain_transaction, said))
                _log(f"{self._network}: {each.chain_transaction}", each.last, said)
        if seen:
            await store.report_calls(connection, seen, now)
        await self._follow_batches(connection, calls, history, is_at_tip, now)
        return is_complete

    async def _read(self, connection: Connection, wanted: Mapping[str, OrganisationId]) -> dict[str, Call]:
        """Those attempts, read once; without any that can't be."""
        unread = [name for name in wanted if name not in self._calls]
        for name, raw in (await store.read_calls(connection, unread)).items() if unread else ():
            try:
                self._calls[name] = await asyncio.to_thread(read_call, wanted[name], raw)
            except (CoinsError, HotVaultError) as fault:
                LOG.error("%s: %s was signed and can't be read: %s", self._network, name, fault)
        if len(self._calls) > CALLS_MAXIMUM:
            self._calls = {name: self._calls[name] for name in wanted if name in self._calls}
        return {name: self._calls[name] for name in wanted if name in self._calls}

    async def _look(
        self, call: Call, last: CallReport, history: VaultHistory, ours: Mapping[str, str]
    ) -> CallReport | None:
        """None while nothing can be said as of the history's blocks. Raises: RailError."""
        if last.height is not None and last.status in _IN_A_BLOCK:
            if last.height > history.newest.height:
                return None  # it is being read again
            if history.hash_at(last.height) in (None, last.block_hash):
                return self._as_deep(call, last, history)
        status = await self._rail.status(call.signed)
        match status:
            case Mined():
                if history.hash_at(status.height) != status.block_hash:
                    return None  # which the history hasn't read, or not any more
                name = "confirmed" if status.succeeded else "reverted"
                said = CallReport(name, status.height, status.block_hash, fee=status.fee)
            case Replaced(by):
                used = await self._rail.account(eip55(call.call.sender), history.newest)
                if used.nonce <= call.call.nonce:
                    return None  # it was used after that block
                taker = None if by is None else ours.get(by, by)
                said = CallReport("replaced", history.newest.height, history.newest.block_hash, conflicts_with=taker)
            case Pending():
                return CallReport("pending")
            case Unseen():
                return CallReport("unseen")
            case _:
                assert_never(status)
        return self._as_deep(call, said, history)

    def _as_deep(self, call: Call, said: CallReport, history: VaultHistory) -> CallReport:
        """No deeper than its policy asks for, so that old ones make no news with every block."""
        if said.height is None:
            return said
        wanted = self.finalities.get(call.organisation, FINALITY_MAXIMUM_BLOCKS)
        depth = min(history.newest.height - said.height + 1, wanted)
        return replace(said, depth=depth, is_final=depth == wanted and said.height <= history.final.height)

    async def _follow_batches(
        self, connection: Connection, calls: Mapping[str, Call], history: VaultHistory, is_at_tip: bool, now: Instant
    ) -> None:
        told = (history.newest, history.final, is_at_tip, frozenset(calls), tuple(self.finalities.items()))
        if told == self._told:
            return
        batches = await self._batches(connection, calls)
        lasts = await store.last_fates(connection, self._network, batches)
        seen: list[tuple[str, int, ItemReport]] = []
        for name, (batch, organisation) in batches.items():
            if batch.vault.hex() not in history.base.vaults:
                continue  # of no policy: nobody reads what it does
            wanted = self.finalities.get(organisation, FINALITY_MAXIMUM_BLOCKS)
            for item, fate in enumerate(history.fates(batch)):
                last = lasts.get((name, item), _UNSEEN)
                said = None if fate is None else item_report(fate, history.newest, wanted)
                if said is not None and said != last and (said.fate != _UNSEEN.fate or is_at_tip):
                    seen.append((name, item, said))
                    if said.fate == "differs":
                        detail = f"{name}: {said.detail}"
                        await self._findings.alarm_once(connection, organisation, f"differs.{name[:40]}", detail, now)
                    elif said.fate == _UNSEEN.fate:
                        LOG.warning("%s: item %d of %s isn't %s any more", self._network, item, name, last.fate)
        if seen:
            await store.report_fates(connection, self._network, seen, now)
        self._told = told

    async def _batches(
        self, connection: Connection, calls: Mapping[str, Call]
    ) -> dict[str, tuple[Batch, OrganisationId]]:
        """Those that the calls pay, kill or take items over from, as far as an attempt of ours pays them."""
        wanted = {name for each in calls.values() for name in each.about}
        paid = {each.name: each for each in calls.values() if each.batch is not None}
        if missing := wanted - paid.keys():
            payers = await store.calls_of_batches(connection, self._network, missing)
            found = await self._read(connection, dict(payers.values()))
            paid |= {each.name: each for each in found.values() if each.batch is not None}
        return {name: (each.batch, each.organisation) for name, each in paid.items() if each.batch is not None}


_UNSEEN: Final = ItemReport("unseen")


def item_report(fate: ItemFate, newest: Tip, finality: int) -> ItemReport:
    if isinstance(fate, NotSeen):
        return _UNSEEN
    where = fate.where
    is_final = where.is_final and newest.height - where.height + 1 >= finality
    said = ItemReport("", height=where.height, block_hash=where.block_hash, is_final=is_final)
    match fate:
        case Paid(received, _):
            return replace(said, fate="paid", received=received)
        case Skipped(_):
            return replace(said, fate="skipped")
        case TakenOver(by, _):
            return replace(said, fate="taken_over", taken_by=by.hex())
        case Dead(_):
            return replace(said, fate="dead")
        case Differs(reason, _):
            return replace(said, fate="differs", detail=reason)
        case _:
            assert_never(fate)


def _log(name: str, before: CallReport, said: CallReport) -> None:
    """What people should see."""
    if said.status in ("reverted", "replaced") and said.status != before.status:
        LOG.warning("%s is %s%s", name, said.status, f" by {said.conflicts_with}" if said.conflicts_with else "")
    elif before.status in _IN_A_BLOCK and said.block_hash != before.block_hash:
        LOG.warning("%s isn't in block %s any more: it is %s", name, before.block_hash, said.status)
