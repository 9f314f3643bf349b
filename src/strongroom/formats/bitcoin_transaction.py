"""Bitcoin transactions, byte for byte: read, written, named, and what their keys sign of them.

One spelling: counts are as short as they can be, and nothing follows the last byte. What is read here says nothing of
whether the chain would take it. BIP-144 for the form, BIP-341 and BIP-143 for what is signed; amounts are in satoshi.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coincurve import PublicKeyXOnly

from strongroom.formats.coins import CoinsError

AMOUNT_MAXIMUM: Final = 21_000_000 * 100_000_000
WEIGHT_MAXIMUM: Final = 4_000_000
"""Of a block, so of a transaction too."""
SIGHASH_DEFAULT: Final = 0x00
SIGHASH_ALL: Final = 0x01
KEY_SIGNATURE_LENGTH: Final = 64
"""Of a taproot key over SIGHASH_DEFAULT, which isn't written down beside it."""
KEY_HASH: Final = b"\x00\x14"
"""How the script of a key's hash begins (P2WPKH, BIP-141)."""
KEY_SPEND_WEIGHT: Final = 1 + 1 + KEY_SIGNATURE_LENGTH
"""Of an input's witness: a count, and an item with its length."""
KEY_HASH_WEIGHT: Final = 1 + 1 + 72 + 1 + 33
"""With an ECDSA signature at its longest, its hash type, and the key; mostly it is a byte less."""
_MARKER: Final = b"\x00\x01"


class BitcoinError(CoinsError):
    """No Bitcoin transaction, or none of the form that is asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class Input:
    """Spends output `index` of `txid` (64 hex digits, as explorers show it). `script` is empty for segwit coins."""

    txid: str
    index: int
    sequence: int
    script: bytes = b""

    @property
    def outpoint(self) -> str:
        return f"{self.txid}:{self.index}"


@dataclass(frozen=True, slots=True)
class Output:
    """`script` is what locks it, `scriptPubKey`."""

    amount: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """`witnesses` is one stack for each input, or empty when there is none at all."""

    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    locktime: int
    witnesses: tuple[tuple[bytes, ...], ...] = ()


class Reader:
    """Takes bytes from the front. Every method raises BitcoinError at the end of them."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, length: int) -> bytes:
        taken = self._raw[self._at : self._at + length]
        if len(taken) != length:
            raise BitcoinError("ends too early")
        self._at += length
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def count(self) -> int:
        """A compact size, in its shortest form."""
        first = self.number(1)
        if first < 0xFD:
            return first
        length = 2 << (first - 0xFD)
        value = self.number(length)
        if len(compact_size(value)) != 1 + length:
            raise BitcoinError("a count isn't in its shortest form")
        return value

    def text(self) -> bytes:
        """Bytes after their count."""
        return self.take(self.count())

    def many(self, least: int) -> range:
        """As many as follow, each of which has at least so many bytes: no count makes us wait or fill memory."""
        count = self.count()
        if count * least > len(self._raw) - self._at:
            raise BitcoinError("ends too early")
        return range(count)

    def skips(self, expected: bytes) -> bool:
        """Whether these bytes come next; then they are taken."""
        comes = self._raw.startswith(expected, self._at)
        self._at += len(expected) * comes
        return comes

    def close(self) -> None:
        if self._at != len(self._raw):
            raise BitcoinError("goes on after its end")

    @property
    def at(self) -> int:
        return self._at


def compact_size(value: int) -> bytes:
    if value < 0xFD:
        return bytes([value])
    length = 2 if value < 1 << 16 else 4 if value < 1 << 32 else 8
    return bytes([0xFC + length.bit_length() - 1]) + value.to_bytes(length, "little")


def parse_transaction(raw: bytes) -> Transaction:
    """Bytes from anybody. Raises: BitcoinError, and nothing else."""
    reader = Reader(raw)
    transaction = read_transaction(reader)
    reader.close()
    return transaction


def read_transaction(reader: Reader) -> Transaction:
    """The one that comes next. Raises: BitcoinError."""
    version = reader.number(4)
    has_witnesses = reader.skips(_MARKER)
    inputs = tuple(_read_input(reader) for _ in reader.many(41))
    outputs = tuple(read_output(reader) for _ in reader.many(9))
    if not inputs or not outputs:
        raise BitcoinError("has no inputs or no outputs")
    witnesses: tuple[tuple[bytes, ...], ...] = ()
    if has_witnesses:
        witnesses = tuple(tuple(reader.text() for _ in reader.many(1)) for _ in inputs)
        if not any(witnesses):
            raise BitcoinError("says that it has witnesses, and has none")
    return Transaction(version, inputs, outputs, reader.number(4), witnesses)


def _read_input(reader: Reader) -> Input:
    txid, index = reader.take(32)[::-1].hex(), reader.number(4)
    script = reader.text()
    return Input(txid, index, reader.number(4), script)


def read_output(reader: Reader) -> Output:
    amount = reader.number(8)
    if amount > AMOUNT_MAXIMUM:
        raise BitcoinError(f"pays {amount}, more than there ever will be")
    return Output(amount, reader.text())


def encode_transaction(transaction: Transaction, *, with_witnesses: bool = True) -> bytes:
    signed = with_witnesses and bool(transaction.witnesses)
    parts = [struct.pack("<I", transaction.version), _MARKER if signed else b""]
    parts.append(compact_size(len(transaction.inputs)))
    for each in transaction.inputs:
        script = compact_size(len(each.script)) + each.script
        parts.append(_outpoint(each) + script + struct.pack("<I", each.sequence))
    parts.append(compact_size(len(transaction.outputs)))
    parts.extend(map(encode_output, transaction.outputs))
    for stack in transaction.witnesses if signed else ():
        parts.append(compact_size(len(stack)))
        parts.extend(compact_size(len(item)) + item for item in stack)
    return b"".join(parts) + struct.pack("<I", transaction.locktime)


def encode_output(output: Output) -> bytes:
    return struct.pack("<Q", output.amount) + compact_size(len(output.script)) + output.script


def transaction_id(transaction: Transaction) -> str:
    """64 hex digits, as explorers show it; the same before and after signing, if no input has a script."""
    return double_sha256(encode_transaction(transaction, with_witnesses=False))[::-1].hex()


def double_sha256(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()


def signed_vsize(unsigned: Transaction, spent: Sequence[Output]) -> int:
    """In vbytes, rounded up, once each input has its witness: of a key's hash, or of a taproot key alone."""
    witnesses = sum(KEY_HASH_WEIGHT if each.script.startswith(KEY_HASH) else KEY_SPEND_WEIGHT for each in spent)
    return -(-(4 * len(encode_transaction(unsigned)) + len(_MARKER) + witnesses) // 4)


def key_spend_digests(unsigned: Transaction, spent: Sequence[Output], hash_type: int = SIGHASH_DEFAULT) -> list[bytes]:
    """What each input's taproot key signs: 32 bytes that commit to all inputs, their amounts and scripts, all outputs.

    `spent` are the outputs that the inputs spend, in their order. BIP-341 "Common signature message", for keys alone.
    Raises: BitcoinError for another hash type than DEFAULT and ALL.
    """
    if hash_type not in (SIGHASH_DEFAULT, SIGHASH_ALL):
        raise BitcoinError(f"nothing is signed with the hash type {hash_type:#x}")
    hashes = (
        b"".join(_outpoint(each) for each in unsigned.inputs),
        b"".join(struct.pack("<Q", each.amount) for each in spent),
        b"".join(compact_size(len(each.script)) + each.script for each in spent),
        b"".join(struct.pack("<I", each.sequence) for each in unsigned.inputs),
        b"".join(map(encode_output, unsigned.outputs)),
    )
    message = bytes([0, hash_type]) + struct.pack("<II", unsigned.version, unsigned.locktime)
    message += b"".join(hashlib.sha256(each).digest() for each in hashes) + b"\x00"
    return [
        _tagged("TapSighash", message + struct.pack("<I", index)) for index, _ in enumerate(unsigned.inputs)
    ]


def key_hash_digests(unsigned: Transaction, spent: Sequence[Output]) -> list[bytes]:
    """What each input's key signs, if its coin is of a key's hash: 32 bytes that commit to all inputs and outputs, but
    of amounts and scripts to its own coin's alone. BIP-143, SIGHASH_ALL.
    """
    outpoints, sequences, outputs = (double_sha256(b"".join(each)) for each in (
        map(_outpoint, unsigned.inputs), (struct.pack("<I", each.sequence) for each in unsigned.inputs),
        map(encode_output, unsigned.outputs),
    ))
    start, end = struct.pack("<I", unsigned.version) + outpoints + sequences, outputs
    end += struct.pack("<II", unsigned.locktime, SIGHASH_ALL)
    return [
        double_sha256(
            start + _outpoint(each) + b"\x19\x76\xa9\x14" + coin.script[len(KEY_HASH) :] + b"\x88\xac"
            + struct.pack("<QI", coin.amount, each.sequence) + end
        )
        for each, coin in zip(unsigned.inputs, spent, strict=True)
    ]


def key_hash_script(public_key: bytes) -> bytes:
    """The script that a key of 33 bytes can spend (P2WPKH). Raises: ValueError where there is no RIPEMD-160."""
    return KEY_HASH + hashlib.new("ripemd160", hashlib.sha256(public_key).digest()).digest()


def key_output_script(internal_key: bytes) -> bytes:
    """The script that a taproot key alone can spend: `internal_key` has 32 bytes, tweaked without scripts (BIP-86).

    Raises: BitcoinError when that is no point of the curve.
    """
    if len(internal_key) != 32:  # coincurve would read past the end of a shorter one
        raise BitcoinError("isn't a taproot key, which has 32 bytes")
    try:
        key = PublicKeyXOnly(internal_key)
        key.tweak_add(tap_tweak(internal_key))
    except ValueError as fault:
        raise BitcoinError("isn't a taproot key") from fault
    return b"\x51\x20" + key.format()


def tap_tweak(internal_key: bytes) -> bytes:
    """What is added to a taproot key that no script can spend (BIP-341)."""
    return _tagged("TapTweak", internal_key)


def _tagged(tag: str, message: bytes) -> bytes:
    digest = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(digest + digest + message).digest()


def _outpoint(spent: Input) -> bytes:
    return bytes.fromhex(spent.txid)[::-1] + struct.pack("<I", spent.index)
