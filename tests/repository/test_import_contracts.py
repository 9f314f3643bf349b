"""Each import contract of the house fails on an injected fault, and all are kept without one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAULTS = [
    ("layers", "domain/fault.py", "import strongroom.store"),
    ("layers", "protocol/fault.py", "import strongroom.formats.asset"),
    ("layers", "api/fault.py", "import strongroom.watch.main"),
    ("layers", "store/fault.py", "import strongroom.api.app"),
    ("layers", "unlisted/__init__.py", ""),
    *(("pure", f"{room}/fault.py", f"import {module}") for room, module in (
        ("domain", "os"), ("domain", "time"), ("protocol", "socket"), ("protocol", "secrets"), ("formats", "pathlib"),
        ("formats", "asyncpg"), ("domain", "random"), ("protocol", "asyncio"), ("formats", "httpx"), ("advice", "time"),
    )),
    *(("signer", "signer/fault.py", f"import {module}") for module in (
        "strongroom.store", "asyncpg", "httpx", "urllib.request", "http", "asyncio", "pickle", "subprocess", "email",
    )),
    ("keys", "signer/fault.py", "import strongroom.signer.keys"),
    ("keys", "signer/fault.py", "from strongroom.signer import keys"),
    ("keys", "signer/fault.py", "from strongroom.signer.keys import Secret"),
    ("keys", "cli/fault.py", "import strongroom.signer.keys"),
    *(("sql", f"{room}/fault.py", "import asyncpg") for room in (
        "api", "watch", "sandbox", "cli", "engine", "courier",
    )),
    ("no-egress", "api/fault.py", "import httpx"),
    ("no-egress", "console/fault.py", "import strongroom.rails"),
    ("watch", "watch/fault.py", "import strongroom.signer"),
    ("watch", "watch/fault.py", "import strongroom.engine"),
    ("station", "station/fault.py", "import strongroom.store"),
    ("station", "station/fault.py", "import httpx"),
    ("notify", "notify/fault.py", "import strongroom.guard"),
    ("notify", "notify/fault.py", "import nacl"),
    ("guardian", "guardian/fault.py", "import strongroom.guard"),
    ("guardian", "guardian/fault.py", "import strongroom.signer"),
    ("sdk", "sdk/fault.py", "import strongroom.domain.money"),
    ("rails", "rails/bitcoin/fault.py", "import strongroom.rails.simulated"),
    ("rails", "rails/evm.py", "import strongroom.rails.registry"),
    ("rails", "rails/unlisted.py", ""),
    ("layers", "rails/fault.py", "import strongroom.engine"),
    ("layers", "rails/fault.py", "import strongroom.signer"),
    ("acyclic", "api/fault.py", "import strongroom.api.app"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "src", copied / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", copied)
    return copied


def kept(copy: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    options = [option for contract in contracts for option in ("--contract", contract)]
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", *options],
        cwd=copy, env={"PYTHONPATH": str(copy / "src"), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        check=False,
    )


def test_the_house_keeps_every_contract(copy: Path) -> None:
    checked = kept(copy)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("contract", "path", "line"), FAULTS)
def test_a_contract_fails_on_its_fault(copy: Path, contract: str, path: str, line: str) -> None:
    file = copy / "src/strongroom" / path
    changed = copy / "src/strongroom/api/app.py"
    before = changed.read_text()
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'"""An injected fault."""\n{line}\n')
    try:
        if contract == "acyclic":
            changed.write_text(before + "\nimport strongroom.api.fault\n")
        checked = kept(copy, contract)
    finally:
        file.unlink()
        changed.write_text(before)
        if not any(file.parent.iterdir()):
            file.parent.rmdir()
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "BROKEN" in checked.stdout or "Missing layer" in checked.stdout + checked.stderr


def test_every_contract_has_a_fault_here() -> None:
    lines = (ROOT / ".importlinter").read_text().splitlines()
    contracts = {line.strip("[]").rpartition(":")[2] for line in lines if line.startswith("[importlinter:contract")}
    assert contracts == {contract for contract, _, _ in FAULTS}
