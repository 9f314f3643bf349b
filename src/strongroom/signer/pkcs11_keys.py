"""Payment keys that a hardware module holds: which they are, and what is believed of what it answers, which is nothing.

Such a key can't be derived from: it is one key, of one organisation's wallet on one network, in one generation, and has
one address whatever the index. Its public key is written down in the signer's configuration, beside its label in the
token. So addresses don't depend on the module, and each signature of it is verified before anybody sees it, the first
one at the start. The library that speaks PKCS#11 is loaded for a configuration that names a token, and for no other.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact, signature_normalize

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, parse_organisation_id
from strongroom.domain.invariant import InvariantError
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.protocol.canonical import CanonicalError, parse_object, record_hash
from strongroom.protocol.record import take_bytes
from strongroom.signer.config import CONFIG_MAXIMUM, DESCRIPTOR_MAXIMUM, ConfigError, read_file
from strongroom.signer.keys import KeyFileError, Secret
from strongroom.signer.rules import Rule, refuse

KEYS_MAXIMUM: Final = 1_000
GENERATION_MAXIMUM: Final = 2**31 - 1
PATH_MAXIMUM: Final = 4_096
PIN_MAXIMUM: Final = 255
PROBE_TYPE: Final = "strongroom/token-probe/v1"
Signs = Callable[[str, bytes], bytes]
"""A label and 32 bytes to r and s, 32 bytes each, as CKM_ECDSA gives them; s in either half."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """`label` is its name in the token; `public_key` has 33 bytes, compressed."""

    organisation: OrganisationId
    network: str
    generation: int
    label: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """`module` is the PKCS#11 library, `pin` an open descriptor, `environment` what the library reads at its start."""

    module: str
    token: str
    pin: int
    environment: Mapping[str, str]
    keys: tuple[TokenKey, ...]


class TokenKeys:
    """Those of one token; none without arguments. Which generation of a wallet they begin with, no later one leaves."""

    def __init__(self, keys: Sequence[TokenKey] = (), signs: Signs | None = None) -> None:
        self._signs = signs
        self._keys = {(each.organisation, each.network, each.generation): each for each in keys}
        self._first: dict[tuple[str, str], int] = {}
        for organisation, network, generation in sorted(self._keys, reverse=True):
            self._first[organisation, network] = generation

    def find(self, organisation: OrganisationId, network: str, generation: int) -> TokenKey | None:
        """None before the first generation that is in the token: those are derived from the seed.

        Raises: Refused, as no key of the seed stands in for one that the token should have.
        """
        first = self._first.get((organisation, network))
        if first is None or generation < first:
            return None
        key = self._keys.get((organisation, network, generation))
        if key is None:
            refuse(Rule.BYTES_READ, f"the token has no key of generation {generation} on {network}")
        return key

    def sign(self, key: TokenKey, digest: bytes) -> bytes:
        """DER, with s in the lower half, of this very key. Raises: InvariantError for any other answer."""
        if self._signs is None:
            raise InvariantError("there is no token that signs")
        try:
            signature = signature_normalize(deserialize_compact(self._signs(key.label, digest)))[1]
        except ValueError as fault:
            raise InvariantError(f"the token's answer for {key.label} isn't a signature") from fault
        der = cdata_to_der(signature)
        if not PublicKey(key.public_key).verify(der, digest, hasher=None):
            raise InvariantError(f"the token's signature isn't one of {key.label}")
        return der


def open_token_keys(path: str | None) -> TokenKeys:
    """Those that a file names, each of which has signed something for a start. Raises: KeyFileError, ConfigError."""
    if path is None:
        return TokenKeys()
    config = read_token_config(path)
    os.environ.update(config.environment)
    from strongroom.signer.pkcs11_token import open_token  # only here: who has no token doesn't load the library

    keys = TokenKeys(config.keys, open_token(config.module, config.token, read_pin(config.pin)))
    for key in config.keys:
        try:
            keys.sign(key, record_hash(PROBE_TYPE, key.public_key))
        except InvariantError as fault:
            raise KeyFileError(f"{path}: {fault}") from fault
    return keys


def read_token_config(path: str) -> TokenConfig:
    """Raises: ConfigError."""
    try:
        fields = Fields(parse_object(read_file(path, CONFIG_MAXIMUM)))
        return fields.done(TokenConfig(
            fields.text("module", PATH_MAXIMUM), fields.text("token"), fields.integer("pin", 3, DESCRIPTOR_MAXIMUM),
            _variables(fields.inner("environment")) if fields.has("environment") else {},
            _checked(tuple(_key(each) for each in fields.each("keys", 1, KEYS_MAXIMUM))),
        ))
    except (OSError, DocumentError, CanonicalError) as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def read_pin(file: int) -> Secret:
    """From an open descriptor, which is closed. Raises: KeyFileError."""
    try:
        raw = os.read(file, PIN_MAXIMUM + 1).strip()
    except OSError as fault:
        raise KeyFileError(f"the token's PIN can't be read: {fault}") from fault
    os.close(file)
    if not 1 <= len(raw) <= PIN_MAXIMUM or not raw.isascii():
        raise KeyFileError(f"the token's PIN must have 1 to {PIN_MAXIMUM} ASCII characters")
    return Secret(raw)


def _variables(fields: Fields) -> dict[str, str]:
    return fields.done({name: fields.text(name, PATH_MAXIMUM) for name in fields.names()})


def _key(fields: Fields) -> TokenKey:
    network, public_key = fields.text("network"), take_bytes(fields, "public_key", 33, 33)
    if network not in NETWORKS:
        raise DocumentError(fields.path("network"), "isn't a Bitcoin network: a token's keys sign for no other")
    try:
        PublicKey(public_key)
    except ValueError as fault:
        raise DocumentError(fields.path("public_key"), "isn't a point of secp256k1, compressed") from fault
    return fields.done(TokenKey(
        fields.parsed("organisation", parse_organisation_id), network,
        fields.integer("generation", 0, GENERATION_MAXIMUM), fields.text("label"), public_key,
    ))


def _checked(keys: tuple[TokenKey, ...]) -> tuple[TokenKey, ...]:
    """No key twice, and of each wallet's generations none left out."""
    places = sorted((each.organisation, each.network, each.generation) for each in keys)
    for before, after in pairwise(places):
        if before[:2] == after[:2] and after[2] != before[2] + 1:
            raise DocumentError("keys", f"generation {after[2]} on {after[1]} doesn't follow generation {before[2]}")
    if len({each.public_key for each in keys}) != len(keys):
        raise DocumentError("keys", "a public key stands there twice")
    return keys
