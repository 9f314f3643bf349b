"""SIGKILL of the API, watch and PostgreSQL under load, in any order at any moment, and what must be true afterwards.

Clients remember what they were told; the record is compared with it by code of the tests' own. 200 rounds under
STRONGROOM_FAULTS=full.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence

import asyncpg
import pytest
from tests.faults.books import findings
from tests.faults.deployment import Deployment, deployment
from tests.faults.load import BrokenPromiseError, Load, Memory

FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
ROUNDS = 200 if FULL else 6
ROUNDS_PER_ORGANISATION = 10 if FULL else 3
SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
LIMITS_CENTS = (50_000, 10_000_000)
ORDERS = (
    ("api",), ("postgres",), ("api", "postgres"), ("postgres", "api"), ("watch", "postgres"), ("backend",),
    ("postgres", "watch", "api"), ("watch",), ("api", "watch"),
)


async def load_and_kill(made: Deployment, memory: Memory, order: tuple[str, ...], chance: random.Random) -> None:
    load = Load(made.url, memory, chance)
    work = asyncio.create_task(load.work())
    try:
        await asyncio.sleep(chance.uniform(0.05, 0.5))
        for what in order:
            await asyncio.to_thread(made.kill, what)
            await asyncio.sleep(chance.choice((0.0, 0.0, chance.uniform(0, 0.05))))
        await asyncio.sleep(chance.choice((0.0, 0.1)))
        load.stop.set()
        await work
    finally:
        load.stop.set()
        work.cancel()
        await load.close()


async def settle(made: Deployment, memory: Memory, chance: random.Random) -> None:
    load = Load(made.url, memory, chance)
    try:
        await load.settle()
    finally:
        await load.close()


def look(made: Deployment, memories: Sequence[Memory]) -> list[str]:
    """What is wrong with the record now."""

    async def go() -> list[str]:
        owner = await asyncpg.connect(made.cluster.owner_dsn)
        try:
            return await findings(owner, made.checkpoint_key.verify_key, memories)
        finally:
            await owner.close()

    return asyncio.run(go())


def wait_sequenced(made: Deployment) -> None:
    """Until watch has caught up."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = made.query(
            "SELECT (SELECT count(*) FROM strongroom.audit_leaves) AS said, "
            "(SELECT coalesce(max(size), 0) FROM strongroom.audit_checkpoints) AS signed"
        )[0]
        if row["said"] == row["signed"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"watch doesn't catch up:\n{made.log_of('watch')}")


@pytest.mark.faults
def test_whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_there_twice() -> None:
    print(f"{ROUNDS} rounds from seed {SEED}")
    chance = random.Random(SEED)
    memories: list[Memory] = []
    unknown = 0
    with deployment() as made:
        for number in range(ROUNDS):
            if number % ROUNDS_PER_ORGANISATION == 0:
                memories.append(Memory(made.add_organisation(chance.choice(LIMITS_CENTS))))
            memory, order = memories[-1], ORDERS[number] if number < len(ORDERS) else chance.choice(ORDERS)
            asyncio.run(load_and_kill(made, memory, order, chance))
            made.start()
            unknown += len(memory.unknown)
            asyncio.run(settle(made, memory, chance))
            assert memory.unknown == []
            wait_sequenced(made)
            found = look(made, memories)
            assert found == [], f"round {number} of seed {SEED}, after {order}: {found[:5]}"
        for memory in memories:
            asyncio.run(settle(made, memory, chance))
        answered = sum(len(memory.answered) for memory in memories)
        seen = sum(len(memory.notes) for memory in memories)
        lost = sum(each.was_lost for memory in memories for each in memory.asked)
        print(f"{answered} answered, {unknown} unknown for a while, {lost} of them recorded, {seen} checkpoints seen")
        assert unknown > 0
        assert answered > 10 * ROUNDS
        assert seen > ROUNDS


@pytest.mark.faults
def test_a_server_that_acknowledges_before_it_is_on_disk_is_caught() -> None:
    chance = random.Random(SEED)
    with deployment(synchronous_commit="off", wal_writer_delay="10s", wal_writer_flush_after="1GB") as made:
        memory = Memory(made.add_organisation(LIMITS_CENTS[-1]))
        made.query("CHECKPOINT")  # so far everything is kept
        asyncio.run(load_and_kill(made, memory, ("postgres",), chance))
        assert len(memory.answered) > 10
        made.cluster.start()
        made.wait_ready()
        assert any("acknowledged" in each for each in look(made, [memory]))
        with pytest.raises(BrokenPromiseError):
            asyncio.run(settle(made, memory, chance))


PLANTED = {
    "UPDATE strongroom.payouts SET amount = amount + 1 WHERE run IS NULL AND counted": "amount is",
    "DELETE FROM strongroom.payouts WHERE run IS NULL": "acknowledged and is lost",
    "DELETE FROM strongroom.run_items": "isn't there in full",
    "DELETE FROM strongroom.destinations": "isn't there as it was",
    "UPDATE strongroom.ledger_accounts SET credits_pending = credits_pending + 1": "its postings say",
    "DELETE FROM strongroom.ledger_postings WHERE kind = 'pending'": "reservations and counted payouts differ",
    "INSERT INTO strongroom.evidence SELECT -id, organisation, client, key_id, method, path, authority, "
    "idempotency_key, signature_base, signature, body, received_at FROM strongroom.evidence": "is kept 2 times",
    "DELETE FROM strongroom.evidence": "has no request behind it",
    "DELETE FROM strongroom.outbox": "times in the outbox",
    "UPDATE strongroom.audit_leaves SET leaf = leaf || ' '": "isn't of this log",
    "DELETE FROM strongroom.audit_sequence WHERE leaf_index = 3": "gaps",
    "INSERT INTO strongroom.audit_leaves OVERRIDING SYSTEM VALUE VALUES (-1, '{}')": "passed over",
    "UPDATE strongroom.payouts SET reference_minor = 10000001 WHERE counted": "its limit is",
}


@pytest.mark.faults
def test_each_fault_that_is_planted_in_the_record_is_found() -> None:
    chance = random.Random(SEED)
    with deployment() as made:
        memory = Memory(made.add_organisation(LIMITS_CENTS[-1]))
        asyncio.run(load_and_kill(made, memory, (), chance))
        wait_sequenced(made)
        made.watch.stop()
        made.api.stop()
        assert look(made, [memory]) == []
        for planted, expected in PLANTED.items():
            found = asyncio.run(with_planted(made, memory, planted))
            assert any(expected in each for each in found), (planted, found[:3])
        assert look(made, [memory]) == []


async def with_planted(made: Deployment, memory: Memory, planted: str) -> list[str]:
    """What is found after this statement of the database's owner, which is undone afterwards."""
    owner = await asyncpg.connect(made.cluster.owner_dsn)
    try:
        await owner.execute("SET session_replication_role = replica")  # no trigger stops an owner
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(planted)
        try:
            return await findings(owner, made.checkpoint_key.verify_key, [memory])
        finally:
            await transaction.rollback()
    finally:
        await owner.close()
