"""Passkeys for signing in: reading a new one, and hearing one that is enrolled.

These credentials open pages and nothing else; who approves has others, at the station's own relying party. A new one is
taken without attestation: an invitation says whose it is.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from fido2.webauthn import AttestationObject

from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.webauthn import (
    Assertion,
    RelyingParty,
    WebauthnError,
    check_credential_key,
    verify_assertion,
)

FIELD_MAXIMUM: Final = 16_384
_HEAD: Final = 37
_AAGUID: Final = 16
_PRESENT, _VERIFIED, _ATTESTED, _EXTENDED = 0x01, 0x04, 0x40, 0x80


class PasskeyError(ValueError):
    """It isn't what was asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class NewPasskey:
    credential: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser gave back: whose it says it is, and for which challenge."""

    credential: str
    challenge: bytes
    assertion: Assertion


def read_assertion(value: dict[str, JsonValue]) -> SignedIn:
    """From {credential, client_data, authenticator_data, signature}, base64url each. Raises: PasskeyError."""
    client_data = _bytes(value, "client_data")
    assertion = Assertion(client_data, _bytes(value, "authenticator_data"), _bytes(value, "signature"))
    return SignedIn(_bytes(value, "credential").hex(), _challenge(client_data), assertion)


def check_assertion(signed: SignedIn, public_key: bytes, party: RelyingParty) -> None:
    """Raises: PasskeyError. That the challenge was ours and unused is for the caller to see."""
    try:
        verify_assertion(signed.assertion, signed.challenge, party, public_key)
    except WebauthnError as fault:
        raise PasskeyError(str(fault)) from fault


def read_registration(value: dict[str, JsonValue], party: RelyingParty) -> tuple[NewPasskey, bytes]:
    """The passkey, and the challenge that it was made for (W3C WebAuthn Level 3 §7.1). Raises: PasskeyError."""
    raw = _bytes(value, "client_data")
    client_data = _client_data(raw)
    if client_data.get("type") != "webauthn.create":
        raise PasskeyError("client_data.type: must be webauthn.create")
    if client_data.get("origin") not in party.origins or client_data.get("crossOrigin", False) is not False:
        raise PasskeyError("client_data.origin: isn't the console's")
    data = _bytes(value, "authenticator_data")
    credential, key = _attested(data, party.id)
    if credential != _bytes(value, "credential"):
        raise PasskeyError("credential: isn't the one in authenticator_data")
    return NewPasskey(credential.hex(), key), _challenge(raw)


def read_attested(value: dict[str, JsonValue], challenge: bytes, party: RelyingParty) -> NewPasskey:
    """An approval credential that the station made for `challenge`, from hex fields. Raises: PasskeyError.

    Who made the device isn't looked at here: it counts once a quorum has put it into the roster.
    """
    try:
        raw = bytes.fromhex(str(value["client_data"]))
        data = AttestationObject(bytes.fromhex(str(value["attestation_object"]))).auth_data
    except (ValueError, KeyError, TypeError, struct.error) as fault:
        raise PasskeyError("attestation_object: can't be read") from fault
    client_data = _client_data(raw)
    if client_data.get("type") != "webauthn.create" or client_data.get("origin") not in party.origins:
        raise PasskeyError("client_data: wasn't made at the station")
    if _challenge(raw) != challenge:
        raise PasskeyError("client_data.challenge: is another")
    credential, key = _attested(bytes(data), party.id)
    if credential.hex() != value["credential"]:
        raise PasskeyError("credential: isn't the one in attestation_object")
    return NewPasskey(credential.hex(), key)


def _attested(data: bytes, relying_party: str) -> tuple[bytes, bytes]:
    """The credential's id and its key, of §6.1 and §6.5.1."""
    start = _HEAD + _AAGUID + 2
    if len(data) < start or data[:32] != hashlib.sha256(relying_party.encode()).digest():
        raise PasskeyError(f"authenticator_data: isn't for {relying_party}")
    flags = data[32]
    if not (flags & _PRESENT and flags & _VERIFIED and flags & _ATTESTED) or flags & _EXTENDED:
        raise PasskeyError("authenticator_data: the person wasn't verified, or there is no new passkey in it")
    end = start + int.from_bytes(data[start - 2 : start])
    try:
        check_credential_key(data[end:])
    except WebauthnError as fault:
        raise PasskeyError(str(fault)) from fault
    return data[start:end], data[end:]


def _client_data(raw: bytes) -> dict[str, JsonValue]:
    try:
        return parse_object(raw)
    except CanonicalError as fault:
        raise PasskeyError(f"client_data: {fault}") from fault


def _challenge(raw: bytes) -> bytes:
    return _decoded(_client_data(raw).get("challenge"), "client_data.challenge")


def _bytes(value: dict[str, JsonValue], name: str) -> bytes:
    return _decoded(value.get(name), name)


def _decoded(text: JsonValue, name: str) -> bytes:
    if not isinstance(text, str) or len(text) > FIELD_MAXIMUM:
        raise PasskeyError(f"{name}: must be base64url")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as fault:
        raise PasskeyError(f"{name}: must be base64url") from fault
