"""`serve`: becomes a process, or says in a sentence why it can't; the signer's way leads through nothing of ours."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.command import PROGRAM, command, environment

from strongroom.cli.app import main
from strongroom.cli.serve import BUILT, LATER
from strongroom.sandbox.environment import ROOT, NoEnvironmentError, core_command

OTHERS = [name for name in BUILT if name != "signer"]


def test_help_names_every_process_there_is_and_will_be() -> None:
    done = command("serve", "--help")
    assert done.code == 0
    for name in (*BUILT, *LATER):
        assert name in done.out


@pytest.mark.parametrize("name", LATER)
def test_a_process_of_later_says_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", name, "--config", "x"]) == 1
    assert f"{name} isn't built yet" in capsys.readouterr().err


@pytest.mark.parametrize("name", BUILT)
def test_a_configuration_that_is_not_there_is_said(name: str, tmp_path: Path) -> None:
    done = command("serve", name, "--config", str(tmp_path / "none.json"))
    assert (done.code, done.err.count("\n")) == (3, 1)
    assert str(tmp_path / "none.json") in done.err


@pytest.mark.parametrize("name", BUILT)
def test_each_becomes_itself_and_says_what_its_configuration_lacks(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"nonsense": 1}')
    done = command("serve", name, "--config", str(config))
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "nonsense" in done.err or "missing" in done.err


@pytest.mark.parametrize("option", [["--reconcile"], ["--recover", "e" * 64]])
def test_only_guard_reconciles(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "api", "--config", "x", *option]) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize("spelling", [["--config", "FILE"], ["--config=FILE"]])
def test_the_signer_is_alone_in_its_environment_and_has_none_of_our_variables(
    spelling: list[str], tmp_path: Path
) -> None:
    """It waits at an identity that doesn't come, so that it can be looked at."""
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    (folder / "keys.age").write_bytes(b"x")
    reading, writing = os.pipe()
    config = tmp_path / "signer.json"
    numbers = dict.fromkeys(("identity", "engine", "admin", "link"), reading)
    config.write_text(json.dumps({"folder": str(folder), "engine_user": 0, "admin_user": 0, **numbers}))
    process = subprocess.Popen(
        [PROGRAM, "serve", "signer", *(each.replace("FILE", str(config)) for each in spelling)], pass_fds=(reading,),
        env=environment(CANARY="in our environment"), stderr=subprocess.PIPE,
    )
    os.close(reading)
    try:
        proc = Path(f"/proc/{process.pid}")
        wanted = core_command("strongroom.signer.main", str(config))
        assert process.stderr is not None
        while (seen := (proc / "cmdline").read_text().split("\0")[:-1]) != wanted:
            assert process.poll() is None, process.stderr.read()
        assert seen == wanted
        variables = dict(each.split("=", 1) for each in (proc / "environ").read_text().split("\0") if each)
        assert variables == {"HOME": "/", "LC_ALL": "C.UTF-8"}
    finally:
        os.close(writing)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said == b"signer: can't begin: the identity file must hold one identity\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("none", "isn't there"),
        ("no python", "isn't there"),
        ("other requirements", "isn't made from requirements/signer.txt"),
        ("made for the server", "isn't made from requirements/signer.txt"),
    ],
)
def test_there_is_no_other_environment_to_fall_back_to(change: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/signer.txt").write_bytes((ROOT / "requirements/signer.txt").read_bytes())
    remembered = (ROOT / ".venv-signer/requirements.sha256").read_text()
    made = tmp_path / ".venv-signer"
    (made / "bin").mkdir(parents=True)
    (made / "bin/python").symlink_to("/bin/true")
    (made / "requirements.sha256").write_text(remembered)
    assert core_command("strongroom.signer.main", root=tmp_path)[0] == str(made / "bin/python")
    if change == "none":
        made.rename(tmp_path / "elsewhere")
    elif change == "no python":
        (made / "bin/python").unlink()
    elif change == "other requirements":
        with (tmp_path / "requirements/signer.txt").open("a") as file:
            file.write("# one more\n")
    else:
        (made / "requirements.sha256").write_text(remembered.replace("signer", "server"))
    with pytest.raises(NoEnvironmentError, match=said):
        core_command("strongroom.signer.main", root=tmp_path)
