"""A payout's road, as the engine walks it. Each step takes what is ready for it, and leaves the rest as it is.

    received, held ──▶ awaiting_approval ──▶ ready ──▶ planned ──▶ signed ──▶ broadcast ──▶ confirmed ──▶ settled
                  └──────────────────────────▲

A step that ends in the middle is done again: what was planned and what was signed are written down before they are
used, and the signer answers the same question in the same way.
"""

from typing import Final

from strongroom.engine.bench import Bench
from strongroom.engine.bump import bump
from strongroom.engine.changes import follow_changes
from strongroom.engine.free import free
from strongroom.engine.intake import register
from strongroom.engine.kill import kill
from strongroom.engine.plan import PAYOUTS_MAXIMUM, plan
from strongroom.engine.recall import recall
from strongroom.engine.renew import renew
from strongroom.engine.settle import settle
from strongroom.engine.settle_vault import settle_vaults
from strongroom.engine.sign import broadcast, sign
from strongroom.engine.triage import collect, triage
from strongroom.engine.wallets import publish
from strongroom.store.engine import ROWS_MAXIMUM

TRIAGES_MAXIMUM: Final = PAYOUTS_MAXIMUM // ROWS_MAXIMUM


async def advance(bench: Bench) -> bool:
    """Every step once, in the order of the road. Whether anything moved: then it is worth going on at once."""
    bench.begin()
    moved = await publish(bench)  # where the wallets' coins are, for watch
    moved |= await follow_changes(bench)  # whose word counts, and by which rules
    moved |= await register(bench)  # the signer sees for itself what clients signed
    for _ in range(TRIAGES_MAXIMUM):  # what came in at once goes out together
        if not await triage(bench):  # ended, waiting for its time, for people, for funds, or ready
            break
        moved = True
    moved |= await collect(bench)  # enough people answered
    moved |= await recall(bench)  # what people took back too late, if the chain still lets us
    moved |= await kill(bench)  # the same where a vault pays
    moved |= await bump(bench)  # what no block takes, for a higher fee
    moved |= await renew(bench)  # what a chain of accounts didn't take, before anything new goes there
    moved |= await plan(bench)  # coins, fee, change: written down
    moved |= await sign(bench)  # the signer decides; its bytes are written down
    moved |= await broadcast(bench)  # the same bytes, as often as it takes
    moved |= await settle(bench)  # final on the chain, and in the ledger
    moved |= await settle_vaults(bench)  # the same where a vault pays, by what it did with each item
    moved |= await free(bench)  # can never be paid, as guard saw and the signer says
    return moved
