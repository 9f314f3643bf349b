"""Follows what was signed on its chain, and reports each change: seen, in a block, how deep, in another block, gone.

A report is news from one node, not proof. It moves a payout along and never frees its money.
"""

import logging
from collections.abc import Mapping
from typing import Final, assert_never

from strongroom.domain.instant import Instant
from strongroom.rails.port import (
    ChainStatus,
    ChainTransactionId,
    Confirmed,
    Conflicted,
    Pending,
    Rail,
    RailError,
    Tip,
    Unseen,
)
from strongroom.store.chain_reports import Followed, Seen, followed, report
from strongroom.store.session import Session

LOG = logging.getLogger("strongroom.watch")
DEPTH_MAXIMUM: Final = 100
"""What is deeper is reported as this deep, so that old attempts make no news with every block."""


class Follower:
    """Asks about what stands in a block only when the tip is another than last time."""

    def __init__(self, rails: Mapping[str, Rail]) -> None:
        self._rails = rails
        self._tips: dict[str, Tip] = {}

    async def follow(self, connection: Session, now: Instant) -> int:
        """How many changes were reported. A node that doesn't answer is asked again next time."""
        changes: list[Seen] = []
        attempts = await followed(connection)
        for network in {each.network for each in attempts} & self._rails.keys():
            mine = [each for each in attempts if each.network == network]
            try:
                await self._look(self._rails[network], mine, changes)
            except RailError as fault:
                LOG.warning("%s: %s", network, fault)
                self._tips.pop(network, None)
        if changes:
            await report(connection, changes, now)
        return len(changes)

    async def _look(self, rail: Rail, attempts: list[Followed], changes: list[Seen]) -> None:
        """Raises: RailError."""
        tip = await rail.tip()
        is_new, is_complete = self._tips.get(rail.network) != tip, True
        for each in attempts:
            if each.status == "confirmed" and not is_new:
                continue
            try:
                status = await rail.status(ChainTransactionId(each.chain_transaction))
            except RailError as fault:  # one answer that can't be believed hides no others
                LOG.warning("%s: %s: %s", rail.network, each.chain_transaction, fault)
                is_complete = False
                continue
            seen = seen_of(each.chain_transaction, status)
            if seen != _last(each):
                changes.append(seen)
                _log(each, seen)
        if is_complete:
            self._tips[rail.network] = tip


def seen_of(chain_transaction: str, status: ChainStatus) -> Seen:
    match status:
        case Confirmed(height, block_hash, depth):
            return Seen(chain_transaction, "confirmed", height, block_hash, min(depth, DEPTH_MAXIMUM))
        case Pending():
            return Seen(chain_transaction, "pending", None, None, 0)
        case Conflicted(by):
            return Seen(chain_transaction, "conflicted", None, None, 0, by)
        case Unseen():
            return Seen(chain_transaction, "unseen", None, None, 0)
        case _:
            assert_never(status)


def _last(each: Followed) -> Seen:
    return Seen(
        each.chain_transaction, each.status, each.height, each.block_hash, each.depth, each.conflicts_with
    )


def _log(before: Followed, seen: Seen) -> None:
    """What people should see: another chain transaction in its place, or a block that isn't there any more."""
    name = f"{before.network}: {before.chain_transaction}"
    if seen.status == "conflicted":
        LOG.warning("%s is excluded by %s", name, seen.conflicts_with)  # the engine knows whether that is ours
    elif before.status == "confirmed" and seen.block_hash != before.block_hash:
        LOG.warning("%s isn't in block %s any more: it is %s", name, before.block_hash, seen.status)
