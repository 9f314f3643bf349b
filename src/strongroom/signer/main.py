"""The signer's process: opens what it needs, meets guard, locks itself down, and answers until it is ended.

`python -I -m strongroom.signer.main CONFIG`. Says on standard error what it couldn't lock down. Ends itself when the
journal can't be written, or something that can't be true is: a signer that stopped has signed nothing.
"""

import gc
import os
import socket
import sys
import time
from typing import Final, NoReturn

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 the library loads it late, when nothing opens any more

from strongroom.domain.document import DocumentError
from strongroom.journal.journal import FileDisk, Journal, JournalError
from strongroom.protocol.entry import Kind
from strongroom.protocol.genesis import Mode
from strongroom.protocol.signer_wire import FRAME_MAXIMUM
from strongroom.signer.clock import boot_ns
from strongroom.signer.config import Config, ConfigError, read_config, read_file
from strongroom.signer.desk import ADMIN, ENGINE, Desk
from strongroom.signer.guard_link import LinkError, SocketLink
from strongroom.signer.hardening import HardeningError, lock_down
from strongroom.signer.keys import KEY_FILE_MAXIMUM, KeyFileError, KeyStore, open_key_file
from strongroom.signer.notary import Notary
from strongroom.signer.pkcs11_keys import open_token_keys
from strongroom.signer.server import Channel, Server
from strongroom.signer.start import Opening, StartError
from strongroom.signer.wallets import open_wallets

KEY_FILE: Final = "keys.age"
RETRY_S: Final = 1
FAULTS: Final = (OSError, ConfigError, DocumentError, HardeningError, JournalError, KeyFileError, StartError)
"""What can be wrong with what it is given, or with where it runs; the operator needs the sentence and no trace."""


def main() -> NoReturn:
    try:
        server = _begin(sys.argv[1])
    except FAULTS as fault:
        _say(f"can't begin: {fault}")
        sys.exit(1)
    server.run()


def _begin(path: str) -> Server:
    """All of it, locked down. Raises: FAULTS."""
    config = read_config(path)
    keys, token = _open_keys(config), open_token_keys(config.token)
    link = SocketLink(socket.socket(fileno=config.link))
    opening = Opening(Journal.load(FileDisk(config.folder)), keys, link, os.urandom)
    notary = _meet_guard(opening, keys, link)
    desk = Desk(notary, open_wallets(keys, notary.book.genesis.mode, token), os.urandom)
    server = Server(_channels(config), desk.answer, desk.idle, lambda: boot_ns() // 1_000_000)
    gc.freeze()  # what is loaded stays; collections only look at what comes, and seldom: nearly nothing is in cycles
    gc.set_threshold(100_000, 50, 100)
    for missing in lock_down(config.folder, is_production=notary.book.genesis.mode is Mode.PRODUCTION):
        _say(f"not locked down: {missing}")
    _say(f"ready at {notary.head.length} entries")
    return server


def _open_keys(config: Config) -> KeyStore:
    try:
        return open_key_file(read_file(f"{config.folder}/{KEY_FILE}", KEY_FILE_MAXIMUM), config.identity)
    finally:
        os.close(config.identity)


def _meet_guard(opening: Opening, keys: KeyStore, link: SocketLink) -> Notary:
    """Waits for guard for as long as it takes: without it nothing could be signed. Begins a life in the journal."""
    while True:
        try:
            guard_now = opening.settle()
        except LinkError as fault:
            _say(f"waiting for guard: {fault}")
            time.sleep(RETRY_S)
            continue
        clock = opening.clock(guard_now, time.time_ns, boot_ns)
        notary = Notary(opening.journal, opening.book, clock, keys.statement_sign, link, os.urandom, boot_ns)
        notary.write(Kind.RESUMED, {"guard_ms": guard_now}, notary.reading())
        notary.commit()
        return notary


def _channels(config: Config) -> list[Channel]:
    return [
        Channel(ENGINE, socket.socket(fileno=config.engine), frozenset({config.engine_user}), FRAME_MAXIMUM),
        Channel(ADMIN, socket.socket(fileno=config.admin), frozenset({config.admin_user})),
    ]


def _say(text: str) -> None:
    os.write(2, f"signer: {text}\n".encode())


if __name__ == "__main__":
    main()
