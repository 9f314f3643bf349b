"""The bytes of every chain of coins: written for the signer, read from its answer and from blocks.

The signer has readers of its own for what it signs, and needs no more than them; this is for engine and watch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from strongroom.formats import bitcoin_coins, simulated
from strongroom.formats.bitcoin_address import NETWORKS, bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.bitcoin_psbt import SEQUENCE, VERSION, encode_psbt, parse_psbt
from strongroom.formats.bitcoin_transaction import (
    KEY_HASH,
    KEY_HASH_WEIGHT,
    KEY_SPEND_WEIGHT,
    Input,
    Output,
    Transaction,
    compact_size,
    encode_transaction,
    parse_transaction,
    transaction_id,
)
from strongroom.formats.coins import ChainTransaction, Coin
from strongroom.formats.simulated_coins import read_simulated

ADDRESSES_MAXIMUM: Final = 256
"""Of coins whose kind is remembered while a size is looked for."""
_INPUT: Final = Input("00" * 32, 0, SEQUENCE)
_INPUT_LENGTH: Final = 41


@dataclass(frozen=True, slots=True)
class Moved:
    """What stands in a block: which coins it spends, but not how much they are; `pays` are address and amount.

    An output that has no address pays the empty one.
    """

    identifier: str
    spends: tuple[str, ...]
    pays: tuple[tuple[str, int], ...]


class CoinFormat(Protocol):
    """`network` is CAIP-2, `asset` CAIP-19, of coins and fees. Outputs below `dust_minor` are never made, nor
    transactions of more than `inputs_maximum` or `size_maximum`. What replaces another pays the other's fee, and
    `relay_per_1000` of its own size on top. `rate_unit` is that of a thousandth of a rate."""

    network: str
    asset: str
    dust_minor: int
    inputs_maximum: int
    size_maximum: int
    relay_per_1000: int
    rate_unit: str

    def write_unsigned(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes:
        """What the signer is asked to sign; outputs are address and amount. Raises: CoinsError, AddressError."""

    def read_unsigned(self, raw: bytes) -> ChainTransaction:
        """Bytes from anybody. Raises: CoinsError, and nothing else."""

    def read_signed(self, raw: bytes) -> Moved:
        """As it stands in a block; whether signatures hold isn't asked. Raises: CoinsError, and nothing else."""

    def is_signed_form(self, signed: bytes, unsigned: bytes) -> bool:
        """Whether these are the same bytes, with signatures. Raises: CoinsError."""

    def needs_made_by(self, address: str) -> bool:
        """Whether a coin of ours at this address is only signed for with the chain transaction that made it."""

    def signed_sizes(self, addresses: Sequence[str]) -> Callable[[Sequence[str]], int]:
        """The size by the addresses of our coins that a transaction spends, if it pays these. Raises: AddressError.

        Where the size doesn't depend on an address, it isn't looked at.
        """


class SimulatedCoins:
    def __init__(self) -> None:
        self.network = simulated.NETWORK
        self.asset = simulated.ASSET
        self.dust_minor = simulated.DUST_MINOR
        self.inputs_maximum = simulated.INPUTS_MAXIMUM
        self.size_maximum = simulated.signed_size(simulated.INPUTS_MAXIMUM, simulated.OUTPUTS_MAXIMUM)
        self.relay_per_1000 = 0
        self.rate_unit = "a byte"

    def write_unsigned(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes:
        inputs = [
            simulated.Input(bytes.fromhex(coin.outpoint[:64]), int(coin.outpoint[65:]), coin.amount, coin.address)
            for coin in coins
        ]
        paid = [simulated.Output(amount, address) for address, amount in outputs]
        return simulated.encode_unsigned(simulated.Transaction(tuple(inputs), tuple(paid)))

    def read_unsigned(self, raw: bytes) -> ChainTransaction:
        return read_simulated(raw)

    def read_signed(self, raw: bytes) -> Moved:
        read = read_simulated(simulated.encode_unsigned(simulated.parse_signed(raw)[0]))
        return Moved(read.identifier, tuple(read.spends), read.outputs)

    def is_signed_form(self, signed: bytes, unsigned: bytes) -> bool:
        return simulated.encode_unsigned(simulated.parse_signed(signed)[0]) == unsigned

    def needs_made_by(self, address: str) -> bool:
        return False

    def signed_sizes(self, addresses: Sequence[str]) -> Callable[[Sequence[str]], int]:
        return lambda coins: simulated.signed_size(len(coins), len(addresses))


class BitcoinCoins:
    """Coins of taproot keys alone (BIP-86), and of hashes of keys (P2WPKH), on one of Bitcoin's networks."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.asset = f"{network}/slip44:0"
        self.dust_minor = bitcoin_coins.DUST_MINOR
        self.inputs_maximum = bitcoin_coins.INPUTS_MAXIMUM
        self.size_maximum = bitcoin_coins.VSIZE_MAXIMUM
        self.relay_per_1000 = bitcoin_coins.RELAY_PER_1000
        self.rate_unit = "sat/vB"

    def write_unsigned(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes:
        inputs = tuple(Input(coin.outpoint[:64], int(coin.outpoint[65:]), SEQUENCE) for coin in coins)
        paid = tuple(Output(amount, self._script(address)) for address, amount in outputs)
        spent = [Output(coin.amount, self._script(coin.address)) for coin in coins]
        return encode_psbt(Transaction(VERSION, inputs, paid, 0), spent, [coin.made_by for coin in coins])

    def read_unsigned(self, raw: bytes) -> ChainTransaction:
        return bitcoin_coins.read_bitcoin(self.network, raw)

    def read_signed(self, raw: bytes) -> Moved:
        transaction = parse_transaction(raw)
        pays = ((bitcoin_address_of(each.script, self.network) or "", each.amount) for each in transaction.outputs)
        return Moved(transaction_id(transaction), tuple(each.outpoint for each in transaction.inputs), tuple(pays))

    def is_signed_form(self, signed: bytes, unsigned: bytes) -> bool:
        bare = encode_transaction(parse_transaction(signed), with_witnesses=False)
        return bare == encode_transaction(parse_psbt(unsigned).transaction)

    def needs_made_by(self, address: str) -> bool:
        return self._script(address).startswith(KEY_HASH)

    def signed_sizes(self, addresses: Sequence[str]) -> Callable[[Sequence[str]], int]:
        paid = tuple(Output(0, self._script(address)) for address in addresses)
        bare = encode_transaction(Transaction(VERSION, (_INPUT,), paid, 0))
        rest = 4 * (len(bare) - _INPUT_LENGTH - 1) + 2  # in weight: outputs, the frame, and the witnesses' marker
        needs = lru_cache(ADDRESSES_MAXIMUM)(self.needs_made_by)

        def size(coins: Sequence[str]) -> int:
            witnesses = sum(KEY_HASH_WEIGHT if needs(each) else KEY_SPEND_WEIGHT for each in coins)
            inputs = 4 * (len(compact_size(len(coins))) + _INPUT_LENGTH * len(coins))
            return -(-(rest + inputs + witnesses) // 4)

        return size

    def _script(self, address: str) -> bytes:
        return parse_bitcoin_address(address, self.network).script_pubkey


_ALL: tuple[CoinFormat, ...] = (SimulatedCoins(), *(BitcoinCoins(network) for network in NETWORKS))
COIN_FORMATS: Final = {each.network: each for each in _ALL}
"""By network (CAIP-2)."""
