"""What the signer is told: its folder, and which inherited sockets are whose. No address, no database, no secret."""

import os
from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.protocol.canonical import CanonicalError, parse_object

CONFIG_MAXIMUM: Final = 65_536
DESCRIPTOR_MAXIMUM: Final = 1_000
USER_MAXIMUM: Final = 2**32 - 1


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Config:
    """`folder` holds journal and key file. Descriptors are listening Unix sockets, and the opened age identity. `token`
    is the file that says which keys a hardware module holds, if one does.

    `engine_user` and `admin_user` are the user ids that may connect to their sockets.
    """

    folder: str
    identity: int
    engine: int
    admin: int
    link: int
    engine_user: int
    admin_user: int
    token: str | None = field(default=None, kw_only=True)


def read_config(path: str) -> Config:
    """Raises: ConfigError."""
    try:
        return _parse(read_file(path, CONFIG_MAXIMUM))
    except (OSError, DocumentError, CanonicalError) as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def read_file(path: str, maximum: int) -> bytes:
    """A whole file of at most `maximum` bytes. Raises: OSError, ConfigError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        raw = os.read(file, maximum + 1)
    finally:
        os.close(file)
    if len(raw) > maximum:
        raise ConfigError(f"{path} has more than {maximum} bytes")
    return raw


def _parse(raw: bytes) -> Config:
    fields = Fields(parse_object(raw))
    return fields.done(Config(
        fields.text("folder"),
        *(fields.integer(name, 3, DESCRIPTOR_MAXIMUM) for name in ("identity", "engine", "admin", "link")),
        *(fields.integer(name, 0, USER_MAXIMUM) for name in ("engine_user", "admin_user")),
        token=fields.text("token", CONFIG_MAXIMUM) if fields.has("token") else None,
    ))
