"""Chains of coins as all of us read them: what a transaction spends and pays, whichever chain it is of.

Amounts are in base units, outpoints are `TRANSACTION:INDEX`, addresses in the one spelling of their chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class CoinsError(ValueError):
    """Bytes that are no transaction of this chain, or of another form; the message says why."""


@dataclass(frozen=True, slots=True)
class Coin:
    """What an input spends. The signature commits to amount and address; where it doesn't to those of other inputs,
    `made_by` has the chain transaction that made it, and is empty elsewhere."""

    outpoint: str
    amount: int
    address: str
    made_by: bytes = b""


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """`identifier` names it on its chain; `size` is what fees are counted by, signatures included; smaller outputs
    than `dust_minor` aren't relayed. Amounts are of `asset`.

    `vault` is the contract that pays, where coins aren't an account's own; then nothing comes back as change.
    """

    identifier: str
    network: str
    asset: str
    inputs: tuple[Coin, ...]
    outputs: tuple[tuple[str, int], ...]
    size: int
    dust_minor: int
    vault: str | None = None

    @property
    def spends(self) -> Sequence[str]:
        """What no two of a payout's attempts may both leave to the chain."""
        return [coin.outpoint for coin in self.inputs]

    @property
    def fee(self) -> int:
        return sum(coin.amount for coin in self.inputs) - sum(amount for _, amount in self.outputs)
