"""The signer's keys: one seed at rest in an age file, and every key derived from it by its purpose.

The key file can be opened with the stock `age` and an operator's identity; several recipients can open one, so that a
copy in a safe needs no second file. The identity comes from a descriptor that was opened for us. Keys are derived at
each use and signatures are deterministic, so there is no chance here. Python can't wipe memory: what keeps a key from
being read is `hardening`, not this module. What may be signed is the gate's to say; nothing is checked here.
"""

import os
from collections.abc import Sequence
from typing import Final, NoReturn

import coincurve
import pyrage
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import OrganisationId
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.record import read_record, take_bytes

KEY_FILE_TYPE: Final = "strongroom/key-file/v1"
DERIVATION_TYPE: Final = "strongroom/key-derivation/v1"
KEY_FILE_MAXIMUM: Final = 65_536
SEED_LENGTH: Final = 32

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Of the group of secp256k1 (SEC 2 §2.4.1)."""
_WIDE: Final = 48
"""16 bytes more than a scalar has, so that the remainder is as good as even (FIPS 186-5 §A.2.1)."""


class KeyFileError(Exception):
    """The key file can't be made or opened. Says nothing of what is in it."""


class Secret:
    """Bytes that no log and no trace shows. Not compared, not pickled; `reveal` is said where they are used."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def reveal(self) -> bytes:
        return self._raw

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret isn't copied")


class KeyStore:
    """Every key of one signer. Made from a seed of `SEED_LENGTH` random bytes."""

    __slots__ = ("_seed", "_statement")

    def __init__(self, seed: Secret) -> None:
        self._seed = seed
        self._statement = SigningKey(self._derive(32, {"purpose": "statement"}))

    @property
    def statement_public_key(self) -> bytes:
        """Ed25519; genesis pins it."""
        return bytes(self._statement.verify_key)

    def statement_sign(self, raw: bytes) -> bytes:
        """64 bytes over approval requests, receipts, void proofs and frames to guard: nothing that pays."""
        return self._statement.sign(raw).signature

    def wallet_public_key(self, organisation: OrganisationId, network: str, generation: int, index: int) -> bytes:
        """33 bytes, compressed secp256k1. `network` is CAIP-2; generation and index count from 0."""
        return self._wallet(organisation, network, generation, index).public_key.format()

    def wallet_sign(
        self, organisation: OrganisationId, network: str, generation: int, index: int, digest: bytes
    ) -> bytes:
        """64 bytes, r and s with s in the lower half, of a digest of 32 bytes; nonce by RFC 6979.

        Raises: ValueError for a digest of another length.
        """
        return self._wallet(organisation, network, generation, index).sign_recoverable(digest, hasher=None)[:64]

    def wallet_seed(self, organisation: OrganisationId, network: str, generation: int) -> Secret:
        """64 bytes, of which a hierarchy of keys is made (BIP-32)."""
        return Secret(self._derive(64, {
            "generation": generation, "network": network, "organisation": organisation, "purpose": "wallet-seed",
        }))

    def _wallet(self, organisation: OrganisationId, network: str, generation: int, index: int) -> coincurve.PrivateKey:
        wide = self._derive(_WIDE, {
            "generation": generation, "index": index, "network": network, "organisation": organisation,
            "purpose": "wallet",
        })
        scalar = int.from_bytes(wide) % (ORDER - 1) + 1  # never zero, never the order or above
        return coincurve.PrivateKey(scalar.to_bytes(32))

    def _derive(self, length: int, purpose: dict[str, JsonValue]) -> bytes:
        """HKDF-SHA256 (RFC 5869) without salt; the canonical record that names the purpose is its info."""
        info = encode({**purpose, "type": DERIVATION_TYPE})
        return HKDF(SHA256(), length, salt=None, info=info).derive(self._seed.reveal())


def make_key_file(seed: Secret, recipients: Sequence[str]) -> bytes:
    """An age file for these recipients (`age1…`), each of whom can open it alone. Raises: KeyFileError."""
    if len(seed.reveal()) != SEED_LENGTH or not recipients:
        raise KeyFileError(f"a key file needs a seed of {SEED_LENGTH} bytes and a recipient")
    record = encode({"seed": seed.reveal().hex(), "type": KEY_FILE_TYPE})
    try:
        return bytes(pyrage.encrypt(record, [pyrage.x25519.Recipient.from_str(each) for each in recipients]))
    except (pyrage.RecipientError, pyrage.EncryptError) as fault:
        raise KeyFileError(f"the key file can't be encrypted: {fault}") from fault


def open_key_file(raw: bytes, identity_file: int) -> KeyStore:
    """The keys in an age file, by the X25519 identity that an open descriptor gives. Raises: KeyFileError."""
    try:
        record = pyrage.decrypt(raw, [pyrage.x25519.Identity.from_str(_read_identity(identity_file).reveal().decode())])
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise KeyFileError("the identity isn't an AGE-SECRET-KEY") from None
    except pyrage.DecryptError as fault:
        raise KeyFileError(f"the key file can't be opened by this identity: {fault}") from None
    try:
        fields = read_record(record, KEY_FILE_TYPE)
        seed = Secret(take_bytes(fields, "seed", SEED_LENGTH, SEED_LENGTH))
        fields.close()
    except DocumentError as fault:
        raise KeyFileError(f"the key file doesn't hold what it should: {fault.field}") from None
    return KeyStore(seed)


def _read_identity(file: int) -> Secret:
    """The one line of an identity file that isn't empty and no comment. Raises: KeyFileError."""
    raw = b""
    while chunk := os.read(file, KEY_FILE_MAXIMUM + 1 - len(raw)):
        raw += chunk
    lines = [line.strip() for line in raw.splitlines() if line.strip() and not line.startswith(b"#")]
    if len(raw) > KEY_FILE_MAXIMUM or len(lines) != 1:
        raise KeyFileError("the identity file must hold one identity")
    return Secret(lines[0])
