"""The relay between the signer's Unix socket and guard: frames in, frames out, and nothing of its own.

It can neither read a secret in a frame nor change one: each is signed with a key that genesis pins, and answers a
nonce. Whatever goes wrong on either side ends both connections, and it begins again; a frame is never sent twice.
"""

import argparse
import ipaddress
import logging
import select
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from strongroom.protocol.guard_wire import FRAME_MAXIMUM

LOG: Final = logging.getLogger("strongroom.link")
TIMEOUT_S: Final = 10
AGAIN_S: Final = 0.2
_LENGTH: Final = 4


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`guard_certificate_file` is the one certificate that guard may show; the other two are link's own."""

    signer_socket: str
    guard_host: str
    guard_port: int
    guard_certificate_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


def read_config(file: Path) -> Config:
    """Raises: OSError, ValueError."""
    config = msgspec.json.decode(file.read_bytes(), type=Config)
    if config.guard_certificate_file is None and not ipaddress.ip_address(config.guard_host).is_loopback:
        raise ValueError("guard_certificate_file: beyond loopback guard must show a certificate")
    return config


def relay(config: Config) -> None:
    """One pair of connections, until either ends. Raises: OSError, EOFError."""
    with (
        socket.create_connection((config.guard_host, config.guard_port), TIMEOUT_S) as plain,
        _secured(config, plain) as guard, socket.socket(socket.AF_UNIX) as signer,
    ):
        signer.settimeout(TIMEOUT_S)
        signer.connect(config.signer_socket)
        while True:
            # Guard speaks only when it is asked: what comes before is its end.
            if guard in select.select([signer, guard], [], [])[0]:
                raise EOFError("guard's connection ended")
            _pass_on(signer, guard)
            _pass_on(guard, signer)


def _secured(config: Config, plain: socket.socket) -> socket.socket:
    if config.guard_certificate_file is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # one certificate is pinned, whatever its name
    context.load_verify_locations(config.guard_certificate_file)
    if config.certificate_file is not None:
        context.load_cert_chain(config.certificate_file, config.key_file)
    return context.wrap_socket(plain)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    length = int.from_bytes(_receive(source, _LENGTH))
    if not 1 <= length <= FRAME_MAXIMUM:
        raise EOFError(f"a frame of {length} bytes")
    target.sendall(length.to_bytes(_LENGTH) + _receive(source, length))


def _receive(source: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = source.recv(min(length - len(parts), 2**16))
        if not part:
            raise EOFError("a connection ended")
        parts += part
    return bytes(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom serve link")
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = read_config(parser.parse_args().config)
    except (OSError, ValueError) as fault:
        LOG.error("%s", fault)
        return 1
    while True:
        try:
            relay(config)
        except (OSError, EOFError) as fault:
            LOG.info("%s; again in %s s", fault, AGAIN_S)
            time.sleep(AGAIN_S)


if __name__ == "__main__":
    sys.exit(main())
