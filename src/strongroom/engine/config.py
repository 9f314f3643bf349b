"""What the engine is told: its database role, the signer's socket, and a node for each network. It holds no secret."""

from pathlib import Path

import msgspec


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Node(msgspec.Struct, forbid_unknown_fields=True):
    """`genesis` is the hash of the first block that must be found at `url`."""

    url: str
    genesis: str


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """`nodes` by network (CAIP-2); `signer_socket` is a Unix socket's path; `screening_list` a file of addresses that
    the company doesn't pay; `guard_url` guard's listener, without which nothing that was signed is ever freed."""

    database_url: str
    signer_socket: str
    nodes: dict[str, Node]
    screening_list: str | None = None
    guard_url: str | None = None
    interval_ms: int = 100


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
