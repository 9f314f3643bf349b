"""A node with a vault, a guard that says what a test wants, and the guardian as a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.node import Node, running_node
from tests.contracts.vault import GUARDIAN, Vault, founded
from tests.guardian.post import Guard, Post


@pytest.fixture(scope="module")
def chain() -> Iterator[Node]:
    with running_node() as node:
        yield node


@pytest.fixture
def vault(chain: Node) -> Iterator[Vault]:
    snapshot = chain.snapshot()
    chain.rpc("anvil_setBalance", GUARDIAN, hex(10**18))
    yield founded(chain)
    chain.revert(snapshot)


@pytest.fixture
def guard() -> Iterator[Guard]:
    opened = Guard()
    yield opened
    opened.close()


@pytest.fixture
def post(tmp_path: Path, vault: Vault, guard: Guard) -> Post:
    guard.vaults = {"eip155:31337": vault.address}
    return Post(tmp_path, vault, guard)
