"""Signs for EVM chains: calls of a vault that are made here from what is to be paid, and nothing else.

The account that sends them holds ether for gas and nothing besides: what is paid rests in the vault, which keeps the
limits on the chain itself. An account is one key, of its generation and index.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from coincurve import PublicKey

from strongroom.domain.ids import OrganisationId
from strongroom.domain.invariant import InvariantError
from strongroom.formats.coins import ChainTransaction
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import (
    EvmSignature,
    address_of,
    encode_signed,
    sender,
    signing_hash,
)
from strongroom.formats.evm_vault_call import parse_vault_call, read_vault_call
from strongroom.signer.keys import KeyStore

ADDRESSES_MAXIMUM: Final = 1_024


class EvmWallet:
    """The organisations' accounts on one chain. The addresses that were asked for last are remembered."""

    def __init__(self, keys: KeyStore, network: str) -> None:
        self._keys, self._network = keys, network
        self.address = lru_cache(ADDRESSES_MAXIMUM)(self._address)

    def read(self, unsigned: bytes) -> ChainTransaction:
        """Raises: VaultCallError."""
        return read_vault_call(self._network, unsigned)

    def _address(self, organisation: OrganisationId, generation: int, index: int) -> str:
        key = self._keys.wallet_public_key(organisation, self._network, generation, index)
        return eip55(address_of(PublicKey(key).format(compressed=False)))

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[tuple[int, int]]) -> bytes:
        """The signed bytes of what the gate decided. Raises: InvariantError for a signature that doesn't hold."""
        call, (path,) = parse_vault_call(unsigned), paths
        made = call.transaction()
        raw = self._keys.wallet_sign(organisation, self._network, *path, signing_hash(made))
        for parity in (0, 1):
            signature = EvmSignature(parity, int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
            if sender(made, signature) == call.sender:
                return encode_signed(made, signature)
        raise InvariantError("a signature isn't one of its account's key")
