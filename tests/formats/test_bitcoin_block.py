"""Blocks: the first one of Bitcoin's main chain (public), blocks made here with the least work, and changed ones."""

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.formats.bitcoin_block import BYTES_MAXIMUM, merkle_root, parse_block, parse_header
from strongroom.formats.bitcoin_transaction import (
    BitcoinError,
    Input,
    Output,
    Transaction,
    double_sha256,
    encode_transaction,
    transaction_id,
)

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a"
    "51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    "0101000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
    "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220"
    "62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f"
    "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
EASIEST = 0x207FFFFF  # regtest's: every second hash will do
TRANSACTIONS = [
    Transaction(2, (Input(f"{number:064x}", 0, 0),), (Output(number, b"\x51"),), 0, ((bytes([number]),),))
    for number in range(1, 6)
]


def mined(
    transactions: list[Transaction], *, root: bytes | None = None, bits: int = EASIEST,
    previous: bytes = bytes(range(32)),
) -> bytes:
    ids = [bytes.fromhex(transaction_id(each))[::-1] for each in transactions]
    head = struct.pack("<I", 4) + previous + (root or merkle_root(ids)) + struct.pack("<II", 0, bits)
    content = bytes([len(transactions)]) + b"".join(map(encode_transaction, transactions))
    for nonce in range(256):
        header = head + struct.pack("<I", nonce)
        if double_sha256(header)[-1] < 0x7F:
            return header + content
    raise AssertionError("no nonce will do")


def test_the_first_block_is_read() -> None:
    block = parse_block(GENESIS)
    assert block.block_hash == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert (block.previous, block.target) == ("00" * 32, 0xFFFF << 208)
    assert [each.txid for each in block.entries] == ["4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"]
    assert block.entries[0].raw == GENESIS[81:]


@pytest.mark.parametrize("count", range(1, 6))
def test_transactions_come_out_verbatim_and_in_order(count: int) -> None:
    block = parse_block(mined(TRANSACTIONS[:count]))
    assert [each.raw for each in block.entries] == [encode_transaction(each) for each in TRANSACTIONS[:count]]
    assert block.previous == bytes(range(32))[::-1].hex()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "ends too early"),
        (GENESIS[:79], "ends too early"),
        (GENESIS + b"\x00", "goes on after its end"),
        (GENESIS[:76] + b"\x00\x00\x00\x00" + GENESIS[80:], "hasn't the work"),
        (mined(TRANSACTIONS[:1], root=bytes(32)), "other transactions than its header"),
        (mined([TRANSACTIONS[0], TRANSACTIONS[1], TRANSACTIONS[1]], root=bytes(32)), "one of them twice"),
        (GENESIS[:80] + b"\x00", "holds no transaction"),
        (mined(TRANSACTIONS[:1], bits=0x20FFFFFF), "a target that is none"),
        (mined(TRANSACTIONS[:1], bits=0x027FFFFF), "a target that is none"),
        (mined(TRANSACTIONS[:1], bits=0x217FFFFF), "a target that is none"),
        (bytes(BYTES_MAXIMUM + 1), "has more than"),
    ],
)
def test_what_is_no_block_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(BitcoinError, match=reason):
        parse_block(raw)


def test_a_header_is_read_alone_and_has_eighty_bytes() -> None:
    header, block = parse_header(GENESIS[:80]), parse_block(GENESIS)
    assert (header.block_hash, header.previous, header.target) == (block.block_hash, block.previous, block.target)
    for raw in (GENESIS[:79], GENESIS[:81]):
        with pytest.raises(BitcoinError, match="80 bytes"):
            parse_header(raw)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GENESIS) - 1), st.integers(1, 255))
def test_no_byte_of_a_block_can_be_changed(at: int, by: int) -> None:
    with pytest.raises(BitcoinError):
        parse_block(GENESIS[:at] + bytes([GENESIS[at] ^ by]) + GENESIS[at + 1 :])


def test_a_doubled_end_has_the_same_root_and_is_refused() -> None:
    """CVE-2012-2459: the attack is real, and what stops it is that no transaction may stand twice."""
    ids = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
    left, right = double_sha256(ids[0] + ids[1]), double_sha256(ids[2] + ids[2])
    assert merkle_root(ids) == double_sha256(left + right)
    with pytest.raises(BitcoinError, match="one of them twice"):
        merkle_root([*ids, ids[2]])
