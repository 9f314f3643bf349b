"""Frees the money of a payout that was taken back after a vault was told to pay it, with the signer's void proof.

Guard attests of every batch of it what the vault decided there, as its own node shows: killed, or executed without it.
Where one isn't decided yet nothing is freed; whatever is said falsely on the way ends in a refusal.
"""

import logging
from base64 import b64encode

from strongroom.domain.payout import State
from strongroom.engine.bench import Bench, reason_of
from strongroom.engine.guard_client import GuardClient, SightError
from strongroom.engine.signer_client import statement
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.account_port import AccountRail
from strongroom.rails.port import RailError
from strongroom.store import engine as store
from strongroom.store import vaults
from strongroom.store.engine import DuePayout, Reason

LOG = logging.getLogger("strongroom.engine")


async def void(bench: Bench, payout: DuePayout) -> Reason | None:
    """None if it is failed now, by the signer's word; or why not yet."""
    rail, guard = bench.accounts.get(payout.network), bench.guard
    if rail is None or guard is None:
        return Reason("void_needed", "engine", "no node or no guard is configured that could show what the vault did")
    try:
        frames = await _attested(bench, payout, rail, guard)
    except (RailError, SightError) as fault:
        return Reason("void_needed", "guard", str(fault))
    attestations: list[JsonValue] = [[b64encode(frame).decode()] for frame in frames]
    body: dict[str, JsonValue] = {
        "attestations": attestations, "object": payout.id, "organisation": payout.organisation,
    }
    answer = await bench.signer.ask(Ask.VOID, body)
    if isinstance(answer, RefusedAnswer):
        return Reason("void_needed", "signer", f"{reason_of(answer).code}: {answer.reason}")
    raw, signature = statement(answer, "receipt")
    now = bench.clock()
    async with bench.connection.transaction():
        await store.keep_receipt(bench.connection, payout.organisation, payout.id, raw, signature, now)
        reason = Reason("void", "signer", "it can never be paid: the vault killed or skipped all that was to pay it")
        await store.move(bench.connection, [payout.id], payout.state, State.FAILED, now, reason=reason)
    LOG.warning("%s is void", payout.id)
    return None


async def _attested(bench: Bench, payout: DuePayout, rail: AccountRail, guard: GuardClient) -> list[bytes]:
    """Guard's word of each batch, as deep as any policy asks for. Raises: RailError, SightError."""
    depth = max(policy.wallets[payout.network].finality_blocks for policy in (await bench.policies()).values()
                if payout.network in policy.wallets)
    height = max((await rail.tip()).height - depth + 1, 1)
    frames: list[bytes] = []
    for each in (await vaults.carried(bench.connection, [payout.id]))[payout.id]:
        call = (await vaults.calls_of(bench.connection, each.network, each.batch))[0].attempt
        frames.append(await guard.attest(payout.network, call.chain_transaction, height, call.unsigned))
    return frames
