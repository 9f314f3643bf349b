"""Offers more for what no block takes: the same coins to the same payees, and less change.

The chain decides which of the two is mined, and payouts stay where they are until one is. When that is settled, the
other can never be, and is dropped.

Only the newest of a row is replaced, and only if nothing of ours is built on it: what spends its change would be lost.
"""

import logging
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.domain.policy import WalletRule
from strongroom.engine.bench import LATER_MS, Bench
from strongroom.engine.recall import replacing_fee
from strongroom.engine.waits import shown_rate
from strongroom.engine.wallets import Wallet, wallet_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.rails.port import RailError
from strongroom.store import bumping
from strongroom.store import engine as store
from strongroom.store.engine import NoFundsError, PlannedBeforeError, Reason, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
_FEE: Final = "fee_unmined"


async def bump(bench: Bench) -> bool:
    """Whether a successor was planned, or one that lost was dropped."""
    now, moved = bench.clock(), False
    for attempt in await bumping.outbid_attempts(bench.connection):
        LOG.info("%s can never be mined: another that pays the same is settled", attempt.chain_transaction)
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", now)
        moved = True
    waiting = await bumping.unmined_attempts(bench.connection, Instant(now - bench.bump_after_ms), now)
    under_way = await store.planned_wallets(bench.connection) if waiting else frozenset()
    for attempt in waiting:
        where = attempt.organisation, attempt.network
        if where not in under_way and await _bump(bench, attempt):
            under_way |= {where}
            moved = True
    return moved


class CantBumpError(Exception):
    """Nothing can be offered that would help; the message says why."""


async def _bump(bench: Bench, attempt: StoredAttempt) -> bool:
    """Written down, to be signed and sent as any other. Whether it was."""
    rail, policy = bench.rails.get(attempt.network), (await bench.policies()).get(attempt.organisation)
    rule = None if policy is None else policy.wallets.get(attempt.network)
    if rail is None or rule is None:
        return False
    try:
        wallet = await wallet_of(bench, attempt.organisation, attempt.network)
        if wallet is None:
            return False
        made, fee = build_bump(attempt, wallet, await rail.fee_rate(), rule)
        await bumping.keep_bump(bench.connection, made, fee, bench.clock())
    except RailError as fault:
        LOG.warning("%s: %s; what no block takes waits", attempt.network, fault)
        return False
    except (CantBumpError, NoFundsError, PlannedBeforeError) as fault:
        said = str(fault) or "the wallet has promised what a higher fee needs"
        now = bench.clock()
        async with bench.connection.transaction():
            await store.try_later(bench.connection, attempt.chain_transaction, Instant(now + LATER_MS), said)
            await store.note(bench.connection, attempt.payouts, Reason(_FEE, "engine", said), now)
        return False
    LOG.warning("%s: no block takes %s; %s offers %d", attempt.network, attempt.chain_transaction,
                made.chain_transaction, fee)
    return True


def build_bump(
    attempt: StoredAttempt, wallet: Wallet, rate_per_1000: int, rule: WalletRule
) -> tuple[StoredAttempt, int]:
    """The same coins and payees at this rate, for a fee that replaces the attempt's. Raises: CantBumpError."""
    form = COIN_FORMATS[attempt.network]
    before, count = form.read_unsigned(attempt.unsigned), len(attempt.payouts)
    paid = before.outputs[:count]
    if len(before.outputs) == count:
        raise CantBumpError("it has no change that a higher fee could be taken from")
    sizes = form.signed_sizes([*(address for address, _ in paid), wallet.change])
    size = sizes([coin.address for coin in before.inputs])
    if rate_per_1000 * size <= before.fee * 1_000:
        raise CantBumpError(f"the node asks for {shown_rate(rate_per_1000)} {form.rate_unit}, which it offers already")
    fee = replacing_fee(form, before.fee, size, rate_per_1000)
    most = min(rule.fee_maximum_minor, rule.fee_rate_maximum * size // 1_000)
    if fee > most:
        raise CantBumpError(f"a fee of {fee} > {most}")
    rest = sum(coin.amount for coin in before.inputs) - sum(minor for _, minor in paid) - fee
    if rest < form.dust_minor:
        raise CantBumpError("its change isn't enough for a fee that replaces it")
    unsigned = form.write_unsigned(before.inputs, [*paid, (wallet.change, rest)])
    made = StoredAttempt(
        form.read_unsigned(unsigned).identifier, attempt.organisation, attempt.network, "bump", "planned", unsigned,
        None, attempt.paths, attempt.payouts, replaces=attempt.chain_transaction,
    )
    return made, fee
