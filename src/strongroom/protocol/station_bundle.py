"""What the station serves, as one hash: over the paths and the hashes of all files, its configuration included.

The station says it of itself at `/bundle.json`; watch and `strongroom status` fetch the files and say what is true.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from strongroom.protocol.canonical import JsonValue, encode, record_hash

BUNDLE_TYPE: Final = "strongroom/station-bundle/v1"
BUNDLE_PATH: Final = "/bundle.json"
FILES_MAXIMUM: Final = 100
FILE_MAXIMUM: Final = 4 * 2**20


def bundle_hash(hashes: Mapping[str, str]) -> str:
    """64 hex digits; `hashes` has the SHA-256 in hex of what stands at each path."""
    return record_hash(BUNDLE_TYPE, encode({"files": dict(hashes), "type": BUNDLE_TYPE})).hex()


def bundle_document(files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """`/bundle.json`: the hash of every file, and of all together."""
    hashes = {path: sha256(raw).hexdigest() for path, raw in sorted(files.items())}
    return {"files": {**hashes}, "hash": bundle_hash(hashes)}
