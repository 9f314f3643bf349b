"""What the API process is told, and all it is told. There is no key among it, and no address of a node or signer."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec

PER_SECOND_MAXIMUM: Final = 1_000_000

_LISTEN = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`authority` is the host and port that clients sign for; rates are requests a second; `body_timeout_ms` is how
    long the headers may take to come, and the body again. A process that may have fewer files open takes fewer
    connections than `connections_maximum`."""

    listen: str
    authority: str
    database_url: str
    deployment: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    metrics_listen: str
    per_address_per_second: Annotated[int, msgspec.Meta(ge=1, le=PER_SECOND_MAXIMUM)] = 2_000
    per_key_per_second: Annotated[int, msgspec.Meta(ge=1, le=PER_SECOND_MAXIMUM)] = 2_000
    body_timeout_ms: Annotated[int, msgspec.Meta(ge=10, le=120_000)] = 15_000
    connections_maximum: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 4_000


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    for name, listen in (("listen", config.listen), ("metrics_listen", config.metrics_listen)):
        parse_listen(name, listen)
    return config


def parse_listen(name: str, listen: str) -> tuple[str, int]:
    """Host and port. Without TLS, which isn't built yet, only loopback. Raises: ConfigError."""
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[2]) > 65535:
        raise ConfigError(f"{name}: must be an IPv4 address and a port, such as 127.0.0.1:8420")
    try:
        address = ipaddress.IPv4Address(match[1])
    except ipaddress.AddressValueError as fault:
        raise ConfigError(f"{name}: {fault}") from fault
    if not address.is_loopback:
        raise ConfigError(f"{name}: {match[1]} isn't loopback, and elsewhere this process listens only with TLS")
    return match[1], int(match[2])
