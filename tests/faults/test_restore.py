"""Yesterday's database in place of today's, in mid-work: what clients send again comes back under the same ids.

Ids are derived, so a record that forgot makes them again. Watch hasn't forgotten what it signed, and signs no other
log until a person says that this one is to be believed.
"""

import asyncio
import os
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.deployment import Deployment, deployment
from tests.faults.load import Asked, Load, Memory
from tests.faults.test_kill_and_compare import load_and_kill, look, settle, wait_sequenced

SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
RESTORES = 20 if os.environ.get("STRONGROOM_FAULTS") == "full" else 1
RICH_CENTS = 10_000_000


def copy_files(made: Deployment, backup: Path) -> None:
    """A file-level copy of a stopped cluster, with owners and modes."""
    made.cluster.stop()
    shutil.rmtree(backup, ignore_errors=True)
    subprocess.run(["cp", "-a", str(made.cluster.data), str(backup)], check=True)


def put_back(made: Deployment, backup: Path) -> None:
    made.cluster.kill()
    shutil.rmtree(made.cluster.data)
    subprocess.run(["cp", "-a", str(backup), str(made.cluster.data)], check=True)


async def ask_all_again(made: Deployment, memory: Memory, chance: random.Random) -> list[Asked]:
    """The same requests by clients that remember only what they asked for; what each was answered now."""
    again = [replace(each, answer=None, tries=1, news=0) for each in memory.asked]
    for kind in ("beneficiary", "payout", "run"):  # who is paid must be there first
        load = Load(made.url, Memory(memory.clients, [each for each in again if each.kind == kind]), chance)
        await load.settle()
        await load.close()
    return again


@pytest.mark.faults
def test_requests_sent_again_to_a_restored_database_get_the_same_ids_and_are_there_once() -> None:
    chance = random.Random(SEED)
    with deployment() as made:
        memory = Memory(made.add_organisation(RICH_CENTS))
        backup = made.folder / "yesterday"
        for _ in range(RESTORES):
            asyncio.run(load_and_kill(made, memory, (), chance))
            asyncio.run(settle(made, memory, chance))
            wait_sequenced(made)
            made.api.stop()
            made.watch.stop()
            copy_files(made, backup)
            made.start()
            yesterday = {each.expected_id for each in memory.answered}
            lost: list[Asked] = []
            for _ in range(20):  # a slow machine answers little before it is killed
                asyncio.run(load_and_kill(made, memory, ("api", "postgres"), chance))
                made.start()
                asyncio.run(settle(made, memory, chance))
                wait_sequenced(made)
                lost = [each for each in memory.answered if each.expected_id not in yesterday]
                if len(lost) > 10:
                    break
            assert len(lost) > 10
            made.api.stop()
            made.watch.stop()
            put_back(made, backup)
            made.cluster.start()
            made.api.start()
            made.wait_ready()
            again = asyncio.run(ask_all_again(made, memory, chance))
            for before, after in zip(memory.asked, again, strict=True):
                assert before.answer is not None
                assert after.answer is not None
                assert after.answer["id"] == before.answer["id"] == before.expected_id
                if before.expected_id in yesterday:
                    assert after.answer == before.answer
            made.watch.start()
            assert made.watch.process is not None
            assert made.watch.process.wait(20) == 1
            assert "aren't those that were signed last" in made.log_of("watch")
            memory.asked = again
            memory.notes.clear()  # a person decides that the log begins anew after what was restored
            (made.folder / "last_checkpoint").unlink()
            made.watch.start()
            wait_sequenced(made)
            assert look(made, [memory]) == []
