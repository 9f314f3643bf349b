"""What notify is told: guard's notices, its own folder, who has which address, and the mail server or a folder.

Addresses of people stand here and nowhere else: no signed record holds them, and they can be taken out again.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

ADDRESS: Final = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}$"
Address = Annotated[str, msgspec.Meta(pattern=ADDRESS)]
PersonName = Annotated[str, msgspec.Meta(pattern="^pe_[a-z2-7]{26}$")]
Line = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")]


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Smtp(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A mail server, only by verified TLS: from the first byte (`implicit`), or before anything is said (`starttls`).

    `ca_file` is what its certificate must come from, instead of the system's authorities.
    """

    host: Line
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    tls: Literal["implicit", "starttls"] = "starttls"
    ca_file: str | None = None
    login: Line | None = None
    password_file: str | None = None


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`maildir` in the place of `smtp` writes the messages into a folder, for a sandbox. `pause_ms` between looks."""

    notices_file: str
    folder: str
    deployment: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    sender: Address
    members: dict[PersonName, Address]
    smtp: Smtp | None = None
    maildir: str | None = None
    pause_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1_000


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    if (config.smtp is None) is (config.maildir is None):
        raise ConfigError(f"{file}: smtp, maildir: one of the two says where the messages go")
    smtp = config.smtp
    if smtp is not None and (smtp.login is None) is not (smtp.password_file is None):
        raise ConfigError(f"{file}: smtp.login, smtp.password_file: both or none of them")
    return config


def read_password(smtp: Smtp) -> str:
    """Raises: ConfigError."""
    try:
        return Path(smtp.password_file or "").read_text("utf-8").strip() if smtp.login is not None else ""
    except (OSError, ValueError) as fault:
        raise ConfigError(f"smtp.password_file: {smtp.password_file} can't be read: {fault}") from fault


