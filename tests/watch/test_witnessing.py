"""Watch and guard as processes: the audit log is witnessed, watch goes on while guard is away, and a rewritten history
has no second signature.

The attacker has watch's key, its machine and the database; wants another history of the audit log to be believed. By
watch's signature alone both are: that is seen first. The bound is: an auditor who asks for guard's cosignature believes
one, and guard's alarm stands.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.adversary.build import Patch, environment, patched
from tests.conftest import Database
from tests.guard.process import GuardProcess, Wire, eventually
from tests.guard.world import Signer, World
from tests.watch.test_sequencing import Watch

from strongroom.domain.instant import Instant
from strongroom.protocol.audit_export import ExportError, Verified, verify_export
from strongroom.protocol.tree_head import log_origin
from strongroom.store.audit_export import export_log

BLIND = Patch("guard/cosigner.py", "            if last.length:\n", "            if False:\n")
"""Guard cosigns whatever watch signs."""


class Place:
    """One deployment's watch and guard."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.world = World(folder / "guard", now=Instant(0))
        self.watch = Watch(database, folder)
        config = json.loads((folder / "watch.json").read_text())
        self.config_file, self.config = folder / "watch.json", config
        self.watch.key = self.world.watch_key
        (folder / "checkpoint.key").write_text(bytes(self.world.watch_key).hex())
        self.origin = log_origin(self.world.deployment)
        self.watch.origin = self.origin

    @contextmanager
    def guard(self, source: Path | None = None, **config: object) -> Iterator[GuardProcess]:
        env = environment(source) if source is not None else None
        with GuardProcess(self.world, env=env, **config) as guard:
            guard.ready()
            self.config_file.write_text(json.dumps(self.config | {
                "origin": self.origin, "deployment": self.world.deployment,
                "guard_url": f"http://127.0.0.1:{guard.officers_port}",
                "guard_public_key": bytes(self.world.guard_key.verify_key).hex(),
            }))
            with Wire.to(guard.signer_port) as wire:
                signer = Signer(self.world, wire.exchange)
                signer.found()
                assert signer.sync().is_cosigned
            yield guard

    def cosigned(self) -> int:
        rows = self.watch.query("SELECT coalesce(max(size), 0) AS size FROM strongroom.audit_cosignatures")
        return int(rows[0]["size"])

    def wait_cosigned(self, size: int) -> None:
        assert eventually(lambda: self.cosigned() == size), self.watch.log()

    def export(self) -> list[bytes]:
        async def read() -> list[bytes]:
            return [line async for line in export_log(self.watch.database.owner_dsn, self.origin, everything=True)]

        return asyncio.run(read())

    def believed(self, lines: list[bytes], *, witnessed: bool) -> Verified:
        guard = bytes(self.world.guard_key.verify_key) if witnessed else None
        return verify_export(lines, bytes(self.watch.key.verify_key), guard)

    def rewrite(self, leaves: int) -> None:
        """All that watch knows is gone, and of the leaves so many stay, the first with other words."""
        for table in ("cosignatures", "checkpoints", "nodes", "sequence"):
            self.watch.query(f"DELETE FROM strongroom.audit_{table}")
        self.watch.query(
            f"DELETE FROM strongroom.audit_leaves WHERE id NOT IN "
            f"(SELECT id FROM strongroom.audit_leaves ORDER BY id LIMIT {leaves})",
            "UPDATE strongroom.audit_leaves SET leaf = '{\"never\":1}' "
            "WHERE id = (SELECT min(id) FROM strongroom.audit_leaves)",
        )
        self.watch.memory.unlink()


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[Place]:
    made = Place(database, tmp_path)
    yield made
    made.watch.child.stop()


def forked(place: Place, leaves: int) -> tuple[list[bytes], list[bytes]]:
    """Two exports with watch's signature that contradict each other: the honest one of 5 leaves, and the attacker's."""
    place.watch.child.start()
    place.watch.say(5)
    place.wait_cosigned(5)
    honest = place.export()
    place.watch.child.stop()
    place.rewrite(leaves)
    place.watch.child.start()
    place.watch.say(1)
    place.watch.wait_signed(leaves + 1)
    return honest, place.export()


@pytest.mark.parametrize("leaves", [5, 2], ids=["rewritten and longer", "rewritten and cut"])
def test_of_two_histories_with_watchs_signature_guard_witnesses_one(place: Place, leaves: int) -> None:
    with place.guard() as guard:
        honest, fork = forked(place, leaves)
        one, other = (place.believed(each, witnessed=False) for each in (honest, fork))
        assert (one.size, other.size) == (5, leaves + 1)
        assert honest[1] != fork[1]
        assert eventually(lambda: (place.world.store / "contradiction.json").exists()), place.watch.log()
        assert guard.beat() == "recover"
        assert guard.call("GET", "/v1/status")[1]["audit"]["is_contradicted"]
        assert "ALARM: a checkpoint that watch signed contradicts" in guard.log
        assert eventually(lambda: "contradicts the tree of 5 leaves" in place.watch.log()), place.watch.log()
        assert place.cosigned() == 0
        assert place.believed(honest, witnessed=True).witnessed_s is not None
        with pytest.raises(ExportError, match=r"the note isn't signed by strongroom/[0-9a-f]{16}/guard"):
            place.believed(place.export(), witnessed=True)


def test_a_guard_that_doesnt_look_witnesses_both(place: Place, tmp_path: Path) -> None:
    """The control: with the check taken out the attack succeeds."""
    with place.guard(patched(tmp_path / "patched", BLIND)):
        honest, _ = forked(place, 5)
        place.wait_cosigned(6)
        for each in (honest, place.export()):
            assert place.believed(each, witnessed=True).witnessed_s is not None


def test_watch_goes_on_without_guard_and_catches_up_with_one_proof(place: Place) -> None:
    with place.guard() as guard:
        place.watch.child.start()
        place.watch.say(3)
        place.wait_cosigned(3)
        guard.kill()
        place.watch.say(4)
        place.watch.wait_signed(7)
        place.watch.say(30)
        place.watch.wait_signed(37)
        assert eventually(lambda: "guard didn't cosign the checkpoint of" in place.watch.log())
        assert place.cosigned() == 3
    place.watch.child.stop()
    with GuardProcess(place.world) as again:
        again.ready()
        config = json.loads(place.config_file.read_text())
        config["guard_url"] = f"http://127.0.0.1:{again.officers_port}"
        place.config_file.write_text(json.dumps(config))
        # What watch once knew of guard's head is lost, too: guard says it.
        place.watch.query("DELETE FROM strongroom.audit_cosignatures")
        place.watch.child.start()
        place.wait_cosigned(37)
        assert place.believed(place.export(), witnessed=True).size == 37
        assert place.watch.query("SELECT count(*) AS n FROM strongroom.audit_cosignatures")[0]["n"] == 1
