"""Sends a vault's batches again that the chain hasn't taken: calls that are stuck, that reverted, or lost their nonce.

What is sent again is always the same batch, which the vault executes once or never: so nothing depends on why the
earlier call failed, or on whether it did. Stuck, it offers more at the same nonce, and one of the two is mined. A batch
that reverts again and again, or that the vault has no room for now, is given up: its payouts are planned anew, in
batches that kill it.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Final

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.payout import State
from strongroom.engine.bench import LATER_MS, Bench, later_ms
from strongroom.engine.plan_vault import attempt_of, token_of
from strongroom.engine.settle_vault import walk
from strongroom.engine.sign import send
from strongroom.engine.vault import GAS_MAXIMUM, Vault, cost_maximum, deadline_after, free_nonce, vault_of
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_vault_call import VaultCall, parse_vault_call
from strongroom.rails.evm import preflight
from strongroom.rails.evm.fees import Fees, TooDear, first_fees, replacement_fees
from strongroom.rails.port import RailError
from strongroom.store import engine as store
from strongroom.store import vaults
from strongroom.store.engine import NoFundsError, PlannedBeforeError, Reason
from strongroom.store.vaults import ReportedCall

LOG = logging.getLogger("strongroom.engine")
REVERTS_MAXIMUM: Final = 3
_LOST: Final = frozenset({"reverted", "replaced"})
_WAITS: Final = frozenset({
    preflight.Reason.VAULT_MISSING, preflight.Reason.VAULT_PAUSED, preflight.Reason.VAULT_REFUSED,
    preflight.Reason.VAULT_OPERATOR, preflight.Reason.ASSET_MISSING, preflight.Reason.ASSET_PAUSED,
    preflight.Reason.ASSET_UNANSWERED,
})
"""What stands in the way of every batch of the token is waited for. For the rest another batch may do."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A batch that no call carries any more, by its newest call; the payouts that wait for it, by where they are."""

    call: ReportedCall
    reverts: int
    payouts: dict[State, list[PayoutId]]


async def renew(bench: Bench) -> bool:
    """Whether a call was planned, or a batch given up."""
    moved = False
    for lost in await _lost(bench):
        if lost.reverts >= REVERTS_MAXIMUM:
            moved |= await _give_up(bench, lost, Reason("vault_reverts", "chain", f"it reverted {lost.reverts} times"))
        else:
            moved |= await _renew(bench, lost.call, lost)
    for stuck in await _stuck(bench):
        moved |= await _renew(bench, stuck, None)
    return moved


async def _stuck(bench: Bench) -> list[ReportedCall]:
    """Calls that were sent long enough ago and stand in no block, but for those that were outbid."""
    now = bench.clock()
    return [
        call for call in await vaults.calls_on_their_way(bench.connection)
        if call.attempt.state in (State.SIGNED, State.BROADCAST) and call.status in ("", "unseen", "pending")
        and not call.is_outbid and not call.is_over and call.due_at <= now and _is_overdue(bench, call)
    ]


def _is_overdue(bench: Bench, call: ReportedCall) -> bool:
    return call.signed_at + bench.stuck_ms <= bench.clock()


async def _lost(bench: Bench) -> list[Lost]:
    sent = {payout: each.state for payout, each in (await vaults.sent(bench.connection)).items()
            if each.state in (State.SIGNED, State.BROADCAST)}
    waiting: dict[tuple[str, str], dict[State, list[PayoutId]]] = defaultdict(lambda: defaultdict(list))
    for payout, batches in (await vaults.carried(bench.connection, list(sent))).items():
        if batches[0].fate == "unseen":
            waiting[batches[0].network, batches[0].batch][sent[payout]].append(payout)
    found: list[Lost] = []
    taken_back = await bench.taken_back() if waiting else frozenset()
    for (network, batch), payouts in waiting.items():
        if all(taken_back.issuperset(each) for each in payouts.values()):
            continue  # it is killed
        calls = await vaults.calls_of(bench.connection, network, batch)
        live = [call for call in calls if call.attempt.state != "dropped" and call.status not in _LOST]
        if calls[0].due_at <= bench.clock() and (not live or await _are_stranded(bench, live)):
            found.append(Lost(calls[0], sum(call.status == "reverted" for call in calls), payouts))
    return found


async def _are_stranded(bench: Bench, live: list[ReportedCall]) -> bool:
    """Whether they wait behind nonces that nobody used, as a node said once that somebody had."""
    attempt = live[0].attempt
    if any(call.status == "confirmed" or not _is_overdue(bench, call) for call in live):
        return False
    try:
        vault = await vault_of(bench, attempt.organisation, attempt.network)
        mined = None if vault is None else (await vault.rail.nonces(vault.account)).mined
    except RailError:
        return False
    return mined is not None and all((call.attempt.nonce or 0) > mined for call in live)


async def _renew(bench: Bench, call: ReportedCall, lost: Lost | None) -> bool:
    attempt = call.attempt
    where = attempt.organisation, attempt.network
    if where in await store.planned_wallets(bench.connection):
        return False
    try:
        vault = await vault_of(bench, *where)
        if vault is None:
            return False
        made = await (outbid(vault, call) if lost is None else _again(bench, vault, lost))
        if made is not None:
            return await send_again(bench, vault, call, made)
        if lost is None:  # its nonce isn't the next one: what becomes of it is reported, sooner or later
            await _remind(bench, call)
            due_at = Instant(bench.clock() + later_ms(call.attempt.tries))
            await store.try_later(bench.connection, attempt.chain_transaction, due_at, attempt.note)
        return False
    except _GivenUpError as fault:
        return lost is not None and await _give_up(bench, lost, fault.reason)
    except _WaitsError as fault:
        return await _postpone(bench, call, fault.reason)
    except RailError as fault:
        LOG.warning("%s: %s; what must be sent again waits", attempt.network, fault)
        return False


class _WaitsError(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class _GivenUpError(_WaitsError):
    pass


async def outbid(vault: Vault, call: ReportedCall) -> VaultCall | TooDear | None:
    """At the same nonce for more; None if it isn't the account's next one. Raises: RailError."""
    before = parse_vault_call(call.attempt.unsigned)
    if eip55(before.sender) != vault.account or (await vault.rail.nonces(vault.account)).mined != before.nonce:
        return None
    market = await vault.rail.fees()
    fees = replacement_fees(
        Fees(before.max_fee, before.max_priority_fee), market.base_fee, market.priority_fee, before.gas_limit,
        vault.ceiling,
    )
    return fees if isinstance(fees, TooDear) else replace(before, max_fee=fees.most, max_priority_fee=fees.priority)


async def _again(bench: Bench, vault: Vault, lost: Lost) -> VaultCall | TooDear | None:
    """At the next nonce, with more gas if it reverted; None while another call has that.

    Raises: RailError, _WaitsError, _GivenUpError.
    """
    nonce = await free_nonce(bench, vault)
    if nonce is None:
        return None
    before = parse_vault_call(lost.call.attempt.unsigned)
    await _look(vault, before)
    market = await vault.rail.fees()
    gas = before.gas_limit * (3 if lost.reverts else 2) // 2
    gas = max(min(gas, GAS_MAXIMUM, vault.ceiling.cost // max(vault.price(market), 1)), before.gas_limit)
    fees = first_fees(market.base_fee, market.priority_fee, gas, vault.ceiling)
    if isinstance(fees, TooDear):
        return fees
    sender = bytes.fromhex(vault.account[2:])
    return replace(
        before, nonce=nonce, max_fee=fees.most, max_priority_fee=fees.priority, gas_limit=gas, sender=sender
    )


async def _look(vault: Vault, before: VaultCall) -> None:
    """What would stop it now. Raises: RailError, _WaitsError, _GivenUpError."""
    token = token_of(vault, f"{vault.network}/erc20:{eip55(before.token)}")
    if token is None:
        raise _WaitsError(Reason("no_vault", "engine", "the policy doesn't know its token any more"))
    items = [(eip55(item.payee), item.amount) for item in before.items]
    found = await preflight.check(vault.rail, preflight.Planned(vault.address, vault.account, token, items))
    for each in sorted(found.obstacles, key=lambda each: each.reason not in _WAITS):
        reason = Reason(each.reason.value, "node", f"The payout {each.detail}")
        raise _WaitsError(reason) if each.reason in _WAITS else _GivenUpError(reason)


async def send_again(bench: Bench, vault: Vault, call: ReportedCall, made: VaultCall | TooDear) -> bool:
    if isinstance(made, TooDear):
        return await _postpone(bench, call, Reason("fee_rate", "node", made.reason))
    now, before = bench.clock(), call.attempt
    made = replace(made, deadline=deadline_after(now) if made.items else 0)
    cost, held = cost_maximum(made), await vault.rail.balance(vault.account)
    said = f"its gas may cost {cost}, and the account that pays it has {held}"
    if cost > held:
        return await _postpone(bench, call, Reason("no_gas", "node", said))
    attempt = attempt_of(vault, made, before.payouts, before.chain_transaction)
    try:
        await vaults.keep_call(bench.connection, attempt, vault.rule.fee_asset, cost, now)
    except NoFundsError:
        return await _postpone(bench, call, Reason("no_gas", "ledger", said))
    except PlannedBeforeError as fault:
        LOG.error("%s: no plan is new: %s", vault.network, fault)
        return False
    LOG.warning("%s: %s is sent again as %s, with nonce %d", vault.network, before.chain_transaction,
                attempt.chain_transaction, made.nonce)
    return True


async def _postpone(bench: Bench, call: ReportedCall, reason: Reason) -> bool:
    """Said of it, and looked at later. Never news to go on for."""
    await _remind(bench, call)
    now, attempt = bench.clock(), call.attempt
    async with bench.connection.transaction():
        await store.try_later(bench.connection, attempt.chain_transaction, Instant(now + LATER_MS), reason.detail)
        await store.note(bench.connection, attempt.payouts, reason, now)
    return False


async def _remind(bench: Bench, call: ReportedCall) -> None:
    """Who forgot it, as nodes do after a reorg, gets the same bytes again: another call may never come."""
    if call.attempt.state == State.BROADCAST and call.status == "unseen":
        await send(bench, call.attempt)


async def _give_up(bench: Bench, lost: Lost, reason: Reason) -> bool:
    """The batch stays what it is, and may still be paid until another kills it."""
    for state, payouts in lost.payouts.items():
        await walk(bench, payouts, state, State.HELD, reason)
    return True

