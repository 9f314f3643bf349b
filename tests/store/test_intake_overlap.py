"""A batch is decided while the one before it is being written: nobody must be able to tell."""

import asyncio
import time

from tests.conftest import Database
from tests.domain.policy_document import limit
from tests.store.organisation import declared, pays
from tests.store.running import World, run

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.payout import HoldReason
from strongroom.store.record import BeneficiaryRecord, Recorded

ASKED = 160
MINOR = 10_000
READING_S = 0.0005


async def _payee(world: World) -> BeneficiaryRecord:
    to = await declared(world.intake, world.organisation, "payee")
    world.clock.now += 10_000
    return to


async def _reserved(world: World) -> int:
    (row,) = await world.fetch("SELECT credits_pending FROM strongroom.ledger_accounts WHERE account = 'wallet:hot'")
    return int(row["credits_pending"])


def _held_for(answers: list[Recorded | Refusal], reason: HoldReason) -> int:
    payouts = [answer.payout for answer in answers if isinstance(answer, Recorded)]
    assert len(payouts) == len(answers)
    return sum(payout.hold is not None and payout.hold.reason is reason for payout in payouts)


def test_money_for_a_hundred_pays_a_hundred_however_many_ask_at_once(database: Database) -> None:
    async def story(world: World) -> None:
        payer, to = world.organisation.payer, await _payee(world)
        asked = [pays(payer, f"key-{number}", to, MINOR) for number in range(ASKED)]
        answers = await asyncio.gather(*(world.intake.pay(payer, *each) for each in asked))
        assert _held_for(list(answers), HoldReason.FUNDS) == ASKED - 100
        assert await _reserved(world) == 100 * MINOR

    run(database, story, opening_minor=100 * MINOR)


def test_a_limit_with_room_for_a_hundred_lets_a_hundred_by_however_many_ask_at_once(database: Database) -> None:
    async def story(world: World) -> None:
        payer, to = world.organisation.payer, await _payee(world)
        asked = [pays(payer, f"key-{number}", to, MINOR) for number in range(ASKED)]
        answers = await asyncio.gather(*(world.intake.pay(payer, *each) for each in asked))
        assert _held_for(list(answers), HoldReason.LIMIT_WINDOW) == ASKED - 100
        assert await _reserved(world) == 100 * MINOR

    run(database, story, limits=[limit("unattended", "organisation", "unattended", 100)])


def test_debts_and_keys_that_come_twice_are_paid_once_across_batches(database: Database) -> None:
    async def story(world: World) -> None:
        payer, to = world.organisation.payer, await _payee(world)
        first = [pays(payer, f"key-{number}", to, MINOR) for number in range(70)]
        other_keys = [
            pays(payer, f"other-{number}", to, MINOR, external_id=f"debt key-{number}") for number in range(70)
        ]
        asked = [*first, *other_keys, *first]
        answers = await asyncio.gather(*(world.intake.pay(payer, *each) for each in asked))
        fresh = [answer for answer in answers if isinstance(answer, Recorded) and not answer.replayed]
        replayed = [answer for answer in answers if isinstance(answer, Recorded) and answer.replayed]
        refused = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert (len(fresh), len(replayed)) == (70, 70)
        assert refused == [Code.DUPLICATE_EXTERNAL_ID] * 70
        assert {answer.payout.id for answer in fresh} == {request.id for request, _ in first}
        assert await _reserved(world) == 70 * MINOR

    run(database, story)


def test_what_was_decided_upon_a_batch_that_failed_is_decided_and_counted_again(database: Database) -> None:
    """Another process takes the money after the first batch was decided: its record fails."""

    async def story(world: World) -> None:
        payer, to = world.organisation.payer, await _payee(world)
        large = [pays(payer, f"large-{number}", to, MINOR) for number in range(80)]
        small = [pays(payer, f"small-{number}", to, 10) for number in range(100)]
        owner = await world.owner()
        try:
            async with owner.transaction():
                accounts = {
                    row["account"]: row["id"]
                    for row in await owner.fetch("SELECT id, account FROM strongroom.ledger_accounts FOR UPDATE")
                }
                asking = asyncio.gather(*(world.intake.pay(payer, *each) for each in [*large, *small[:80]]))
                while not await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                    await owner.execute("SELECT pg_stat_clear_snapshot()")
                    await asyncio.sleep(0.01)
                await owner.execute(
                    "INSERT INTO strongroom.ledger_postings (kind, debit_account, credit_account, amount, entry, "
                    "created_at) VALUES ('pending', $1, $2, $3::text::numeric, 'another process', 1)",
                    accounts["payouts"], accounts["wallet:hot"], str(70 * MINOR),
                )
            answers = await asking
        finally:
            await owner.close()
        assert _held_for(list(answers[:80]), HoldReason.FUNDS) == 70
        assert _held_for(list(answers[80:]), HoldReason.FUNDS) == 0
        later = await asyncio.gather(*(world.intake.pay(payer, *each) for each in small[80:]))
        assert _held_for(list(later), HoldReason.LIMIT_WINDOW) == 10
        assert await _reserved(world) == 80 * MINOR + 90 * 10
        counts = await world.counts()
        assert (counts["payouts"], counts["evidence"]) == (180, 181)

    # Each payout counts as one cent, and the limit has room for a hundred: 10 large ones, and 90 small.
    limits = [limit("unattended", "organisation", "unattended", 100)]
    run(database, story, limits=limits, opening_minor=80 * MINOR + 1_000)


def test_who_was_just_answered_goes_with_the_next_batch_though_not_all_ask_in_one_turn(database: Database) -> None:
    """Requests are read one after the other: a batch that left at once would take the first few, and cost the same."""
    callers, rounds, spread = 48, 6, 8

    async def story(world: World) -> None:
        payer, to = world.organisation.payer, await _payee(world)

        async def call(number: int) -> None:
            for each in range(rounds):
                for _ in range(number % spread):
                    await asyncio.sleep(0)
                time.sleep(READING_S)  # noqa: ASYNC251 as a signature that is checked: nobody else goes on
                answer = await world.intake.pay(payer, *pays(payer, f"{number}-{each}", to, MINOR))
                assert isinstance(answer, Recorded)

        await asyncio.gather(*(call(number) for number in range(callers)))
        ((commits, payouts),) = await world.fetch(
            "SELECT count(DISTINCT xmin::text), count(*) FROM strongroom.payouts"
        )
        assert payouts == callers * rounds
        assert commits <= 2 * rounds + 2  # two batches follow each other through every round

    run(database, story)
