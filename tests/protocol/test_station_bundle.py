"""The hash of the station's bundle: any byte of any file, or another name, is another hash."""

import hashlib
import json

from strongroom.protocol.station_bundle import BUNDLE_TYPE, bundle_document, bundle_hash

FILES = {"/": b"<!doctype html>", "/main.js": b"let a;", "/config.json": b"{}"}


def test_the_hash_is_that_of_an_independent_computation() -> None:
    hashes = {path: hashlib.sha256(raw).hexdigest() for path, raw in FILES.items()}
    record = json.dumps({"files": hashes, "type": BUNDLE_TYPE}, sort_keys=True, separators=(",", ":")).encode()
    expected = hashlib.sha256(BUNDLE_TYPE.encode() + b"\0" + record).hexdigest()
    assert bundle_document(FILES) == {"files": hashes, "hash": expected}
    assert bundle_hash(dict(reversed(hashes.items()))) == expected


def test_whatever_changes_is_seen() -> None:
    whole = bundle_document(FILES)["hash"]
    for path in FILES:
        others = {each: raw for each, raw in FILES.items() if each != path}
        changed = [others, {**FILES, path: FILES[path] + b" "}, {**others, path + "x": FILES[path]}]
        assert whole not in [bundle_document(each)["hash"] for each in changed]
