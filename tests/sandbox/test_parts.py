"""What is fetched is fetched once, however many ask for it at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.sandbox.box import fake_program

from strongroom.sandbox import parts

ASK = "from strongroom.sandbox import parts; print(parts.node_modules(print))"
NPM = """echo called >> "$STRONGROOM_CACHE/calls"
sleep 1
mkdir node_modules
echo done > node_modules/done
"""


def test_two_at_once_fetch_once_and_both_have_it(tmp_path: Path) -> None:
    fake_program(tmp_path / "programs", "npm", NPM)
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = {
        **os.environ, "PATH": f"{tmp_path / 'programs'}:{os.environ['PATH']}", "STRONGROOM_CACHE": str(cache)
    }
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [each.communicate(timeout=30)[0] for each in asking]
    assert [each.returncode for each in asking] == [0, 0, 0]
    folders = {Path(answer.splitlines()[-1]) for answer in answers}
    assert len(folders) == 1
    assert (folders.pop() / "node_modules/done").exists()
    assert (cache / "calls").read_text() == "called\n"
    assert sum("waiting for another process" in answer for answer in answers) == 2


def test_what_a_killed_fetch_left_is_no_obstacle_and_its_lock_is_free(tmp_path: Path) -> None:
    fake_program(tmp_path / "programs", "npm", NPM.replace("sleep 1", "sleep 60"))
    cache = tmp_path / "cache"
    cache.mkdir()
    path = f"{tmp_path / 'programs'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "STRONGROOM_CACHE": str(cache)}
    first = subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (cache / "calls").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.wait()
    fake_program(tmp_path / "programs", "npm", NPM)
    second = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert second.returncode == 0, second.stderr
    assert [each.name for each in cache.iterdir() if each.name.endswith(".unfinished")] == []


def test_a_fetch_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "programs", "npm", f'sleep 300 &\necho $! > "{tmp_path}/child"\nwait')
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:{os.environ['PATH']}")
    monkeypatch.setenv("STRONGROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parts, "FETCH_TIMEOUT_S", 1)
    with pytest.raises(parts.PartError, match="npm took longer than 1 s"):
        parts.node_modules(lambda _: None)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
