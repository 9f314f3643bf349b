"""Drill 12: the attacker reads all that the other processes hold and wants a payment key; the bound is nothing of it.

A whole sandbox runs. What is looked for are the signer's seed, keys derived from it, and the identity that opens the
key file; in the memory and the environment of every other process, in every file of the sandbox, and in cores.
"""

import json
import os
import signal
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox.box import Box, box

from strongroom.domain.ids import OrganisationId
from strongroom.formats import simulated
from strongroom.signer.keys import KeyStore, open_key_file

IS_ROOT = os.geteuid() == 0
CHUNK = 16 * 2**20


class Canaries:
    """Raw, in hex and in base64; `identity` as it is written."""

    def __init__(self, box: Box) -> None:
        self.identity = (box.data / "signer.identity").read_bytes().split()[-1]
        descriptor = os.open(box.data / "signer.identity", os.O_RDONLY)
        keys = open_key_file((box.data / "signer" / "keys.age").read_bytes(), descriptor)
        os.close(descriptor)
        organisation = OrganisationId(box.document()["organisation"])
        self.seed = keys._seed.reveal()
        self.secrets = [self.seed, bytes(keys._statement), wallet_key(keys, organisation)]
        forms = [form for raw in self.secrets for form in (raw, raw.hex().encode(), b64encode(raw)[:-2])]
        self.needles = [*forms, *(form.upper() for form in forms[1::3])]


def wallet_key(keys: KeyStore, organisation: OrganisationId) -> bytes:
    return keys._wallet(organisation, simulated.NETWORK, 0, 0).secret


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Box]:
    with box() as made:
        started = made.up("--rails", "simulated")
        assert started.returncode == 0, started.stderr
        yield made


def processes(box: Box) -> dict[str, int]:
    """All of the sandbox, with their children: PostgreSQL has some."""
    supervisor = json.loads((box.data / "supervisor.json").read_text())["pid"]
    found = {"supervisor": supervisor, **box.document()["pids"]}
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    for pid, parent in parents.items():
        if parent == found["postgres"]:
            found[f"postgres {pid}"] = pid
    return found


def has_in_memory(pid: int, needles: list[bytes], looked_at: set[tuple[str, ...]] | None = None) -> bool:
    """Whether one of them stands in what the process can read. Raises: PermissionError if we may not look.

    Memory that processes share is looked at once: `looked_at` is what others have shared before.
    """
    seen = set() if looked_at is None else looked_at
    overlap = max(map(len, needles)) - 1
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            place, rights, offset, device, node, *rest = line.split(maxsplit=5)
            if "r" not in rights or "".join(rest).startswith(("[vvar", "[vsyscall")):
                continue
            if rights.endswith("s"):
                shared = (offset, device, node, *rest)
                if shared in seen:
                    continue
                seen.add(shared)
            first, end = (int(each, 16) for each in place.split("-"))
            for start in range(first, end, CHUNK):
                try:
                    memory.seek(start)
                    raw = memory.read(min(CHUNK + overlap, end - start))
                except OSError:  # a page behind the end of its file
                    continue
                if any(needle in raw for needle in needles):
                    return True
    return False


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            yield file, file.read_bytes()


def test_the_keys_are_in_the_memory_of_the_signer_and_of_nobody_else(sandbox: Box) -> None:
    canaries = Canaries(sandbox)
    every = processes(sandbox)
    signer = every.pop("signer")
    if IS_ROOT:
        assert has_in_memory(signer, [canaries.seed])  # so the look is a look
    else:
        with pytest.raises(PermissionError):
            has_in_memory(signer, [canaries.seed])
    seen: set[tuple[str, ...]] = set()
    assert {name for name, pid in every.items() if has_in_memory(pid, canaries.needles, seen)} == set()
    supervisor = every.pop("supervisor")  # made the sandbox's identity, as an operator does at a ceremony
    seen = set()
    assert {name for name, pid in every.items() if has_in_memory(pid, [canaries.identity], seen)} == set()
    assert has_in_memory(supervisor, [b"strongroom"])
    assert len(every) >= 7


def test_the_keys_are_in_no_file_and_the_identity_in_one_that_only_its_owner_reads(sandbox: Box) -> None:
    canaries = Canaries(sandbox)
    holding = [file for file, raw in files(sandbox.data) if any(needle in raw for needle in canaries.needles)]
    assert holding == []
    opening = [file for file, raw in files(sandbox.data) if canaries.identity in raw]
    assert opening == [sandbox.data / "signer.identity"]
    assert opening[0].stat().st_mode & 0o777 == 0o600
    planted = sandbox.data / "engine" / "planted"
    planted.write_text(f"x{canaries.seed.hex()}x")
    assert [file for file, raw in files(sandbox.data) if any(each in raw for each in canaries.needles)] == [planted]
    planted.unlink()


def test_the_keys_are_in_no_environment_and_no_arguments(sandbox: Box) -> None:
    canaries = Canaries(sandbox)
    wanted = [*canaries.needles, canaries.identity]
    for name, pid in processes(sandbox).items():
        for what in ("environ", "cmdline"):
            try:
                raw = Path(f"/proc/{pid}/{what}").read_bytes()
            except PermissionError:
                assert (name, what, IS_ROOT) == ("signer", "environ", False)
                continue
            assert not any(each in raw for each in wanted), (name, what)


def test_a_signer_that_crashes_leaves_no_core_and_comes_back(sandbox: Box) -> None:
    canaries = Canaries(sandbox)
    pid = processes(sandbox)["signer"]
    places = (sandbox.data, Path("/"), Path("/var/lib/systemd/coredump"), Path("/var/crash"))
    before = {file for place in places if place.exists() for file in place.iterdir()}
    os.kill(pid, signal.SIGSEGV)
    deadline = time.monotonic() + 20
    while processes(sandbox)["signer"] == pid and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(sandbox)["signer"] != pid
    new = {file for place in places if place.exists() for file in place.iterdir()} - before
    assert {file for file in new if "core" in file.name} == set()
    assert [file for file, raw in files(sandbox.data) if any(each in raw for each in canaries.needles)] == []
