"""A sandbox that ends leaves no process behind, whoever ends it; started again, it has what it had."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.sandbox.box import Box, box, fake_program, path_with, processes_of
from tests.sandbox.conftest import SIMULATED

from strongroom.sandbox.process import Known, start_time

pytestmark = pytest.mark.sandbox


def supervisor_of(made: Box) -> Known:
    found = json.loads((made.data / "supervisor.json").read_text())
    return Known(found["pid"], found["started"])


def test_down_leaves_nothing_and_up_again_has_the_same_organisation(running: Box) -> None:
    before, known = running.document(), list(running.processes())
    assert len(known) >= 6  # the supervisor, watch, the API, and PostgreSQL's own
    down = running.run("down")
    assert (down.returncode, running.processes()) == (0, {})
    assert all(start_time(pid) is None for pid in known)
    ended = running.document()
    assert (ended["ready"], ended["pids"], "api_url" in ended) == (False, {}, False)
    status = running.run("status", "--json")
    assert (status.returncode, json.loads(status.stdout)["ready"]) == (1, False)
    again = running.run("down")
    assert (again.returncode, again.stderr.strip().splitlines()[-1]) == (0, "nothing runs")
    assert running.up(*SIMULATED).returncode == 0
    after = running.document()
    for name in ("organisation", "clients", "deployment", "database_url", "api_url"):
        assert after[name] == before[name]


def test_two_at_once_start_one(stopped: Box) -> None:
    both = [stopped.start(*stopped.up_command, *SIMULATED) for _ in range(2)]
    ended = [(each.communicate(timeout=60), each.returncode) for each in both]
    assert [code for _, code in ended] == [0, 0], ended
    supervisors = [pid for pid, command in stopped.processes().items() if "sandbox.supervisor" in command]
    assert supervisors == [supervisor_of(stopped).pid]


def test_a_killed_supervisor_takes_everything_along_and_the_commands_say_so(running: Box) -> None:
    supervisor_of(running).signal(signal.SIGKILL)
    assert running.wait_gone() == {}
    status = running.run("status", "--json")
    assert (status.returncode, json.loads(status.stdout)["ready"]) == (1, False)
    organisation = running.run("sandbox", "organisation")
    assert organisation.returncode == 5
    assert "doesn't run: strongroom up" in organisation.stderr
    assert "Traceback" not in organisation.stderr
    assert running.document()["ready"] is True  # nobody was left to write otherwise
    assert running.run("down").returncode == 0
    assert running.document()["ready"] is False


def test_up_right_after_the_supervisor_was_killed_starts_anew(running: Box) -> None:
    before = supervisor_of(running)
    before.signal(signal.SIGKILL)
    assert running.up(*SIMULATED).returncode == 0  # with the old processes still about
    assert supervisor_of(running) != before
    assert running.status()["ready"]


def test_down_in_the_middle_of_a_start_ends_what_is_being_fetched(tmp_path: Path) -> None:
    with box() as made:
        fake_program(tmp_path / "programs", "npm", "sleep 300 & sleep 300")
        cache = tmp_path / "cache"
        fetching = made.but(PATH=path_with(tmp_path / "programs"), STRONGROOM_CACHE=str(cache))
        starting = fetching.start(*made.up_command, "--rails", "evm")
        deadline = time.monotonic() + 30
        while len([command for command in processes_of(cache).values() if command.startswith("sleep")]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert made.run("down").returncode == 0
        starting.communicate(timeout=20)
        assert starting.returncode == 1
        assert (made.wait_gone(), processes_of(cache)) == ({}, {})


def test_a_process_that_keeps_ending_ends_the_sandbox_with_its_reason(running: Box) -> None:
    deadline = time.monotonic() + 60
    while running.processes():
        pid = running.document()["pids"].get("watch")
        if pid is not None and start_time(pid) is not None:
            os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "watch keeps ending; see " in (running.data / "progress.log").read_text()
    assert running.document()["ready"] is False
