"""What the SDK writes and derives by itself, so that it needn't believe the server: JSON, ids, digests, roots.

RFC 8785 for ASCII keys and integers; ids and digests as the public contract says; trees as in RFC 6962.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

INTEGER_MAXIMUM: Final = 2**53 - 1


def encode(value: Any) -> bytes:
    """Canonical bytes. Raises: TypeError for a float, ValueError for an integer above 2^53 - 1."""
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def derived_id(prefix: str, kind: str, organisation: str, client: str, idempotency_key: str) -> str:
    """`kind` is payout, beneficiary or run."""
    record = {
        "client": client, "idempotency_key": idempotency_key, "organisation": organisation,
        "type": f"strongroom/{kind}-id/v1",
    }
    digest = hashlib.sha256(encode(record)).digest()
    return prefix + base64.b32encode(digest).decode().lower()[:26]


def destination_digest(record: Mapping[str, Any]) -> str:
    """The digest of a `strongroom/destination/v1` record, 64 hex digits."""
    return hashlib.sha256(b"strongroom/destination/v1\0" + encode(record)).hexdigest()


def run_leaf(item: Mapping[str, Any], run: str, index: int) -> bytes:
    return encode({**item, "index": index, "run": run, "type": "strongroom/run-item/v1"})


def tree_root(leaves: Iterable[bytes]) -> str:
    """The root over leaves, in hex (RFC 6962 section 2.1)."""
    roots: list[tuple[int, bytes]] = []
    for leaf in leaves:
        level, digest = 0, hashlib.sha256(b"\0" + leaf).digest()
        while roots and roots[-1][0] == level:
            digest = hashlib.sha256(b"\1" + roots.pop()[1] + digest).digest()
            level += 1
        roots.append((level, digest))
    if not roots:
        return hashlib.sha256().hexdigest()
    digest = roots[-1][1]
    for _, left in reversed(roots[:-1]):
        digest = hashlib.sha256(b"\1" + left + digest).digest()
    return digest.hex()


def _check(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("a float can't say an amount exactly: use an int or a string of base units")
    if isinstance(value, int) and abs(value) > INTEGER_MAXIMUM:
        raise ValueError("an integer above 2^53 - 1 must be a string")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise TypeError("names must be ASCII strings")
            _check(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner)
