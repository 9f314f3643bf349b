"""A sandbox that can't start says why and what to do, and leaves nothing running."""

import os
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ports import port_block
from tests.sandbox.box import Box, box, fake_program, path_with
from tests.sandbox.conftest import SIMULATED

from strongroom.sandbox import parts

pytestmark = pytest.mark.sandbox

DISK = "40m"


def reason(made: Box, *more: str) -> str:
    """What `up` says when it fails, once it is sure that nothing is left."""
    started = made.up(*more)
    assert started.returncode == 1, started.stderr
    assert "Traceback" not in started.stderr, started.stderr
    assert made.wait_gone() == {}
    assert not (made.data / "sandbox.json").exists() or made.document()["ready"] is False
    return started.stderr


def test_a_taken_port_is_named_with_its_holder_and_a_way_out(stopped: Box) -> None:
    port = stopped.base + 10
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        said = reason(stopped, *SIMULATED)
        assert f"port {port} (postgres) is taken by " in said
        assert f"(pid {os.getpid()})" in said
        assert "--ports" in said
        doctor = stopped.run("doctor", "--ports", str(stopped.base))
        assert doctor.returncode == 1
        assert f"port {port}" in doctor.stdout
    assert "must be from 1024" in reason(Box(stopped.data, 80), *SIMULATED)


def test_a_node_that_ends_at_once_is_named_with_its_last_words(stopped: Box, tmp_path: Path) -> None:
    fake_program(tmp_path, "bitcoind", "echo 'Error: the node has had enough' >&2; exit 3")
    said = reason(stopped.but(PATH=path_with(tmp_path)), "--rails", "bitcoin")
    assert "bitcoin ended at once" in said
    assert "Error: the node has had enough" in said
    assert str(stopped.data / "bitcoin.log") in said


def test_a_node_of_another_chain_is_refused(stopped: Box, tmp_path: Path) -> None:
    anvil = " ".join(parts.anvil(lambda _: None))
    fake_program(
        tmp_path, "anvil", f"exec {anvil} --host 127.0.0.1 --port {stopped.base + 12} --chain-id 1 --silent"
    )
    said = reason(stopped.but(PATH=path_with(tmp_path)), "--rails", "evm")
    assert "the EVM node is of chain 1, and not 31337" in said


@contextmanager
def full_disk(made: Box) -> Iterator[None]:
    """Too little room for a cluster: a small file system if we may mount one, else a limit for each file."""
    made.data.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(made.data)], check=False, capture_output=True
    ).returncode == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", str(made.data)], check=True)


def test_a_full_disk_is_called_by_its_name() -> None:
    with box() as made:
        with full_disk(made):
            said = reason(made, *SIMULATED)
        assert "the disk is full: free some space, or move it with --data" in said or "(ulimit -f)" in said


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made = Box(tmp_path / "data", 23_000)
    made.data.write_text("a file, and no folder")
    started = made.up(*SIMULATED)
    assert started.returncode == 1
    assert f"{made.data} can't be written" in started.stderr
    assert "Traceback" not in started.stderr


@pytest.mark.parametrize(
    ("rail", "said"),
    [("evm", "npm is missing, and the EVM node comes from it. On Debian: apt-get install nodejs npm"),
     ("bitcoin", "the Bitcoin node can't be fetched: install Bitcoin Core 29 or newer, or make Debian's packages "
                 "reachable (there is no apt-get)")],
)
def test_a_missing_package_is_named_with_what_brings_it(stopped: Box, tmp_path: Path, rail: str, said: str) -> None:
    bare = stopped.but(PATH=str(tmp_path / "no programs"), STRONGROOM_CACHE=str(tmp_path / "cache"))
    assert said in reason(bare, "--rails", rail)


def test_where_no_bitcoin_node_can_be_had_it_says_so_and_goes_on_without(stopped: Box, tmp_path: Path) -> None:
    bare = stopped.but(PATH=str(tmp_path / "no programs"), STRONGROOM_CACHE=str(tmp_path / "cache"))
    started = bare.up("--rails", "bitcoin,simulated")
    assert started.returncode == 0, started.stderr
    assert "going on without the rail bitcoin: the Bitcoin node can't be fetched" in started.stderr
    assert "install Bitcoin Core" in started.stderr
    document = stopped.document()
    assert "bitcoin" not in document
    assert "bitcoin" not in document["pids"]


def test_a_package_that_cannot_be_fetched_leaves_no_rest_of_it(stopped: Box, tmp_path: Path) -> None:
    programs, cache = tmp_path / "programs", tmp_path / "cache"
    fake_program(programs, "npm", "echo 'npm error network is unreachable' >&2; exit 1")
    said = reason(stopped.but(PATH=path_with(programs), STRONGROOM_CACHE=str(cache)), "--rails", "evm")
    assert "anvil can't be fetched from npm" in said
    assert "network is unreachable" in said
    assert [each.name for each in cache.iterdir() if each.is_dir()] == []


def test_an_unknown_rail_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    made = Box(tmp_path / "data", 23_000)
    started = made.up("--rails", "bitcoin,carrier-pigeon")
    assert started.returncode == 1
    assert "no rail 'carrier-pigeon'; there are bitcoin, evm, bank, simulated" in started.stderr
    assert not made.data.exists()


def test_the_doctor_looks_at_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with port_block() as ports:
        made = Box(tmp_path / "far" / "below" / "data", ports.base)
        doctor = made.run("doctor", "--ports", str(made.base))
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "disk" in doctor.stdout
    assert not (tmp_path / "far").exists()
