"""Bitcoin addresses: the text that a client writes, to the bytes that a payment would be locked to.

Accepts P2PKH, P2SH, P2WPKH, P2WSH and P2TR, each in its one spelling. Nothing is normalised: upper-case bech32 is
valid by BIP-173, and refused here, because one destination should have one text. Later witness versions and
anchors are refused too: nobody could spend them safely today. Base58Check; BIP-173, BIP-350; BIP-341 for the key.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import xor
from typing import Final

from coincurve import PublicKeyXOnly

from strongroom.formats.address_error import AddressError, AddressFault

LENGTH_MAXIMUM: Final = 90


class BitcoinAddressKind(StrEnum):
    P2PKH = "p2pkh"
    P2SH = "p2sh"
    P2WPKH = "p2wpkh"
    P2WSH = "p2wsh"
    P2TR = "p2tr"


@dataclass(frozen=True, slots=True)
class BitcoinNetwork:
    """`caip2` names the chain by the first 16 bytes of its genesis block's hash (CAIP-2, bip122)."""

    name: str
    caip2: str
    human_readable_part: str
    p2pkh_version: int
    p2sh_version: int


# Genesis hashes and prefixes: Bitcoin Core, src/kernel/chainparams.cpp (MIT).
NETWORKS: Final = {
    network.caip2: network
    for network in (
        BitcoinNetwork("mainnet", "bip122:000000000019d6689c085ae165831e93", "bc", 0, 5),
        BitcoinNetwork("testnet3", "bip122:000000000933ea01ad0ee984209779ba", "tb", 111, 196),
        BitcoinNetwork("testnet4", "bip122:00000000da84f2bafbbc53dee25a72ae", "tb", 111, 196),
        BitcoinNetwork("signet", "bip122:00000008819873e925422c1ff0f99f7c", "tb", 111, 196),
        BitcoinNetwork("regtest", "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "bcrt", 111, 196),
    )
}

MAINNET: Final = "bip122:000000000019d6689c085ae165831e93"
REGTEST: Final = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CARRIED: Final = tuple(
    reduce(xor, (generator for bit, generator in enumerate(_GENERATOR) if top >> bit & 1), 0) for top in range(32)
)
"""What five bits that leave the checksum change in it."""
_CHECKSUM: Final = {0: 1, 1: 0x2BC830A3}
_SEGWIT: Final = {b"\x00\x14": 0, b"\x00\x20": 0, b"\x51\x20": 1}
"""How its scripts begin, to the witness version."""


@dataclass(frozen=True, slots=True)
class BitcoinAddress:
    text: str
    network: str
    kind: BitcoinAddressKind
    script_pubkey: bytes


def parse_bitcoin_address(text: str, network: str) -> BitcoinAddress:
    """An address of `network` (CAIP-2). Raises: AddressError."""
    expected = NETWORKS.get(network)
    if expected is None:
        raise AddressError(AddressFault.MISMATCH, f"{network} isn't a Bitcoin network that is known here")
    if len(text) > LENGTH_MAXIMUM or not text.isascii():
        raise AddressError(AddressFault.INVALID, f"must be at most {LENGTH_MAXIMUM} ASCII characters")
    human_readable_part, separator, data = text.rpartition("1")
    if separator and human_readable_part.lower() in {each.human_readable_part for each in NETWORKS.values()}:
        if text != text.lower():
            raise AddressError(AddressFault.INVALID, "must be written in lower case")
        if human_readable_part != expected.human_readable_part:
            raise AddressError(AddressFault.MISMATCH, f"is not an address of {expected.name}")
        return _segwit(text, human_readable_part, data, expected)
    return _base58(text, expected)


def bitcoin_address_of(script_pubkey: bytes, network: str) -> str | None:
    """The address that is locked by this script, None if it has none that is accepted here. Raises: KeyError."""
    of, length = NETWORKS[network], len(script_pubkey)
    if script_pubkey[:2] in _SEGWIT and length == 2 + script_pubkey[1]:
        version, program = _SEGWIT[script_pubkey[:2]], script_pubkey[2:]
        return _segwit_text(version, program, of.human_readable_part) if version == 0 or _is_key(program) else None
    if (length, script_pubkey[:3], script_pubkey[23:]) == (25, b"\x76\xa9\x14", b"\x88\xac"):
        return _base58_text(bytes([of.p2pkh_version]) + script_pubkey[3:23])
    if (length, script_pubkey[:2], script_pubkey[22:]) == (23, b"\xa9\x14", b"\x87"):
        return _base58_text(bytes([of.p2sh_version]) + script_pubkey[2:22])
    return None


def _segwit(text: str, human_readable_part: str, data: str, network: BitcoinNetwork) -> BitcoinAddress:
    values = [_BECH32.find(character) for character in data]
    if len(values) < 8 or -1 in values:
        raise AddressError(AddressFault.INVALID, "has a character that bech32 doesn't, or is too short")
    version, program = values[0], _to_bytes(values[1:-6])
    if version > 1:
        raise AddressError(AddressFault.INVALID, f"is of witness version {version}, which nobody can spend safely yet")
    if _polymod(human_readable_part, values) != _CHECKSUM[version]:
        raise AddressError(AddressFault.INVALID, "has a wrong checksum: a character is mistyped")
    script = bytes([0x50 + version if version else 0, len(program)]) + program
    if version == 1:
        if len(program) != 32:  # coincurve would read past the end of a shorter one
            raise AddressError(AddressFault.INVALID, "isn't a taproot key, which has 32 bytes")
        if not _is_key(program):
            raise AddressError(AddressFault.INVALID, "isn't a taproot key: money sent there could never move")
        return BitcoinAddress(text, network.caip2, BitcoinAddressKind.P2TR, script)
    kinds = {20: BitcoinAddressKind.P2WPKH, 32: BitcoinAddressKind.P2WSH}
    if len(program) not in kinds:
        raise AddressError(AddressFault.INVALID, "must hold a hash of 20 or 32 bytes")
    return BitcoinAddress(text, network.caip2, kinds[len(program)], script)


def _is_key(program: bytes) -> bool:
    """Whether 32 bytes are a taproot key."""
    try:
        PublicKeyXOnly(program)
    except ValueError:
        return False
    return True


def _base58(text: str, network: BitcoinNetwork) -> BitcoinAddress:
    number = 0
    for character in text:
        digit = _BASE58.find(character)
        if digit < 0:
            raise AddressError(AddressFault.INVALID, "is neither a bech32 nor a base58 address")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes(-(-number.bit_length() // 8))
    payload, checksum = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] != checksum:
        raise AddressError(AddressFault.INVALID, "has a wrong checksum: a character is mistyped")
    if len(payload) != 21:
        raise AddressError(AddressFault.INVALID, "must hold a hash of 20 bytes")
    version, digest = payload[0], payload[1:]
    if version == network.p2pkh_version:
        script = b"\x76\xa9\x14" + digest + b"\x88\xac"
        return BitcoinAddress(text, network.caip2, BitcoinAddressKind.P2PKH, script)
    if version == network.p2sh_version:
        return BitcoinAddress(text, network.caip2, BitcoinAddressKind.P2SH, b"\xa9\x14" + digest + b"\x87")
    raise AddressError(AddressFault.MISMATCH, f"is not an address of {network.name}")


def _segwit_text(version: int, program: bytes, human_readable_part: str) -> str:
    count = -(-len(program) * 8 // 5)
    number = int.from_bytes(program) << (count * 5 - len(program) * 8)
    values = [version, *(number >> 5 * place & 31 for place in reversed(range(count)))]
    checksum = _polymod(human_readable_part, [*values, *[0] * 6]) ^ _CHECKSUM[version]
    values += [checksum >> 5 * place & 31 for place in reversed(range(6))]
    return f"{human_readable_part}1{''.join(_BECH32[value] for value in values)}"


def _base58_text(payload: bytes) -> str:
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _polymod(human_readable_part: str, values: list[int]) -> int:
    codes = [ord(character) for character in human_readable_part]
    checksum = 1
    for value in [code >> 5 for code in codes] + [0] + [code & 31 for code in codes] + values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _CARRIED[checksum >> 25]
    return checksum


def _to_bytes(values: list[int]) -> bytes:
    """Groups of five bits to bytes; what is left over must be fewer than five bits, all zero."""
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding >= 5 or number & ((1 << padding) - 1):
        raise AddressError(AddressFault.INVALID, "has wrong padding")
    return (number >> padding).to_bytes(len(values) * 5 // 8)
