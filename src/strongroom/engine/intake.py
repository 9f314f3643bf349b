"""Shows the signer what clients signed: destinations first, then payouts and sealed runs. It verifies each itself.

What it refuses is written down with its rule and shown again ever later, so that evidence which will never hold keeps
nobody waiting but its own payout, and that one says why.
"""

from collections import defaultdict
from collections.abc import Sequence

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.engine.bench import Bench, later_ms
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import ITEMS_MAXIMUM, Ask, RefusedAnswer
from strongroom.store import registering as store
from strongroom.store.engine import ROWS_MAXIMUM
from strongroom.store.registering import Refusal, Unregistered

if ROWS_MAXIMUM > ITEMS_MAXIMUM:
    raise ValueError("more rows are shown to the signer at once than it takes")


async def register(bench: Bench) -> bool:
    """Whether the signer acknowledged anything new."""
    now = bench.clock()
    found = await _in_batches(bench, Ask.DESTINATIONS, await store.unregistered_destinations(bench.connection, now))
    found |= await _in_batches(bench, Ask.INTENTS, await store.unregistered_payouts(bench.connection, now))
    for run in await store.unregistered_runs(bench.connection, now):
        body: dict[str, JsonValue] = {"evidence": run.evidence.document(), "organisation": run.organisation}
        answer = await bench.signer.ask(Ask.RUN, body)
        refused = {run.object: answer} if isinstance(answer, RefusedAnswer) else {}
        found |= await _keep(bench, run.organisation, [run], refused)
    return found


async def _in_batches(bench: Bench, ask: Ask, waiting: Sequence[Unregistered]) -> bool:
    by_organisation: dict[OrganisationId, list[Unregistered]] = defaultdict(list)
    for each in waiting:
        by_organisation[each.organisation].append(each)
    found = False
    for organisation, batch in by_organisation.items():
        answer = await bench.signer.ask(
            ask, {"evidence": [each.evidence.document() for each in batch], "organisation": organisation}
        )
        refused: dict[str, RefusedAnswer] = {}
        if isinstance(answer, RefusedAnswer):
            refused = {each.object: answer for each in batch}
        elif isinstance(answer, list):
            for each, row in zip(batch, answer, strict=True):
                if Fields(row).has("refused"):
                    inner = Fields(row).inner("refused")
                    refused[each.object] = RefusedAnswer(inner.text("rule"), inner.text("reason", 2_000))
        found |= await _keep(bench, organisation, batch, refused)
    return found


async def _keep(
    bench: Bench, organisation: OrganisationId, shown: Sequence[Unregistered], refused: dict[str, RefusedAnswer]
) -> bool:
    """What the signer said, written down. Whether it acknowledged anything."""
    now = bench.clock()
    taken = [each.object for each in shown if each.object not in refused]
    said = [
        Refusal(each.object, answer.rule, answer.reason, each.tries + 1, Instant(now + later_ms(each.tries)))
        for each in shown if (answer := refused.get(each.object)) is not None
    ]
    if said:
        await store.refuse(bench.connection, organisation, said, now)
    if taken:
        await store.register(bench.connection, organisation, taken, now)
    return bool(taken)
