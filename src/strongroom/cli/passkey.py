"""A software passkey: the sandbox's people sign with keys in files. A production genesis takes none.

Makes the assertion that a browser would: for the approval page's origin, with the person present and verified.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from strongroom.cli.output import Exit, Stop
from strongroom.domain.ids import PersonId
from strongroom.protocol.approval import PersonAssertion
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.webauthn import Assertion

_PRESENT_AND_VERIFIED: Final = 0x05


@dataclass(frozen=True, slots=True)
class SoftwarePasskey:
    person: PersonId
    name: str
    relying_party: str
    origin: str
    credential: bytes
    key: EllipticCurvePrivateKey

    def asserts(self, record: bytes, record_type: str) -> PersonAssertion:
        """That this person says yes to exactly these bytes."""
        return PersonAssertion(self.person, self.credential, self.answers(record_hash(record_type, record)))

    def answers(self, challenge_bytes: bytes) -> Assertion:
        """What a browser would give back for a challenge."""
        challenge = urlsafe_b64encode(challenge_bytes).decode().rstrip("=")
        client_data = json.dumps(
            {"type": "webauthn.get", "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        ).encode()
        domain = hashlib.sha256(self.relying_party.encode()).digest()
        authenticator_data = domain + bytes([_PRESENT_AND_VERIFIED]) + bytes(4)
        signature = self.key.sign(authenticator_data + hashlib.sha256(client_data).digest(), ECDSA(SHA256()))
        return Assertion(client_data, authenticator_data, signature)


def software_passkey(sandbox: dict[str, Any], login: str) -> SoftwarePasskey:
    """The passkey of one of the sandbox's people. Raises: Stop."""
    person = _person(sandbox, login)
    return _read(person, Path(person["software_key_file"]), sandbox["relying_party"])


def console_passkey(sandbox: dict[str, Any], login: str) -> SoftwarePasskey:
    """The one that signs one of the sandbox's people in to the console. Raises: Stop."""
    origin = sandbox["console_url"]
    party = {"id": urlsplit(origin).hostname, "origin": origin}
    person = _person(sandbox, login)
    return _read(person, Path(person["console_key_file"]), party)


def _read(person: dict[str, Any], file: Path, party: dict[str, Any]) -> SoftwarePasskey:
    """Raises: Stop."""
    try:
        found = json.loads(file.read_text())
        key = derive_private_key(int(found["p256_private"], 16), SECP256R1())
        credential = bytes.fromhex(found["credential_id"])
    except (OSError, ValueError, KeyError) as fault:
        raise Stop(Exit.FAILED, f"the passkey of {person['login']} in {file} can't be read: {fault}") from fault
    return SoftwarePasskey(PersonId(person["id"]), person["name"], party["id"], party["origin"], credential, key)


def _person(sandbox: dict[str, Any], login: str) -> dict[str, Any]:
    """Raises: Stop."""
    person: dict[str, Any] | None = next((each for each in sandbox["people"] if each["login"] == login), None)
    if person is None:
        logins = ", ".join(each["login"] for each in sandbox["people"])
        raise Stop(Exit.USAGE, f"--as: there is nobody {login!r} in this sandbox; there are {logins}")
    return person
