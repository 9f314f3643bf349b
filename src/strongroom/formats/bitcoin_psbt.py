"""What the engine hands the signer for Bitcoin: an unsigned transaction and the coins that it spends, as a PSBT.

BIP-174, version 0, and of it just what a taproot key needs: the transaction, and for each input the output that it
spends, whose amount and script the signature commits to. Any other field is refused, and there is one spelling; so
two PSBTs that differ mean different payments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.formats.bitcoin_transaction import (
    AMOUNT_MAXIMUM,
    BitcoinError,
    Output,
    Reader,
    Transaction,
    compact_size,
    encode_output,
    encode_transaction,
    parse_transaction,
    read_output,
)

MAGIC: Final = b"psbt\xff"
_END: Final = b"\x00"
_UNSIGNED_TRANSACTION: Final = b"\x01\x00"
_SPENT: Final = b"\x01\x01"
"""PSBT_IN_WITNESS_UTXO, after the count of the key's bytes."""
VERSION: Final = 2
SEQUENCE: Final = 0xFFFFFFFD
"""Can be replaced (BIP-125), and waits for nothing."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """`spent` are the outputs that the inputs spend, in their order: claims, to which the signatures commit."""

    transaction: Transaction
    spent: tuple[Output, ...]

    @property
    def fee(self) -> int:
        return sum(each.amount for each in self.spent) - sum(each.amount for each in self.transaction.outputs)


def encode_psbt(transaction: Transaction, spent: Sequence[Output]) -> bytes:
    parts = [MAGIC, _UNSIGNED_TRANSACTION, _text(encode_transaction(transaction)), _END]
    for output in spent:
        parts += [_SPENT, _text(encode_output(output)), _END]
    return b"".join(parts) + _END * len(transaction.outputs)


def parse_psbt(raw: bytes) -> Unsigned:
    """Bytes from anybody. Raises: BitcoinError, and nothing else."""
    reader = Reader(raw)
    if not reader.skips(MAGIC):
        raise BitcoinError("isn't a PSBT")
    _expect(reader, _UNSIGNED_TRANSACTION, "must have its unsigned transaction first")
    transaction = parse_transaction(reader.text())
    _expect(reader, _END, "has a global field that isn't known here")
    spent = tuple(_read_spent(reader) for _ in transaction.inputs)
    for _ in transaction.outputs:
        _expect(reader, _END, "has an output's field that isn't known here")
    reader.close()
    _check_form(transaction)
    if sum(each.amount for each in spent) > AMOUNT_MAXIMUM:
        raise BitcoinError("spends more than there ever will be")
    return Unsigned(transaction, spent)


def _read_spent(reader: Reader) -> Output:
    _expect(reader, _SPENT, "must have for each input the output that it spends")
    inner = Reader(reader.text())
    output = read_output(inner)
    inner.close()
    _expect(reader, _END, "has an input's field that isn't known here")
    return output


def _check_form(transaction: Transaction) -> None:
    """One form for all that is signed: nothing that waits, nothing that can't be replaced, no coin twice."""
    if transaction.witnesses or any(each.script for each in transaction.inputs):
        raise BitcoinError("is signed already")
    if transaction.version != VERSION or transaction.locktime != 0:
        raise BitcoinError(f"must be of version {VERSION} with a lock time of 0")
    if any(each.sequence != SEQUENCE for each in transaction.inputs):
        raise BitcoinError(f"must have the sequence {SEQUENCE:#x} in each input")
    if len({each.outpoint for each in transaction.inputs}) != len(transaction.inputs):
        raise BitcoinError("spends one coin twice")


def _expect(reader: Reader, expected: bytes, reason: str) -> None:
    if not reader.skips(expected):
        raise BitcoinError(reason)


def _text(raw: bytes) -> bytes:
    return compact_size(len(raw)) + raw
