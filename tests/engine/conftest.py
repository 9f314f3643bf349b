"""A simulated chain for each test of the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rails.chain import Chain, running_chain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with running_chain(tmp_path) as made:
        yield made
