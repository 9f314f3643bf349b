"""Whatever the order of requests, retries, duplicates and cuts: one key, one payout; one debt, one payout; money is
conserved; and no limit is passed.
"""

import asyncio
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.conftest import Database
from tests.domain.policy_document import limit
from tests.properties.books import check_books, check_exact
from tests.properties.proxy import Cut
from tests.properties.story import (
    CENT,
    LIMIT_CENTS,
    WALLET_CENTS,
    Pay,
    Run,
    Step,
    Teller,
    owner_of,
    steps,
    teller,
)
from tests.store.organisation import pays

from strongroom.domain.errors import Refusal
from strongroom.domain.payout import HoldReason
from strongroom.store.intake import Intake
from strongroom.store.intake_payout import Batch
from strongroom.store.record import PayoutRecord, Recorded

FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
MANY = 20 if FULL else 1
_ANY = {
    "deadline": None, "database": None, "print_blob": True,
    "suppress_health_check": (HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
}


async def check(told: Teller, database: Database, limit_cents: int = LIMIT_CENTS) -> None:
    """The books, and that what was acknowledged is there as it was said."""
    owner = await owner_of(database)
    try:
        await check_books(owner, limit_cents)
        rows = await owner.fetch("SELECT id, amount, external_id, counted, intake_hold FROM strongroom.payouts")
        stored = {row["id"]: row for row in rows}
        for _, found in told.recorded.values():
            if isinstance(found, PayoutRecord):
                row = stored[found.id]
                assert (int(row["amount"]), row["external_id"]) == (found.amount.minor, found.external_id)
                assert row["intake_hold"] == (None if found.hold is None else found.hold.reason.value)
    finally:
        await owner.close()


async def exact(told: Teller, database: Database) -> None:
    owner = await owner_of(database)
    try:
        await check_exact(owner, told.organisation.id, LIMIT_CENTS, WALLET_CENTS * CENT)
    finally:
        await owner.close()


@settings(max_examples=25 * MANY, **_ANY)
@given(story=steps(with_cuts=False))
@example(story=[Step((Run(0, (Pay(0, 0, 0, 1), Pay(1, 1, 0, 1))),), 0, None)])  # one debt, one address, two names
@example(story=[Step((Pay(0, 0, 0, 1), Pay(0, 0, 0, 1), Pay(1, 1, 0, 1)), 0, None)])
def test_no_order_of_requests_makes_two_payouts_of_one_key_or_debt(database: Database, story: list[Step]) -> None:
    async def go() -> None:
        async with teller(database, cuttable=False) as told:
            await told.tell(story)
            await told.tell(story)  # and everything again, as after a lost answer
            await check(told, database)
            await exact(told, database)

    asyncio.run(go())


@settings(max_examples=20 * MANY, **_ANY)
@given(story=steps(with_cuts=True))
@example(story=[Step((Pay(0, 0, 0, 1), Run(0, (Pay(1, 0, 1, 1),))), 0, (Cut.BEFORE_ANSWER, 2))])
@example(story=[Step((Pay(0, 0, 0, 1), Pay(1, 2, 1, 1)), 0, (Cut.AFTER_REQUEST, 2))])
def test_no_cut_of_the_connection_loses_or_doubles_a_payout(database: Database, story: list[Step]) -> None:
    async def go() -> None:
        async with teller(database, cuttable=True) as told:
            await told.tell(story)
            await told.tell([Step(step.asks, 0, None) for step in story])
            await check(told, database)
            await exact(told, database)

    asyncio.run(go())


@settings(max_examples=6 * MANY, **_ANY)
@given(
    cents=st.integers(1, 2_272), rest=st.integers(0, 2_499), seed=st.integers(0, 2**32 - 1), restart=st.booleans()
)
def test_sixty_four_at_once_at_a_limit_with_room_for_ten_count_exactly_ten(
    database: Database, cents: int, rest: int, seed: int, restart: bool
) -> None:
    """By two clients and under either's duplicates; a new writer in between knows what the first counted.

    Eleven stay below the first tier: above it people are asked, and then it isn't this limit that counts.
    """
    maximum = 10 * cents + rest % cents
    chance = random.Random(seed)
    policy: dict[str, Any] = {"limits": [limit("unattended", "organisation", "unattended", maximum)]}

    async def go() -> None:
        async with teller(database, cuttable=False, opening_minor=10**15, **policy) as told:
            callers = (told.organisation.payer, told.organisation.other_payer)
            asks = [
                (caller, pays(caller, f"k{number}", told.payees[2], cents * CENT, external_id=f"d{number}"))
                for number in range(64) for caller in (chance.choice(callers),)
            ]
            twice = asks + chance.sample(asks, 16)
            chance.shuffle(twice)
            first = chance.randint(1, 60) if restart else len(twice)
            answers = await asyncio.gather(*(told.intake.pay(caller, *asked) for caller, asked in twice[:first]))
            if restart:
                await told.intake.stop()
                told.intake = await Intake.start(database.dsn("api"), told.clock)
            answers += await asyncio.gather(*(told.intake.pay(caller, *asked) for caller, asked in twice[first:]))
            held = {
                answer.payout.id for answer in answers
                if isinstance(answer, Recorded) and answer.payout.hold is not None
                and answer.payout.hold.reason is HoldReason.LIMIT_WINDOW
            }
            recorded = {answer.payout.id for answer in answers if isinstance(answer, Recorded)}
            assert not any(isinstance(answer, Refusal) for answer in answers)
            assert (len(recorded), len(recorded - held)) == (64, 10)
            await check(told, database, 10 * 2_500 + 2_499)
            owner = await owner_of(database)
            counted = await owner.fetchval(
                "SELECT count(*) FROM strongroom.payouts WHERE counted AND organisation = $1", told.organisation.id
            )
            await owner.close()
            assert counted == 10

    asyncio.run(go())


@pytest.mark.parametrize("where", Cut)
def test_every_cut_is_survived_by_the_next_request(database: Database, where: Cut) -> None:
    """One after the other through all messages of a payout, a declaration and a run; what was cut is asked again."""
    async def go() -> None:
        async with teller(database, cuttable=True) as told:
            assert told.proxy is not None
            for message in range(1, 9):
                cuts = told.proxy.cuts
                asks = (Pay(message, 2, message, 1), Run(message, (Pay(100 + message, 2, 100 + message, 1),)))
                await told.tell([Step(asks, 0, (where, message))])
                assert told.proxy.cuts == cuts + 1, f"nothing was cut at message {message}"
            assert len(told.recorded) == 16
            await check(told, database)

    asyncio.run(go())


def test_a_writer_that_does_not_give_room_back_is_caught(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: a run that was refused at its second item keeps the room of its first."""
    monkeypatch.setattr(Batch, "take_back", lambda _: None)

    async def go() -> None:
        async with teller(database, cuttable=False) as told:
            await told.tell([
                Step((Run(0, (Pay(0, 0, 0, 400), Pay(1, 1, 0, 400))),), 0, None),
                Step((Pay(2, 2, 1, 400), Pay(3, 2, 2, 400)), 0, None),
            ])
            await check(told, database)
            with pytest.raises(AssertionError):
                await exact(told, database)

    asyncio.run(go())
