"""Signs requests by Strongroom's profile of RFC 9421 (Ed25519) and RFC 9530."""

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

LIFE_S: Final = 120


@dataclass(frozen=True)
class Credentials:
    """Who we are to one deployment. `private_key` is the 32-byte Ed25519 seed; it is never shown or sent."""

    organisation: str
    client_id: str
    key_id: str
    deployment: str
    private_key: SigningKey

    def __repr__(self) -> str:
        return f"Credentials({self.client_id}, {self.key_id}, ***)"


def sign(
    credentials: Credentials, method: str, authority: str, path: str, query: str, body: bytes | None,
    idempotency_key: str | None, content_type: str = "application/json", clock: Callable[[], float] = time.time,
) -> dict[str, str]:
    """The headers to send. `query` is without its question mark; `body` None for GET."""
    components = [("@method", method), ("@authority", authority), ("@path", path), ("@query", f"?{query}")]
    headers: dict[str, str] = {}
    if body is not None:
        headers["Content-Type"] = content_type
        headers["Content-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
        components += [("content-type", content_type), ("content-digest", headers["Content-Digest"])]
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
            components.append(("idempotency-key", idempotency_key))
    created = int(clock())
    names = " ".join(f'"{name}"' for name, _ in components)
    parameters = (
        f'({names});created={created};expires={created + LIFE_S};keyid="{credentials.key_id}";alg="ed25519";'
        f'tag="strongroom/1/{credentials.deployment}"'
    )
    base = "".join(f'"{name}": {value}\n' for name, value in components) + f'"@signature-params": {parameters}'
    signature = credentials.private_key.sign(base.encode()).signature
    headers["Signature-Input"] = f"sig1={parameters}"
    headers["Signature"] = f"sig1=:{base64.b64encode(signature).decode()}:"
    return headers
