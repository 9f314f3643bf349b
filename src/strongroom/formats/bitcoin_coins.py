"""Bitcoin's unsigned bytes, read as those of every chain of coins are."""

from typing import Final

from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.bitcoin_psbt import parse_psbt
from strongroom.formats.bitcoin_transaction import BitcoinError, signed_vsize, transaction_id
from strongroom.formats.coins import ChainTransaction, Coin

DUST_MINOR: Final = 546
"""The most that Bitcoin Core calls dust of any script that is paid here (P2PKH, at its usual 3 sat/vB)."""
RELAY_PER_1000: Final = 1_000
"""Bitcoin Core's `incrementalrelayfee` (BIP-125, rule 4), before its version 30 lowered it."""
INPUTS_MAXIMUM: Final = 256
VSIZE_MAXIMUM: Final = 100_000
"""Bitcoin Core relays no larger transaction (400,000 units of weight)."""


def read_bitcoin(network: str, raw: bytes) -> ChainTransaction:
    """A PSBT from anybody; every coin is taken for one of a key alone, or of its hash. Raises: BitcoinError, only."""
    unsigned = parse_psbt(raw)
    transaction = unsigned.transaction
    size = signed_vsize(transaction, unsigned.spent)
    if size > VSIZE_MAXIMUM or len(transaction.inputs) > INPUTS_MAXIMUM:
        raise BitcoinError(f"is larger than {VSIZE_MAXIMUM} vbytes, or has more than {INPUTS_MAXIMUM} inputs")
    coins = zip(transaction.inputs, unsigned.spent, unsigned.previous, strict=True)
    return ChainTransaction(
        transaction_id(transaction), network, f"{network}/slip44:0",
        tuple(Coin(each.outpoint, spent.amount, _address(spent.script, network), made) for each, spent, made in coins),
        tuple((_address(each.script, network), each.amount) for each in transaction.outputs), size, DUST_MINOR,
    )


def _address(script: bytes, network: str) -> str:
    address = bitcoin_address_of(script, network)
    if address is None:
        raise BitcoinError("spends or pays a script that has no address here")
    return address
