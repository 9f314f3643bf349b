"""One EVM node for all tests of contracts of a process; each test begins at the chain as it was found."""

from collections.abc import Iterator, Mapping

import pytest
from tests.contracts import patches
from tests.contracts.node import Node, running_node
from tests.contracts.vault import Vault, founded


@pytest.fixture(scope="session")
def chain() -> Iterator[Node]:
    with running_node() as node:
        yield node


@pytest.fixture
def node(chain: Node) -> Iterator[Node]:
    snapshot = chain.snapshot()
    yield chain
    chain.revert(snapshot)


@pytest.fixture
def vault(node: Node) -> Vault:
    return founded(node)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Mapping[str, patches.Compiled]:
    """Every patched copy. The workers of one run share what the first of them compiled."""
    base = tmp_path_factory.getbasetemp()
    return patches.compiled(base if worker_id == "master" else base.parent)
