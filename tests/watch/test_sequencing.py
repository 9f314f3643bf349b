"""Watch as a process on a real database: gapless order, checkpoints that verify, and no word more once the stored tree
isn't the one that it signed.

The attacker owns the database: every trigger and grant is his. He wants watch to sign a log that says something else.
"""

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from nacl.signing import SigningKey
from tests.conftest import Database

from strongroom.protocol.checkpoint import Checkpoint, verify_checkpoint
from strongroom.protocol.merkle import leaf_hash, root_of, verify_consistency
from strongroom.sandbox.process import Child
from strongroom.store.audit import read_consistency

ORIGIN = "strongroom/0123456789abcdef"
WAIT_S = 20

_numbers = itertools.count(1)


class Watch:
    """The process, its key and its memory, and the database's owner."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.key = SigningKey.generate()
        self.origin = ORIGIN
        self.memory = folder / "last_checkpoint"
        (folder / "checkpoint.key").write_text(bytes(self.key).hex())
        config = folder / "watch.json"
        config.write_text(json.dumps({
            "database_url": database.dsn("watch"), "checkpoint_key_file": str(folder / "checkpoint.key"),
            "last_checkpoint_file": str(self.memory), "origin": ORIGIN, "interval_ms": 10,
            "deployment": ORIGIN.removeprefix("strongroom/"),
        }))
        self.child = Child(
            "watch", [sys.executable, "-m", "strongroom.watch.main", "--config", str(config)], folder / "watch.log"
        )

    def query(self, *statements: str) -> list[asyncpg.Record]:
        """As the owner, with no trigger in the way; rows of the last statement."""

        async def go() -> list[asyncpg.Record]:
            owner = await asyncpg.connect(self.database.owner_dsn)
            try:
                await owner.execute("SET session_replication_role = replica")
                rows: list[asyncpg.Record] = []
                for statement in statements:
                    rows = await owner.fetch(statement)
                return rows
            finally:
                await owner.close()

        return asyncio.run(go())

    def say(self, count: int) -> None:
        """So many leaves, each in a transaction of its own."""
        self.query(*(f"SELECT strongroom.audit_append('{{\"n\":{next(_numbers)}}}')" for _ in range(count)))

    def signed(self) -> Checkpoint | None:
        """The newest checkpoint in the database, once its signature holds."""
        rows = self.query("SELECT note FROM strongroom.audit_checkpoints ORDER BY size DESC LIMIT 1")
        if not rows:
            return None
        return verify_checkpoint(rows[0]["note"], self.origin, self.origin, bytes(self.key.verify_key))

    def wait_signed(self, size: int) -> Checkpoint:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            newest = self.signed()
            if newest is not None and newest.size == size:
                return newest
            time.sleep(0.02)
        raise AssertionError(f"no checkpoint of {size} leaves:\n{self.log()}")

    def wait_ended(self) -> int:
        assert self.child.process is not None
        return self.child.process.wait(WAIT_S)

    def log(self) -> str:
        return self.child.log.read_text()

    def leaves(self) -> list[bytes]:
        rows = self.query(
            "SELECT s.leaf_index, l.leaf FROM strongroom.audit_sequence s JOIN strongroom.audit_leaves l "
            "ON l.id = s.leaf_id ORDER BY s.leaf_index"
        )
        assert [row["leaf_index"] for row in rows] == list(range(len(rows)))
        return [row["leaf"].encode() for row in rows]


@pytest.fixture
def watch(database: Database, tmp_path: Path) -> Iterator[Watch]:
    made = Watch(database, tmp_path)
    yield made
    made.child.stop()


def test_leaves_are_sequenced_without_gaps_and_every_checkpoint_continues_the_one_before(watch: Watch) -> None:
    watch.child.start()
    checkpoints: list[Checkpoint] = []
    for size in (1, 4, 37):
        watch.say(size - (checkpoints[-1].size if checkpoints else 0))
        checkpoints.append(watch.wait_signed(size))
    leaves = watch.leaves()
    for checkpoint in checkpoints:
        assert checkpoint.root == root_of(leaf_hash(leaf) for leaf in leaves[: checkpoint.size])

    async def check_consistent(one: Checkpoint, other: Checkpoint) -> None:
        owner = await asyncpg.connect(watch.database.owner_dsn)
        try:
            proof = await read_consistency(owner, one.size, other.size)
        finally:
            await owner.close()
        verify_consistency(one.size, other.size, one.root, other.root, proof)

    for one, other in itertools.pairwise(checkpoints):
        asyncio.run(check_consistent(one, other))


def test_a_leaf_whose_transaction_is_still_open_is_waited_for_and_never_passed_over(watch: Watch) -> None:
    watch.child.start()

    async def go() -> None:
        slow = await asyncpg.connect(watch.database.owner_dsn)
        fast = await asyncpg.connect(watch.database.owner_dsn)
        transaction = slow.transaction()
        await transaction.start()
        first = await slow.fetchval("SELECT strongroom.audit_append('{\"slow\":1}')")
        second = await fast.fetchval("SELECT strongroom.audit_append('{\"fast\":1}')")
        assert first < second
        await asyncio.sleep(0.5)
        assert await fast.fetchval("SELECT count(*) FROM strongroom.audit_sequence") == 0
        await transaction.commit()
        await slow.close()
        await fast.close()

    asyncio.run(go())
    watch.wait_signed(2)
    assert [b"slow" in leaf for leaf in watch.leaves()] == [True, False]


def test_it_goes_on_after_a_kill_where_it_was(watch: Watch) -> None:
    for size in (5, 11, 12):
        watch.say(size - (watch.query("SELECT count(*) AS n FROM strongroom.audit_leaves")[0]["n"]))
        watch.child.start()
        assert watch.wait_signed(size).root == root_of(leaf_hash(leaf) for leaf in watch.leaves())
        assert watch.child.process is not None
        watch.child.process.send_signal(signal.SIGKILL)
        watch.wait_ended()


def test_a_step_that_was_signed_and_not_recorded_is_made_again_alike(watch: Watch) -> None:
    watch.say(5)
    watch.child.start()
    watch.wait_signed(5)
    watch.child.stop()
    note = watch.memory.read_text()
    # as if the power had failed after the signature and before the commit, and more was said meanwhile
    watch.query(
        "DELETE FROM strongroom.audit_sequence", "DELETE FROM strongroom.audit_nodes",
        "DELETE FROM strongroom.audit_checkpoints",
    )
    watch.say(3)
    watch.child.start()
    watch.wait_signed(8)
    notes = {row["note"] for row in watch.query("SELECT note FROM strongroom.audit_checkpoints")}
    assert note in notes


TAMPERED = {
    "a leaf was taken away with all that told of it, up to the checkpoint before": (
        "DELETE FROM strongroom.audit_checkpoints WHERE size > 4",
        "DELETE FROM strongroom.audit_sequence WHERE leaf_index > 3",
        "DELETE FROM strongroom.audit_nodes WHERE (position + 1) << level > 4",
        "DELETE FROM strongroom.audit_leaves WHERE id = (SELECT max(id) FROM strongroom.audit_leaves)",
    ),
    "the last leaves were replaced by others": (
        "DELETE FROM strongroom.audit_checkpoints WHERE size > 4",
        "DELETE FROM strongroom.audit_sequence WHERE leaf_index > 3",
        "DELETE FROM strongroom.audit_nodes WHERE (position + 1) << level > 4",
        "UPDATE strongroom.audit_leaves SET leaf = leaf || ' ' WHERE id > 5",
    ),
    "all of the log is gone": (
        "DELETE FROM strongroom.audit_checkpoints", "DELETE FROM strongroom.audit_sequence",
        "DELETE FROM strongroom.audit_nodes", "DELETE FROM strongroom.audit_leaves",
    ),
    "a hash of the tree was changed": (
        "UPDATE strongroom.audit_nodes SET hash = sha256(hash) WHERE level = 2 AND position = 0",
    ),
    "a hash of the tree is missing": ("DELETE FROM strongroom.audit_nodes WHERE level = 2 AND position = 0",),
    "a leaf's place is missing": ("DELETE FROM strongroom.audit_sequence WHERE leaf_index = 2",),
    "all checkpoints are gone": ("DELETE FROM strongroom.audit_checkpoints",),
    "the newest checkpoint was edited": (
        "UPDATE strongroom.audit_checkpoints SET note = replace(note, E'\\n7\\n', E'\\n6\\n')",
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_it_signs_nothing_more_once_the_stored_tree_is_not_the_one_it_signed(watch: Watch, how: str) -> None:
    watch.say(4)
    watch.child.start()
    watch.wait_signed(4)
    watch.say(3)
    watch.wait_signed(7)
    watch.child.stop()
    before = watch.memory.read_text()
    watch.query(*TAMPERED[how])
    stored = watch.query("SELECT * FROM strongroom.audit_checkpoints ORDER BY size")
    watch.say(1)
    watch.child.start()
    assert watch.wait_ended() == 1
    assert "the audit log isn't what was signed, so nothing more is" in watch.log()
    assert "Traceback" not in watch.log()
    assert watch.memory.read_text() == before
    assert watch.query("SELECT * FROM strongroom.audit_checkpoints ORDER BY size") == stored


def test_without_its_memory_it_would_have_signed_the_shortened_log(watch: Watch) -> None:
    """The positive control of the test above: the attack works on a watch that knows only the database."""
    watch.say(4)
    watch.child.start()
    watch.wait_signed(4)
    watch.say(3)
    seven = watch.wait_signed(7)
    watch.child.stop()
    watch.query(*TAMPERED["the last leaves were replaced by others"])
    watch.memory.unlink()
    watch.child.start()
    assert watch.wait_signed(7).root != seven.root


def test_two_at_once_are_one(watch: Watch, tmp_path: Path) -> None:
    watch.child.start()
    watch.say(1)
    watch.wait_signed(1)
    second = Child("second", watch.child.command, tmp_path / "second.log")
    second.start()
    try:
        deadline = time.monotonic() + WAIT_S
        while "another sequencer is at work" not in second.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        watch.say(20)
        watch.wait_signed(21)
        watch.child.stop()
        watch.say(1)
        watch.wait_signed(22)  # and it takes over
    finally:
        second.stop()


def test_a_memory_of_another_key_is_refused(watch: Watch) -> None:
    watch.memory.write_text("something else\n")
    watch.child.start()
    assert watch.wait_ended() == 1
    assert "a stored checkpoint isn't ours" in watch.log()
