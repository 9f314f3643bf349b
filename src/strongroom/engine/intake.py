"""Shows the signer what clients signed: destinations first, then payouts and sealed runs. It verifies each itself."""

from collections import defaultdict
from collections.abc import Sequence

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.engine.bench import Bench
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.store import engine as store
from strongroom.store.engine import Unregistered


async def register(bench: Bench) -> bool:
    """Whether the signer acknowledged anything new. What it refuses is asked again later: a payout waits meanwhile."""
    found = await _in_batches(bench, Ask.DESTINATIONS, await store.unregistered_destinations(bench.connection))
    found |= await _in_batches(bench, Ask.INTENTS, await store.unregistered_payouts(bench.connection))
    for run in await store.unregistered_runs(bench.connection):
        answer = await bench.signer.ask(
            Ask.RUN, {"evidence": run.evidence.document(), "organisation": run.organisation}
        )
        if not isinstance(answer, RefusedAnswer):
            await store.register(bench.connection, run.organisation, [run.object], bench.clock())
            found = True
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
        if isinstance(answer, RefusedAnswer) or not isinstance(answer, list):
            continue
        taken = [each.object for each, row in zip(batch, answer, strict=True) if not Fields(row).has("refused")]
        if taken:
            await store.register(bench.connection, organisation, taken, bench.clock())
            found = True
    return found
