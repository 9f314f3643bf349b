"""Guard as the audit log's witness: what it cosigns, what it refuses and keeps, and what it does when it has forgotten.

The attacker has watch's key, and so can sign any tree; wants guard's line below two trees that contradict each other;
the bound is: never two, also after crashes and restores, and the alarm stands until a person took it away.
"""

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.guard.process import GuardProcess, Wire, eventually
from tests.guard.test_restore import Run
from tests.guard.world import OpenGuard, Signer, World, b64

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.guard.cosigner import StaleError
from strongroom.guard.marker import Marker
from strongroom.guard.reconcile import Reconciler
from strongroom.journal.journal import JournalError
from strongroom.protocol.checkpoint import Checkpoint, sign_checkpoint, verify_cosignature
from strongroom.protocol.guard_wire import Lease, sign_frame
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import Node, consistency_proof, root_at
from strongroom.protocol.tree_head import TREE_TYPE, log_origin, witness_name
from strongroom.protocol.watch_record import tree_record


class Log:
    """A tree of leaves, and what its owner, who has watch's key, says of it."""

    def __init__(self, world: World, size: int = 200, changed: int = -1) -> None:
        """`changed` is the leaf that says something else than in the honest log."""
        self.world = world
        self.nodes: dict[Node, bytes] = {}
        leaves = (leaf_hash(b"%d" % each + b"!" * (each == changed)) for each in range(size))
        self.nodes.update(((level, place), digest) for level, place, digest in Frontier().append(leaves))

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(log_origin(self.world.deployment), size, root_at(size, self.nodes.__getitem__))

    def note(self, size: int) -> str:
        origin = log_origin(self.world.deployment)
        return sign_checkpoint(self.head(size), origin, self.world.watch_key)

    def record(self, size: int, old: int, /, **changes: Any) -> dict[str, Any]:
        proof = consistency_proof(old, size, self.nodes.__getitem__) if 0 < old < size else []
        self.world.now = Instant(self.world.now + 1)
        raw = tree_record(self.world.deployment, self.world.now, self.head(size), old, proof)
        said: dict[str, Any] = json.loads(raw)
        return {name: value for name, value in (said | changes).items() if value is not ...}

    def frame(self, size: int, old: int, key: SigningKey | None = None, /, **changes: Any) -> bytes:
        raw = json.dumps(self.record(size, old, **changes), sort_keys=True, separators=(",", ":")).encode()
        return sign_frame(key or self.world.watch_key, raw, TREE_TYPE)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def log(world: World) -> Log:
    return Log(world)


@pytest.fixture
def run(world: World) -> Run:
    """A guard that has enrolled its signer."""
    made = Run(world)
    assert made.signer.sync().is_cosigned
    return made


def contradiction(world: World) -> Path:
    return world.store / "contradiction.json"


def check_cosigned(log: Log, size: int, line: str) -> int:
    """That guard's line holds below watch's note; and its time."""
    origin = log_origin(log.world.deployment)
    return verify_cosignature(log.note(size) + line, witness_name(origin), bytes(log.world.guard_key.verify_key))


def test_checkpoints_that_continue_each_other_are_cosigned(run: Run, log: Log) -> None:
    old = 0
    for size in (1, 2, 7, 8, 64, 200):
        line = run.guard.cosigner.cosign(log.frame(size, old))
        assert check_cosigned(log, size, line) == run.world.now // 1_000
        assert run.guard.cosigner.tree == Head(size, log.head(size).root)
        old = size
    assert not contradiction(run.world).exists()


def test_the_same_checkpoint_again_is_cosigned_again(run: Run, log: Log) -> None:
    for _ in range(2):
        check_cosigned(log, 7, run.guard.cosigner.cosign(log.frame(7, 7 if run.guard.cosigner.tree.length else 0)))


Forge = Callable[[World, Log], bytes]
CONTRADICTS: dict[str, Forge] = {
    "another tree, with a good proof of its own": lambda world, _: Log(world, changed=3).frame(150, 100),
    "another root at the same size": lambda world, _: Log(world, changed=99).frame(100, 100),
    "the log is cut": lambda _, log: log.frame(99, 99),
    "the log is cut, and says what guard has": lambda _, log: log.frame(99, 100),
    "another leaf after what guard has, and a proof from less": lambda world, _: Log(world, changed=90).frame(150, 100),
    "no proof": lambda _, log: log.frame(150, 100, proof=...),
    "a proof with a hash too many": lambda _, log: log.frame(150, 100, proof=log.record(150, 100)["proof"] + "00" * 32),
    "a proof with a hash too few": lambda _, log: log.frame(150, 100, proof=log.record(150, 100)["proof"][:-64]),
    "a proof of bytes that are no hashes": lambda _, log: log.frame(150, 100, proof="00" * 33),
    "a proof where none is needed": lambda _, log: log.frame(100, 100, proof="00" * 32),
}


@pytest.mark.parametrize("forge", CONTRADICTS.values(), ids=CONTRADICTS)
def test_what_contradicts_it_is_refused_kept_and_an_alarm(
    run: Run, log: Log, forge: Forge, caplog: pytest.LogCaptureFixture
) -> None:
    run.guard.cosigner.cosign(log.frame(100, 0))
    run.start()
    assert run.guard.witness.lease() is Lease.ALL
    frame = forge(run.world, log)
    with pytest.raises(DocumentError, match="contradicts the tree of 100 leaves that guard cosigned"):
        run.guard.cosigner.cosign(frame)
    assert run.guard.witness.lease() is Lease.RECOVER
    assert "ALARM" in caplog.text
    kept = json.loads(contradiction(run.world).read_bytes())
    assert (kept["frame"], kept["size"], kept["root"]) == (b64(frame), 100, log.head(100).root.hex())
    # The alarm outlives guard, and the honest log is cosigned all the same; a second lie isn't kept.
    run.start()
    assert run.guard.witness.lease() is Lease.RECOVER
    check_cosigned(log, 101, run.guard.cosigner.cosign(log.frame(101, 100)))
    with pytest.raises(DocumentError, match="contradicts"):
        run.guard.cosigner.cosign(log.frame(100, 100))
    assert json.loads(contradiction(run.world).read_bytes()) == kept
    contradiction(run.world).unlink()
    assert run.guard.witness.lease() is Lease.ALL


REFUSED: dict[str, tuple[Forge, str]] = {
    "another key": (lambda _, log: log.frame(150, 100, SigningKey(b"x" * 32)), "signed by the expected key"),
    "guard's own key": (lambda world, log: log.frame(150, 100, world.guard_key), "signed by the expected key"),
    "another deployment": (lambda _, log: log.frame(150, 100, deployment="e" * 16), "deployment: must be"),
    "another type": (lambda _, log: log.frame(150, 100, type="strongroom/heartbeat/v1"), "type: must be"),
    "no size": (lambda _, log: log.frame(150, 100, size=...), "size: is missing"),
    "no leaf": (lambda _, log: log.frame(150, 100, size=0), "size: must be an integer from 1"),
    "too many leaves": (lambda _, log: log.frame(150, 100, size=2**48 + 1), "size: must be an integer"),
    "a root that is no hash": (lambda _, log: log.frame(150, 100, root="00"), "root: must be 32 to 32 bytes"),
    "a proof that is too long": (lambda _, log: log.frame(150, 100, proof="00" * 32 * 66), "proof: must be a string"),
    "a field too many": (lambda _, log: log.frame(150, 100, x=1), "x: is unknown"),
    "of another hour": (lambda world, log: log.frame(150, 100, at_ms=world.now + 3_600_000), "far from guard's time"),
}


@pytest.mark.parametrize(("forge", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_watch_didnt_say_here_and_now_is_refused_without_an_alarm(
    run: Run, log: Log, forge: Forge, reason: str
) -> None:
    run.guard.cosigner.cosign(log.frame(100, 0))
    with pytest.raises(DocumentError, match=reason):
        run.guard.cosigner.cosign(forge(run.world, log))
    assert run.guard.cosigner.tree.length == 100
    assert not contradiction(run.world).exists()


def test_what_was_said_before_is_worth_nothing_and_no_alarm(run: Run, log: Log) -> None:
    """Who listened could else make an old checkpoint look like a log that was cut."""
    first, second = log.frame(50, 0), log.frame(100, 50)
    run.guard.cosigner.cosign(first)
    run.guard.cosigner.cosign(second)
    for each in (first, second):
        with pytest.raises(DocumentError, match="isn't newer than the last that watch said"):
            run.guard.cosigner.cosign(each)
    assert not contradiction(run.world).exists()


@pytest.mark.parametrize("old", [0, 99, 101])
def test_a_proof_from_another_size_is_told_guards(run: Run, log: Log, old: int) -> None:
    run.guard.cosigner.cosign(log.frame(100, 0))
    for size in (150, 101):
        with pytest.raises(StaleError) as stale:
            run.guard.cosigner.cosign(log.frame(size, old))
        assert stale.value.size == 100
    assert not contradiction(run.world).exists()


def test_a_guard_that_nobody_enrolled_cosigns_nothing(world: World, log: Log) -> None:
    with pytest.raises(DocumentError, match="isn't enrolled"):
        world.open().cosigner.cosign(log.frame(1, 0))


def test_a_restored_store_changes_nothing_because_the_marker_remembers(run: Run, log: Log) -> None:
    run.save()
    run.guard.cosigner.cosign(log.frame(100, 0))
    run.restore()
    run.start()
    with pytest.raises(DocumentError, match="contradicts"):
        run.guard.cosigner.cosign(Log(run.world, changed=3).frame(150, 100))
    check_cosigned(log, 150, run.guard.cosigner.cosign(log.frame(150, 100)))


def lost(run: Run) -> OpenGuard:
    """Guard's whole machine was lost, and the new one was reconciled with the signer."""
    run.signer.spend()
    assert run.signer.sync().is_cosigned
    run.guard.close()
    for name in ("journal", "control"):
        (run.world.store / name).unlink()
    run.world.marker.unlink()
    run.signer.guard = 0
    assert run.reconcile()
    return run.start()


def test_who_lost_the_marker_blesses_no_fork(run: Run, log: Log) -> None:
    run.start()
    run.guard.cosigner.cosign(log.frame(100, 0))
    guard = lost(run)
    assert guard.cosigner.tree == Head(0, EMPTY_HEAD)
    for size, old in ((150, 0), (150, 100), (1, 0)):
        with pytest.raises(DocumentError, match="its operator must name it"):
            guard.cosigner.cosign(Log(run.world, changed=3).frame(size, old))
    assert not contradiction(run.world).exists()
    guard.cosigner.name_tree(f"100:{log.head(100).root.hex()}")
    with pytest.raises(DocumentError, match="contradicts"):
        guard.cosigner.cosign(Log(run.world, changed=3).frame(150, 100))
    check_cosigned(log, 150, guard.cosigner.cosign(log.frame(150, 100)))


def test_a_reconciled_guard_keeps_what_it_cosigned_if_the_marker_is_there(run: Run, log: Log) -> None:
    run.guard.cosigner.cosign(log.frame(100, 0))
    run.save()
    run.start()
    run.signer.spend()
    assert run.signer.sync().is_cosigned
    run.restore()
    assert run.reconcile()
    assert run.start().cosigner.tree == Head(100, log.head(100).root)


def test_no_tree_is_named_before_guard_is_reconciled(run: Run, log: Log) -> None:
    """It would write a marker, and a restored store with a marker looks like a good one."""
    run.guard.close()
    run.world.marker.unlink()
    guard = run.world.open()
    assert guard.witness.is_restored
    with pytest.raises(JournalError, match="enrolled or reconciled before"):
        guard.cosigner.name_tree(f"100:{log.head(100).root.hex()}")
    guard.close()
    assert run.world.open(Reconciler).witness.is_restored


@pytest.mark.parametrize("said", ["", "100", "100:00", "-1:" + "0" * 64, "100:" + "A" * 64, "1" * 15 + ":" + "0" * 64])
def test_a_misspelt_tree_isnt_named(run: Run, said: str) -> None:
    with pytest.raises(JournalError, match="SIZE:ROOT"):
        run.guard.cosigner.name_tree(said)


def test_a_marker_of_before_there_was_a_witness_is_read_and_names_no_tree(tmp_path: Path) -> None:
    body = struct.pack(">QQQ32s32s64s", 4, 2, 1, b"j" * 32, b"c" * 32, b"s" * 64)
    (tmp_path / "marker").write_bytes(body + hashlib.sha256(body).digest())
    mark = Marker(tmp_path / "marker").mark
    assert mark is not None
    assert (mark.journal, mark.control, mark.signature) == (Head(2, b"j" * 32), Head(1, b"c" * 32), b"s" * 64)
    assert mark.tree == Head(0, EMPTY_HEAD)


def test_what_was_cosigned_is_on_the_disk_before_it_is_answered(
    run: Run, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails leaves no cosignature behind that guard could forget."""
    def broken(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(JournalError, match="the disk failed at the marker"):
        run.guard.cosigner.cosign(log.frame(100, 0))


def call(guard: GuardProcess, frame: bytes) -> tuple[int, Any]:
    return guard.call("POST", "/v1/checkpoints", {"frame": b64(frame)})


def test_the_process_answers_refuses_and_remembers_through_a_kill(tmp_path: Path) -> None:
    world = World(tmp_path, now=Instant(time.time_ns() // 10**6 - 30_000))
    log = Log(world)
    with GuardProcess(world) as guard:
        with Wire.to(guard.ready().signer_port) as wire:
            signer = Signer(world, wire.exchange)
            signer.found()
            assert signer.sync().is_cosigned
        assert guard.beat() == "all"
        status, answer = call(guard, log.frame(100, 0))
        assert status == 200
        check_cosigned(log, 100, answer["cosignature"])
        status, answer = call(guard, log.frame(150, 99))
        assert (status, answer["size"]) == (409, 100)
        assert call(guard, b"x" * 50_000)[0] == 413
        assert guard.call("POST", "/v1/checkpoints", {"frame": 1})[0] == 422
        # Killed when it has written and before its answer was read: the same again is cosigned, and nothing else is.
        marked = world.marker.read_bytes()
        call(guard, log.frame(150, 100))
        assert eventually(lambda: world.marker.read_bytes() != marked)
        guard.kill()
    with GuardProcess(world) as again:
        status, answer = call(again.ready(), log.frame(150, 100))
        assert (status, answer["size"]) == (409, 150)
        status, answer = call(again, log.frame(150, 150))
        check_cosigned(log, 150, answer["cosignature"])
        assert again.beat() == "all"
        status, answer = call(again, Log(world, changed=149).frame(150, 150))
        assert (status, answer["field"]) == (422, "root")
        assert "contradicts the tree of 150 leaves" in answer["detail"]
        assert again.call("GET", "/v1/status")[1]["audit"] == {
            "is_contradicted": True, "root": log.head(150).root.hex(), "size": 150,
        }
        assert again.beat() == "recover"
        assert again.stop() == 0
    fork = Log(world, changed=149)
    with GuardProcess(world, "--tree", f"150:{fork.head(150).root.hex()}") as operator:
        assert operator.wait() == 0
    contradiction(world).unlink()
    with GuardProcess(world) as last:
        check_cosigned(fork, 151, call(last.ready(), fork.frame(151, 150))[1]["cosignature"])
        assert last.beat() == "all"
    with GuardProcess(world, "--tree", "150") as operator:
        assert operator.wait() == 1
        assert "SIZE:ROOT" in operator.log
