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

import msgspec

from strongroom.protocol.guard_wire import FRAME_MAXIMUM

LOG = logging.getLogger("strongroom.link")
TIMEOUT_S, AGAIN_S, LENGTH = 10, 0.2, 4


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
    plain = socket.create_connection((config.guard_host, config.guard_port), TIMEOUT_S)
    with plain, secured(config, plain) as guard, socket.socket(socket.AF_UNIX) as signer:
        signer.settimeout(TIMEOUT_S)
        signer.connect(config.signer_socket)
        # Guard speaks only when it is asked: what comes before is its end.
        while guard not in select.select([signer, guard], [], [])[0]:
            guard.sendall(receive(signer))
            signer.sendall(receive(guard))
        raise EOFError("guard's connection ended")


def secured(config: Config, plain: socket.socket) -> socket.socket:
    if config.guard_certificate_file is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # one certificate is pinned, whatever its name
    context.load_verify_locations(config.guard_certificate_file)
    if config.certificate_file is not None:
        context.load_cert_chain(config.certificate_file, config.key_file)
    return context.wrap_socket(plain)


def receive(source: socket.socket) -> bytes:
    """A frame with its length before it."""
    frame, length = bytearray(), LENGTH
    while len(frame) < length:
        part = source.recv(min(length - len(frame), 2**16))
        if not part:
            raise EOFError("a connection ended")
        frame += part
        if len(frame) == LENGTH:
            length += int.from_bytes(frame)
            if not LENGTH < length <= LENGTH + FRAME_MAXIMUM:
                raise EOFError(f"a frame of {length - LENGTH} bytes")
    return bytes(frame)


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
