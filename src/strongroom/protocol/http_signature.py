"""Signed HTTP requests as they come and as they are made, in the profile of `signature_base`.

Whether a key may do what is asked, and whether it saw this request before, is for others to say.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

from strongroom.domain.ids import KeyId
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.protocol.signature_base import (
    KEYED_COMPONENTS,
    PARAMETERS,
    READ_COMPONENTS,
    SHAPES,
    TAG_PREFIX,
    WRITE_COMPONENTS,
    SignatureError,
    content_digest,
)

LIFE_MAXIMUM_S: Final = 300
AHEAD_MAXIMUM_MS: Final = 60 * SECOND_MS

_INPUT = re.compile("sig1=" + PARAMETERS)
_SIGNATURE = re.compile(r"sig1=:([A-Za-z0-9+/]{86}==):")


class UnsignedError(SignatureError):
    """The request carries no signature at all."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came, in the parts that a signature can cover. Header values are verbatim, None if absent.

    `query` starts with `?` and is `?` alone when there is none. Who made it must see that no header named here
    was there twice.
    """

    method: str
    authority: str
    path: str
    query: str
    content_type: str | None
    content_digest: str | None
    idempotency_key: str | None
    signature_input: str | None
    signature: str | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature that nobody has verified yet; `base` is what was signed."""

    key_id: KeyId
    created: Instant
    expires: Instant
    base: bytes
    signature: bytes


def signature_base(lines: Iterable[tuple[str, str]], parameters: str) -> bytes:
    """RFC 9421 §2.5: covered components with their values, in order, then the parameters of the signature."""
    return _base("".join(f'"{name}": {value}\n' for name, value in lines), parameters)


def parse_signature(request: SignedRequest, deployment: str) -> Signature:
    """Find the signature and build its base (RFC 9421 §2.5). Raises: UnsignedError, SignatureError."""
    if request.signature_input is None or request.signature is None:
        raise UnsignedError("the headers Signature-Input and Signature are needed")
    parameters = _INPUT.fullmatch(request.signature_input)
    signature = _SIGNATURE.fullmatch(request.signature)
    if parameters is None or signature is None:
        raise SignatureError("Signature-Input or Signature isn't spelled as the profile asks")
    covered, created, expires, key_id, tag = parameters.groups()
    if tag != TAG_PREFIX + deployment:
        raise SignatureError(f"the tag must be {TAG_PREFIX}{deployment}")
    wanted, lines = _covered(request)
    if covered != wanted:
        raise SignatureError("the signature must cover exactly: " + wanted.replace('"', ""))
    return Signature(
        KeyId(key_id),
        Instant(int(created) * SECOND_MS),
        Instant(int(expires) * SECOND_MS),
        _base(lines, request.signature_input.removeprefix("sig1=")),
        base64.b64decode(signature[1]),
    )


def check_signature(signature: Signature, request: SignedRequest, body: bytes, now: Instant) -> None:
    """That it is for this body and for now; whether it holds is a question for `holds`. Raises: SignatureError."""
    if request.method == "GET":
        if body:
            raise SignatureError("a GET has no body, as its signature covers none")
    elif request.content_digest != content_digest(body):
        raise SignatureError("Content-Digest isn't the SHA-256 of this body")
    if not 0 < signature.expires - signature.created <= LIFE_MAXIMUM_S * SECOND_MS:
        raise SignatureError(f"expires must be 1 to {LIFE_MAXIMUM_S} s after created")
    if signature.created > now + AHEAD_MAXIMUM_MS:
        raise SignatureError("created is in the future: look at the clock")
    if signature.expires <= now:
        raise SignatureError("the signature has expired")


def sign_request(
    request: SignedRequest, key_id: KeyId, key: SigningKey, deployment: str, created_s: int, life_s: int
) -> tuple[str, str]:
    """The values of Signature-Input and Signature for a request whose other headers are set."""
    names, lines = _covered(request)
    signature_input = (
        f'sig1=({names});created={created_s};expires={created_s + life_s};keyid="{key_id}";alg="ed25519";'
        f'tag="{TAG_PREFIX}{deployment}"'
    )
    base = _base(lines, signature_input.removeprefix("sig1="))
    signature = key.sign(base).signature
    return signature_input, f"sig1=:{base64.b64encode(signature).decode()}:"


def _base(lines: str, parameters: str) -> bytes:
    return f'{lines}"@signature-params": {parameters}'.encode()


def _covered(request: SignedRequest) -> tuple[str, str]:
    """Which components a request of this shape must cover, as Signature-Input lists them, and their lines in the base.

    An Idempotency-Key that is there must be covered, and Content-Type and Content-Digest must be there.
    """
    names: tuple[str, ...] = READ_COMPONENTS
    values: tuple[str, ...] = (request.method, request.authority, request.path, request.query)
    if request.method != "GET":
        if request.content_type is None or request.content_digest is None:
            missing = "content-type" if request.content_type is None else "content-digest"
            raise SignatureError(f"the header {missing} is needed")
        names, values = WRITE_COMPONENTS, (*values, request.content_type, request.content_digest)
        if request.idempotency_key is not None:
            names, values = KEYED_COMPONENTS, (*values, request.idempotency_key)
    together = "".join(values)
    if not (together.isascii() and together.isprintable()):
        raise SignatureError(f"{_first_unprintable(names, values)} must be printable ASCII")
    quoted, lines = SHAPES[names]
    return quoted, lines % values


def _first_unprintable(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = zip(names, values, strict=True)
    return next(name for name, value in pairs if not (value.isascii() and value.isprintable()))
