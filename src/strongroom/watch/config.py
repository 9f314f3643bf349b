"""What the watch process is told: a database in which it may only add to the audit tree, and its signing key's file."""

from pathlib import Path
from typing import Annotated

import msgspec
from nacl.signing import SigningKey

from strongroom.rails.registry import Node, NodeError, open_account_rails, open_rails


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """`checkpoint_key_file` holds an Ed25519 seed as 64 hex digits; `origin` names the log in its checkpoints.

    `guard_public_key` is the one of genesis, by which a cosignature is known; guard cosigns the log that is called
    `strongroom/DEPLOYMENT`, and no other. `last_checkpoint_file` is watch's own memory of what it signed last, in a
    folder that only watch may write to. In `chains_folder`, likewise, is what it has read of chains, so that it doesn't
    read them from the first block on after each start. `station_url` is the origin at which people approve.
    """

    database_url: str
    checkpoint_key_file: str
    last_checkpoint_file: str
    origin: Annotated[str, msgspec.Meta(pattern="^[!-*,-~]{1,100}$")]
    deployment: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    guard_url: str | None = None
    nodes: dict[str, Node] = {}
    chains_folder: str | None = None
    guard_public_key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    station_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")] | None = None
    interval_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 200


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
        open_rails(config.nodes)
        open_account_rails(config.nodes)
        if config.chains_folder is not None and not Path(config.chains_folder).is_dir():
            raise ConfigError(f"{file}: chains_folder: {config.chains_folder} isn't a folder")
    except (OSError, msgspec.DecodeError, NodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    return config


def read_key(config: Config) -> SigningKey:
    """Raises: ConfigError."""
    try:
        return SigningKey(bytes.fromhex(Path(config.checkpoint_key_file).read_text().strip()))
    except (OSError, ValueError, TypeError) as fault:
        raise ConfigError(f"checkpoint_key_file: {config.checkpoint_key_file} can't be read as a key") from fault
