"""Decisions about sessions, without a database or a clock: how long they live, and what they are bound to. Their
secrets are drawn here.
"""

import hashlib
import ipaddress
import secrets
from base64 import b32encode
from dataclasses import dataclass
from enum import Enum
from typing import Final

from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.store.console import ConsoleSession

TOKEN_BYTES: Final = 32
CHALLENGE_LIFE_MS: Final = 5 * MINUTE_MS
BROWSER_MAXIMUM: Final = 200


class Standing(Enum):
    """What a cookie is worth."""

    GOOD = "good"
    NEW_NETWORK = "new network"
    """The person has to show the passkey before anything else."""
    OVER = "over"
    OTHER_BROWSER = "other browser"
    """It was copied: the session ends for everybody."""


@dataclass(frozen=True, slots=True)
class Seat:
    """From where a request came: the browser by what it says of itself, the network as a prefix."""

    browser: str
    browser_hash: bytes
    network: str


def seat_of(headers: dict[str, str], address: str) -> Seat:
    """The browser's own words and brand; a browser that updates itself is another, and signs in again."""
    said = [headers.get(name, "") for name in ("user-agent", "sec-ch-ua-platform", "sec-ch-ua-mobile")]
    digest = hashlib.sha256("\0".join(said).encode()).digest()
    return Seat(said[0][:BROWSER_MAXIMUM], digest, network_of(address))


def network_of(address: str) -> str:
    """/24 of IPv4, /48 of IPv6: what stays the same while somebody sits where they sit."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def judge(session: ConsoleSession, seat: Seat, idle_ms: int, now: Instant) -> Standing:
    if session.ended_at is not None or now >= session.expires_at or now - session.seen_at >= idle_ms:
        return Standing.OVER
    if session.browser_hash != seat.browser_hash:
        return Standing.OTHER_BROWSER
    if not session.is_confirmed or session.network != seat.network:
        return Standing.NEW_NETWORK
    return Standing.GOOD


def draw_token() -> str:
    """A secret for a cookie or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def draw_id(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]


def token_hash(token: str) -> bytes:
    """What the database knows of a cookie or a link."""
    return hashlib.sha256(token.encode()).digest()
