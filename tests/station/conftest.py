"""The station's readers, a browser for its pages, and an office around them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser.fixture import browser, chromium
from tests.signer import world as signer_world
from tests.signer.world import World
from tests.station.office import STATION_HOST, Office, config_of, console, free_origin, serving
from tests.station.reading import Reader, reading

__all__ = ["browser", "chromium"]


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    with reading() as started:
        yield started


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A signer of now whose people approve at a station that `office` starts."""
    monkeypatch.setattr(signer_world, "ORIGIN", free_origin(STATION_HOST))
    monkeypatch.setattr(signer_world, "RELYING_PARTY_ID", STATION_HOST)
    (tmp_path / "signer").mkdir()
    return World(tmp_path / "signer", began=time.time_ns() // 1_000_000 - 600_000)


@pytest.fixture
def office(world: World, tmp_path: Path) -> Iterator[Office]:
    (origin,) = world.book.genesis.relying_party.origins
    with console(origin) as taking:
        config = config_of(origin, taking.origin, free_origin("guard.localhost"), world)
        with serving(config, tmp_path):
            yield Office(origin, taking, world)
