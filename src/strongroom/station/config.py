"""What the station is told: whom its page may speak to, and whose word it believes. There is no secret among it."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec

from strongroom.protocol.canonical import encode

_ORIGIN: Final = r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$(?!\n)"
_LISTEN: Final = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")

Origin = Annotated[str, msgspec.Meta(pattern=_ORIGIN)]


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`origin` is what people open, `relying_party_id` its host, which genesis names; `statement_public_key` is the
    signer's, in hex, also of genesis. Beyond loopback a proxy that speaks TLS stands before it."""

    listen: str
    origin: Origin
    console_origin: Origin
    guard_origin: Origin
    relying_party_id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]{1,253}$(?!\n)")]
    deployment: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
    statement_public_key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]

    @property
    def authority(self) -> str:
        return self.origin.partition("://")[2]

    def served(self) -> bytes:
        """`/config.json`: what the page needs to know."""
        return encode({
            "console_origin": self.console_origin, "deployment": self.deployment, "guard_origin": self.guard_origin,
            "relying_party_id": self.relying_party_id, "statement_public_key": self.statement_public_key,
        })


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    parse_listen(config.listen)
    host = config.authority.partition(":")[0]
    if host != config.relying_party_id and not host.endswith(f".{config.relying_party_id}"):
        raise ConfigError(f"relying_party_id: {config.relying_party_id} isn't the host of {config.origin}")
    if config.console_origin == config.origin or config.console_origin.partition("://")[2].partition(":")[0] == host:
        raise ConfigError("console_origin: must be of another host, or the console could ask for these passkeys")
    return config


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port; only loopback. Raises: ConfigError."""
    match = _LISTEN.fullmatch(listen)
    try:
        address = ipaddress.IPv4Address(match[1]) if match is not None and int(match[2]) <= 65535 else None
    except ipaddress.AddressValueError:
        address = None
    if match is None or address is None:
        raise ConfigError("listen: must be an IPv4 address and a port, such as 127.0.0.1:8422")
    if not address.is_loopback:
        raise ConfigError(f"listen: {address} isn't loopback: a proxy that speaks TLS stands before the station")
    return str(address), int(match[2])
