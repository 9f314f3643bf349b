"""One sandbox on the simulated chain for all tests of this folder, in the order of the file."""

from collections.abc import Iterator

import pytest
from tests.e2e.sandbox import Sandbox
from tests.sandbox.box import box


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with box() as made:
        started = made.up("--rails", "simulated")
        assert started.returncode == 0, started.stderr
        opened = Sandbox(made)
        yield opened
        opened.close()
