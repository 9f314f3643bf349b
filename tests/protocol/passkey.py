"""A software passkey: makes assertions as an authenticator and a browser would, or wrong in one chosen way."""

import base64
import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256, EdDSA
from nacl.signing import SigningKey

from strongroom.protocol.webauthn import Assertion

RELYING_PARTY_ID = "approve.example.com"
ORIGIN = "https://approve.example.com"
PRESENT_AND_VERIFIED = 0x05


class Passkey:
    """ES256 with a fixed key, or Ed25519."""

    def __init__(self, is_ed25519: bool = False, seed: int = 7) -> None:
        self._ed25519 = SigningKey(seed.to_bytes(32)) if is_ed25519 else None
        self._p256 = derive_private_key(seed, SECP256R1())

    @property
    def public_key(self) -> bytes:
        if self._ed25519 is not None:
            return cbor.encode(EdDSA({1: 1, 3: -8, -1: 6, -2: bytes(self._ed25519.verify_key)}))
        return cbor.encode(ES256.from_cryptography_key(self._p256.public_key()))

    def sign(self, message: bytes) -> bytes:
        if self._ed25519 is not None:
            return self._ed25519.sign(message).signature
        return self._p256.sign(message, ECDSA(SHA256(), deterministic_signing=True))

    def asserts(
        self, challenge: bytes, client_data: Mapping[str, object] | None = None, flags: int = PRESENT_AND_VERIFIED,
        sign_count: int = 0, relying_party_id: str = RELYING_PARTY_ID, extra: bytes = b"",
    ) -> Assertion:
        collected = {
            "type": "webauthn.get",
            "challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "origin": ORIGIN,
            "crossOrigin": False,
        } | dict(client_data or {})
        return self.asserts_raw(
            json.dumps({name: value for name, value in collected.items() if value is not ...}).encode(),
            hashlib.sha256(relying_party_id.encode()).digest() + bytes([flags]) + sign_count.to_bytes(4) + extra,
        )

    def asserts_raw(self, client_data: bytes, authenticator_data: bytes) -> Assertion:
        signature = self.sign(authenticator_data + hashlib.sha256(client_data).digest())
        return Assertion(client_data, authenticator_data, signature)
