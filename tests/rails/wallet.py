"""Keys on the simulated chain and what they sign, for tests that need somebody who can pay."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from coincurve import PrivateKey

from strongroom.formats.simulated import (
    SIGHASH_ALL,
    Input,
    Output,
    Transaction,
    Witness,
    assemble,
    encode_unsigned,
    signature_hash,
    simulated_address,
    transaction_id,
)
from strongroom.rails.port import ChainTransactionId, Coin


@dataclass(frozen=True)
class Wallet:
    key: PrivateKey

    @property
    def address(self) -> str:
        return simulated_address(self.key.public_key.format())

    def witness(self, unsigned: bytes, flag: int = SIGHASH_ALL, place: int = 0) -> Witness:
        digest = signature_hash(unsigned, flag, place)
        return Witness(flag, self.key.public_key.format(), self.key.sign_recoverable(digest, None)[:64])

    def spend(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]], flag: int = SIGHASH_ALL) -> bytes:
        """The signed bytes that pay these (address, amount); what is left is the fee."""
        inputs = tuple(
            Input(bytes.fromhex(coin.chain_transaction), coin.index, coin.amount_minor, coin.address) for coin in coins
        )
        unsigned = encode_unsigned(Transaction(inputs, tuple(Output(amount, address) for address, amount in outputs)))
        return assemble(unsigned, tuple(self.witness(unsigned, flag, place) for place in range(len(inputs))))


def new_wallet() -> Wallet:
    return Wallet(PrivateKey(os.urandom(32)))


def id_of(signed: bytes) -> ChainTransactionId:
    inputs = int.from_bytes(signed[1:3])
    return ChainTransactionId(transaction_id(signed[: len(signed) - 98 * inputs]).hex())
