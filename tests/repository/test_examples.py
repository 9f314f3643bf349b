"""The examples do what they say, in a sandbox of their own that is started as a newcomer starts one."""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.repository.documents import ROOT

from strongroom.sandbox.ports import SPAN, Ports, PortTakenError

pytestmark = pytest.mark.sandbox

BASES = range(24_000, 25_000 - SPAN, SPAN)


def free_base() -> int:
    """The first of twenty ports that nobody listens on at this moment."""
    for base in random.sample(BASES, len(BASES)):
        try:
            Ports(base).check()
        except PortTakenError:
            continue
        return base
    raise LookupError("all the ports for this test are taken")


def strongroom(data: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "STRONGROOM_DATA": str(data)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="strongroom-examples-") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        try:
            strongroom(data, "up", "--ports", str(free_base()), "--rails", "simulated", "--detach")
            yield data
        finally:
            strongroom(data, "down")


def run(data: Path, *command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "STRONGROOM_DATA": str(data)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def payouts(data: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(strongroom(data, "payout", "list", "--json"))
    return found


def test_the_first_payout_by_the_command_line_is_one_payout_however_often_it_runs(sandbox: Path) -> None:
    before = len(payouts(sandbox))
    for _ in range(2):
        said = run(sandbox, "examples/first_payout.sh")
        assert "verified: " in said
        assert "settled" in said
    made = [each for each in payouts(sandbox) if each["external_id"] == "trip 4711"]
    assert [(each["state"], each["amount"]) for each in made] == [("settled", "1250000000")]
    assert len(payouts(sandbox)) == before + 1


def test_the_first_payout_by_the_sdk_is_one_payout_for_a_trip(sandbox: Path) -> None:
    before = len(payouts(sandbox))
    for _ in range(2):
        said = run(sandbox, sys.executable, "examples/first_payout.py", str(sandbox), "trip-12")
        assert "the same request again: the same payout (True)" in said
        assert "idempotency_key_reused: amount" in said
        assert "signed by watch" in said
        assert "now it is settled" in said
    assert len(payouts(sandbox)) == before + 1


def test_an_example_without_a_sandbox_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        ["examples/first_payout.sh"], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "STRONGROOM_DATA": str(tmp_path)},
    )
    assert done.returncode == 5
    assert "make up" in done.stderr


def test_a_program_that_knows_only_the_document_can_sign(sandbox: Path) -> None:
    run(sandbox, "examples/first_payout.sh")
    before = len(payouts(sandbox))
    first, again = (run(sandbox, sys.executable, "examples/without_sdk.py", str(sandbox)) for _ in range(2))
    assert "its id is the one that we compute: True" in first
    assert "as before" in again
    assert len(payouts(sandbox)) == before + 1
