"""What guard is told: where it keeps what, whom its operator enrols, and where it listens. It knows no database."""

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Annotated, Final

import msgspec
from nacl.signing import SigningKey

_LISTEN: Final = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Tls(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """PEM files. `peer_file` holds the one certificate that who connects must show; without it anybody may connect."""

    certificate_file: str
    key_file: str
    peer_file: str | None = None


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`marker_file` stands outside of `folder` and is in no backup: it tells a restored store from the newest.

    `genesis_hash` is typed by the operator: the journal that begins with that genesis is the one guard enrols.
    """

    folder: str
    marker_file: str
    key_file: str
    genesis_hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    signer_listen: str
    officers_listen: str
    signer_tls: Tls | None = None
    officers_tls: Tls | None = None
    requests_per_second: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    if Path(config.folder).resolve() in Path(config.marker_file).resolve().parents:
        raise ConfigError("marker_file: must stand outside of folder, which is what backups hold")
    if config.signer_tls is not None and config.signer_tls.peer_file is None:
        raise ConfigError("signer_tls.peer_file: link's certificate is needed")
    parse_listen("signer_listen", config.signer_listen, config.signer_tls)
    parse_listen("officers_listen", config.officers_listen, config.officers_tls)
    return config


def parse_listen(name: str, listen: str, tls: Tls | None) -> tuple[str, int]:
    """Host and port. Raises: ConfigError; beyond loopback, unless there is a certificate."""
    match = _LISTEN.fullmatch(listen)
    try:
        address = ipaddress.IPv4Address(match[1]) if match is not None and int(match[2]) <= 65535 else None
    except ipaddress.AddressValueError:
        address = None
    if match is None or address is None:
        raise ConfigError(f"{name}: must be an IPv4 address and a port, such as 127.0.0.1:8423")
    if not address.is_loopback and tls is None:
        raise ConfigError(f"{name}: {address} isn't loopback, and elsewhere guard listens only with a certificate")
    return str(address), int(match[2])


def read_key(config: Config) -> SigningKey:
    """An Ed25519 seed as 64 hex digits. Raises: ConfigError."""
    try:
        return SigningKey(bytes.fromhex(Path(config.key_file).read_text("ascii").strip()))
    except (OSError, ValueError) as fault:
        raise ConfigError(f"key_file: {config.key_file} can't be read as a key") from fault


def server_context(name: str, tls: Tls) -> ssl.SSLContext:
    """Raises: ConfigError."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # link takes whatever comes unasked for guard's end
        context.load_cert_chain(tls.certificate_file, tls.key_file)
        if tls.peer_file is not None:
            context.load_verify_locations(tls.peer_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as fault:
        raise ConfigError(f"{name}: a certificate or key can't be read: {fault}") from fault
    return context
