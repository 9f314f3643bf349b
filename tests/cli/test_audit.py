"""`audit export` and `audit verify` on a log that a real sandbox wrote, and what verify says of each tampering."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import command, eventually
from tests.cli.conftest import Sandbox

Lines = list[bytes]


@pytest.fixture(scope="module")
def export(sandbox: Sandbox, rosa: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert rosa["id"]
    for number in range(3):
        done = sandbox("api", "POST", "/v1/payouts", "--idempotency-key", f"audit-{number}", "-d", json.dumps({
            "beneficiary": rosa["id"], "destination_digest": rosa["destination"]["digest"],
            "asset": sandbox.document["assets"]["SIM"], "amount": "1000", "external_id": f"audit {number}",
        }))
        assert done.code == 0, done.err
    file = tmp_path_factory.mktemp("audit") / "log.jsonl"

    said: list[str] = []

    def is_long_enough() -> bool:
        found = sandbox("audit", "export", str(file), "--json")
        said.append(found.out + found.err)
        return found.code == 0 and found.json()["lines"] >= 5

    eventually("the log's checkpoint covers what was asked", is_long_enough, said=said)
    return file


def test_an_export_verifies_without_any_server(sandbox: Sandbox, export: Path) -> None:
    key = sandbox.document["checkpoint_public_key"]
    done = command("audit", "verify", str(export), "--key", key)
    assert done.code == 0, done.err
    assert done.out.startswith("verified: ")
    assert done.out.endswith(", signed by watch\n")
    size = len(export.read_bytes().splitlines()) - 1
    assert command("audit", "verify", str(export), "--key", key, "--json").json() | {"root": ""} == {
        "verified": True, "size": size, "root": "", "origin": f"strongroom/{sandbox.document['deployment']}",
        "witnessed_at": None,
    }
    said = sandbox("audit", "export", str(export))
    assert f"--key {key} --witness {sandbox.document['guard_public_key']}" in said.err


def test_an_export_was_witnessed_by_guard(sandbox: Sandbox, export: Path, tmp_path: Path) -> None:
    witnessed = r", signed by watch, witnessed by guard at 20[0-9-]{8}T[0-9:]{8}\.000Z\n"
    done = sandbox("audit", "verify", str(export))
    assert re.search(f"^verified: .*{witnessed}$", done.out), done.out + done.err
    key, guard = (sandbox.document[f"{name}_public_key"] for name in ("checkpoint", "guard"))
    done = command("audit", "verify", str(export), "--key", key, "--witness", guard)
    assert re.search(f"^verified: .*{witnessed}$", done.out), done.out + done.err
    origin = f"strongroom/{sandbox.document['deployment']}"
    done = command("audit", "verify", str(export), "--key", key, "--witness", key)
    assert (done.code, done.out) == (10, f"NOT VERIFIED: the checkpoint: the note isn't signed by {origin}/guard\n")
    head, *rest = export.read_bytes().splitlines(keepends=True)
    alone = tmp_path / "alone.jsonl"
    note = json.loads(head)["checkpoint"]
    without = json.loads(head) | {"checkpoint": note[: note.index("\u2014", note.index("\u2014") + 1)]}
    alone.write_bytes(b"".join([json.dumps(without).encode() + b"\n", *rest]))
    assert command("audit", "verify", str(alone), "--key", key).code == 0
    assert command("audit", "verify", str(alone), "--key", key, "--witness", guard).code == 10


@pytest.mark.parametrize("option", ["--key", "--witness"])
@pytest.mark.parametrize("text", ["x", "00", "0" * 63])
def test_a_key_that_is_none_is_named(export: Path, option: str, text: str) -> None:
    keys = {"--key": "0" * 64, option: text}
    done = command("audit", "verify", str(export), *(part for pair in keys.items() for part in pair))
    assert done.code == 2
    assert f"{option}: " in done.err


def changed(lines: Lines) -> Lines:
    record = json.loads(lines[2])
    record["leaf"] = record["leaf"][:-1] + " }"
    return [*lines[:2], json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n", *lines[3:]]


def missing(lines: Lines) -> Lines:
    return [*lines[:2], *lines[3:]]


def reordered(lines: Lines) -> Lines:
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def repeated(lines: Lines) -> Lines:
    return [*lines[:3], lines[2], *lines[3:]]


def cut_off(lines: Lines) -> Lines:
    return lines[:-1]


def added(lines: Lines) -> Lines:
    last = json.loads(lines[-1])
    return [*lines, json.dumps(last | {"index": last["index"] + 1}, sort_keys=True, separators=(",", ":")).encode()]


@pytest.mark.parametrize(
    ("tamper", "leaf", "named"),
    [
        (changed, 1, "leaf 1 was changed"), (missing, 1, "leaf 1 is missing"), (reordered, 1, "leaf 1 is missing, or"),
        (repeated, 1, "leaf 1 stands again"), (cut_off, -1, "is missing"), (added, None, "one too many"),
    ],
)
def test_verify_names_the_leaf_at_fault(
    sandbox: Sandbox, export: Path, tmp_path: Path, tamper: Callable[[Lines], Lines], leaf: int | None, named: str
) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    file = tmp_path / "tampered.jsonl"
    file.write_bytes(b"".join(tamper(lines)))
    key = sandbox.document["checkpoint_public_key"]
    done = command("audit", "verify", str(file), "--key", key)
    assert done.code == 10
    assert done.out.startswith("NOT VERIFIED: leaf ")
    assert named in done.out
    expected = {None: len(lines) - 1, -1: len(lines) - 2}.get(leaf, leaf)
    found = command("audit", "verify", str(file), "--key", key, "--json").json()
    assert (found["verified"], found["leaf"]) == (False, expected)


def test_verify_believes_no_other_key(export: Path) -> None:
    done = command("audit", "verify", str(export), "--key", "11" * 32)
    assert done.code == 10
    assert "checkpoint" in done.out


def test_verify_takes_the_sandboxs_key_and_misses_no_file(sandbox: Sandbox, export: Path, tmp_path: Path) -> None:
    assert sandbox("audit", "verify", str(export)).code == 0
    assert sandbox("audit", "verify", str(tmp_path / "none")).code == 3
    assert command("audit", "verify", str(export), "--data", str(tmp_path)).code == 2
    assert sandbox("audit", "export", str(tmp_path / "no" / "folder")).code == 1
