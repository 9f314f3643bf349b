"""Watch looks at what the station serves: every other bundle is a leaf of the audit log, and no other claim counts.

The attacker has the station's host, and changes what people see. The bound is that it is on record within a minute.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Database
from tests.guard.process import eventually
from tests.station.office import STATION_HOST, free_origin, serving
from tests.station.office import served as files_of
from tests.watch.test_sequencing import Watch

from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import encode
from strongroom.protocol.station_bundle import FILE_MAXIMUM, bundle_document
from strongroom.watch.station import BundleError, StationWatch, served_bundle

NOW = Instant(1_800_000_000_000)


@pytest.fixture
def config() -> dict[str, str]:
    origin = free_origin(STATION_HOST)
    return {
        "listen": f"127.0.0.1:{origin.rpartition(':')[2]}", "origin": origin, "relying_party_id": STATION_HOST,
        "console_origin": "https://console.example", "guard_origin": "https://guard.example",
        "deployment": "0123456789abcdef", "statement_public_key": "ab" * 32,
    }


@contextmanager
def changed(config: dict[str, str], folder: Path, **files: bytes | None) -> Iterator[dict[str, bytes]]:
    """The station with some files altered, added, or (None) not served any more."""
    made = {name: raw for name, raw in {**files_of(config), **files}.items() if raw is not None}
    with serving(config, folder, made):
        yield made


def leaves(database: Database) -> list[dict[str, object]]:
    async def go() -> list[dict[str, object]]:
        owner = await asyncpg.connect(database.owner_dsn)
        rows = await owner.fetch("SELECT leaf FROM strongroom.audit_leaves ORDER BY id")
        await owner.close()
        return [json.loads(row["leaf"])["event"] for row in rows]

    return [each for each in asyncio.run(go()) if each["type"] == "strongroom/event/station-bundle/v1"]


def looks(database: Database, station: StationWatch, at: int = NOW) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(database.dsn("watch"))
        await station.look(connection, Instant(at))
        await connection.close()

    asyncio.run(go())


def test_an_altered_page_is_a_leaf_and_the_same_one_is_none(
    database: Database, tmp_path: Path, config: dict[str, str]
) -> None:
    station = StationWatch(config["origin"])
    with changed(config, tmp_path) as honest:
        looks(database, station)
        looks(database, station, NOW + 1)
    looks(database, station, NOW + 2)  # it is down: nothing is recorded, and nothing fails
    with changed(config, tmp_path, **{"/approve.js": honest["/approve.js"] + b"\n// shows something else"}):
        looks(database, station, NOW + 3)
        looks(database, StationWatch(config["origin"]), NOW + 4)  # after a restart as well
    with changed(config, tmp_path):
        looks(database, station, NOW + 5)
    first, second, third = leaves(database)
    expected = bundle_document(honest)["hash"]
    assert (first["bundle"], first["before"], first["at"], first["origin"]) == (expected, None, NOW, config["origin"])
    assert (second["before"], second["at"]) == (expected, NOW + 3)
    assert second["bundle"] != expected
    assert (third["bundle"], third["before"]) == (expected, second["bundle"])


def test_what_the_station_says_of_itself_isnt_believed(tmp_path: Path, config: dict[str, str]) -> None:
    """It serves another page, and the list of files of the honest one."""
    honest = files_of(config)
    said = encode(bundle_document(honest))
    with serving(config, tmp_path, {**honest, "/": b"<!doctype html>another"}, bundle=said):
        assert served_bundle(config["origin"]) != bundle_document(honest)["hash"]
    with serving(config, tmp_path, honest, bundle=said):
        assert served_bundle(config["origin"]) == bundle_document(honest)["hash"]


@pytest.mark.parametrize(("bundle", "reason"), [
    (b"[]", "must be a JSON object"), (b"{}", "doesn't name the page"),
    (b'{"files":{"/":"x"}}', "doesn't name the page"),
    (encode({"files": {"/": "", "/config.json": "", **{f"/{n}": "" for n in range(100)}}}), "too many files"),
    (encode({"files": {"/": "", "/config.json": "", "/gone.js": ""}}), "/gone.js is answered with 404"),
    (encode({"files": {"/": "", "/config.json": "", "/large.js": ""}}), "/large.js is longer than"),
    (encode({"files": {"/": "", "/config.json": "", "https://evil.example/": ""}}), "isn't a path"),
    (encode({"files": {"/": "", "/config.json": "", "//evil.example/": ""}}), "isn't a path"),
])
def test_what_is_no_bundle_is_refused(tmp_path: Path, config: dict[str, str], bundle: bytes, reason: str) -> None:
    files = {**files_of(config), "/large.js": b"x" * (FILE_MAXIMUM + 1)}
    with serving(config, tmp_path, files, bundle=bundle), pytest.raises(BundleError, match=reason):
        served_bundle(config["origin"])


def test_a_station_that_is_down_is_said(config: dict[str, str]) -> None:
    with pytest.raises(BundleError, match="doesn't answer"):
        served_bundle(config["origin"])


def test_the_process_looks_when_it_starts(database: Database, tmp_path: Path, config: dict[str, str]) -> None:
    watch = Watch(database, tmp_path)
    file = tmp_path / "watch.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "station_url": config["origin"]}))
    with changed(config, tmp_path) as honest:
        watch.child.start()
        try:
            assert eventually(lambda: leaves(database)), watch.child.log.read_text()
        finally:
            watch.child.stop()
    (leaf,) = leaves(database)
    assert leaf["bundle"] == bundle_document(honest)["hash"]
