"""Calls back what was cancelled or declined after it was signed, if the chain still lets us: by a signed `cancel`.

The signer says what was taken back, as clients and people told guard. A chain transaction is called back only if all
that it pays was, and nothing is built on it: others that it pays are owed, and wait for nobody. The cancel spends the
same coins and pays more, so that miners prefer it; which of the two is mined, the chain decides, and `free` follows.
Batches of vaults are killed instead (`kill`).
"""

import logging
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.engine.bench import Bench, later_ms
from strongroom.engine.wallets import Wallet, wallet_of
from strongroom.formats.coin_formats import COIN_FORMATS, CoinFormat
from strongroom.formats.coins import CoinsError
from strongroom.rails.port import RailError
from strongroom.store import engine as store
from strongroom.store import freeing
from strongroom.store.engine import NoFundsError, PlannedBeforeError, StoredAttempt

LOG = logging.getLogger("strongroom.engine")
REPLACES_PERCENT: Final = 120
"""Of the fee that it replaces, where the chain doesn't ask for more; nodes of the simulated chain ask for 110."""


async def recall(bench: Bench) -> bool:
    """Whether a cancel was planned."""
    waiting = await freeing.recallable_attempts(bench.connection, bench.clock())
    if not waiting:
        return False
    taken_back = await bench.taken_back()
    under_way = await store.planned_wallets(bench.connection)
    planned = False
    for attempt in waiting:
        is_free = (attempt.organisation, attempt.network) not in under_way
        if is_free and taken_back.issuperset(attempt.payouts):
            planned |= await _plan_cancel(bench, attempt)
            under_way |= {(attempt.organisation, attempt.network)}
    return planned


async def _plan_cancel(bench: Bench, attempt: StoredAttempt) -> bool:
    """Written down, to be signed and sent as any other. Whether it was."""
    now = bench.clock()
    rail = bench.rails.get(attempt.network)
    wallet = None if rail is None else await wallet_of(bench, OrganisationId(attempt.organisation), attempt.network)
    due_at = Instant(now + later_ms(attempt.tries))
    await store.try_later(bench.connection, attempt.chain_transaction, due_at, attempt.note)
    if rail is None or wallet is None:
        return False
    try:
        cancel, fee = build_cancel(attempt, wallet, await rail.fee_rate())
        spends = COIN_FORMATS[attempt.network].read_unsigned(cancel.unsigned).spends
        await store.keep_plan(bench.connection, cancel, COIN_FORMATS[attempt.network].asset, fee, spends, now)
    except (RailError, NoFundsError, PlannedBeforeError, CoinsError) as fault:
        LOG.warning("%s can't be called back now: %s", attempt.chain_transaction, fault)
        return False
    LOG.info("%s is called back by %s", attempt.chain_transaction, cancel.chain_transaction)
    return True


def replacing_fee(form: CoinFormat, before: int, size: int, rate_per_1000: int) -> int:
    """What one of this size must pay at least to replace one that pays `before`, and to be mined at this rate."""
    relay = -(-form.relay_per_1000 * size // 1_000)
    return max(-(-rate_per_1000 * size // 1_000), -(-before * REPLACES_PERCENT // 100), before + relay)


def build_cancel(attempt: StoredAttempt, wallet: Wallet, rate_per_1000: int) -> tuple[StoredAttempt, int]:
    """The same coins to the next change, for a fee that replaces the attempt's. Raises: CoinsError."""
    form = COIN_FORMATS[attempt.network]
    before = form.read_unsigned(attempt.unsigned)
    size = form.signed_sizes([wallet.change])([coin.address for coin in before.inputs])
    fee = replacing_fee(form, before.fee, size, rate_per_1000)
    rest = sum(coin.amount for coin in before.inputs) - fee
    if rest < form.dust_minor:
        raise CoinsError("its coins aren't enough for a fee that replaces it")
    unsigned = form.write_unsigned(before.inputs, [(wallet.change, rest)])
    cancel = StoredAttempt(
        form.read_unsigned(unsigned).identifier, attempt.organisation, attempt.network, "cancel", "planned", unsigned,
        None, attempt.paths, (),
    )
    return cancel, fee
