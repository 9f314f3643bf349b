"""Chain transactions as the gate compares them, decoded by the signer itself, one reader for each network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from strongroom.formats import simulated
from strongroom.protocol.genesis import Mode
from strongroom.signer.rules import Rule, refuse


@dataclass(frozen=True, slots=True)
class Coin:
    """What an input spends; `outpoint` is `TRANSACTION:INDEX`. The signature commits to amount and address."""

    outpoint: str
    amount: int
    address: str


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """`identifier` names it on its chain; `size` is in bytes, signatures included; amounts in base units of `asset`."""

    identifier: str
    network: str
    asset: str
    inputs: tuple[Coin, ...]
    outputs: tuple[tuple[str, int], ...]
    size: int
    dust_minor: int

    @property
    def spends(self) -> list[str]:
        return [coin.outpoint for coin in self.inputs]

    @property
    def fee(self) -> int:
        return sum(coin.amount for coin in self.inputs) - sum(amount for _, amount in self.outputs)


def read_transaction(network: str, raw: bytes, mode: Mode) -> ChainTransaction:
    """Raises: Refused."""
    reader = _READERS.get(network)
    if reader is None or (network == simulated.NETWORK and mode is not Mode.SANDBOX):
        refuse(Rule.BYTES_READ, f"nothing is signed for {network} here")
    return reader(raw)


def _read_simulated(raw: bytes) -> ChainTransaction:
    try:
        transaction = simulated.parse_unsigned(raw)
    except simulated.SimulatedError as fault:
        refuse(Rule.BYTES_READ, str(fault))
    return ChainTransaction(
        simulated.transaction_id(raw).hex(),
        simulated.NETWORK,
        simulated.ASSET,
        tuple(Coin(f"{each.txid.hex()}:{each.index}", each.amount, each.address) for each in transaction.inputs),
        tuple((each.address, each.amount) for each in transaction.outputs),
        simulated.signed_size(len(transaction.inputs), len(transaction.outputs)),
        simulated.DUST_MINOR,
    )


_READERS: Final[dict[str, Callable[[bytes], ChainTransaction]]] = {simulated.NETWORK: _read_simulated}
