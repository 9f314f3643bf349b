"""The main job, end to end: one file in three assets, one command, real processes and real nodes. What each payee got
is counted by a script that knows nothing of the project (`tools/recount.py`)."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.sandbox import eventually
from tests.repository.documents import ROOT
from tests.sandbox.box import Box, box
from tests.sandbox.test_running import evm_call

pytestmark = pytest.mark.sandbox

EXAMPLE = ROOT / "examples/payouts-1000.csv"
ROWS = 12
ENDED = ("engine", "watch", "evm", "signer", "guard", "engine", "link", "postgres", "evm", "bitcoin")
at_full_count = pytest.mark.skipif(os.environ.get("STRONGROOM_FAULTS") != "full", reason="under STRONGROOM_FAULTS=full")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Box]:
    with box() as made:
        started = made.up("--rails", "bitcoin,evm")
        assert started.returncode == 0, started.stderr
        yield made


def table(first: int, count: int) -> list[dict[str, str]]:
    with EXAMPLE.open(newline="") as file:
        return list(csv.DictReader(file))[first : first + count]


def written(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return file


def imported(sandbox: Box, file: Path) -> list[dict[str, Any]]:
    """How each row ended. The command must say that all is settled."""
    done = sandbox.run("run", "import", str(file), "--json")
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr + (sandbox.data / "engine.log").read_text()[-3_000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    assert {row["state"] for row in rows} == {"settled"}
    return rows


def recounted(sandbox: Box, file: Path) -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "tools/recount.py"), str(file)]
    done = subprocess.run(
        [*command, str(sandbox.data / "sandbox.json")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def assets(sandbox: Box) -> dict[str, dict[str, Any]]:
    return {each["symbol"]: each for each in sandbox.status()["assets"]}


def are_equal(sandbox: Box) -> bool:
    found = assets(sandbox)
    return all(found[symbol]["is_equal"] for symbol in ("BTC", "USDC", "USDT", "ETH"))


def test_a_file_in_three_assets_is_paid_by_one_command_and_the_same_command_again_pays_nothing(
    sandbox: Box, tmp_path: Path
) -> None:
    rows = table(0, ROWS)
    eventually("watch has read what the wallets opened with", lambda: are_equal(sandbox))
    file, before = written(tmp_path / "payees.csv", rows), assets(sandbox)
    first = imported(sandbox, file)
    recounted(sandbox, file)
    assert [row["external_id"] for row in first] == [row["external_id"] for row in rows]
    token = next(row for row in first if row["asset"].startswith("eip155:"))
    document = sandbox.document()
    (receipt,) = filter(None, (
        evm_call(document, "eth_getTransactionReceipt", each) for each in token["chain_transactions"]
    ))
    assert receipt["to"] == document["evm"]["hot_vault"].lower()
    found = json.loads(sandbox.run("api", "GET", f"/v1/payouts?chain_transaction={receipt['transactionHash']}").stdout)
    assert token["payout"] in [each["id"] for each in found["data"]]
    again = imported(sandbox, file)
    assert [row["payout"] for row in again] == [row["payout"] for row in first]
    recounted(sandbox, file)
    eventually("ledger, chain and journal agree", lambda: are_equal(sandbox))
    after = assets(sandbox)
    for symbol in ("USDC", "USDT"):
        paid = sum(int(row["amount"]) for row in rows if row["asset"] == symbol)
        assert int(before[symbol]["chain"]) - int(after[symbol]["chain"]) == paid == int(
            after[symbol]["signed_by_journal"])
    assert 0 < int(before["ETH"]["ledger"]) - int(after["ETH"]["ledger"]) < 10**16  # what the gas really cost


@pytest.mark.faults
@at_full_count
def test_a_thousand_are_paid_once_each_whatever_is_killed_and_however_often_the_command_is_given() -> None:
    """The EVM node is ended as a node is that keeps its chain: killed, anvil forgets blocks that were final."""
    with box() as made:
        assert made.up("--rails", "bitcoin,evm").returncode == 0
        with made.start("run", "import", str(EXAMPLE)) as interrupted:
            assert interrupted.stderr is not None
            for line in interrupted.stderr:
                if "sending a run" in line:
                    break
            interrupted.send_signal(signal.SIGINT)
        with made.start("run", "import", str(EXAMPLE), "--json") as running:
            for process in ENDED:
                time.sleep(2)
                ending = signal.SIGTERM if process == "evm" else signal.SIGKILL
                with contextlib.suppress(ProcessLookupError, KeyError):
                    os.kill(made.document()["pids"][process], ending)
            running.communicate(timeout=300)
        made.wait_ready()
        rows = imported(made, EXAMPLE)
        assert len(rows) == 1_000
        recounted(made, EXAMPLE)
        eventually("ledger, chain and journal agree", lambda: are_equal(made))


@pytest.mark.faults
@at_full_count
@pytest.mark.parametrize("symbol", ["BTC", "USDC", "USDT"])
def test_the_first_payout_is_one_payout_however_often_it_is_asked_for(sandbox: Box, symbol: str) -> None:
    for _ in range(2):
        done = subprocess.run(
            ["examples/first_payout.sh", symbol], capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "STRONGROOM_DATA": str(sandbox.data)}, timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "state        settled" in done.stdout
        assert "verified: " in done.stdout
    asked = json.loads(sandbox.run("payout", "list", "--limit", "5000", "--json").stdout)
    asset = sandbox.document()["assets"][symbol]
    assert len([each for each in asked if each["asset"] == asset and each["external_id"].startswith("trip 47")]) == 1
