"""Offers more for what no block takes: by a `bump`, the same coins to the same payees and less change, or by a `child`.

Whichever costs less; and a child where something of ours is built on what is stuck, as a bump would take that with it.
Of what is bumped the chain decides which of the two is mined, and payouts stay where they are until one is. When that
is settled, the other can never be, and is dropped. Only the newest of a row is replaced.
"""

import logging
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.domain.policy import WalletRule
from strongroom.engine.bench import LATER_MS, Bench
from strongroom.engine.child import CHILD, CantPayError, build_child, change_of, package_of
from strongroom.engine.recall import replacing_fee
from strongroom.engine.waits import shown_rate
from strongroom.engine.wallets import Wallet, spendable, wallet_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.rails.port import RailError
from strongroom.store import bumping
from strongroom.store import engine as store
from strongroom.store.engine import NoFundsError, PlannedBeforeError, Reason, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
_FEE: Final = "fee_unmined"


async def bump(bench: Bench) -> bool:
    """Whether more was planned, or what can never be mined was dropped."""
    now, moved = bench.clock(), False
    for attempt in await bumping.outbid_attempts(bench.connection):
        LOG.info("%s can never be mined: what is settled excludes it", attempt.chain_transaction)
        await store.keep_attempt(bench.connection, attempt.chain_transaction, "dropped", now)
        moved = True
    waiting = await bumping.unmined_attempts(bench.connection, Instant(now - bench.bump_after_ms), now)
    under_way = await store.planned_wallets(bench.connection) if waiting else frozenset()
    free = {each.chain_transaction for each in await bumping.newest_and_free(bench.connection, waiting)}
    for attempt in waiting:
        where = attempt.organisation, attempt.network
        if where not in under_way and await _offer(bench, attempt, is_free=attempt.chain_transaction in free):
            under_way |= {where}
            moved = True
    return moved


async def _offer(bench: Bench, attempt: StoredAttempt, *, is_free: bool) -> bool:
    """Written down, to be signed and sent as any other. Whether it was."""
    rail, policy = bench.rails.get(attempt.network), (await bench.policies()).get(attempt.organisation)
    rule = None if policy is None else policy.wallets.get(attempt.network)
    if rail is None or rule is None:
        return False
    try:
        wallet = await wallet_of(bench, attempt.organisation, attempt.network)
        if wallet is None:
            return False
        made, fee = await _cheapest(bench, attempt, wallet, await rail.fee_rate(), rule, is_free=is_free)
        await _keep(bench, attempt, made, fee)
    except RailError as fault:
        LOG.warning("%s: %s; what no block takes waits", attempt.network, fault)
        return False
    except (CantPayError, NoFundsError, PlannedBeforeError) as fault:
        said = str(fault) or "the wallet has promised what a higher fee needs"
        now = bench.clock()
        async with bench.connection.transaction():
            await store.try_later(bench.connection, attempt.chain_transaction, Instant(now + LATER_MS), said)
            await store.note(bench.connection, attempt.payouts, Reason(_FEE, "engine", said), now)
        return False
    LOG.warning("%s: no block takes %s; %s (%s) offers %d", attempt.network, attempt.chain_transaction,
                made.chain_transaction, made.operation, fee)
    return True


async def _keep(bench: Bench, attempt: StoredAttempt, made: StoredAttempt, fee: int) -> None:
    """Raises: NoFundsError, PlannedBeforeError."""
    now = bench.clock()
    if made.operation != CHILD:
        await bumping.keep_bump(bench.connection, made, fee, now)
        return
    form = COIN_FORMATS[made.network]
    await store.keep_plan(bench.connection, made, form.asset, fee, form.read_unsigned(made.unsigned).spends, now)
    await store.try_later(bench.connection, attempt.chain_transaction, Instant(now + LATER_MS), "a child pays for it")


async def _cheapest(
    bench: Bench, attempt: StoredAttempt, wallet: Wallet, rate_per_1000: int, rule: WalletRule, *, is_free: bool
) -> tuple[StoredAttempt, int]:
    """A bump or a child, whichever can be and costs less, and its fee. Raises: CantPayError."""
    form = COIN_FORMATS[attempt.network]
    before = form.read_unsigned(attempt.unsigned)
    if rate_per_1000 * before.size <= before.fee * 1_000:
        raise CantPayError(f"the node asks for {shown_rate(rate_per_1000)} {form.rate_unit}, which it offers already")
    found: list[tuple[int, StoredAttempt, int]] = []
    faults: list[str] = []
    if is_free:
        try:
            made, fee = build_bump(attempt, wallet, rate_per_1000, rule)
            found.append((fee - before.fee, made, fee))  # one of the two is mined
        except CantPayError as fault:
            faults.append(str(fault))
    package = package_of(attempt, await bumping.under_way(bench.connection, attempt))
    if package is not None and await bumping.is_waiting(bench.connection, package.tip.chain_transaction):
        try:
            (coin,) = await spendable(bench.rails[attempt.network], [change_of(package)])
            made, fee = build_child(package, coin, wallet, rate_per_1000, rule)
            found.append((fee, made, fee))
        except CantPayError as fault:
            faults.append(str(fault))
    if not found:
        raise CantPayError("; ".join(dict.fromkeys(faults)) or "what is built on it can't pay for it")
    _, made, fee = min(found, key=lambda each: each[0])
    return made, fee


def build_bump(
    attempt: StoredAttempt, wallet: Wallet, rate_per_1000: int, rule: WalletRule
) -> tuple[StoredAttempt, int]:
    """The same coins and payees at this rate, for a fee that replaces the attempt's. Raises: CantPayError."""
    form = COIN_FORMATS[attempt.network]
    before, count = form.read_unsigned(attempt.unsigned), len(attempt.payouts)
    paid = before.outputs[:count]
    if len(before.outputs) == count:
        raise CantPayError("it has no change that a higher fee could be taken from")
    sizes = form.signed_sizes([*(address for address, _ in paid), wallet.change])
    size = sizes([coin.address for coin in before.inputs])
    fee = replacing_fee(form, before.fee, size, rate_per_1000)
    most = min(rule.fee_maximum_minor, rule.fee_rate_maximum * size // 1_000)
    if fee > most:
        raise CantPayError(f"a fee of {fee} > {most}")
    rest = sum(coin.amount for coin in before.inputs) - sum(minor for _, minor in paid) - fee
    if rest < form.dust_minor:
        raise CantPayError("its change isn't enough for a fee that replaces it")
    unsigned = form.write_unsigned(before.inputs, [*paid, (wallet.change, rest)])
    made = StoredAttempt(
        form.read_unsigned(unsigned).identifier, attempt.organisation, attempt.network, "bump", "planned", unsigned,
        None, attempt.paths, attempt.payouts, replaces=attempt.chain_transaction,
    )
    return made, fee
