"""Checkpoints of a log: a size and a root, signed, as text that people can read.

C2SP `tlog-checkpoint` (origin, size, root) in a C2SP `signed-note` with Ed25519 signatures. A note that has one
good signature by the expected key is believed; lines by keys that we don't know are skipped, as the note's
specification says, a bad line by the expected key is refused. A witness adds a line of its own (C2SP
`tlog-cosignature`). Whether a checkpoint continues an earlier one is for `merkle` to say.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from strongroom.protocol.tree_head import COSIGNATURE, DASH, cosigned_text, head_text, key_hash, signature_line

NOTE_MAXIMUM: Final = 16_384
SIGNATURES_MAXIMUM: Final = 16

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE = re.compile(DASH + "([^ +]+) ([^ ]+)")
_SIZE = re.compile("0|[1-9][0-9]{0,17}")


class CheckpointError(ValueError):
    """The note isn't a checkpoint signed by the expected key."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`origin` names the log, `size` counts its leaves, `root` is the 32-byte root of RFC 6962."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return head_text(self.origin, self.size, self.root)


def sign_checkpoint(checkpoint: Checkpoint, key_name: str, key: SigningKey) -> str:
    """The signed note. `key_name` has no spaces and no plus."""
    return sign_note(checkpoint.text(), key_name, key)


def verify_checkpoint(note: str, origin: str, key_name: str, public_key: bytes) -> Checkpoint:
    """The checkpoint of the log `origin` in a note. Raises: CheckpointError."""
    return _parse(verify_note(note, key_name, public_key), origin)


def sign_note(text: str, key_name: str, key: SigningKey) -> str:
    """C2SP signed-note of a text that ends in a newline."""
    signature = key.sign(text.encode()).signature
    return f"{text}\n{signature_line(key_name, key_hash(key_name, bytes(key.verify_key)), signature)}"


def verify_note(note: str, key_name: str, public_key: bytes) -> str:
    """The text of a note that this key signed. Raises: CheckpointError."""
    text, ours = _signatures(note, key_name, key_hash(key_name, public_key))
    for signature in ours:
        _verify(public_key, text, signature, key_name)
    return text


def verify_cosignature(note: str, key_name: str, public_key: bytes) -> int:
    """When a witness with this key last cosigned the note, in seconds since 1970. Raises: CheckpointError."""
    text, ours = _signatures(note, key_name, key_hash(key_name, public_key, COSIGNATURE))
    for signature in ours:
        _verify(public_key, cosigned_text(text, int.from_bytes(signature[:8])), signature[8:], key_name)
    return max(int.from_bytes(signature[:8]) for signature in ours)


def _verify(public_key: bytes, message: str, signature: bytes, key_name: str) -> None:
    try:
        VerifyKey(public_key).verify(message.encode(), signature)
    except (BadSignatureError, ValueError) as fault:
        raise CheckpointError(f"the signature by {key_name} doesn't hold") from fault


def _signatures(note: str, key_name: str, hashed: bytes) -> tuple[str, list[bytes]]:
    """The note's text, and what one key has signed below it: never nothing."""
    if len(note) > NOTE_MAXIMUM or _CONTROL.search(note) is not None:
        raise CheckpointError(f"the note is longer than {NOTE_MAXIMUM} characters, or holds control characters")
    body, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or lines.pop() != "" or not 1 <= len(lines) <= SIGNATURES_MAXIMUM:
        raise CheckpointError(f"a note ends in an empty line and 1 to {SIGNATURES_MAXIMUM} signatures")
    ours = [blob[4:] for name, blob in map(_signature_line, lines) if (name, blob[:4]) == (key_name, hashed)]
    if not ours:
        raise CheckpointError(f"the note isn't signed by {key_name}")
    return body + "\n", ours


def _signature_line(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE_LINE.fullmatch(line)
    blob = _unbase64(match[2]) if match is not None else b""
    if match is None or len(blob) < 5:
        raise CheckpointError("a signature line is malformed")
    return match[1], blob


def _parse(text: str, origin: str) -> Checkpoint:
    """Three lines; what an extension line says is nobody's to rely on, but it must not be empty."""
    lines = text.split("\n")[:-1]
    if len(lines) < 3 or "" in lines or lines[0] != origin:
        raise CheckpointError(f"the note isn't a checkpoint of {origin}")
    if _SIZE.fullmatch(lines[1]) is None:
        raise CheckpointError("the checkpoint's size isn't a plain number")
    root = _unbase64(lines[2])
    if len(root) != 32:
        raise CheckpointError("the checkpoint's root isn't a SHA-256")
    return Checkpoint(origin, int(lines[1]), root)


def _unbase64(text: str) -> bytes:
    """Standard base64, padded, and only in its one canonical spelling."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError as fault:
        raise CheckpointError("something isn't base64") from fault
    if base64.b64encode(value).decode() != text:
        raise CheckpointError("base64 isn't in its canonical form")
    return value
