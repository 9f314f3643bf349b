"""An enrolment `strongroom/enrolment/v1`: a credential, and the word of its key's maker that it was made on a key.

What `init credential` writes and production's genesis looks at, so that nobody's key is a file that was copied. The
maker's certificate is checked up to those that the team trusts; certificates' dates aren't, as keys outlive them. This
is CBOR and X.509, and outside of the signer's closure on purpose (ADR 0010). Whose hand holds the key it can't say.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fido2 import cbor
from fido2.attestation.base import AttestationResult, AttestationVerifier, InvalidAttestation, UntrustedAttestation
from fido2.webauthn import AttestationObject, AuthenticatorData

from strongroom.cli.founding import FoundingError, canonical
from strongroom.domain.document import DocumentError
from strongroom.protocol.canonical import CanonicalError, encode, parse_object
from strongroom.protocol.record import read_record, take_bytes
from strongroom.protocol.roster import (
    CREDENTIAL_ID_MAXIMUM,
    CREDENTIAL_KEY_MAXIMUM,
    Credential,
    CredentialClass,
    Roster,
)
from strongroom.protocol.webauthn import CLIENT_DATA_MAXIMUM, RelyingParty, WebauthnError, check_credential_key

ENROLMENT_TYPE: Final = "strongroom/enrolment/v1"
ATTESTATION_MAXIMUM: Final = 16_384
MAKERS_MAXIMUM: Final = 2**20

_PARSERS_RAISE: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, struct.error)
"""What fido2 raises for CBOR that isn't what it should be."""


class EnrolmentError(Exception):
    """It doesn't show what it must; the message says why."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`attestation` and `client_data` are verbatim, as the key and the command made them."""

    credential: Credential
    name: str
    relying_party: str
    attestation: bytes
    client_data: bytes

    def encode(self) -> bytes:
        return encode({
            "attestation": self.attestation.hex(), "class": self.credential.credential_class.value,
            "client_data": self.client_data.hex(), "id": self.credential.id.hex(), "name": self.name,
            "public_key": self.credential.public_key.hex(), "relying_party": self.relying_party,
            "type": ENROLMENT_TYPE,
        })


def read_enrolment(file: Path) -> Enrolment:
    """Raises: FoundingError with file and field."""
    try:
        fields = read_record(canonical(file), ENROLMENT_TYPE)
        enrolment = Enrolment(
            Credential(
                take_bytes(fields, "id", 1, CREDENTIAL_ID_MAXIMUM),
                take_bytes(fields, "public_key", 1, CREDENTIAL_KEY_MAXIMUM), fields.parsed("class", CredentialClass),
            ),
            fields.text("name"), fields.text("relying_party"),
            take_bytes(fields, "attestation", 1, ATTESTATION_MAXIMUM),
            take_bytes(fields, "client_data", 1, CLIENT_DATA_MAXIMUM),
        )
        fields.close()
    except DocumentError as fault:
        raise FoundingError(f"{file}: {fault}") from fault
    return enrolment


def read_makers(file: Path) -> tuple[x509.Certificate, ...]:
    """The certificates, in PEM, of the makers of security keys that the team trusts. Raises: FoundingError."""
    try:
        with file.open("rb") as handle:
            return tuple(x509.load_pem_x509_certificates(handle.read(MAKERS_MAXIMUM)))
    except OSError as fault:
        raise FoundingError(f"{file}: {fault.strerror}") from fault
    except ValueError as fault:
        raise FoundingError(f"{file}: has no certificates in PEM form: {fault}") from fault


def enrolled(
    client_data: bytes, attestation: bytes, name: str, credential_class: CredentialClass, party: RelyingParty
) -> Enrolment:
    """What a key has just made, if it is what was asked for. Raises: EnrolmentError."""
    said = _read(attestation)
    held = said.credential_data
    if held is None:
        raise EnrolmentError("the key made no credential")
    credential = Credential(bytes(held.credential_id), cbor.encode(held.public_key), credential_class)
    made = Enrolment(credential, name, party.id, attestation, client_data)
    _check_made(made, said, party)
    return made


def check_enrolment(enrolment: Enrolment, party: RelyingParty, makers: Sequence[x509.Certificate]) -> None:
    """That one of these makers says its key holds this credential, for this deployment. Raises: EnrolmentError."""
    said = _read(enrolment.attestation)
    _check_made(enrolment, said, party)
    try:
        _OfMakers(makers).verify_attestation(
            AttestationObject(enrolment.attestation), sha256(enrolment.client_data).digest()
        )
    except UntrustedAttestation as fault:
        raise EnrolmentError("none of the makers that are trusted vouches for this key") from fault
    except (InvalidAttestation, NotImplementedError, *_PARSERS_RAISE) as fault:
        why = str(fault) or type(fault).__name__
        raise EnrolmentError(f"the word of the key's maker doesn't hold: {why}") from fault


def unattested(
    roster: Roster, enrolments: Sequence[Enrolment], party: RelyingParty, makers: Sequence[x509.Certificate]
) -> Iterator[str]:
    """For each credential that no enrolment shows to be a security key's: a sentence."""
    known = {each.credential: each for each in enrolments}
    for at, person in enumerate(roster.people):
        for place, credential in enumerate(person.credentials):
            field = f"roster: people[{at}].credentials[{place}]"
            if credential not in known:
                yield f"{field}: there is no --enrolment of it, of {person.name}"
                continue
            try:
                check_enrolment(known[credential], party, makers)
            except EnrolmentError as fault:
                yield f"{field}: of {person.name}: {fault}"


def _read(attestation: bytes) -> AuthenticatorData:
    try:
        return AttestationObject(attestation).auth_data
    except _PARSERS_RAISE as fault:
        raise EnrolmentError("the attestation can't be read") from fault


def _check_made(enrolment: Enrolment, said: AuthenticatorData, party: RelyingParty) -> None:
    """W3C WebAuthn Level 3 §7.1, steps 7 to 20, with everything optional decided as in `protocol/webauthn.py`."""
    try:
        client_data = parse_object(enrolment.client_data)
        check_credential_key(enrolment.credential.public_key)
    except (CanonicalError, WebauthnError) as fault:
        raise EnrolmentError(str(fault)) from fault
    if client_data.get("type") != "webauthn.create" or client_data.get("origin") not in party.origins:
        raise EnrolmentError("it was made for another page than this deployment's")
    if said.rp_id_hash != sha256(party.id.encode()).digest():
        raise EnrolmentError(f"it was made for another relying party than {party.id}")
    if not said.is_user_present() or not said.is_user_verified():
        raise EnrolmentError("the key made it without verifying its owner")
    if said.is_backup_eligible():
        raise EnrolmentError("the key can be copied to other devices: it is no security key")
    held = said.credential_data
    named = enrolment.credential
    if held is None or (bytes(held.credential_id), cbor.encode(held.public_key)) != (named.id, named.public_key):
        raise EnrolmentError("the attestation is of another credential")


class _OfMakers(AttestationVerifier):
    def __init__(self, makers: Sequence[x509.Certificate]) -> None:
        super().__init__()
        self._makers = {each.subject: each.public_bytes(Encoding.DER) for each in makers}

    def ca_lookup(self, attestation_result: AttestationResult, auth_data: AuthenticatorData) -> bytes | None:
        """The maker that issued the last certificate of the path, if those between may issue any. There is no path
        where a key vouches for itself."""
        path = [x509.load_der_x509_certificate(each) for each in attestation_result.trust_path]
        if not path or not all(map(_may_issue, path[1:])):
            return None
        return self._makers.get(path[-1].issuer)


def _may_issue(certificate: x509.Certificate) -> bool:
    """A batch's certificate, whose key is in a device, vouches for no other certificate."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
