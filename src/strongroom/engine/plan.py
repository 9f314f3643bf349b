"""Puts ready payouts into chain transactions: which coins, which fee, where the change goes. Written down before use.

Coins are chosen and reserved here, in our own record; a node that forgets its locks changes nothing.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason, State
from strongroom.engine.bench import Bench
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import ADDRESSES_MAXIMUM, Coin, Rail, RailError
from strongroom.store import engine as store
from strongroom.store.engine import DuePayout, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
FUNDS_WAIT_MS: Final = 5_000
OTHER_BYTES_MAXIMUM: Final = 8
GAP: Final = 20
"""Addresses looked at beyond the next one for change."""
PAYOUTS_MAXIMUM: Final = 400


@dataclass(frozen=True, slots=True)
class Wallet:
    """The wallet's addresses by their path's index, and where change goes next."""

    addresses: Sequence[str]
    change_next: int
    generation: int


async def plan(bench: Bench) -> bool:
    """One batch for each organisation and network that has something ready. Whether one was planned."""
    waiting: dict[tuple[OrganisationId, str], list[DuePayout]] = defaultdict(list)
    for payout in await store.due_payouts(bench.connection, (State.READY,), bench.clock()):
        waiting[payout.organisation, payout.network].append(payout)
    planned = False
    under_way = await store.attempts_in(bench.connection, "planned")
    for (organisation, network), payouts in waiting.items():
        if any(each.organisation == organisation and each.network == network for each in under_way):
            continue  # change has one next address, so one plan waits for the one before
        planned |= await _plan_batch(bench, organisation, network, payouts[:PAYOUTS_MAXIMUM])
    return planned


async def _plan_batch(bench: Bench, organisation: OrganisationId, network: str, payouts: list[DuePayout]) -> bool:
    rail, now = bench.rails[network], bench.clock()
    wallet = await _wallet(bench, organisation, network)
    if wallet is None:
        return False
    try:
        found = await _coins(rail, wallet.addresses)
        rate = await rail.fee_rate()
    except RailError as fault:
        LOG.warning("%s: %s; its payouts stay ready", network, fault)
        return False
    reserved = await store.reserved_coins(bench.connection, organisation)
    free = [coin for coin in found if coin.outpoint not in reserved]
    chosen = choose(free, sum(payout.amount for payout in payouts), len(payouts), rate)
    if chosen is None:
        retry_at = Instant(now + FUNDS_WAIT_MS)
        await store.move(
            bench.connection, [each.id for each in payouts], State.READY, State.HELD, now, hold=HoldReason.FUNDS,
            retry_at=retry_at, reason="no coins",
        )
        return False
    coins, fee = chosen
    outpoints = [coin.outpoint for coin in coins]
    for more in range(OTHER_BYTES_MAXIMUM):  # a unit more for the fee makes other bytes
        attempt, paid = _build(organisation, network, payouts, coins, fee + more, wallet)
        if await store.keep_plan(bench.connection, attempt, simulated.ASSET, paid, outpoints, now):
            return True
    return False


async def _coins(rail: Rail, addresses: Sequence[str]) -> list[Coin]:
    """Of any number of addresses, asked about in lots. Raises: RailError."""
    found: list[Coin] = []
    for first in range(0, len(addresses), ADDRESSES_MAXIMUM):
        found += await rail.coins(addresses[first : first + ADDRESSES_MAXIMUM])
    return found


def choose(
    coins: Sequence[Coin], total: int, outputs: int, rate_per_1000: int
) -> tuple[list[Coin], int] | None:
    """Coins for `total` and a fee at this rate, the largest first and those in blocks before others; the fee.

    None if all of them aren't enough, or there are too many.
    """
    chosen: list[Coin] = []
    for coin in sorted(coins, key=lambda each: (each.height is None, -each.amount_minor)):
        chosen.append(coin)
        size = simulated.signed_size(len(chosen), outputs + 1)
        fee = -(-rate_per_1000 * size // 1_000)
        if sum(each.amount_minor for each in chosen) >= total + fee:
            return chosen, fee
        if len(chosen) == simulated.INPUTS_MAXIMUM:
            return None
    return None


def _build(
    organisation: OrganisationId, network: str, payouts: Sequence[DuePayout], coins: Sequence[Coin], fee: int,
    wallet: Wallet,
) -> tuple[StoredAttempt, int]:
    """The unsigned bytes: payouts in their order, then change, unless it were dust, which is left to the fee."""
    change = sum(coin.amount_minor for coin in coins) - sum(payout.amount for payout in payouts) - fee
    outputs = [simulated.Output(payout.amount, payout.address) for payout in payouts]
    if change >= simulated.DUST_MINOR:
        outputs.append(simulated.Output(change, wallet.addresses[wallet.change_next]))
    else:
        fee += change
    inputs = [
        simulated.Input(bytes.fromhex(coin.chain_transaction), coin.index, coin.amount_minor, coin.address)
        for coin in coins
    ]
    unsigned = simulated.encode_unsigned(simulated.Transaction(tuple(inputs), tuple(outputs)))
    paths = [[wallet.generation, wallet.addresses.index(coin.address)] for coin in coins]
    attempt = StoredAttempt(
        simulated.transaction_id(unsigned).hex(), organisation, network, "pay", "planned", unsigned, None,
        json.dumps(paths), tuple(payout.id for payout in payouts),
    )
    return attempt, fee


async def _wallet(bench: Bench, organisation: OrganisationId, network: str) -> Wallet | None:
    body: dict[str, JsonValue] = {"count": GAP, "first": 0, "network": network, "organisation": organisation}
    answer = await bench.signer.ask(Ask.ADDRESSES, body)
    if isinstance(answer, RefusedAnswer):
        return None
    change_next = Fields(answer).integer("change_next", 0, 2**31)
    addresses = _texts(Fields(answer).take("addresses"))
    while (missing := change_next + GAP - len(addresses)) > 0:
        count = min(missing, ADDRESSES_MAXIMUM)
        more = await bench.signer.ask(Ask.ADDRESSES, {**body, "count": count, "first": len(addresses)})
        if isinstance(more, RefusedAnswer):
            return None
        addresses += _texts(Fields(more).take("addresses"))
    return Wallet(addresses, change_next, Fields(answer).integer("generation", 0, 2**31))


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
