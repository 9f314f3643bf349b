"""Checkpoints of a log: a size and a root, signed, as text that people can read.

C2SP `tlog-checkpoint` (origin, size, root) in a C2SP `signed-note` with Ed25519 signatures. A note that has one
good signature by the expected key is believed; lines by keys that we don't know are skipped, as the note's
specification says, a bad line by the expected key is refused.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

_ED25519: Final = b"\x01"
_DASH: Final = "\u2014 "
NOTE_MAXIMUM: Final = 16_384


class CheckpointError(ValueError):
    """The note isn't a checkpoint signed by the expected key."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, key_name: str, key: SigningKey) -> str:
    """The signed note. `key_name` has no spaces and no plus."""
    text = checkpoint.text()
    signature = key.sign(text.encode()).signature
    blob = key_hash(key_name, bytes(key.verify_key)) + signature
    return f"{text}\n{_DASH}{key_name} {base64.b64encode(blob).decode()}\n"


def verify_checkpoint(note: str, origin: str, key_name: str, public_key: bytes) -> Checkpoint:
    """The checkpoint in a note. Raises: CheckpointError."""
    if len(note) > NOTE_MAXIMUM:
        raise CheckpointError(f"the note is longer than {NOTE_MAXIMUM} characters")
    body, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise CheckpointError("the note has no signatures")
    text = body + "\n"
    expected = key_hash(key_name, public_key)
    good = False
    for line in signatures.splitlines():
        name, blob = _signature_line(line)
        if name != key_name or blob[:4] != expected:
            continue
        try:
            VerifyKey(public_key).verify(text.encode(), blob[4:])
        except (BadSignatureError, ValueError, UnicodeEncodeError) as fault:
            raise CheckpointError(f"the signature by {key_name} doesn't hold") from fault
        good = True
    if not good:
        raise CheckpointError(f"the note isn't signed by {key_name}")
    return _parse(text, origin)


def key_hash(key_name: str, public_key: bytes) -> bytes:
    """C2SP signed-note: the first four bytes of SHA-256(name, newline, algorithm, key)."""
    return hashlib.sha256(key_name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _signature_line(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise CheckpointError("a signature line isn't base64") from fault
    if not line.startswith(_DASH) or not name or len(blob) < 5:
        raise CheckpointError("a signature line is malformed")
    return name, blob


def _parse(text: str, origin: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != origin:
        raise CheckpointError(f"the checkpoint isn't one of {origin}")
    if not lines[1].isascii() or not lines[1].isdigit() or len(lines[1]) > 18 or str(int(lines[1])) != lines[1]:
        raise CheckpointError("the checkpoint's size isn't a plain number")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise CheckpointError("the checkpoint's root isn't base64") from fault
    if len(root) != 32:
        raise CheckpointError("the checkpoint's root isn't a SHA-256")
    return Checkpoint(origin, int(lines[1]), root)
