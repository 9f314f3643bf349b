"""A signer of requests of our own: RFC 9421 written from the contract with another library than the product's.

A fault of the SDK's signer or of the API's verifier that both share would go unseen if either signed here. Every part
can be bent, one at a time, because what a test changes is what it proves.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

JSON = "application/json"


@dataclass(frozen=True)
class Unsigned:
    """A request before it is signed. `query` is without its question mark."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    content_type: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Profile:
    """How to sign. The defaults are what the contract asks; a test bends one of them."""

    authority: str
    deployment: str
    key_id: str
    private_key: Ed25519PrivateKey = field(repr=False)
    algorithm: str = "ed25519"
    label: str = "sig1"
    tag: str | None = None
    created_s: int | None = None
    life_s: int = 120
    without: Sequence[str] = ()
    """Components that are left out of what is covered."""
    extra: str = ""
    """More parameters, as text."""

    def but(self, **changes: object) -> "Profile":
        return replace(self, **changes)  # type: ignore[arg-type]  # keyword by keyword


def content_digest(body: bytes) -> str:
    return "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"


def components(request: Unsigned, profile: Profile) -> list[tuple[str, str]]:
    covered = [
        ("@method", request.method), ("@authority", profile.authority), ("@path", request.path),
        ("@query", "?" + request.query),
    ]
    if request.method != "GET":
        covered.append(("content-type", request.content_type or ""))
        covered.append(("content-digest", content_digest(request.body)))
        if request.idempotency_key is not None:
            covered.append(("idempotency-key", request.idempotency_key))
    return [(name, value) for name, value in covered if name not in profile.without]


def sign(
    request: Unsigned, profile: Profile, bend: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] | None = None
) -> dict[str, str]:
    """The headers of a signed request. `bend` changes what the signature is made over, and not what is sent."""
    covered = components(request, profile)
    created = int(time.time()) if profile.created_s is None else profile.created_s
    tag = f"strongroom/1/{profile.deployment}" if profile.tag is None else profile.tag
    names = " ".join(f'"{name}"' for name, _ in covered)
    parameters = (
        f'({names});created={created};expires={created + profile.life_s};keyid="{profile.key_id}"'
        f';alg="{profile.algorithm}";tag="{tag}"{profile.extra}'
    )
    lines = [f'"{name}": {value}' for name, value in (bend(covered) if bend else covered)]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    signature = base64.b64encode(profile.private_key.sign(base.encode())).decode()
    headers = {"Signature-Input": f"{profile.label}={parameters}", "Signature": f"{profile.label}=:{signature}:"}
    if request.method != "GET":
        headers["Content-Digest"] = content_digest(request.body)
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    return headers
