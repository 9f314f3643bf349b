"""Empties a hot wallet: all its coins, by one chain transaction, to the treasury that the policy names.

Not a step of the pipeline: a person asks for it, mostly while all is frozen, and then the signer takes it for an
officer's word alone. It is written down before the signer is asked, so that watch knows it for ours; afterwards the
engine's process follows it as any attempt. What isn't signed yet waits for funds from then on. Left out are coins that
something signed spends already, and what strangers sent and isn't final.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.policy import WalletRule
from strongroom.engine.bench import Bench
from strongroom.engine.sign import sign_one
from strongroom.engine.wallets import Wallet, coins_of, spendable, wallet_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import Coin as Spent
from strongroom.protocol.signer_wire import RefusedAnswer
from strongroom.rails.port import BroadcastOutcome, Coin, Rail, RailError
from strongroom.store import bumping, sweeping
from strongroom.store import engine as store
from strongroom.store.engine import NoFundsError, PlannedBeforeError, StoredAttempt

PLANS_WAIT_S: Final = 10
PLANS_POLL_S: Final = 0.2


class SweepError(Exception):
    """Nothing was swept; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What was signed, and what the node said to it."""

    chain_transaction: str
    treasury: str
    amount_minor: int
    fee_minor: int
    coins: int
    outcome: BroadcastOutcome


async def sweep(bench: Bench, organisation: OrganisationId, network: str) -> Swept | RefusedAnswer:
    """Planned, signed and sent; or the signer's refusal, after which nothing has changed. Raises: SweepError."""
    rail, rule = bench.rails.get(network), await _rule(bench, organisation, network)
    if rail is None or rule.treasury is None:
        why = f"no node is configured for {network}" if rail is None else f"the policy has no treasury on {network}"
        raise SweepError(f"{why}, so nothing can be swept")
    await _wait_for_plans(bench, organisation, network)
    try:
        wallet = await wallet_of(bench, organisation, network)
        if wallet is None:
            raise SweepError(f"the signer knows no wallet of {organisation} on {network}")
        coins = await spendable(rail, await _free_coins(bench, rail, wallet, organisation, rule))
        attempt, fee, swept = _build(organisation, network, coins, wallet, rule, await rail.fee_rate())
    except RailError as fault:
        raise SweepError(f"the node of {network} doesn't answer as it should: {fault}") from fault
    try:
        outpoints, asset = [coin.outpoint for coin in coins], COIN_FORMATS[network].asset
        await sweeping.keep_sweep(bench.connection, attempt, asset, fee, swept, outpoints, bench.clock())
    except NoFundsError as fault:
        raise SweepError("the ledger has less than the fee: watch hasn't booked the coins yet; again soon") from fault
    except PlannedBeforeError as fault:
        raise SweepError(f"{fault}: the engine's process goes on with it") from fault
    _, refused = await sign_one(bench, attempt)
    if refused is not None:
        return refused
    signed = await sweeping.signed_bytes(bench.connection, attempt.chain_transaction)
    if signed is None:
        raise SweepError(f"{attempt.chain_transaction} has no signed bytes, though the signer gave some")
    outcome = await rail.broadcast(signed)
    return Swept(attempt.chain_transaction, rule.treasury, swept, fee, len(coins), outcome)


async def _rule(bench: Bench, organisation: OrganisationId, network: str) -> WalletRule:
    policy = (await bench.policies()).get(organisation)
    rule = None if policy is None else policy.wallets.get(network)
    if rule is None:
        raise SweepError(f"the database knows no policy of {organisation} with a wallet on {network}")
    return rule


async def _wait_for_plans(bench: Bench, organisation: OrganisationId, network: str) -> None:
    """While all is frozen they are refused and dropped within moments. Raises: SweepError."""
    for _ in range(int(PLANS_WAIT_S / PLANS_POLL_S)):
        if (organisation, network) not in await store.planned_wallets(bench.connection):
            return
        await asyncio.sleep(PLANS_POLL_S)
    raise SweepError("another chain transaction is planned and not signed: see that the engine's process runs")


async def _free_coins(
    bench: Bench, rail: Rail, wallet: Wallet, organisation: OrganisationId, rule: WalletRule
) -> list[Coin]:
    """The largest first, as many as one chain transaction takes. Raises: RailError, SweepError if there are none."""
    reserved = await store.reserved_coins(bench.connection, organisation)
    ours = await sweeping.own_transactions(bench.connection, organisation)
    ours -= await bumping.contested(bench.connection, organisation)
    final_height = (await rail.tip()).height - rule.finality_blocks + 1
    free = [
        coin for coin in await coins_of(rail, wallet) if coin.outpoint not in reserved
        and (coin.chain_transaction in ours or (coin.height is not None and coin.height <= final_height))
    ]
    if not free:
        raise SweepError("the wallet has no coin that is free: nothing to sweep")
    return sorted(free, key=lambda coin: -coin.amount_minor)[: COIN_FORMATS[rail.network].inputs_maximum]


def _build(
    organisation: OrganisationId, network: str, coins: Sequence[Spent], wallet: Wallet, rule: WalletRule, rate: int
) -> tuple[StoredAttempt, int, int]:
    """The attempt, its fee, and what reaches the treasury. The fee is never above the policy's. Raises: SweepError."""
    if rule.treasury is None:
        raise SweepError(f"the policy has no treasury on {network}")
    form = COIN_FORMATS[network]
    size = form.signed_sizes([rule.treasury])([coin.address for coin in coins])
    fee = min(-(-rate * size // 1_000), rule.fee_maximum_minor, rule.fee_rate_maximum * size // 1_000)
    rest = sum(coin.amount for coin in coins) - fee
    if rest < form.dust_minor:
        raise SweepError(f"the free coins are worth {rest + fee}, which isn't worth a fee of {fee}")
    unsigned = form.write_unsigned(coins, [(rule.treasury, rest)])
    paths = json.dumps([wallet.paths[coin.address] for coin in coins])
    attempt = StoredAttempt(
        form.read_unsigned(unsigned).identifier, organisation, network, "sweep", "planned", unsigned, None, paths, ()
    )
    return attempt, fee, rest
