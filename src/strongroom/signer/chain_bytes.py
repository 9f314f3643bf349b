"""Chain transactions as the gate compares them, decoded by the signer itself, for the networks that it signs for."""

from strongroom.formats import simulated
from strongroom.formats.coins import ChainTransaction, CoinsError
from strongroom.formats.simulated_coins import read_simulated
from strongroom.protocol.genesis import Mode
from strongroom.signer.rules import Rule, refuse


def read_transaction(network: str, raw: bytes, mode: Mode) -> ChainTransaction:
    """Raises: Refused."""
    if network != simulated.NETWORK or mode is not Mode.SANDBOX:
        refuse(Rule.BYTES_READ, f"nothing is signed for {network} here")
    try:
        return read_simulated(raw)
    except CoinsError as fault:
        refuse(Rule.BYTES_READ, str(fault))
