"""The simulated rail's bytes: coins, change, fees and real secp256k1 signatures, without a blockchain's history.

One asset, of 8 decimals. All sizes are fixed and numbers big-endian, so a transaction has one spelling: version (1
byte, 1), counts of inputs and outputs (2 each), inputs (txid 32, index 2, amount 8, address hash 20), outputs (amount
8, address hash 20); then, when signed, a witness for each input (flag 1, public key 33, signature 64).

Nothing here knows which coins exist: amounts and addresses of inputs are claims of whoever wrote the bytes. The
signature commits to them, so a lie makes a transaction that no chain takes. The weaker signature flags are here so
that an attack with them is real on the chain; the signer makes none but SIGHASH_ALL.
"""

import base64
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from strongroom.domain.ids import base32
from strongroom.formats.address_error import AddressError, AddressFault
from strongroom.formats.coins import CoinsError

NETWORK: Final = "sim:sandbox"
ASSET: Final = "sim:sandbox/coin:1"
DUST_MINOR: Final = 546  # smaller outputs are never made, and no node relays them
AMOUNT_MAXIMUM: Final = 2**63 - 1
INPUTS_MAXIMUM: Final = 256
OUTPUTS_MAXIMUM: Final = 2_100
SIGHASH_ALL: Final = 0x01
SIGHASH_NONE: Final = 0x02
SIGHASH_SINGLE: Final = 0x03
SIGHASH_ANYONECANPAY: Final = 0x81
_HEADER = struct.Struct(">BHH")
_INPUT = struct.Struct(">32sHQ20s")
_OUTPUT = struct.Struct(">Q20s")
_WITNESS = struct.Struct(">B33s64s")
_ADDRESS = re.compile("sim1[a-z2-7]{40}")


class SimulatedError(CoinsError):
    """No transaction of the simulated rail, or a signature that doesn't hold; the message says why."""


@dataclass(frozen=True, slots=True)
class Input:
    """Spends output `index` of the transaction `txid`, which is said to have this amount and address."""

    txid: bytes
    index: int
    amount: int
    address: str


@dataclass(frozen=True, slots=True)
class Output:
    amount: int
    address: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """Checked when made, but for addresses, which are when they are written; `fee` says whether it gives more than it
    takes. Raises: SimulatedError."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        _check_counts(len(self.inputs), len(self.outputs))
        if len({(spent.txid, spent.index) for spent in self.inputs}) != len(self.inputs):
            raise SimulatedError("spends one coin twice")
        if any(len(spent.txid) != 32 or not 0 <= spent.index < OUTPUTS_MAXIMUM for spent in self.inputs):
            raise SimulatedError(f"an input must name a txid of 32 bytes and an index below {OUTPUTS_MAXIMUM}")
        coins: tuple[Input | Output, ...] = (*self.inputs, *self.outputs)
        for coin in coins:
            if type(coin.amount) is not int or not 1 <= coin.amount <= AMOUNT_MAXIMUM:
                raise SimulatedError(f"an amount must be from 1 to {AMOUNT_MAXIMUM}")


@dataclass(frozen=True, slots=True)
class Witness:
    """`public_key` is compressed; `signature` is r and s of ECDSA, s in its lower half. Raises: SimulatedError."""

    sighash_flag: int
    public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        known = self.sighash_flag in (SIGHASH_ALL, SIGHASH_NONE, SIGHASH_SINGLE, SIGHASH_ANYONECANPAY)
        if not known or (len(self.public_key), len(self.signature)) != (33, 64):
            raise SimulatedError("a witness must have a known flag, a public key of 33 bytes, a signature of 64")


def parse_simulated_address(text: str, network: str) -> bytes:
    """The 20-byte hash of an address. Raises: AddressError."""
    if network != NETWORK:
        raise AddressError(AddressFault.MISMATCH, f"{network} isn't the simulated network")
    if _ADDRESS.fullmatch(text) is None:
        raise AddressError(AddressFault.INVALID, "must be sim1 and 40 characters of lower-case base32")
    hash20 = base64.b32decode(text[4:].upper())[:20]
    if _address(hash20) != text:
        raise AddressError(AddressFault.INVALID, "has a wrong checksum: a character is mistyped")
    return hash20


def simulated_address(public_key: bytes) -> str:
    """The address of a compressed public key."""
    return _address(hashlib.sha256(public_key).digest()[:20])


def encode_unsigned(transaction: Transaction) -> bytes:
    """Raises: AddressError."""
    raw = _HEADER.pack(1, len(transaction.inputs), len(transaction.outputs))
    for spent in transaction.inputs:
        raw += _INPUT.pack(spent.txid, spent.index, spent.amount, parse_simulated_address(spent.address, NETWORK))
    made = (_OUTPUT.pack(each.amount, parse_simulated_address(each.address, NETWORK)) for each in transaction.outputs)
    return raw + b"".join(made)


def parse_unsigned(raw: bytes) -> Transaction:
    """Bytes from anybody. Raises: SimulatedError, and nothing else."""
    inputs, outputs, _ = _split(raw)
    spent = (Input(txid, index, amount, _address(hash20)) for txid, index, amount, hash20 in _INPUT.iter_unpack(inputs))
    made = (Output(amount, _address(hash20)) for amount, hash20 in _OUTPUT.iter_unpack(outputs))
    return Transaction(tuple(spent), tuple(made))


def transaction_id(unsigned: bytes) -> bytes:
    """A hash of the unsigned bytes, so no witness changes it. Raises: SimulatedError."""
    _split(unsigned)
    return hashlib.sha256(b"strongroom/sim-transaction/v1\0" + unsigned).digest()


def signature_hash(unsigned: bytes, sighash_flag: int, index: int = 0) -> bytes:
    """What the witness of input `index` signs: ALL commits to everything, amounts and addresses of all inputs too, as
    taproot does (BIP-341), and is one hash for all inputs; NONE to the inputs, SINGLE to them and the output at
    `index`, ANYONECANPAY to the one input and all outputs. Raises: SimulatedError."""
    inputs, outputs, _ = _split(unsigned)
    place = index * _OUTPUT.size
    if not 0 <= index < len(inputs) // _INPUT.size or (sighash_flag == SIGHASH_SINGLE and place >= len(outputs)):
        raise SimulatedError("there is no such input, or no output beside it")
    covered = {
        SIGHASH_ALL: unsigned,
        SIGHASH_NONE: inputs,
        SIGHASH_SINGLE: inputs + outputs[place : place + _OUTPUT.size],
        SIGHASH_ANYONECANPAY: inputs[index * _INPUT.size : (index + 1) * _INPUT.size] + outputs,
    }.get(sighash_flag)
    if covered is None:
        raise SimulatedError("an unknown signature flag")
    return hashlib.sha256(b"strongroom/sim-signature/v1\0" + bytes([sighash_flag]) + covered).digest()


def assemble(unsigned: bytes, witnesses: tuple[Witness, ...]) -> bytes:
    """The signed transaction, a witness for each input; whether the signatures hold isn't asked."""
    return unsigned + b"".join(_WITNESS.pack(each.sighash_flag, each.public_key, each.signature) for each in witnesses)


def parse_signed(raw: bytes) -> tuple[Transaction, tuple[Witness, ...]]:
    """Bytes from anybody; whether the signatures hold, `verify_witnesses` says. Raises: SimulatedError, only."""
    *_, witnesses = _split(raw, _WITNESS.size)
    unsigned = raw[: len(raw) - len(witnesses)]
    return parse_unsigned(unsigned), tuple(Witness(*fields) for fields in _WITNESS.iter_unpack(witnesses))


def verify_witnesses(transaction: Transaction, witnesses: tuple[Witness, ...]) -> None:
    """Each input by the witness at its place. Raises: SimulatedError when one doesn't hold."""
    if len(witnesses) != len(transaction.inputs):
        raise SimulatedError("must have one witness for each input")
    unsigned = encode_unsigned(transaction)
    for index, (spent, witness) in enumerate(zip(transaction.inputs, witnesses, strict=True)):
        if simulated_address(witness.public_key) != spent.address:
            raise SimulatedError(f"the public key of input {index} isn't that of its address")
        if not _holds(witness, signature_hash(unsigned, witness.sighash_flag, index)):
            raise SimulatedError(f"the signature of input {index} doesn't hold")


def signed_size(inputs: int, outputs: int) -> int:
    return _HEADER.size + inputs * (_INPUT.size + _WITNESS.size) + outputs * _OUTPUT.size


def fee(transaction: Transaction) -> int:
    """What goes in and doesn't come out, if the inputs' amounts are true; may be zero. Raises: SimulatedError."""
    left = sum(spent.amount for spent in transaction.inputs) - sum(made.amount for made in transaction.outputs)
    if left < 0:
        raise SimulatedError("gives more than it takes")
    return left


def _holds(witness: Witness, digest: bytes) -> bool:
    numbers = (int.from_bytes(witness.signature[:32]), int.from_bytes(witness.signature[32:]))
    parts = [number.to_bytes(number.bit_length() // 8 + 1) for number in numbers]
    body = b"".join(bytes([0x02, len(part)]) + part for part in parts)
    der = bytes([0x30, len(body)]) + body
    try:  # libsecp256k1 takes no s in the upper half, so a signature has no twin
        return PublicKey(witness.public_key).verify(der, digest, hasher=None)
    except ValueError:  # the key is no point of the curve
        return False


def _split(raw: bytes, witness_size: int = 0) -> tuple[bytes, bytes, bytes]:
    """The bytes of inputs, outputs and witnesses, if the whole is exactly as long as its counts say."""
    if len(raw) < _HEADER.size or raw[0] != 1:
        raise SimulatedError("must begin with version 1 and two counts")
    _, inputs, outputs = _HEADER.unpack_from(raw)
    _check_counts(inputs, outputs)
    middle = _HEADER.size + inputs * _INPUT.size
    end = middle + outputs * _OUTPUT.size
    if len(raw) != end + inputs * witness_size:
        raise SimulatedError("must be exactly as long as its counts say")
    return raw[_HEADER.size : middle], raw[middle:end], raw[end:]


def _check_counts(inputs: int, outputs: int) -> None:
    if not (1 <= inputs <= INPUTS_MAXIMUM and 1 <= outputs <= OUTPUTS_MAXIMUM):
        raise SimulatedError(f"must have 1 to {INPUTS_MAXIMUM} inputs and 1 to {OUTPUTS_MAXIMUM} outputs")


def _address(hash20: bytes) -> str:
    checksum = hashlib.sha256(b"strongroom/sim-address/v1\0" + hash20).digest()[:5]
    return "sim1" + base32(int.from_bytes(hash20 + checksum), 20)
