"""A maker of security keys, with a root certificate; a stranger of the same name; and enrolments of their keys."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fido2 import cbor
from fido2.cose import ES256
from fido2.webauthn import AttestationObject, AttestedCredentialData

from strongroom.cli.enrolment import Enrolment
from strongroom.protocol.roster import Credential, CredentialClass

MODEL = b"a virtual key..."
VERIFIED_AND_MADE = 0x45
MAKER_SEED, STRANGER_SEED, BATCH_SEED = 601, 602, 603
_MAKER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker of Keys")])
_BATCH = x509.Name([x509.NameAttribute(oid, text) for oid, text in (
    (NameOID.COUNTRY_NAME, "SE"), (NameOID.ORGANIZATION_NAME, "Maker"), (NameOID.COMMON_NAME, "Batch 1"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
)])
PARTY, ORIGIN = "example.org", "https://station.example.org"


def private_key(seed: int) -> EllipticCurvePrivateKey:
    return derive_private_key(seed, SECP256R1())


def made_id(seed: int) -> bytes:
    return hashlib.sha256(b"credential %d" % seed).digest()


def cose(key: EllipticCurvePrivateKey) -> bytes:
    return cbor.encode(ES256.from_cryptography_key(key.public_key()))


def authenticator_data(party: str, flags: int, credential: bytes, key: EllipticCurvePrivateKey) -> bytes:
    held = AttestedCredentialData.create(MODEL, credential, ES256.from_cryptography_key(key.public_key()))
    return hashlib.sha256(party.encode()).digest() + bytes([flags]) + bytes(4) + held


def statement(vouches: str, key: EllipticCurvePrivateKey, signed: bytes) -> Mapping[str, Any]:
    """A packed attestation (W3C WebAuthn §8.2): by a key of the maker's, of a stranger's, or by `key` for `itself`."""
    if vouches == "itself":
        return {"alg": -7, "sig": key.sign(signed, ECDSA(SHA256()))}
    path, seed = [certificates(vouches)[1]], BATCH_SEED
    if vouches == "batch":  # whoever got a key out of one device makes certificates with it
        path, seed = [_certificate(path[0].subject, _BATCH, STRANGER_SEED, BATCH_SEED), *path], STRANGER_SEED
    sealed = private_key(seed).sign(signed, ECDSA(SHA256()))
    return {"alg": -7, "sig": sealed, "x5c": [each.public_bytes(Encoding.DER) for each in path]}


@cache
def certificates(vouches: str) -> tuple[x509.Certificate, x509.Certificate]:
    """Root, and the certificate of a batch of keys. A stranger's root has the maker's name."""
    root = STRANGER_SEED if vouches == "stranger" else MAKER_SEED
    return _certificate(_MAKER, _MAKER, root, root, is_root=True), _certificate(_MAKER, _BATCH, BATCH_SEED, root)


def _certificate(
    issuer: x509.Name, subject: x509.Name, seed: int, issuer_seed: int, *, is_root: bool = False
) -> x509.Certificate:
    return (
        x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(private_key(seed).public_key())
        .serial_number(1).not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2050, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .sign(private_key(issuer_seed), SHA256())
    )


def write_makers(folder: Path) -> Path:
    file = folder / "makers.pem"
    file.write_bytes(certificates("maker")[0].public_bytes(Encoding.PEM))
    return file


def enrolment(
    seed: int, credential: bytes, *, name: str = "Person", vouches: str = "maker", flags: int = VERIFIED_AND_MADE,
    party: str = PARTY, origin: str = ORIGIN, kind: str = "webauthn.create",
    credential_class: CredentialClass = CredentialClass.TERMINAL,
) -> Enrolment:
    """What `init credential` writes for such a key."""
    key = private_key(seed)
    challenge = urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    client_data = json.dumps({"challenge": challenge, "crossOrigin": False, "origin": origin, "type": kind}).encode()
    said = authenticator_data(party, flags, credential, key)
    signed = said + hashlib.sha256(client_data).digest()
    made = {"fmt": "packed", "attStmt": statement(vouches, key, signed), "authData": said}
    if vouches == "nobody":
        made |= {"fmt": "none", "attStmt": {}}
    attestation = bytes(AttestationObject(cbor.encode(made)))
    return Enrolment(Credential(credential, cose(key), credential_class), name, PARTY, attestation, client_data)
