"""What this signer holds keys for: a wallet on each network that its genesis lets it sign on.

A wallet reads the bytes that the gate decides on, knows its own addresses, and signs what was decided. Networks on
which anybody makes coins are signed for under a sandbox's genesis, and under no other; all others never under one.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from strongroom.domain.ids import OrganisationId
from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import NETWORKS, REGTEST
from strongroom.formats.coins import ChainTransaction
from strongroom.protocol.genesis import Mode
from strongroom.signer.keys import KeyStore
from strongroom.signer.rules import Rule, refuse
from strongroom.signer.sign_bitcoin import BitcoinWallet
from strongroom.signer.sign_simulated import SimulatedWallet

Path = tuple[int, int]
"""Generation of keys, and index."""
SANDBOX_NETWORKS: Final = (simulated.NETWORK, REGTEST)


class Wallet(Protocol):
    """One network's, for every organisation."""

    def read(self, unsigned: bytes) -> ChainTransaction:
        """Raises: CoinsError."""

    def address(self, organisation: OrganisationId, generation: int, index: int, /) -> str: ...

    def sign(self, organisation: OrganisationId, unsigned: bytes, paths: Sequence[Path]) -> bytes:
        """The signed bytes of what the gate decided; a path for each input."""


Wallets = Mapping[str, Wallet]


def open_wallets(keys: KeyStore, mode: Mode) -> Wallets:
    wallets: dict[str, Wallet] = {network: BitcoinWallet(keys, network) for network in NETWORKS}
    wallets[simulated.NETWORK] = SimulatedWallet(keys)
    return {name: each for name, each in wallets.items() if (name in SANDBOX_NETWORKS) is (mode is Mode.SANDBOX)}


def wallet_on(wallets: Wallets, network: str) -> Wallet:
    """Raises: Refused."""
    if network not in wallets:
        refuse(Rule.BYTES_READ, f"there is no wallet on {network} here")
    return wallets[network]
