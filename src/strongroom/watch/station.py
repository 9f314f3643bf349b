"""Looks at what the station really serves, as a browser would get it, and puts it on record when it is another bundle.

Every file is fetched and hashed here; what the station says of itself only names them. Who can show watch other files
than people get isn't found out by this: it takes a look from where people sit.
"""

import asyncio
import logging
import re
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import httpx

from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import CanonicalError, parse_object
from strongroom.protocol.station_bundle import BUNDLE_PATH, FILE_MAXIMUM, FILES_MAXIMUM, bundle_hash
from strongroom.store.session import Session
from strongroom.store.station_bundles import note_bundle

LOG: Final = logging.getLogger("strongroom.watch")
TIMEOUT_S: Final = 5
_PATH: Final = re.compile("/(?:[a-z0-9][a-z0-9._-]*/)*(?:[a-z0-9][a-z0-9._-]*)?")
NEEDED: Final = frozenset({"/", "/config.json"})


class BundleError(Exception):
    """The station doesn't serve a bundle; the message says what is wrong."""


class StationWatch:
    """Of one origin. A station that can't be looked at is said once, until it can be again."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._is_seen = True

    async def look(self, connection: Session, now: Instant) -> None:
        """Raises: what PostgreSQL raises."""
        try:
            bundle = await asyncio.to_thread(served_bundle, self._origin)
        except BundleError as fault:
            if self._is_seen:
                LOG.warning("the station can't be looked at: %s", fault)
            self._is_seen = False
            return
        self._is_seen = True
        if await note_bundle(connection, self._origin, bundle, now):
            LOG.warning("the station serves the bundle %s", bundle)


def served_bundle(origin: str) -> str:
    """The hash of what stands there now. Raises: BundleError."""
    url, headers = _where(origin)
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            paths = _paths(_fetch(client, BUNDLE_PATH))
            return bundle_hash({path: sha256(_fetch(client, path)).hexdigest() for path in paths})
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise BundleError(f"{origin} doesn't answer: {fault}") from fault


def _where(origin: str) -> tuple[str, dict[str, str]]:
    """Browsers find `*.localhost` on this machine; not every resolver does."""
    parts = urlsplit(origin)
    if parts.hostname is None or not parts.hostname.endswith(".localhost"):
        return origin, {}
    return f"{parts.scheme}://127.0.0.1:{parts.port}", {"host": parts.netloc}


def _paths(raw: bytes) -> list[str]:
    try:
        files = parse_object(raw).get("files")
    except CanonicalError as fault:
        raise BundleError(f"{BUNDLE_PATH} {fault}") from fault
    if not isinstance(files, dict) or not files.keys() >= NEEDED or len(files) > FILES_MAXIMUM:
        raise BundleError(f"{BUNDLE_PATH} doesn't name the page and its configuration, or too many files")
    for path in files:
        if _PATH.fullmatch(path) is None:  # or it could send us to another host
            raise BundleError(f"{BUNDLE_PATH} names {path[:100]!r}, which isn't a path")
    return sorted(files)


def _fetch(client: httpx.Client, path: str) -> bytes:
    """The bytes of one file, and no more of it than a file may have."""
    raw = b""
    with client.stream("GET", path) as answer:
        if answer.status_code != 200:
            raise BundleError(f"{path} is answered with {answer.status_code}")
        for part in answer.iter_bytes():
            raw += part
            if len(raw) > FILE_MAXIMUM:
                raise BundleError(f"{path} is longer than {FILE_MAXIMUM} bytes")
    return raw
