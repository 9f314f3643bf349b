"""One sandbox with real nodes for tests that it survives, and one without nodes, to end and to start again."""

from collections.abc import Iterator

import pytest
from tests.sandbox.box import Box, box

SIMULATED = ("--rails", "simulated")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Box]:
    with box() as made:
        started = made.up()
        assert started.returncode == 0, started.stderr
        yield made


@pytest.fixture(scope="session")
def simulated() -> Iterator[Box]:
    with box() as made:
        yield made


@pytest.fixture
def running(simulated: Box) -> Box:
    """Without nodes, and up, whatever the test before did to it."""
    started = simulated.up(*SIMULATED)
    assert started.returncode == 0, started.stderr
    return simulated


@pytest.fixture
def stopped(simulated: Box) -> Box:
    assert simulated.run("down").returncode == 0
    return simulated
