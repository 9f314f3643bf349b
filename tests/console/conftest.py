"""A console on a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.console.world import World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = World(database, tmp_path / "keys")
    yield made
    made.close()
