"""What the engine hands the signer for Bitcoin: an unsigned transaction and the coins that it spends, as a PSBT.

BIP-174, version 0, and of it just what is needed: the transaction, and for each input of a taproot key the output that
it spends, whose amount and script the signature commits to. A signature for a key's hash (P2WPKH) commits to no other
input's amount: who lies about one of two coins at a time gets two signatures that together burn what was hidden. So
such an input has the whole chain transaction that made its coin, whose name the input says; the output is read from it.
Any other field is refused, and there is one spelling; so two PSBTs that differ mean different payments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.formats.bitcoin_transaction import (
    AMOUNT_MAXIMUM,
    KEY_HASH,
    BitcoinError,
    Input,
    Output,
    Reader,
    Transaction,
    compact_size,
    encode_output,
    encode_transaction,
    parse_transaction,
    read_output,
    transaction_id,
)

MAGIC: Final = b"psbt\xff"
_END: Final = b"\x00"
_UNSIGNED_TRANSACTION: Final = b"\x01\x00"
_PREVIOUS: Final = b"\x01\x00"
_SPENT: Final = b"\x01\x01"
"""PSBT_IN_NON_WITNESS_UTXO and PSBT_IN_WITNESS_UTXO, after the count of the key's bytes."""
VERSION: Final = 2
SEQUENCE: Final = 0xFFFFFFFD
"""Can be replaced (BIP-125), and waits for nothing."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """`spent` are the outputs that the inputs spend, in their order: claims, to which the signatures commit, or outputs
    of `previous`, the chain transactions that made coins of a key's hash; of other coins these are empty."""

    transaction: Transaction
    spent: tuple[Output, ...]
    previous: tuple[bytes, ...]

    @property
    def fee(self) -> int:
        return sum(each.amount for each in self.spent) - sum(each.amount for each in self.transaction.outputs)


def encode_psbt(transaction: Transaction, spent: Sequence[Output], previous: Sequence[bytes] = ()) -> bytes:
    """Without `previous` no coin is of a key's hash."""
    parts = [MAGIC, _UNSIGNED_TRANSACTION, _text(encode_transaction(transaction)), _END]
    for output, before in zip(spent, previous or [b""] * len(spent), strict=True):
        parts += [_PREVIOUS, _text(before), _END] if before else [_SPENT, _text(encode_output(output)), _END]
    return b"".join(parts) + _END * len(transaction.outputs)


def parse_psbt(raw: bytes) -> Unsigned:
    """Bytes from anybody. Raises: BitcoinError, and nothing else."""
    reader = Reader(raw)
    if not reader.skips(MAGIC):
        raise BitcoinError("isn't a PSBT")
    _expect(reader, _UNSIGNED_TRANSACTION, "must have its unsigned transaction first")
    transaction = parse_transaction(reader.text())
    _expect(reader, _END, "has a global field that isn't known here")
    found = [_read_spent(reader, each) for each in transaction.inputs]
    for _ in transaction.outputs:
        _expect(reader, _END, "has an output's field that isn't known here")
    reader.close()
    _check_form(transaction)
    if sum(output.amount for output, _ in found) > AMOUNT_MAXIMUM:
        raise BitcoinError("spends more than there ever will be")
    return Unsigned(transaction, tuple(output for output, _ in found), tuple(before for _, before in found))


def _read_spent(reader: Reader, spending: Input) -> tuple[Output, bytes]:
    before = b""
    if reader.skips(_PREVIOUS):
        before = reader.text()
        output = _output_of(before, spending)
    else:
        _expect(reader, _SPENT, "must have for each input the output that it spends")
        inner = Reader(reader.text())
        output = read_output(inner)
        inner.close()
    if bool(before) is not output.script.startswith(KEY_HASH):
        raise BitcoinError("must have what made a coin in full if it is of a key's hash, and of no other coin")
    _expect(reader, _END, "has an input's field that isn't known here")
    return output, before


def _output_of(raw: bytes, spending: Input) -> Output:
    """What an input spends, by the chain transaction that it names; without witnesses, which the name leaves out."""
    before = parse_transaction(raw)
    if before.witnesses or transaction_id(before) != spending.txid or spending.index >= len(before.outputs):
        raise BitcoinError("has another chain transaction than the one that an input names, or one with witnesses")
    return before.outputs[spending.index]


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
