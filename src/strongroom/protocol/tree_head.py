"""The head of a log's tree as text, and the cosignature that a witness gives it.

C2SP `tlog-checkpoint` (origin, size, root) and `tlog-cosignature` v1, the Ed25519 form: the witness signs the text and
its time. `checkpoint` signs and reads the notes that hold them.
"""

import base64
import hashlib
from typing import Final

from nacl.signing import SigningKey

TREE_TYPE: Final = "strongroom/tree/v1"
"""What watch signs for guard, in a frame: the head of its tree, and the proof that it continues guard's last."""
ED25519: Final = b"\x01"
COSIGNATURE: Final = b"\x04"
DASH: Final = "\u2014 "


def log_origin(deployment: str) -> str:
    """How the audit log of a deployment is called, and watch's key in its notes."""
    return f"strongroom/{deployment}"


def witness_name(origin: str) -> str:
    """How guard's key is called in them."""
    return f"{origin}/guard"


def head_text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def key_hash(key_name: str, public_key: bytes, algorithm: bytes = ED25519) -> bytes:
    """C2SP signed-note: the first four bytes of SHA-256(name, newline, algorithm, key)."""
    return hashlib.sha256(key_name.encode() + b"\n" + algorithm + public_key).digest()[:4]


def signature_line(key_name: str, key_hash: bytes, signature: bytes) -> str:
    return f"{DASH}{key_name} {base64.b64encode(key_hash + signature).decode()}\n"


def cosigned_text(text: str, at_s: int) -> str:
    """What a cosignature signs: tlog-cosignature, "Ed25519 signed message"."""
    return f"cosignature/v1\ntime {at_s}\n{text}"


def cosign(text: str, key_name: str, key: SigningKey, at_s: int) -> str:
    """The line that goes below a note with this text; `at_s` are seconds since 1970."""
    signature = key.sign(cosigned_text(text, at_s).encode()).signature
    hashed = key_hash(key_name, bytes(key.verify_key), COSIGNATURE)
    return signature_line(key_name, hashed, at_s.to_bytes(8) + signature)
