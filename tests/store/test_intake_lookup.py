"""What a batch costs doesn't depend on how many payouts are stored, whatever the planner believed when it began."""

import asyncio

from tests.conftest import Database
from tests.store.organisation import declared, pays
from tests.store.running import World, run

from strongroom.domain.payout import PayoutRequest
from strongroom.store.intake_payout import LOOK_UP
from strongroom.store.record import Recorded
from strongroom.store.session import Session, connect

STORED = 300

_READ = """
SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::bigint
FROM pg_stat_xact_user_tables WHERE relname = 'payouts'
"""


async def _payouts_read(session: Session, world: World, asked: PayoutRequest) -> int:
    """How many rows of payouts one lookup reads."""
    async with session.transaction():
        payer = world.organisation.payer
        await session.fetchrow(
            LOOK_UP, [asked.id], [payer.client], [asked.external_id], [asked.beneficiary], [asked.destination_digest],
            [payer.key_id], [payer.organisation],
        )
        read: int = await session.fetchval(_READ)
        return read


def test_a_lookup_reads_no_more_payouts_when_more_are_stored(database: Database) -> None:
    async def story(world: World) -> None:
        await world.fetch("VACUUM ANALYZE")  # the planner now knows that payouts is empty, and plans for that
        payer = world.organisation.payer
        world.clock.now += 10_000
        to = await declared(world.intake, world.organisation, "payee")
        asked = [pays(payer, f"key-{number}", to, minor=10_000) for number in range(STORED)]
        fresh, _ = pays(payer, "another", to)
        session = await connect(database.dsn("api"), "test")
        try:
            assert await _payouts_read(session, world, fresh) == 0
            answers = await asyncio.gather(*(world.intake.pay(payer, *each) for each in asked))
            assert all(isinstance(answer, Recorded) for answer in answers)
            assert await _payouts_read(session, world, fresh) == 0
            assert await _payouts_read(session, world, asked[0][0]) <= 2
        finally:
            await session.close()

    run(database, story)
