"""What the console is told, and all it is told: no key, and no address of a node or of the signer."""

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from strongroom.domain.instant import HOUR_MS, MINUTE_MS
from strongroom.protocol.webauthn import RelyingParty

_LISTEN = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")
_ORIGIN: Final = "^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$"


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`origin` is where people open the console, `station_origin` where they approve. `forwarded_by` are the addresses
    of proxies whose X-Forwarded-For is believed. A session ends after `idle_ms` unused and after `life_ms` anyway."""

    listen: str
    origin: Annotated[str, msgspec.Meta(pattern=_ORIGIN)]
    station_origin: Annotated[str, msgspec.Meta(pattern=_ORIGIN)]
    database_url: str
    deployment: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    is_sandbox: bool = False
    forwarded_by: tuple[str, ...] = ()
    idle_ms: Annotated[int, msgspec.Meta(ge=1_000, le=24 * HOUR_MS)] = 30 * MINUTE_MS
    life_ms: Annotated[int, msgspec.Meta(ge=1_000, le=24 * HOUR_MS)] = 12 * HOUR_MS
    per_address_per_second: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100

    @property
    def host(self) -> str:
        return urlsplit(self.origin).netloc

    @property
    def relying_party(self) -> RelyingParty:
        """For signing in. Not the station's: no page of ours can ask for a credential that approves."""
        return RelyingParty(urlsplit(self.origin).hostname or "", frozenset({self.origin}))

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https://")


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    parse_listen(config.listen)
    if config.origin == config.station_origin:
        raise ConfigError("station_origin: must not be the console's own")
    if not config.is_sandbox and not config.is_secure:
        raise ConfigError("origin: must be https outside of a sandbox")
    return config


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port: loopback alone, where a proxy that speaks TLS stands before it. Raises: ConfigError."""
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[2]) > 65535:
        raise ConfigError("listen: must be an IPv4 address and a port, such as 127.0.0.1:8421")
    if not match[1].startswith("127."):
        raise ConfigError("listen: must be a loopback address; a proxy with TLS stands before the console")
    return match[1], int(match[2])
