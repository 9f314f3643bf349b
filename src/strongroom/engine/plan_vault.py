"""Puts ready payouts into a batch of a vault: which payouts, for how much gas, at which price. Written down before use.

One token and at most 248 items a batch, the oldest first, and one batch at a time: the next is planned when the one
before is in a block. A payout that a vault was to pay before is planned by covering each earlier batch of it: one that
was executed without it is retried, any other is killed. Whoever lies about which it was makes a call that reverts.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.ids import OrganisationId, PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import HoldReason
from strongroom.engine.bench import LATER_MS, Bench
from strongroom.engine.triage import FUNDS_WAIT_MS, end
from strongroom.engine.vault import (
    GAS_MAXIMUM,
    Vault,
    cost_maximum,
    deadline_after,
    free_nonce,
    gas_for,
    gwei,
    items_within,
    vault_of,
)
from strongroom.engine.waits import put_aside, too_dear
from strongroom.formats.asset import AssetError, AssetKind, parse_asset
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_vault_call import KILLS_MAXIMUM, PAY, VaultCall, encode_vault_call
from strongroom.formats.hot_vault import ITEMS_MAXIMUM, Retry, VaultItem
from strongroom.rails.account_port import FeeMarket
from strongroom.rails.evm import preflight
from strongroom.rails.evm.fees import TooDear, first_fees
from strongroom.rails.port import RailError
from strongroom.store import vaults
from strongroom.store.engine import DuePayout, NoFundsError, PlannedBeforeError, Reason, StoredAttempt
from strongroom.store.vaults import Carried

LOG = logging.getLogger("strongroom.engine")
QUESTIONS: Final = {"USDC": preflight.USDC, "USDT": preflight.USDT}
"""What a token is asked before it is paid, by its symbol in the policy; of others only what all answer."""
_WHY: Final = {
    preflight.Reason.LIMIT_ITEM: HoldReason.LIMIT_WINDOW, preflight.Reason.LIMIT_WINDOW: HoldReason.LIMIT_WINDOW,
    preflight.Reason.VAULT_FUNDS: HoldReason.FUNDS, preflight.Reason.PAYEE_INVALID: HoldReason.SCREENING,
    preflight.Reason.PAYEE_FORBIDDEN: HoldReason.SCREENING, preflight.Reason.PAYEE_REFUSED: HoldReason.SCREENING,
    preflight.Reason.PAYEE_CONTRACT: HoldReason.SCREENING,
}
"""Others are the network's."""


@dataclass(frozen=True, slots=True)
class Cover:
    """What a batch does about earlier ones of its payouts."""

    kills: tuple[bytes, ...] = ()
    retries: tuple[Retry, ...] = ()


async def plan_vault(bench: Bench, organisation: OrganisationId, network: str, payouts: list[DuePayout]) -> bool:
    """One batch, if no call of the account waits for a block. Whether anything moved."""
    try:
        vault = await vault_of(bench, organisation, network)
        if vault is None:
            reason = Reason("no_vault", "engine", f"the policy names no vault on {network}, or the signer none of its")
            return await put_aside(bench, payouts, HoldReason.RAIL, LATER_MS, reason)
        nonce = await free_nonce(bench, vault)
        if nonce is None:
            return False
        carried = await vaults.carried(bench.connection, [payout.id for payout in payouts])
        wanted, cover = first_group(payouts, carried)
        wanted = [payout for payout in wanted if not await end(bench, payout)]
        return not wanted or await _plan_batch(bench, vault, nonce, wanted, cover)
    except RailError as fault:
        LOG.warning("%s: %s; its payouts stay ready", network, fault)
        return False


def first_group(
    payouts: Sequence[DuePayout], carried: Mapping[PayoutId, Sequence[Carried]]
) -> tuple[list[DuePayout], Cover]:
    """Those that go with the oldest: of its token, with the same cover. A retry goes alone, so that one whose skip was
    a lie reverts alone; and what a killed batch held goes together."""
    groups: dict[tuple[str, Cover], list[DuePayout]] = defaultdict(list)
    for payout in payouts:
        groups[payout.asset, cover_of(carried.get(payout.id, ()))].append(payout)
    (_, cover), wanted = next(iter(groups.items()))
    return wanted[: 1 if cover.retries else ITEMS_MAXIMUM], cover


def cover_of(carried: Sequence[Carried]) -> Cover:
    """For a payout with these batches, the newest first. What was executed without it covers all that is older."""
    kills: list[bytes] = []
    for each in carried:
        if each.fate == "skipped":
            return Cover(tuple(kills), (Retry(bytes.fromhex(each.batch), each.item),))
        kills.append(bytes.fromhex(each.batch))
    return Cover(tuple(kills))


async def _plan_batch(bench: Bench, vault: Vault, nonce: int, payouts: list[DuePayout], cover: Cover) -> bool:
    token = token_of(vault, payouts[0].asset)
    if token is None or len(cover.kills) > KILLS_MAXIMUM:
        said = "a vault pays tokens" if token is None else f"more than {KILLS_MAXIMUM} batches of it must be killed"
        return await put_aside(bench, payouts, HoldReason.RAIL, LATER_MS, Reason("no_vault", "engine", said))
    market = await vault.rail.fees()
    room = await preflight.room(vault.rail, vault.address, token.address)
    price, ceiling, spare = vault.price(market), vault.ceiling, room.gas_per_item
    if price > ceiling.most:
        return await too_dear(bench, payouts, Reason("fee_rate", "node", f"{gwei(price)} > {gwei(ceiling.most)} gwei"))
    most = items_within(min(GAS_MAXIMUM, ceiling.cost // price), len(cover.kills), len(cover.retries), spare)
    if not most:
        cost = price * gas_for(1, len(cover.kills), len(cover.retries), spare)
        return await too_dear(bench, payouts[:1], Reason("fee", "node", f"a fee of {cost} > {ceiling.cost}"))
    fitting = _fitting(payouts[:most], room.minor)
    asked = preflight.Planned(
        vault.address, vault.account, token, [(payout.address, payout.amount) for payout in fitting]
    )
    found = await preflight.check(vault.rail, asked, bench.passed)
    if found.obstacles:
        return await _hold(bench, fitting, found.obstacles)
    return await _write_down(bench, vault, build(vault, market, nonce, fitting, cover, spare, bench.clock()), fitting)


def token_of(vault: Vault, asset: str) -> preflight.Token | None:
    """With the questions of its kind; None for what no vault pays, or the policy doesn't know."""
    try:
        parsed = parse_asset(asset)
    except AssetError:
        return None
    rule = vault.policy.assets.get(parsed.id)
    if parsed.kind is not AssetKind.ERC20 or rule is None:
        return None
    return preflight.Token(parsed.contract, QUESTIONS.get(rule.symbol, preflight.PLAIN))


def _fitting(payouts: list[DuePayout], minor: int) -> list[DuePayout]:
    """The oldest, as many as the vault lets out now; one at least, of which `check` says what is in its way."""
    total, count = 0, 0
    for payout in payouts:
        total += payout.amount
        if total > minor:
            break
        count += 1
    return payouts[: max(count, 1)]


def build(
    vault: Vault, market: FeeMarket, nonce: int, payouts: Sequence[DuePayout], cover: Cover, spare: int, now: Instant
) -> VaultCall | TooDear:
    """The salt comes from payouts and cover: so the same plan makes the same batch, and no other payouts' do."""
    gas = gas_for(len(payouts), len(cover.kills), len(cover.retries), spare)
    fees = first_fees(market.base_fee, market.priority_fee, gas, vault.ceiling)
    if isinstance(fees, TooDear):
        return fees
    named = [*(payout.id for payout in payouts), *(each.hex() for each in cover.kills),
             *(f"{each.batch.hex()}:{each.index}" for each in cover.retries)]
    salt = hashlib.sha256(json.dumps(named).encode()).digest()
    return VaultCall(
        vault.chain_id, nonce, fees.priority, fees.most, gas, deadline_after(now), _raw(vault.account),
        _raw(vault.address), _raw(parse_asset(payouts[0].asset).contract), salt,
        tuple(VaultItem(_raw(payout.address), payout.amount) for payout in payouts), cover.kills, cover.retries,
    )


def attempt_of(vault: Vault, call: VaultCall, payouts: Sequence[PayoutId], replaces: str | None) -> StoredAttempt:
    """To be written down, named by the hash of its call; what only kills pays nobody."""
    raw = encode_vault_call(call)
    pays = bool(call.items)
    batch = call.batch.name.hex() if pays else None
    return StoredAttempt(
        keccak256(raw).hex(), vault.organisation, vault.network, PAY if pays else "cancel", "planned", raw, None,
        vault.paths, tuple(payouts if pays else ()), batch=batch, nonce=call.nonce,
        replaces=replaces,
    )


async def _write_down(bench: Bench, vault: Vault, call: VaultCall | TooDear, payouts: list[DuePayout]) -> bool:
    if isinstance(call, TooDear):
        return await too_dear(bench, payouts, Reason("fee_rate", "node", call.reason))
    cost, held = cost_maximum(call), await vault.rail.balance(vault.account)
    if cost > held:
        reason = Reason("no_gas", "node", f"its gas may cost {cost}, and the account that pays it has {held}")
        return await put_aside(bench, payouts, HoldReason.FUNDS, FUNDS_WAIT_MS, reason)
    attempt = attempt_of(vault, call, [payout.id for payout in payouts], None)
    try:
        await vaults.keep_call(bench.connection, attempt, vault.rule.fee_asset, cost, bench.clock())
    except NoFundsError:
        reason = Reason("no_gas", "ledger", f"its gas may cost {cost}, which is more than the ledger has left for it")
        return await put_aside(bench, payouts, HoldReason.FUNDS, FUNDS_WAIT_MS, reason)
    except PlannedBeforeError as fault:
        LOG.error("%s: no plan is new: %s; its payouts stay ready", vault.network, fault)
        return False
    return True


async def _hold(bench: Bench, payouts: Sequence[DuePayout], obstacles: Sequence[preflight.Obstacle]) -> bool:
    """Those whom an obstacle is about, or all of them for one of the batch."""
    by_payee = {each.payee: each for each in reversed(obstacles)}
    of_batch = by_payee.get(None)
    for payout in payouts:
        found = by_payee.get(payout.address) or of_batch
        if found is not None:
            reason = Reason(found.reason.value, "node", f"The payout {found.detail}")
            await put_aside(bench, [payout], _WHY.get(found.reason, HoldReason.RAIL), LATER_MS, reason)
    return True


def _raw(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x"))
