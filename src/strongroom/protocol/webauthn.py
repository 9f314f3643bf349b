"""WebAuthn assertions: that the holder of an enrolled passkey said yes to exactly this hash.

The check of W3C WebAuthn Level 3 §7.2 with everything optional decided: the person was verified, the page was on one
of our origins and in no foreign frame, nothing rides along as an extension. Keys are ES256 (P-256) and EdDSA
(Ed25519) in the one spelling that CTAP2's canonical CBOR allows, so that no CBOR reader is needed. Registration
and attestation are not done here; nor does this know whose passkey it is, or what the hash is of.
"""

import base64
import hashlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object

CLIENT_DATA_MAXIMUM: Final = 8_192
CHALLENGE_LENGTH: Final = 32

_PRESENT, _VERIFIED, _BACKUP_ELIGIBLE, _BACKED_UP, _ATTESTED, _EXTENDED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_AUTHENTICATOR_DATA_LENGTH = 37

_ES256_X, _ES256_Y = bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820")
_ES256_LENGTH = len(_ES256_X) + 32 + len(_ES256_Y) + 32
_EDDSA_X = bytes.fromhex("a4010103272006215820")
_EDDSA_LENGTH = len(_EDDSA_X) + 32


class WebauthnError(ValueError):
    """The assertion doesn't show what it must; `field` says which part of it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom the passkeys are for: the domain, and the origins of the pages that may ask, such as
    `https://approve.example.com`, compared to the letter."""

    id: str
    origins: Set[str]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What the browser gave back, verbatim."""

    client_data: bytes
    authenticator_data: bytes
    signature: bytes


def verify_assertion(assertion: Assertion, challenge: bytes, relying_party: RelyingParty, public_key: bytes) -> None:
    """That `public_key` (COSE) signed `challenge`, the 32-byte hash of what was shown. Raises: WebauthnError.

    The counter isn't looked at: synced passkeys always count 0, and what is asserted here is used once.
    """
    if len(challenge) != CHALLENGE_LENGTH:
        raise WebauthnError("challenge", f"must be {CHALLENGE_LENGTH} bytes")
    _check_client_data(_read_client_data(assertion.client_data), challenge, relying_party.origins)
    _check_authenticator_data(assertion.authenticator_data, relying_party.id)
    signed = assertion.authenticator_data + hashlib.sha256(assertion.client_data).digest()
    verify_credential_signature(public_key, signed, assertion.signature)


def verify_credential_signature(public_key: bytes, signed: bytes, signature: bytes) -> None:
    """One signature by a COSE key, and nothing about what it signed. Raises: WebauthnError."""
    check_credential_key(public_key)
    try:
        if public_key.startswith(_EDDSA_X):
            VerifyKey(public_key[-32:]).verify(signed, signature)
        else:
            _es256_numbers(public_key).public_key().verify(signature, signed, ECDSA(SHA256()))
    except (InvalidSignature, BadSignatureError, ValueError) as fault:
        raise WebauthnError("signature", "doesn't hold") from fault


def check_credential_key(public_key: bytes) -> None:
    """That this is a COSE key that we verify with, in canonical spelling. Raises: WebauthnError."""
    if len(public_key) == _EDDSA_LENGTH and public_key.startswith(_EDDSA_X):
        return
    middle = len(_ES256_X) + 32
    if len(public_key) != _ES256_LENGTH or not public_key.startswith(_ES256_X) or (
        public_key[middle : middle + len(_ES256_Y)] != _ES256_Y
    ):
        raise WebauthnError("public_key", "must be an ES256 or EdDSA key in canonical COSE form")
    try:
        _es256_numbers(public_key).public_key()
    except ValueError as fault:
        raise WebauthnError("public_key", "isn't a point of P-256") from fault


def _es256_numbers(public_key: bytes) -> EllipticCurvePublicNumbers:
    x = int.from_bytes(public_key[len(_ES256_X) : len(_ES256_X) + 32])
    return EllipticCurvePublicNumbers(x, int.from_bytes(public_key[-32:]), SECP256R1())


def _read_client_data(raw: bytes) -> dict[str, JsonValue]:
    if len(raw) > CLIENT_DATA_MAXIMUM:
        raise WebauthnError("client_data", f"is longer than {CLIENT_DATA_MAXIMUM} bytes")
    try:
        return parse_object(raw)
    except CanonicalError as fault:
        raise WebauthnError("client_data", fault.reason) from fault


def _check_client_data(client_data: dict[str, JsonValue], challenge: bytes, origins: Set[str]) -> None:
    """§7.2 steps 11 to 14. Other members are allowed: browsers add some so that nobody relies on the set."""
    if client_data.get("type") != "webauthn.get":
        raise WebauthnError("client_data.type", "must be webauthn.get")
    if client_data.get("challenge") != base64.urlsafe_b64encode(challenge).decode().rstrip("="):
        raise WebauthnError("client_data.challenge", "isn't the hash of what was to be approved")
    origin = client_data.get("origin")
    if not isinstance(origin, str) or origin not in origins:
        raise WebauthnError("client_data.origin", "isn't one that may ask for approvals")
    if client_data.get("crossOrigin", False) is not False or "topOrigin" in client_data:
        raise WebauthnError("client_data.crossOrigin", "the page was inside another site's frame")
    if "tokenBinding" in client_data:
        raise WebauthnError("client_data.tokenBinding", "isn't supported")


def _check_authenticator_data(raw: bytes, relying_party_id: str) -> None:
    """§7.2 steps 15 to 19: 32 bytes of hash, one of flags, four of counter, and no more."""
    if len(raw) != _AUTHENTICATOR_DATA_LENGTH:
        raise WebauthnError("authenticator_data", f"must be {_AUTHENTICATOR_DATA_LENGTH} bytes")
    if raw[:32] != hashlib.sha256(relying_party_id.encode()).digest():
        raise WebauthnError("authenticator_data.rp_id_hash", f"isn't that of {relying_party_id}")
    flags = raw[32]
    if not flags & _PRESENT or not flags & _VERIFIED:
        raise WebauthnError("authenticator_data.flags", "the person wasn't present and verified")
    if flags & (_ATTESTED | _EXTENDED):
        raise WebauthnError("authenticator_data.flags", "announce data that an assertion doesn't have")
    if flags & _BACKED_UP and not flags & _BACKUP_ELIGIBLE:
        raise WebauthnError("authenticator_data.flags", "a credential that can't be backed up says that it is")
