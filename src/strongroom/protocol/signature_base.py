"""What is signed of an HTTP request: a fixed profile of RFC 9421 with Ed25519, and the body's digest by RFC 9530.

One label (`sig1`), one algorithm, exactly these components in exactly this order, these parameters and no others.
A profile so narrow needs no general parser: what isn't spelled as an honest client spells it is refused. The tag
names the deployment, so that a request for staging is worth nothing in production.
"""

import base64
import hashlib
import re
from typing import Final, NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from strongroom.domain.ids import KeyId
from strongroom.domain.instant import SECOND_MS, Instant

TAG_PREFIX: Final = "strongroom/1/"
READ_COMPONENTS: Final = ("@method", "@authority", "@path", "@query")
WRITE_COMPONENTS: Final = (*READ_COMPONENTS, "content-type", "content-digest")
KEYED_COMPONENTS: Final = (*WRITE_COMPONENTS, "idempotency-key")

PARAMETERS = (
    r'\(((?:"[a-z@-]{1,20}" ?){1,8})\);created=([0-9]{1,12});expires=([0-9]{1,12});'
    r'keyid="(ak_[a-z2-7]{26})";alg="ed25519";tag="([!#-\[\]-~]{1,64})"'
)
_KEYED_BASE = re.compile(
    "".join(f'"{name}": ([ -~]*)\n' for name in KEYED_COMPONENTS) + '"@signature-params": ' + PARAMETERS
)
SHAPES: Final[dict[tuple[str, ...], tuple[str, str]]] = {
    names: (" ".join(f'"{name}"' for name in names), "".join(f'"{name}": %s\n' for name in names))
    for names in (READ_COMPONENTS, WRITE_COMPONENTS, KEYED_COMPONENTS)
}
"""The three sets of components: as Signature-Input lists them, and as their lines stand in the base."""


class SignatureError(ValueError):
    """The request isn't signed as the profile asks, or the signature doesn't hold."""


class KeyedBase(NamedTuple):
    """What a client signed to have something done, read back from the signature base."""

    method: str
    authority: str
    path: str
    query: str
    content_type: str
    content_digest: str
    idempotency_key: str
    key_id: KeyId
    created: Instant


def read_keyed_base(base: bytes, deployment: str) -> KeyedBase:
    """The parts of a stored signature base, for whoever wasn't there when the request came. Nothing is verified.

    Raises: SignatureError unless it is exactly the base of a POST of this deployment with an idempotency key.
    """
    match = _KEYED_BASE.fullmatch(base.decode("ascii", "replace"))
    if match is None or match[8] != SHAPES[KEYED_COMPONENTS][0]:
        raise SignatureError("isn't the signature base of a request with an idempotency key")
    if match[12] != TAG_PREFIX + deployment:
        raise SignatureError(f"the tag must be {TAG_PREFIX}{deployment}")
    method, authority, path, query, content_type, digest, key = match.groups()[:7]
    created = Instant(int(match[9]) * SECOND_MS)
    return KeyedBase(method, authority, path, query, content_type, digest, key, KeyId(match[11]), created)


def content_digest(body: bytes) -> str:
    """The value of `Content-Digest` (RFC 9530 §2) for verbatim body bytes."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def holds(base: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the holder of `public_key` signed this base."""
    try:
        return crypto_sign_open(signature + base, public_key) == base  # as long a signature as it should be, then
    except (BadSignatureError, ValueError):
        return False
