"""The genesis ceremony on the signer's machine: makes the keys, and the journal's first entries. Each only once.

`python -I -m strongroom.signer.ceremony identity FILE` makes an age identity and prints its recipient. `… keys FOLDER
RECIPIENT…` makes the key file for these recipients and prints the statement key that genesis must name. `… found FOLDER
GENESIS` begins the journal with a genesis record, read from a file; organisations enter by the admin socket. `… key
FILE` makes guard's or watch's key and prints its public half. All refuse to touch what exists.
"""

import os
import resource
import sys
from base64 import b64encode
from typing import Final

import pyrage
from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError
from strongroom.journal.journal import FileDisk, Journal, JournalError
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.genesis import deployment_id, parse_genesis
from strongroom.protocol.journal_chain import EMPTY_HEAD, ENTRY_MAXIMUM
from strongroom.signer.config import ConfigError, read_file
from strongroom.signer.keys import SEED_LENGTH, KeyFileError, KeyStore, Secret, make_key_file

KEY_FILE: Final = "keys.age"


def make_keys(folder: str, recipients: list[str]) -> str:
    """The statement key in hex. The folder is made if it isn't there. Raises: KeyFileError, OSError."""
    _own_folder(folder)
    seed = Secret(os.urandom(SEED_LENGTH))
    _write_new(f"{folder}/{KEY_FILE}", make_key_file(seed, recipients))
    return KeyStore(seed).statement_public_key.hex()


def make_identity(path: str) -> str:
    """Its recipient; the file is as `age-keygen` writes it. Raises: KeyFileError, OSError."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    _write_new(path, f"# public key: {recipient}\n{identity}\n".encode())
    return recipient


def make_key(path: str) -> str:
    """The public half of an Ed25519 key, in hex as its seed is in the file. Raises: KeyFileError, OSError."""
    key = SigningKey.generate()
    _write_new(path, f"{bytes(key).hex()}\n".encode())
    return bytes(key.verify_key).hex()


def _write_new(path: str, raw: bytes) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} is there already, and is not made anew") from None
    try:
        if os.write(file, raw) != len(raw):
            raise KeyFileError(f"{path} couldn't be written whole: the disk is full")
        os.fsync(file)
    finally:
        os.close(file)


def _own_folder(folder: str) -> None:
    """Raises: OSError, KeyFileError if others can enter it."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if os.stat(folder).st_mode & 0o077:
            raise KeyFileError(f"other users can enter {folder}: chmod 700") from None


def found(folder: str, genesis: bytes) -> str:
    """The deployment's id. Raises: DocumentError, JournalError if there is a journal."""
    created = parse_genesis(genesis).created
    journal = Journal.load(FileDisk(folder, create=True))
    journal.settle(0, EMPTY_HEAD)
    start = Reading(created, created, created)
    journal.append(write_entry(Kind.GENESIS, start, {"genesis": b64encode(genesis).decode()}))
    journal.sync()
    journal.close()
    return deployment_id(genesis)


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        match sys.argv[1:]:
            case ["identity", file]:
                said = make_identity(file)
            case ["key", file]:
                said = make_key(file)
            case ["keys", folder, *recipients] if recipients:
                said = make_keys(folder, recipients)
            case ["found", folder, file]:
                said = found(folder, read_file(file, ENTRY_MAXIMUM))
            case _:
                said = ""
    except (OSError, ConfigError, DocumentError, JournalError, KeyFileError) as fault:
        os.write(2, f"ceremony: {fault}\n".encode())
        return 1
    os.write(1, f"{said}\n".encode())
    return 0 if said else 2


if __name__ == "__main__":
    sys.exit(main())
