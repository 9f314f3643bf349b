"""What the engine is told: its database role, the signer's socket, and a node for each network. It holds no secret."""

from pathlib import Path

import msgspec

from strongroom.domain.instant import MINUTE_MS
from strongroom.rails.registry import Node, NodeError, open_account_rails, open_rails


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """`nodes` by network (CAIP-2); `signer_socket` is a Unix socket's path; `screening_list` a file of addresses that
    the company doesn't pay; `guard_url` guard's listener, without which nothing that was signed is ever freed;
    `stuck_ms` how long a call of a vault waits for a block before more is offered for it, and
    `bump_after_ms` the same for chain transactions of coins."""

    database_url: str
    signer_socket: str
    nodes: dict[str, Node]
    screening_list: str | None = None
    guard_url: str | None = None
    interval_ms: int = 100
    stuck_ms: int = MINUTE_MS
    bump_after_ms: int = 30 * MINUTE_MS


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
        open_rails(config.nodes)
        open_account_rails(config.nodes)
    except (OSError, msgspec.DecodeError, NodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    return config
