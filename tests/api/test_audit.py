"""The audit log over HTTP: what is given proves itself, and shows nothing of others."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from nacl.signing import SigningKey
from tests.api.server import DEPLOYMENT, ApiProcess, Owner, api_process
from tests.api.world import Organisation, create_world, refused
from tests.conftest import ROLE_PASSWORD

from strongroom.protocol.checkpoint import verify_checkpoint
from strongroom.protocol.merkle import MerkleError, leaf_hash, verify_consistency, verify_inclusion
from strongroom.store.postgres import Cluster

ORIGIN = "strongroom/tests"
KEY = SigningKey(hashlib.sha256(b"only for tests").digest())


@pytest.fixture(scope="module")
def audited(
    postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ApiProcess, Owner, httpx.Client]]:
    """An API of its own, so that this log is only of these tests."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "checkpoint.key").write_text(bytes(KEY).hex())
    (folder / "watch.json").write_text(json.dumps({
        "database_url": postgres_cluster.dsn("strongroom_watch", ROLE_PASSWORD, "api_audit"), "origin": ORIGIN,
        "deployment": DEPLOYMENT,
        "checkpoint_key_file": str(folder / "checkpoint.key"), "interval_ms": 10,
        "last_checkpoint_file": str(folder / "last.note"),
    }))
    with (
        api_process(postgres_cluster, folder, "api_audit") as (api, owner),
        httpx.Client(base_url=api.url, timeout=30, trust_env=False) as client,
    ):
        yield api, owner, client


def sequence(api: ApiProcess, owner: Owner) -> None:
    """Let `watch` run until it has signed for every leaf that there is, and no longer."""
    folder = api.config.parent
    with (folder / "watch.log").open("ab") as log:
        watch = subprocess.Popen(
            [sys.executable, "-m", "strongroom.watch.main", "--config", str(folder / "watch.json")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": "src"},
        )
    leaves = owner.value("SELECT count(*) FROM strongroom.audit_leaves")
    deadline = time.monotonic() + 20
    while owner.value("SELECT coalesce(max(size), 0) FROM strongroom.audit_checkpoints") < leaves:
        assert watch.poll() is None, (folder / "watch.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(20) == 0


def checkpoint(world: Organisation) -> tuple[int, bytes]:
    answer = world.payer.get("/v1/audit/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    found = verify_checkpoint(answer.text, ORIGIN, ORIGIN, bytes(KEY.verify_key))
    return found.size, found.root


def test_the_log_proves_every_leaf_and_that_it_only_grew(
    audited: tuple[ApiProcess, Owner, httpx.Client]
) -> None:
    api, owner, client = audited
    world, stranger = create_world(api, owner, client), create_world(api, owner, client)
    refused(world.payer.get("/v1/audit/checkpoint"), "not_found")
    refused(world.payer.get("/v1/audit/proofs/inclusion", "leaf_index=0&size=1"), "not_found")
    made = world.paid(world.declared())
    stranger.declared()
    waiting = world.payer.get(f"/v1/payouts/{made['id']}/receipt")
    refused(waiting, "in_progress")
    assert waiting.headers["retry-after"] == "1"
    sequence(api, owner)
    size, root = checkpoint(world)

    receipt = world.payer.get(f"/v1/payouts/{made['id']}/receipt").json()
    assert receipt["tree_size"] == size
    proof = [bytes.fromhex(each) for each in receipt["proof"]]
    verify_inclusion(leaf_hash(receipt["leaf"].encode()), receipt["leaf_index"], size, proof, root)
    event = json.loads(receipt["leaf"])["event"]
    assert (event["id"], event["amount"], event["type"]) == (
        made["id"], made["amount"], "strongroom/event/payout-recorded/v1")
    changed = leaf_hash(receipt["leaf"].replace(made["amount"], "9").encode())
    with pytest.raises(MerkleError):
        verify_inclusion(changed, receipt["leaf_index"], size, proof, root)

    entries = world.payer.get("/v1/audit/entries", f"start=0&end={size + 5}").json()["data"]
    assert [entry["leaf_index"] for entry in entries] == list(range(size))
    for entry in entries:
        query = f"leaf_index={entry['leaf_index']}&size={size}"
        answer = world.payer.get("/v1/audit/proofs/inclusion", query).json()
        assert answer["leaf_hash"] == entry["leaf_hash"]
        path = [bytes.fromhex(each) for each in answer["proof"]]
        verify_inclusion(bytes.fromhex(answer["leaf_hash"]), entry["leaf_index"], size, path, root)
        if entry["leaf"] is not None:
            assert leaf_hash(entry["leaf"].encode()).hex() == entry["leaf_hash"]
    own = [entry["leaf"] for entry in entries if entry["leaf"] is not None]
    assert all(json.loads(leaf)["event"]["organisation"] == world.id for leaf in own)
    assert 3 <= len(own) < len(entries)
    assert stranger.id not in json.dumps(entries)

    world.paid(world.declared())
    sequence(api, owner)
    larger, new_root = checkpoint(world)
    assert larger > size
    for first in range(1, larger + 1):
        query = f"first={first}&second={larger}"
        grown = [bytes.fromhex(each) for each in
                 world.payer.get("/v1/audit/proofs/consistency", query).json()["proof"]]
        if first == size:
            verify_consistency(size, larger, root, new_root, grown)
            with pytest.raises(MerkleError):
                verify_consistency(size, larger, bytes(32), new_root, grown)


def test_proofs_are_given_for_checkpoints_that_there_are(audited: tuple[ApiProcess, Owner, httpx.Client]) -> None:
    api, owner, client = audited
    world = create_world(api, owner, client)
    sequence(api, owner)
    size, _ = checkpoint(world)
    world.declared()  # not sequenced yet
    for query in (f"leaf_index={size}&size={size}", f"leaf_index=0&size={size + 1}", "leaf_index=0&size=0"):
        refused(world.payer.get("/v1/audit/proofs/inclusion", query), "not_found")
    for query in (f"first=1&second={size + 1}", f"first=0&second={size}", f"first={size + 1}&second={size}"):
        refused(world.payer.get("/v1/audit/proofs/consistency", query), "not_found")
    assert len(world.payer.get("/v1/audit/entries", f"start={size - 1}&end={size + 9}").json()["data"]) == 1
    assert world.payer.get("/v1/audit/entries", f"start={size}&end={size}").json()["data"] == []


def test_a_leafs_role_is_the_databases_word_and_not_the_clients(
    audited: tuple[ApiProcess, Owner, httpx.Client]
) -> None:
    api, owner, client = audited
    world = create_world(api, owner, client)
    made = world.paid(world.declared())
    sequence(api, owner)
    leaf = json.loads(world.payer.get(f"/v1/payouts/{made['id']}/receipt").json()["leaf"])
    assert leaf["role"] == "strongroom_api"
