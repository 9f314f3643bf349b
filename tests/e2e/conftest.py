"""One sandbox on the simulated chain for all tests of this folder, in the order of the file; and one for its pages, in
which nobody steals."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.sandbox import Sandbox
from tests.sandbox.box import box


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with opened() as made:
        yield made


@pytest.fixture(scope="session")
def house() -> Iterator[Sandbox]:
    with opened() as made:
        yield made


@contextmanager
def opened() -> Iterator[Sandbox]:
    with box() as made:
        started = made.up("--rails", "simulated")
        assert started.returncode == 0, started.stderr
        found = Sandbox(made)
        yield found
        found.close()
