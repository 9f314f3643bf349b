"""Chain transactions as reconciliation counts them: what they spend and what they pay, one reader for each network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from strongroom.formats import simulated


class ChainBytesError(ValueError):
    """Not a chain transaction of this network."""


@dataclass(frozen=True, slots=True)
class Moved:
    """`spends` and the outputs' outpoints are `TRANSACTION:INDEX`; `pays` are address and base units, in order."""

    identifier: str
    spends: tuple[str, ...]
    pays: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """`asset` is what its coins are counted in; signed bytes come from blocks, unsigned ones from our record.

    `spent` is the sum of what unsigned bytes spend.
    """

    asset: str
    signed: Callable[[bytes], Moved]
    unsigned: Callable[[bytes], Moved]
    spent: Callable[[bytes], int]


def _signed(raw: bytes) -> Moved:
    try:
        return _moved(simulated.parse_signed(raw)[0])
    except simulated.SimulatedError as fault:
        raise ChainBytesError(str(fault)) from fault


def _unsigned(raw: bytes) -> Moved:
    try:
        return _moved(simulated.parse_unsigned(raw))
    except simulated.SimulatedError as fault:
        raise ChainBytesError(str(fault)) from fault


def _spent(raw: bytes) -> int:
    try:
        return sum(each.amount for each in simulated.parse_unsigned(raw).inputs)
    except simulated.SimulatedError as fault:
        raise ChainBytesError(str(fault)) from fault


def _moved(transaction: simulated.Transaction) -> Moved:
    return Moved(
        simulated.transaction_id(simulated.encode_unsigned(transaction)).hex(),
        tuple(f"{each.txid.hex()}:{each.index}" for each in transaction.inputs),
        tuple((each.address, each.amount) for each in transaction.outputs),
    )


READERS: Final[dict[str, Reader]] = {simulated.NETWORK: Reader(simulated.ASSET, _signed, _unsigned, _spent)}
