"""up, down, status, doctor, serve and a fresh organisation."""

import subprocess
import tempfile
from pathlib import Path

from tests.cli.command import PROGRAM, Running, command, environment, free_base
from tests.cli.conftest import Sandbox


def test_a_sandbox_has_no_treasury_to_sweep_to_and_the_command_says_so(sandbox: Sandbox) -> None:
    """As root it has become the engine's user by then, and asked the database as the engine."""
    done = sandbox("sweep", "sim:sandbox")
    assert (done.code, "the policy has no treasury on sim:sandbox" in done.err) == (1, True), done


def test_status_and_doctor_say_what_is_true(sandbox: Sandbox) -> None:
    status = sandbox("status")
    assert status.code == 0
    assert "api" in status.out
    assert status.out.rstrip().endswith(f"ready  {sandbox.document['api_url']}")
    assert sandbox("status", "--json").json()["ready"] is True
    doctor = sandbox("doctor")
    assert "python" in doctor.out
    assert {each["what"] for each in sandbox("doctor", "--json").json()} >= {"python", "disk", "postgres", "sandbox"}


def test_up_again_leaves_a_running_sandbox_as_it_is(sandbox: Sandbox) -> None:
    again = sandbox("up", "--detach", "--json")
    assert again.code == 0, again.err
    assert again.json()["pids"] == sandbox.document["pids"]


def test_a_fresh_organisation_has_keys_that_work(sandbox: Sandbox, tmp_path: Path) -> None:
    made = sandbox("sandbox", "organisation", "--name", "Other Rides")
    assert made.code == 0, made.err
    assert made.json()["organisation"] != sandbox.document["organisation"]
    other = sandbox.but(tmp_path, **made.json())
    assert other("payout", "list", "--json").json() == []
    assert other("payout", "list").out == "(none)\n"


def test_a_folder_without_a_sandbox_is_said(tmp_path: Path) -> None:
    assert command("status", "--data", str(tmp_path)).code == 3
    down = command("down", "--data", str(tmp_path), "--json")
    assert (down.code, down.json()) == (0, {"stopped": False})


def test_an_unknown_rail_and_a_taken_port_are_said(sandbox: Sandbox, tmp_path: Path) -> None:
    rail = command("up", "--data", str(tmp_path / "a"), "--rails", "carrier-pigeon", "--detach")
    assert rail.code == 1
    assert "carrier-pigeon" in rail.err
    port = sandbox.document["api_url"].rpartition(":")[2]
    taken = command("up", "--data", str(tmp_path / "b"), "--ports", port, "--rails", "simulated", "--detach")
    assert taken.code == 1
    assert f"port {port}" in taken.err


def test_ctrl_c_stops_a_sandbox_and_a_stopped_one_is_said() -> None:
    with tempfile.TemporaryDirectory(prefix="strongroom-cli-") as folder:
        Path(folder).chmod(0o755)
        data = str(Path(folder) / "data")
        running = Running("up", "--data", data, "--ports", str(free_base()), "--rails", "simulated")
        running.wait_for("Ctrl-C stops it")
        done = running.interrupt()
        assert done.code == 0, done
        status = command("status", "--data", data)
        assert (status.code, "not ready" in status.out) == (1, True)
        stopped = command("payout", "list", "--data", data)
        assert stopped.code == 5
        assert "is stopped" in stopped.err


def test_serve_becomes_the_process_and_says_what_its_configuration_lacks(tmp_path: Path) -> None:
    config = tmp_path / "api.json"
    config.write_text("{}")
    done = command("serve", "api", "--config", str(config))
    assert done.code == 1
    assert "listen" in done.err


def test_a_reader_that_leaves_early_is_no_fault(sandbox: Sandbox) -> None:
    process = subprocess.Popen(
        [PROGRAM, "api", "GET", "/v1/payouts", "--data", str(sandbox.data)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
