"""Kills batches of a vault of which all was taken back after it was signed, if the chain hasn't paid them yet.

The call that kills goes at the nonce of the one that pays, for more, while that waits for a block: then one of the two
is mined. Which one, the chain decides. A batch that pays somebody else as well isn't killed: they are owed.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from strongroom.domain.payout import State
from strongroom.engine.bench import Bench
from strongroom.engine.renew import outbid, send_again
from strongroom.engine.vault import Vault, free_nonce, gas_for, vault_of
from strongroom.formats.evm_vault_call import VaultCall, parse_vault_call
from strongroom.rails.evm.fees import TooDear, first_fees
from strongroom.rails.port import RailError
from strongroom.store import engine as store
from strongroom.store import vaults
from strongroom.store.vaults import ReportedCall

LOG = logging.getLogger("strongroom.engine")


async def kill(bench: Bench) -> bool:
    """Whether a kill was planned."""
    on_their_way = [payout for payout, each in (await vaults.sent(bench.connection)).items()
                    if each.state in (State.SIGNED, State.BROADCAST)]
    waiting = await vaults.waiting_for_proof(bench.connection)
    taken_back = (await bench.taken_back() if on_their_way else frozenset[str]()) | waiting
    meant = [*waiting, *(payout for payout in on_their_way if payout in taken_back)]
    planned = False
    for network, batch in sorted({
        (each.network, each.batch) for batches in (await vaults.carried(bench.connection, meant)).values()
        for each in batches if each.fate == "unseen"
    }):
        calls = await vaults.calls_of(bench.connection, network, batch)
        is_meant = taken_back.issuperset(calls[0].attempt.payouts)
        if is_meant and not await vaults.is_being_killed(bench.connection, calls):
            planned |= await _kill(bench, calls)
    return planned


async def _kill(bench: Bench, calls: Sequence[ReportedCall]) -> bool:
    call, attempt = calls[0], calls[0].attempt
    where = attempt.organisation, attempt.network
    if call.due_at > bench.clock() or where in await store.planned_wallets(bench.connection):
        return False
    try:
        vault = await vault_of(bench, *where)
        made = None if vault is None else await outbid(vault, call) or await _anew(bench, vault, call)
        if vault is None or made is None:
            return False
        if not isinstance(made, TooDear):
            batch = parse_vault_call(attempt.unsigned).batch.name
            made = replace(
                made, token=b"", salt=b"", items=(), kills=(batch,), retries=(), deadline=0,
                gas_limit=gas_for(0, 1, 0, 0),
            )
        return await send_again(bench, vault, call, made)
    except RailError as fault:
        LOG.warning("%s: %s; what was taken back isn't killed yet", attempt.network, fault)
        return False


async def _anew(bench: Bench, vault: Vault, call: ReportedCall) -> VaultCall | TooDear | None:
    """At the next nonce, as the paying call has none any more. Raises: RailError."""
    nonce = await free_nonce(bench, vault)
    if nonce is None:
        return None
    market = await vault.rail.fees()
    fees = first_fees(market.base_fee, market.priority_fee, gas_for(0, 1, 0, 0), vault.ceiling)
    if isinstance(fees, TooDear):
        return fees
    return replace(
        parse_vault_call(call.attempt.unsigned), nonce=nonce, max_fee=fees.most, max_priority_fee=fees.priority,
        sender=bytes.fromhex(vault.account[2:]),
    )
