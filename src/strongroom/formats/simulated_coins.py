"""The simulated chain's unsigned bytes, read as those of every chain of coins are."""

from strongroom.formats import simulated
from strongroom.formats.coins import ChainTransaction, Coin


def read_simulated(raw: bytes) -> ChainTransaction:
    """Bytes from anybody. Raises: SimulatedError, and nothing else."""
    transaction = simulated.parse_unsigned(raw)
    return ChainTransaction(
        simulated.transaction_id(raw).hex(), simulated.NETWORK, simulated.ASSET,
        tuple(Coin(f"{each.txid.hex()}:{each.index}", each.amount, each.address) for each in transaction.inputs),
        tuple((each.address, each.amount) for each in transaction.outputs),
        simulated.signed_size(len(transaction.inputs), len(transaction.outputs)), simulated.DUST_MINOR,
    )
