"""Puts ready payouts into chain transactions: which coins, which fee, where the change goes. Written down before use.

Chains of accounts have `plan_vault`. Coins are chosen and reserved here, in our own record, and the fee in the ledger:
a node that forgets its locks changes nothing. The oldest payouts go first, as many as the coins are enough for.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.domain.policy import WalletRule
from strongroom.engine.bench import LATER_MS, Bench
from strongroom.engine.plan_vault import plan_vault
from strongroom.engine.triage import FUNDS_WAIT_MS, end, hold
from strongroom.engine.waits import shown_rate, too_dear
from strongroom.engine.wallets import Wallet, coins_of, spendable, wallet_of
from strongroom.formats.coin_formats import COIN_FORMATS, CoinFormat
from strongroom.formats.coins import Coin as Spent
from strongroom.rails.port import Coin, RailError
from strongroom.store import bumping
from strongroom.store import engine as store
from strongroom.store.engine import DuePayout, NoFundsError, PlannedBeforeError, Reason, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
OTHER_BYTES_MAXIMUM: Final = 8
PAYOUTS_MAXIMUM: Final = 2_000
"""What the signer takes in one chain transaction."""


async def plan(bench: Bench) -> bool:
    """One batch for each organisation and network that has something ready. Whether anything moved."""
    waiting: dict[tuple[OrganisationId, str], list[DuePayout]] = defaultdict(list)
    for payout in await store.due_payouts(bench.connection, (State.READY,), bench.clock(), PAYOUTS_MAXIMUM):
        waiting[payout.organisation, payout.network].append(payout)
    planned = False
    under_way = await store.planned_wallets(bench.connection) if waiting else frozenset()
    for (organisation, network), payouts in waiting.items():
        if (organisation, network) in under_way:
            continue  # change has one next address, so one plan waits for the one before
        plan_batch = plan_vault if network in bench.accounts else _plan_batch
        planned |= await plan_batch(bench, organisation, network, payouts[:PAYOUTS_MAXIMUM])
    return planned


async def _plan_batch(bench: Bench, organisation: OrganisationId, network: str, payouts: list[DuePayout]) -> bool:
    rail = bench.rails.get(network)
    if rail is None:
        retry_at = Instant(bench.clock() + LATER_MS)
        for payout in payouts:
            reason = Reason("no_rail", "engine", f"nothing pays on {network} here")
            await hold(bench, payout, HoldReason.RAIL, retry_at, reason)
        return True
    wanted = [payout for payout in payouts if not await end(bench, payout)]
    if not wanted:
        return True
    try:
        wallet = await wallet_of(bench, organisation, network)
        if wallet is None:
            return False
        found = await coins_of(rail, wallet)
        rate = await rail.fee_rate()
    except RailError as fault:
        LOG.warning("%s: %s; its payouts stay ready", network, fault)
        return False
    form, policy = COIN_FORMATS[network], (await bench.policies()).get(organisation)
    rule = None if policy is None else policy.wallets.get(network)
    if rule is not None and rate > rule.fee_rate_maximum:
        said = f"{shown_rate(rate)} > {shown_rate(rule.fee_rate_maximum)} {form.rate_unit}"
        return await too_dear(bench, wanted, Reason("fee_rate", "node", said))
    reserved = await store.reserved_coins(bench.connection, organisation)
    contested = await bumping.contested(bench.connection, organisation)
    free = [
        coin for coin in found if coin.outpoint not in reserved
        and (coin.height is not None or coin.chain_transaction not in contested)
    ]
    try:
        fitting = _fitting(form, wallet.change, wanted, free, rate, rule)
    except _TooDearError as fault:
        return await too_dear(bench, wanted[:1], Reason("fee", "node", str(fault)))
    if fitting is None:
        return await _no_funds(bench, wanted[0], "the wallet's free coins aren't enough for it and its fee")
    going, chosen, fee = fitting
    try:
        spent = await spendable(rail, chosen)
    except RailError as fault:
        LOG.warning("%s: %s; its payouts stay ready", network, fault)
        return False
    return await _write_down(bench, organisation, network, going, spent, fee, wallet, wanted[-1])


class _TooDearError(Exception):
    """Not even one payout goes for a fee that the policy pays; the message says what it would be."""


def _fitting(
    form: CoinFormat, change: str, payouts: Sequence[DuePayout], coins: Sequence[Coin], rate: int,
    rule: WalletRule | None,
) -> tuple[list[DuePayout], list[Coin], int] | None:
    """The oldest payouts, as many as the coins are enough for and the policy's highest fee, with coins and fee.

    None if the coins aren't enough for one. Raises: _TooDearError if the fee is too high for one.
    """
    has = sum(coin.amount_minor for coin in coins)
    sums = list(accumulate(payout.amount for payout in payouts))
    low, count = 0, sum(each <= has for each in sums)
    high, fitting, too_dear = count, None, None
    while low < high:  # all of them at first, then the half of what isn't known
        addresses = [*(payout.address for payout in payouts[:count]), change]
        chosen = choose(form, coins, sums[count - 1], addresses, rate)
        if chosen is not None and (rule is None or chosen[1] <= rule.fee_maximum_minor):
            low, fitting = count, chosen
        else:
            high, too_dear = count - 1, chosen
        count = (low + high + 1) // 2
    if fitting is None and too_dear is not None and rule is not None:
        raise _TooDearError(f"a fee of {too_dear[1]} > {rule.fee_maximum_minor}")
    return None if fitting is None else (list(payouts[:low]), *fitting)


async def _write_down(
    bench: Bench, organisation: OrganisationId, network: str, payouts: list[DuePayout], spent: Sequence[Spent],
    fee: int, wallet: Wallet, youngest: DuePayout,
) -> bool:
    """Whether anything moved. Where the fee doesn't fit, the youngest that is ready lets go of its money for it."""
    outpoints, asset = [coin.outpoint for coin in spent], COIN_FORMATS[network].asset
    for more in range(OTHER_BYTES_MAXIMUM):  # a unit more for the fee makes other bytes
        attempt, paid = _build(organisation, network, payouts, spent, fee + more, wallet)
        try:
            await store.keep_plan(bench.connection, attempt, asset, paid, outpoints, bench.clock())
        except PlannedBeforeError:
            continue
        except NoFundsError:
            return await _no_funds(bench, youngest, "the wallet has promised what the fee needs")
        return True
    LOG.error("%s: %s: no plan is new; its payouts stay ready", organisation, network)
    return False


async def _no_funds(bench: Bench, payout: DuePayout, detail: str) -> bool:
    """It is held, and what it reserved may pay for others meanwhile."""
    now = bench.clock()
    reason = Reason("no_funds", "engine", detail)
    async with bench.connection.transaction():
        await store.release(bench.connection, [payout.id], now)
        await hold(bench, payout, HoldReason.FUNDS, Instant(now + FUNDS_WAIT_MS), reason)
    return True


def choose(
    form: CoinFormat, coins: Sequence[Coin], total: int, addresses: Sequence[str], rate_per_1000: int
) -> tuple[list[Coin], int] | None:
    """Coins for `total` to these addresses and a fee at this rate, the largest first, those in blocks before others.

    None if all of them aren't enough, or it gets larger than the chain takes.
    """
    chosen: list[Coin] = []
    has, sizes = 0, form.signed_sizes(addresses)
    for coin in sorted(coins, key=lambda each: (each.height is None, -each.amount_minor)):
        chosen.append(coin)
        has += coin.amount_minor
        size = sizes([each.address for each in chosen])
        fee = -(-rate_per_1000 * size // 1_000)
        if size > form.size_maximum or len(chosen) > form.inputs_maximum:
            return None
        if has >= total + fee:
            return chosen, fee
    return None


def _build(
    organisation: OrganisationId, network: str, payouts: Sequence[DuePayout], spent: Sequence[Spent], fee: int,
    wallet: Wallet,
) -> tuple[StoredAttempt, int]:
    """The unsigned bytes: payouts in their order, then change, unless it were dust, which is left to the fee."""
    form = COIN_FORMATS[network]
    change = sum(coin.amount for coin in spent) - sum(payout.amount for payout in payouts) - fee
    outputs = [(payout.address, payout.amount) for payout in payouts]
    if change >= form.dust_minor:
        outputs.append((wallet.change, change))
    else:
        fee += change
    unsigned = form.write_unsigned(spent, outputs)
    paths = [wallet.paths[coin.address] for coin in spent]
    attempt = StoredAttempt(
        form.read_unsigned(unsigned).identifier, organisation, network, "pay", "planned", unsigned, None,
        json.dumps(paths), tuple(payout.id for payout in payouts),
    )
    return attempt, fee
