"""The genesis ceremony on the signer's machine: keys and journal are made once, and nothing that exists is touched."""

import sys
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from nacl.signing import SigningKey
from tests.signer.world import World

from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.genesis import deployment_id
from strongroom.signer import ceremony
from strongroom.signer.keys import open_key_file

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """As a command: its code, and what it printed and complained of."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ceremony", *map(str, arguments)])
        code = ceremony.main()
        said = capfd.readouterr()
        return code, said.out.strip(), said.err.strip()

    return command


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    folder.mkdir(mode=0o700)
    file = tmp_path / "genesis.json"
    file.write_bytes(World(folder).genesis)
    return file


def test_the_keys_open_by_each_identity_and_are_the_ones_whose_statement_key_is_printed(
    tmp_path: Path, run: Run, identity: pyrage.x25519.Identity
) -> None:
    folder, spare = tmp_path / "signer", pyrage.x25519.Identity.generate()
    code, said, _ = run("keys", folder, identity.to_public(), spare.to_public())
    assert code == 0
    for number, each in enumerate((identity, spare)):
        file = tmp_path / f"identity-{number}"
        file.write_text(f"{each}\n")
        with file.open() as opened:
            keys = open_key_file((folder / ceremony.KEY_FILE).read_bytes(), opened.fileno())
        assert keys.statement_public_key.hex() == said
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ceremony.KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_keys_are_made_once(tmp_path: Path, run: Run, identity: pyrage.x25519.Identity) -> None:
    folder = tmp_path / "signer"
    run("keys", folder, identity.to_public())
    before = (folder / ceremony.KEY_FILE).read_bytes()
    code, said, complaint = run("keys", folder, identity.to_public())
    assert (code, said) == (1, "")
    assert "is there already, and is not made anew" in complaint
    assert (folder / ceremony.KEY_FILE).read_bytes() == before


def test_keys_are_made_in_no_folder_that_others_can_enter(
    tmp_path: Path, run: Run, identity: pyrage.x25519.Identity
) -> None:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o755)
    code, _, complaint = run("keys", folder, identity.to_public())
    assert (code, list(folder.iterdir())) == (1, [])
    assert f"other users can enter {folder}" in complaint


def test_a_key_file_that_couldnt_be_written_whole_is_said_to_be(
    tmp_path: Path, run: Run, identity: pyrage.x25519.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ceremony.os.write

    def full(file: int, raw: bytes) -> int:
        return write(file, raw) if file <= 2 else write(file, raw[:10])

    monkeypatch.setattr(ceremony.os, "write", full)
    code, said, complaint = run("keys", tmp_path / "signer", identity.to_public())
    assert (code, said) == (1, "")
    assert "the disk is full" in complaint


@pytest.mark.parametrize("recipient", ["age1x", "AGE-SECRET-KEY-1X", ""])
def test_a_recipient_that_is_none_makes_no_keys(tmp_path: Path, run: Run, recipient: str) -> None:
    code, said, complaint = run("keys", tmp_path / "signer", recipient)
    assert (code, said) == (1, "")
    assert complaint.startswith("ceremony: ")
    assert not (tmp_path / "signer" / ceremony.KEY_FILE).exists()


def test_the_journal_begins_with_genesis_and_nothing_else(tmp_path: Path, run: Run, genesis: Path) -> None:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    code, said, _ = run("found", folder, genesis)
    assert (code, said) == (0, deployment_id(genesis.read_bytes()))
    entries = list(Journal.load(FileDisk(str(folder))).entries())
    assert [read_entry(raw)[0] for raw in entries] == [Kind.GENESIS]


def test_a_journal_is_begun_once(tmp_path: Path, run: Run, genesis: Path) -> None:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    run("found", folder, genesis)
    before = (folder / "journal").read_bytes()
    code, said, complaint = run("found", folder, genesis)
    assert (code, said) == (1, "")
    assert "the journal can't be opened" in complaint
    assert (folder / "journal").read_bytes() == before


def test_what_is_no_genesis_begins_no_journal(tmp_path: Path, run: Run, genesis: Path) -> None:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    genesis.write_bytes(genesis.read_bytes() + b" ")
    code, _, complaint = run("found", folder, genesis)
    assert (code, list(folder.iterdir())) == (1, [])
    assert complaint.startswith("ceremony: ")


@pytest.mark.parametrize("arguments", [(), ("keys",), ("keys", "x"), ("found", "x"), ("found", "x", "y", "z"), ("x",)])
def test_anything_else_does_nothing(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == (2, "", "")


def test_an_identity_opens_what_is_made_for_its_recipient_and_is_made_once(tmp_path: Path, run: Run) -> None:
    file, folder = tmp_path / "identity", tmp_path / "signer"
    code, recipient, _ = run("identity", file)
    assert (code, file.stat().st_mode & 0o777) == (0, 0o600)
    _, said, _ = run("keys", folder, recipient)
    with file.open() as opened:
        keys = open_key_file((folder / ceremony.KEY_FILE).read_bytes(), opened.fileno())
    assert keys.statement_public_key.hex() == said
    before = file.read_bytes()
    assert run("identity", file)[0] == 1
    assert file.read_bytes() == before


def test_a_key_of_guard_or_watch_is_its_seed_in_hex_and_is_made_once(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "guard.key"
    code, said, _ = run("key", file)
    assert (code, file.stat().st_mode & 0o777) == (0, 0o600)
    assert bytes(SigningKey(bytes.fromhex(file.read_text().strip())).verify_key).hex() == said
    before = file.read_bytes()
    assert run("key", file)[0] == 1
    assert file.read_bytes() == before
