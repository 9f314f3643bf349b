"""Policy and people changed from the command line, in a fresh organisation of a real sandbox: proposed, asserted by a
second officer, in force after its delay at the real signer; another one vetoed."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import Done
from tests.cli.conftest import ADDRESS, NETWORK, Sandbox

from strongroom.cli.app import main

IN_FORCE_S = 40
WAITS, REFUSED, USAGE, NOT_FOUND = 7, 4, 2, 3


Office = Callable[..., Done]


@pytest.fixture(scope="module")
def folder(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an organisation whose policy and people nobody else's tests look at."""
    made = sandbox("sandbox", "organisation", "--name", "Changing Rides")
    assert made.code == 0, made.err
    return sandbox.but(tmp_path_factory.mktemp("office"), **made.json()).data


@pytest.fixture
def office(folder: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """A command in this process: there are many."""

    def run(*line: str) -> Done:
        code = main([*line, "--data", str(folder)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def edited(office: Office, tmp_path: Path) -> Callable[..., Path]:
    """The running document with what a test changes of it."""

    def edit(command: str, change: Callable[[dict[str, Any]], None]) -> Path:
        running = office(command, "show").json()
        change(running)
        file = tmp_path / f"{command}.json"
        file.write_text(json.dumps(running, indent=2))
        return file

    return edit


def state_of(office: Office, change: str) -> str:
    return str(office("change", "show", change, "--json").json()["state"])


def wait_for(office: Office, change: str, state: str) -> None:
    deadline = time.monotonic() + IN_FORCE_S
    while (now := state_of(office, change)) != state:
        assert time.monotonic() < deadline, f"it is {now}"
        time.sleep(0.3)


def test_two_officers_change_the_policy_and_a_member_vetoes_another(
    office: Office, edited: Callable[..., Path]
) -> None:
    def generous(policy: dict[str, Any]) -> None:
        policy["tiers"][0]["up_to_reference_minor"] = "50000"
        policy["risk"]["above_reference_minor"] = "50000"

    def stingy(policy: dict[str, Any]) -> None:
        policy["fee_budget_reference_minor"] = "1"

    rosa = office("beneficiary", "create", "--name", "Rosa", "--network", NETWORK, "--address", ADDRESS, "--json")
    asked = ("payout", "preview", "--beneficiary", rosa.json()["id"], "--asset", "SIM", "--amount", "30000000000",
             "--external-id", "debt", "--json")
    assert office(*asked).json()["approvals"]["count"] == 2
    file = edited("policy", generous)
    nobody = office("policy", "propose", str(file), "--as", "ada")
    assert (nobody.code, "isn't of the group officers" in nobody.err) == (REFUSED, True), nobody.err
    alone = office("policy", "propose", str(file), "--as", "cleo", "--json")
    assert alone.code == WAITS, alone.err
    assert "LOOSER" in alone.err
    change = alone.json()["id"]
    assert alone.json()["version"] == 2
    other = office("policy", "propose", str(edited("policy", stingy)), "--as", "cleo", "--as", "dan", "--json").json()
    wait_for(office, other["id"], "pending")
    assert office("veto", other["id"], "--as", "ada").code == 0
    assert state_of(office, change) == "proposed"
    shown = office("change", "show", change[:16])
    assert "tiers: above 250.00 USD to 500.00 USD" in shown.out
    assert "1 of 2" in office("change", "list").out
    both = office("change", "assert", change[:16], "--as", "dan")
    assert both.code == 0, both.err
    wait_for(office, other["id"], "vetoed")
    wait_for(office, change, "in_force")
    assert office("policy", "show").json()["version"] == 2
    deadline = time.monotonic() + IN_FORCE_S
    while office(*asked).json()["approvals"]["count"] != 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    late = office("change", "assert", change, "--as", "dan")
    assert (late.code, "is in force" in late.err) == (REFUSED, True)


def test_people_are_listed_and_a_roster_proposed_says_who_gains_what(
    office: Office, edited: Callable[..., Path]
) -> None:
    def promote(roster: dict[str, Any]) -> None:
        ben = next(each for each in roster["people"] if each["name"] == "Ben Example")
        ben["groups"].append("treasury")

    listed = office("people", "list")
    assert "Ada Example" in listed.out
    assert {each["name"] for each in office("people", "list", "--json").json()} >= {"Ada Example", "Dan Example"}
    proposed = office("people", "propose", str(edited("people", promote)), "--as", "cleo")
    assert proposed.code == WAITS, proposed.err
    assert "LOOSER" in proposed.err
    assert "Ben Example has treasury" in proposed.err


def test_what_isnt_a_change_is_said(office: Office, tmp_path: Path) -> None:
    assert office("change", "show", "00").code == USAGE
    assert office("change", "show", "0" * 64).code == NOT_FOUND
    file = tmp_path / "policy.json"
    file.write_text("{}")
    broken = office("policy", "propose", str(file), "--as", "cleo")
    assert (broken.code, "type" in broken.err) == (1, True)
