"""Signs for Bitcoin: every input with the key of its path, over all inputs and all outputs (BIP-341, BIP-143).

Keys that a hardware module holds sign ECDSA, and their coins are of the key's hash (P2WPKH). All others are taproot
keys alone, hierarchical as BIP-86 says, m/86'/COIN'/0'/0/INDEX, from a master of their own for each organisation,
network and generation: whoever has the seed and loses this program finds the coins with any wallet. Their signatures
are deterministic. All are verified before they leave, as one that a fault has spoilt can give the key away.
"""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from coincurve import PrivateKey, PublicKeyXOnly

from strongroom.domain.ids import OrganisationId
from strongroom.domain.invariant import InvariantError
from strongroom.formats.bitcoin_address import MAINNET, bitcoin_address_of
from strongroom.formats.bitcoin_coins import read_bitcoin
from strongroom.formats.bitcoin_psbt import parse_psbt
from strongroom.formats.bitcoin_transaction import (
    SIGHASH_ALL,
    encode_transaction,
    key_hash_digests,
    key_hash_script,
    key_output_script,
    key_spend_digests,
    tap_tweak,
)
from strongroom.formats.coins import ChainTransaction
from strongroom.signer.keys import ORDER, KeyStore
from strongroom.signer.pkcs11_keys import TokenKeys

ADDRESSES_MAXIMUM: Final = 16_384
PURPOSE: Final = 86
_HARDENED: Final = 2**31


class BitcoinWallet:
    """The organisations' coins on one of Bitcoin's networks. The addresses that were asked for last are remembered."""

    def __init__(self, keys: KeyStore, network: str, token: TokenKeys) -> None:
        self._keys, self._network, self._token = keys, network, token
        self.address = lru_cache(ADDRESSES_MAXIMUM)(self._address)

    def read(self, unsigned: bytes) -> ChainTransaction:
        """Raises: BitcoinError."""
        return read_bitcoin(self._network, unsigned)

    def _address(self, organisation: OrganisationId, generation: int, index: int) -> str:
        held = self._token.find(organisation, self._network, generation)
        if held is not None:
            script = key_hash_script(held.public_key)
        else:
            script = key_output_script(_x_only(self._key(organisation, generation, index)))
        address = bitcoin_address_of(script, self._network)
        if address is None:
            raise InvariantError(f"a key of {self._network} has no address")
        return address

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[tuple[int, int]]) -> bytes:
        """The signed bytes of what the gate decided. Raises: InvariantError for a signature that doesn't hold."""
        made = parse_psbt(unsigned)
        by_key = key_spend_digests(made.transaction, made.spent)
        by_hash = key_hash_digests(made.transaction, made.spent)
        witnesses = tuple(
            self._hash_witness(organisation, path[0], hash_digest)
            or (self._signature(organisation, path, key_digest, spent.script),)
            for path, key_digest, hash_digest, spent in zip(paths, by_key, by_hash, made.spent, strict=True)
        )
        return encode_transaction(replace(made.transaction, witnesses=witnesses))

    def _hash_witness(self, organisation: OrganisationId, generation: int, digest: bytes) -> tuple[bytes, ...]:
        """Signature and key of a coin whose key is in the token; empty for others."""
        held = self._token.find(organisation, self._network, generation)
        if held is None:
            return ()
        return self._token.sign(held, digest) + bytes([SIGHASH_ALL]), held.public_key

    def _signature(self, organisation: OrganisationId, path: tuple[int, int], digest: bytes, script: bytes) -> bytes:
        """64 bytes, over the hash type that isn't written down; of the key in `script`, OP_1 and its 32 bytes."""
        signature = output_key(self._key(organisation, *path)).sign_schnorr(digest, bytes(32))
        if not PublicKeyXOnly(script[2:]).verify(signature, digest):
            raise InvariantError("a signature isn't one of its coin's key")
        return signature

    def _key(self, organisation: OrganisationId, generation: int, index: int) -> PrivateKey:
        seed = self._keys.wallet_seed(organisation, self._network, generation)
        coin = 0 if self._network == MAINNET else 1
        path = [PURPOSE + _HARDENED, coin + _HARDENED, _HARDENED, 0, index]
        return derive(seed.reveal(), path)


def derive(seed: bytes, path: Sequence[int]) -> PrivateKey:
    """The private key at this path of a hierarchy (BIP-32); what is hardened is above 2**31.

    One in 2**127 can't be: BIP-32 goes on to the next index, and here ValueError is raised, or a key that is only ours.
    """
    made = hmac.digest(b"Bitcoin seed", seed, "sha512")
    for number in path:
        secret = made[:32]
        parent = b"\0" + secret if number >= _HARDENED else PrivateKey(secret).public_key.format()
        made = hmac.digest(made[32:], parent + number.to_bytes(4), "sha512")
        made = ((int.from_bytes(secret) + int.from_bytes(made[:32])) % ORDER).to_bytes(32) + made[32:]
    return PrivateKey(made[:32])


def output_key(internal: PrivateKey) -> PrivateKey:
    """The one that signs: negated to have an even point, and tweaked by no script (BIP-341)."""
    key = internal
    if internal.public_key.format()[0] == 3:
        key = PrivateKey.from_int(ORDER - internal.to_int())
    return key.add(tap_tweak(_x_only(internal)))


def _x_only(key: PrivateKey) -> bytes:
    return key.public_key.format()[1:]
