"""What guard is told: where it keeps what, whom its operator enrols, and where it listens. It knows no database."""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError, Fields
from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.evm_address import EVM_NETWORK
from strongroom.protocol.canonical import CanonicalError, parse_object
from strongroom.protocol.record import take_hash

REQUESTS_PER_SECOND: Final = 20
REQUESTS_MAXIMUM: Final = 10_000
PATH_MAXIMUM: Final = 4_096
_LISTEN: Final = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")
_ANSWER: Final = re.compile(rb"http/1\.1 200 .*\r\ncontent-length: *([0-9]{1,7})\r\n", re.DOTALL)
_URL: Final = re.compile(r"(https?)://([a-z0-9.-]{1,253}):([0-9]{1,5})")


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. `peer_file` holds the one certificate that who connects must show; without it anybody may connect."""

    certificate_file: str
    key_file: str
    peer_file: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """Guard's own, from which it reads blocks; `genesis` is the hash of the first one that must be found there.

    `cookie_file`, for Bitcoin and nothing else, holds `NAME:PASSWORD`.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    genesis: str
    cookie_file: str | None = None

    async def ask(self, line: str, body: bytes = b"", headers: str = "") -> bytes:
        """One question by HTTP/1.1, as narrow as it can be: the body of an answer whose length is known.

        Raises: OSError, EOFError, ValueError, asyncio.LimitOverrunError.
        """
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        try:
            writer.write(f"{line} HTTP/1.1\r\nhost: {self.host}\r\nconnection: close\r\n{headers}\r\n".encode() + body)
            answer = _ANSWER.match((await reader.readuntil(b"\r\n\r\n")).lower())
            if answer is None:
                raise ValueError(f"no answer to {line} that is 200, of less than ten million bytes")
            return await reader.readexactly(int(answer[1]))
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Config:
    """`marker_file` stands outside of `folder` and is in no backup: it tells a restored store from the newest.

    `genesis_hash` is typed by the operator: the journal that begins with that genesis is the one guard enrols.
    """

    folder: str
    marker_file: str
    key_file: str
    genesis_hash: str
    signer_listen: str
    officers_listen: str
    signer_tls: Tls | None = None
    officers_tls: Tls | None = None
    requests_per_second: int = REQUESTS_PER_SECOND
    nodes: Mapping[str, Node] = field(default_factory=dict)


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = _parse(Fields(parse_object(file.read_bytes())))
    except (OSError, CanonicalError, DocumentError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    if Path(config.folder).resolve() in Path(config.marker_file).resolve().parents:
        raise ConfigError("marker_file: must stand outside of folder, which is what backups hold")
    if config.signer_tls is not None and config.signer_tls.peer_file is None:
        raise ConfigError("signer_tls.peer_file: link's certificate is needed")
    parse_listen("signer_listen", config.signer_listen, config.signer_tls)
    parse_listen("officers_listen", config.officers_listen, config.officers_tls)
    return config


def _parse(fields: Fields) -> Config:
    rate = "requests_per_second"
    nodes = fields.inner("nodes") if fields.has("nodes") else Fields({})
    return fields.done(Config(
        folder=fields.text("folder", PATH_MAXIMUM), marker_file=fields.text("marker_file", PATH_MAXIMUM),
        key_file=fields.text("key_file", PATH_MAXIMUM), genesis_hash=take_hash(fields, "genesis_hash"),
        signer_listen=fields.text("signer_listen"), officers_listen=fields.text("officers_listen"),
        signer_tls=_tls(fields.inner("signer_tls")) if fields.has("signer_tls") else None,
        officers_tls=_tls(fields.inner("officers_tls")) if fields.has("officers_tls") else None,
        requests_per_second=fields.integer(rate, 1, REQUESTS_MAXIMUM) if fields.has(rate) else REQUESTS_PER_SECOND,
        nodes={network: _node(network, nodes.inner(network)) for network in nodes.names()},
    ))


def _node(network: str, fields: Fields) -> Node:
    match, genesis = _URL.fullmatch(fields.text("url")), take_hash(fields, "genesis")
    if match is None or (match[1] == "http" and match[2] != "127.0.0.1"):
        raise DocumentError(fields.path("url"), "must be http://127.0.0.1:PORT, or https")
    known = network == simulated.NETWORK or EVM_NETWORK.fullmatch(network) or network in NETWORKS
    if not known or (network in NETWORKS and not genesis.startswith(network[len("bip122:"):])):
        raise DocumentError(fields.path("genesis"), "isn't of this network, or guard has no eyes for it")
    cookie_file = fields.done(fields.text("cookie_file", PATH_MAXIMUM) if network in NETWORKS else None)
    tls = ssl.create_default_context() if match[1] == "https" else None
    return Node(match[2], int(match[3]), tls, genesis, cookie_file)


def _tls(fields: Fields) -> Tls:
    certificate_file, key_file = (fields.text(name, PATH_MAXIMUM) for name in ("certificate_file", "key_file"))
    peer_file = fields.text("peer_file", PATH_MAXIMUM) if fields.has("peer_file") else None
    return fields.done(Tls(certificate_file, key_file, peer_file))


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
