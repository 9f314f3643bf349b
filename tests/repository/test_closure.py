"""What the pure rooms and the signer load, seen from a fresh interpreter: import-linter doesn't follow libraries."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tools.signer_modules import (
    LIST,
    PYTHON,
    TOKEN,
    TOKEN_LIST,
    is_standard,
    listed,
    loaded,
    text,
    token_text,
)

ROOT = Path(__file__).parents[2]
NEVER = ("socket", "ssl", "asyncio", "http", "urllib.request", "subprocess", "sqlite3", "asyncpg", "httpx", "uvicorn")
PROGRAM = """
import importlib, json, pathlib, sys
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    importlib.import_module(f"strongroom.{sys.argv[2]}.{file.stem}")
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("room", ["domain", "protocol", "formats", "advice"])
def test_a_pure_room_loads_nothing_that_talks(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(ROOT / "src/strongroom" / room), room],
        capture_output=True, text=True, check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert not loaded.intersection(NEVER)


SIGNER = ROOT / ".venv-signer/bin/python"
"""Made by bin/strongroom, which every target of make starts first."""
SIGNER_NEVER = {
    # Networks: of `socket` only what it inherits is used, which hardening and tests/signer/test_outside.py hold it to.
    "urllib", "http", "ssl", "_ssl", "asyncio", "_asyncio", "ftplib", "smtplib", "xmlrpc", "socketserver",
    # Programs and processes, and code from data.
    "subprocess", "_posixsubprocess", "multiprocessing", "concurrent", "pty", "pickle", "_pickle", "shelve",
    "email", "sqlite3", "_sqlite3", "tempfile", "logging", "runpy", "distutils",
    # What is of the other processes, of developing, or was installed to install.
    "httpx", "httpcore", "asyncpg", "uvicorn", "httptools", "uvloop", "msgspec", "cyclopts", "rich", "limits", "pytest",
    "hypothesis", "pip", "setuptools", "pkg_resources", "_distutils_hack", "fido2", "cffi", "pycparser",
}
SIGNER_ROOMS = {"signer", "journal", "domain", "protocol", "formats"}


def faults_of(names: set[str]) -> list[str]:
    """What the signer may never load, whatever the list says."""
    found = [name for name in names if name.partition(".")[0] in SIGNER_NEVER]
    for name in names:
        parts = name.split(".")
        if parts[0] == "strongroom" and len(parts) > 1 and parts[1] not in SIGNER_ROOMS:
            found.append(name)
    return sorted(found)


@pytest.fixture(scope="module")
def signer_loads() -> set[str]:
    return set(loaded(SIGNER))


def test_the_signer_loads_exactly_what_is_listed(signer_loads: set[str]) -> None:
    told = listed()
    if PYTHON not in LIST.read_text():  # the standard library's own modules differ from version to version
        told = {name for name in told if not is_standard(name)}
        signer_loads = {name for name in signer_loads if not is_standard(name)}
    new, gone = signer_loads - told, told - signer_loads - {"sitecustomize"}
    assert (new, gone) == (set(), set()), "if that is wanted: .venv/bin/python tools/signer_modules.py"


def test_the_list_is_as_its_tool_writes_it() -> None:
    if PYTHON in LIST.read_text():
        assert LIST.read_text() == text(listed())
    assert len(listed()) > 200


def test_the_signer_loads_nothing_that_talks_runs_programs_or_is_for_another_process(signer_loads: set[str]) -> None:
    assert faults_of(signer_loads | listed()) == []


@pytest.fixture(scope="module")
def token_loads(signer_loads: set[str]) -> set[str]:
    """What a signer whose keys are in a hardware module loads besides."""
    return set(loaded(SIGNER, TOKEN)) - signer_loads


def test_with_a_token_it_loads_besides_exactly_what_is_listed(token_loads: set[str]) -> None:
    told = listed(TOKEN_LIST)
    if PYTHON in TOKEN_LIST.read_text():
        assert TOKEN_LIST.read_text() == token_text(told)
    else:
        told, token_loads = ({each for each in names if not is_standard(each)} for names in (told, token_loads))
    assert token_loads == told, "if that is wanted: .venv/bin/python tools/signer_modules.py"


def test_without_a_token_it_loads_nothing_that_speaks_to_one(signer_loads: set[str], token_loads: set[str]) -> None:
    libraries = {"pkcs11", "asn1crypto"}
    assert not {name.partition(".")[0] for name in signer_loads | listed()} & libraries
    assert {name.partition(".")[0] for name in token_loads if not is_standard(name)} == {"strongroom", *libraries}


def test_with_a_token_nothing_talks_either(token_loads: set[str]) -> None:
    """Of urllib only what takes an address apart."""
    assert faults_of(token_loads | listed(TOKEN_LIST)) == ["urllib", "urllib.parse"]


@pytest.mark.parametrize(
    "name", ["urllib.request", "asyncio", "subprocess", "msgspec", "strongroom.store", "strongroom.guard.main", "_ssl"]
)
def test_what_may_not_be_loaded_is_found(name: str, signer_loads: set[str]) -> None:
    assert faults_of(signer_loads | {name}) == [name]


def tops(python: str, module: str) -> set[str]:
    """The modules that a process has loaded, without their submodules."""
    command = [python, "-I", "-B", "-c", f"import sys, {module}; print(*sys.modules)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split()
    return {name.partition(".")[0] for name in found}


def test_another_process_in_the_environment_of_the_others_would_be_seen() -> None:
    """The positive control: the same look elsewhere finds what must not be in the signer's."""
    assert {"ssl", "logging", "msgspec"} <= set(faults_of(tops(sys.executable, "strongroom.link.main")))


def test_guard_loads_the_libraries_of_the_core_and_no_other() -> None:
    """It runs in the signer's environment; of the standard library it needs asyncio and ssl, to listen by TLS."""
    loads = tops(str(SIGNER), "strongroom.guard.main")
    libraries = {name for name in loads if not is_standard(name)}
    assert libraries == {
        "__main__", "strongroom", "_cffi_backend", "_libsecp256k1", "_openssl", "_pysha3", "_sodium", "coincurve",
        "cryptography", "nacl", "sha3",
    }
    assert {"asyncio", "ssl"} <= loads


@pytest.mark.parametrize("package", ["httpx", "asyncpg", "uvicorn", "msgspec", "cyclopts", "pytest", "pip"])
def test_the_signers_environment_does_not_even_have_it(package: str) -> None:
    program = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is not None)"
    assert subprocess.run([str(SIGNER), "-I", "-c", program], check=False, cwd="/").returncode == 0


def test_the_signers_environment_runs_no_code_of_a_library_at_its_start() -> None:
    """A line of a .pth file that begins with import is run at every start of Python."""
    packages = next((SIGNER.parents[1] / "lib").glob("python3.*/site-packages"))
    files = sorted(packages.glob("*.pth"))
    assert [file.name for file in files] == ["strongroom.pth"]
    assert files[0].read_text().split() == [str(ROOT / "src")]
