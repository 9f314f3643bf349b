"""What this signer holds keys for: a wallet on each network that its genesis lets it sign on.

A wallet reads the bytes that the gate decides on, knows its own addresses, and signs what was decided. Networks on
which anybody makes coins are signed for under a sandbox's genesis, and under no other; all others never under one.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from strongroom.domain.ids import OrganisationId
from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import NETWORKS, REGTEST
from strongroom.formats.coins import ChainTransaction
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN, EVM_NETWORK
from strongroom.protocol.genesis import Mode
from strongroom.signer.keys import KeyStore
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.rules import Rule, refuse
from strongroom.signer.sign_bitcoin import BitcoinWallet
from strongroom.signer.sign_evm import EvmWallet
from strongroom.signer.sign_simulated import SimulatedWallet

Path = tuple[int, int]
"""Generation of keys, and index."""
SANDBOX_NETWORKS: Final = (simulated.NETWORK, REGTEST, DEVELOPMENT_CHAIN)
EVM_CHAINS_MAXIMUM: Final = 64
"""Whose wallets are kept at hand; there may be more."""


class Wallet(Protocol):
    """One network's, for every organisation."""

    def read(self, unsigned: bytes) -> ChainTransaction:
        """Raises: CoinsError."""

    def address(self, organisation: OrganisationId, generation: int, index: int, /) -> str: ...

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[Path]) -> bytes:
        """The signed bytes of what the gate decided; a path for each input."""


Wallets = Callable[[str], Wallet | None]
"""By network; None where nothing is signed."""


def open_wallets(keys: KeyStore, mode: Mode, token: TokenKeys) -> Wallets:
    is_sandbox = mode is Mode.SANDBOX
    coins: dict[str, Wallet] = {network: BitcoinWallet(keys, network, token) for network in NETWORKS}
    coins[simulated.NETWORK] = SimulatedWallet(keys)

    @lru_cache(EVM_CHAINS_MAXIMUM)
    def find(network: str) -> Wallet | None:
        if (network in SANDBOX_NETWORKS) is not is_sandbox:
            return None
        return EvmWallet(keys, network) if EVM_NETWORK.fullmatch(network) is not None else coins.get(network)

    return find


def wallet_on(wallets: Wallets, network: str) -> Wallet:
    """Raises: Refused."""
    wallet = wallets(network)
    if wallet is None:
        refuse(Rule.BYTES_READ, f"there is no wallet on {network} here")
    return wallet
