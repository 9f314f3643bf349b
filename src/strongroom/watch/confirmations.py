"""Follows what was signed on its chain, and reports each change: seen, in a block, how deep, gone again.

A report is news from one node, not proof. It moves a payout along and never frees its money.
"""

from collections.abc import Mapping

from strongroom.domain.instant import Instant
from strongroom.rails.port import ChainStatus, ChainTransactionId, Confirmed, Conflicted, Pending, Rail, RailError
from strongroom.store.chain_reports import Followed, Seen, followed, report
from strongroom.store.session import Session


async def follow(connection: Session, rails: Mapping[str, Rail], now: Instant) -> int:
    """How many changes were reported. A node that doesn't answer is asked again next time."""
    changes: list[Seen] = []
    for each in await followed(connection):
        rail = rails.get(each.network)
        if rail is None:
            continue
        try:
            status = await rail.status(ChainTransactionId(each.chain_transaction))
        except RailError:
            continue
        seen = _seen(each, status)
        if (seen.status, seen.height, seen.depth) != (each.status, each.height, each.depth):
            changes.append(seen)
    if changes:
        await report(connection, changes, now)
    return len(changes)


def _seen(each: Followed, status: ChainStatus) -> Seen:
    match status:
        case Confirmed(height, block_hash, depth):
            return Seen(each.chain_transaction, "confirmed", height, block_hash, depth)
        case Pending():
            return Seen(each.chain_transaction, "pending", None, None, 0)
        case Conflicted():
            return Seen(each.chain_transaction, "conflicted", None, None, 0)
        case _:
            return Seen(each.chain_transaction, "unseen", None, None, 0)
