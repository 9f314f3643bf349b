"""Signs chain transactions of the simulated rail: every input with the key of its path, `SIGHASH_ALL` and no other."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.formats import simulated
from strongroom.formats.coins import ChainTransaction
from strongroom.formats.simulated_coins import read_simulated
from strongroom.signer.keys import KeyStore

ADDRESSES_MAXIMUM: Final = 16_384


class SimulatedWallet:
    """The organisation's coins on `sim:sandbox`. The addresses that were asked for last are remembered."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self.address = lru_cache(ADDRESSES_MAXIMUM)(self._address)

    def read(self, unsigned: bytes) -> ChainTransaction:
        """Raises: CoinsError."""
        return read_simulated(unsigned)

    def _address(self, organisation: OrganisationId, generation: int, index: int) -> str:
        key = self._keys.wallet_public_key(organisation, simulated.NETWORK, generation, index)
        return simulated.simulated_address(key)

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[tuple[int, int]]) -> bytes:
        """The signed bytes of what the gate decided."""
        witnesses = []
        for index, path in enumerate(paths):
            digest = simulated.signature_hash(unsigned, simulated.SIGHASH_ALL, index)
            signature = self._keys.wallet_sign(organisation, simulated.NETWORK, *path, digest)
            public_key = self._keys.wallet_public_key(organisation, simulated.NETWORK, *path)
            witnesses.append(simulated.Witness(simulated.SIGHASH_ALL, public_key, signature))
        return simulated.assemble(unsigned, tuple(witnesses))
