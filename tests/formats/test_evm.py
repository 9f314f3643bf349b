"""EVM's bytes: against eth-account, eth-abi and the examples of EIP-155's and EIP-712's authors; one spelling each."""

import contextlib
from typing import Any

import eth_abi
import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.formats.evm_abi import AbiError, encode_call, encode_values, typed_digest
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import (
    EvmSignature,
    EvmTransaction,
    EvmTransactionError,
    address_of,
    encode_signed,
    encode_unsigned,
    keccak256,
    parse_signed,
    parse_unsigned,
    sender,
    signing_hash,
    transaction_hash,
)
from strongroom.formats.rlp import RlpError, decode_number, decode_rlp, encode_number, encode_rlp

SECRET = bytes(range(1, 33))
KEY = PrivateKey(SECRET)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

words = st.integers(0, 2**256 - 1)
addresses = st.binary(min_size=20, max_size=20)
fees = st.tuples(st.integers(0, 2**127), st.integers(0, 2**127)).map(sorted)
transactions = st.builds(
    lambda chain, nonce, fee, gas, to, value, data: EvmTransaction(chain, nonce, *fee, gas, to, value, data),
    st.integers(1, 2**62), st.integers(0, 2**63), fees, st.integers(21_000, 2**24), addresses, words,
    st.binary(max_size=200),
)
items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def signed_by(key: PrivateKey, transaction: EvmTransaction) -> bytes:
    raw = key.sign_recoverable(signing_hash(transaction), hasher=None)
    return encode_signed(transaction, EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])))


@given(items)
def test_every_item_has_one_spelling(item: Any) -> None:
    with contextlib.suppress(RlpError):  # lists in too many lists
        assert decode_rlp(encode_rlp(item)) == item


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_bytes_from_anybody_are_refused_or_are_the_one_spelling_of_what_they_say(raw: bytes) -> None:
    with contextlib.suppress(RlpError):
        assert encode_rlp(decode_rlp(raw)) == raw


@pytest.mark.parametrize(
    ("item", "raw"),
    [
        (b"dog", "83646f67"), ([b"cat", b"dog"], "c88363617483646f67"), (b"", "80"), ([], "c0"), (b"\0", "00"),
        (b"\x0f", "0f"), (b"\x04\x00", "820400"), ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
         "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e7365637465747572206164697069736963696e6720"
         "656c6974"),
    ],
)
def test_the_examples_of_the_ethereum_documentation(item: Any, raw: str) -> None:
    assert encode_rlp(item).hex() == raw
    assert decode_rlp(bytes.fromhex(raw)) == item


@pytest.mark.parametrize(
    "raw",
    [
        "", "8100", "817f", "b800", "b83700", "b90038" + "00" * 56, "c2", "8261", "0000", "c18000", "b8", "ff",
        "f90001",
        "c1" * 12 + "c0",
    ],
)
def test_what_is_no_item_is_refused(raw: str) -> None:
    with pytest.raises(RlpError):
        decode_rlp(bytes.fromhex(raw))


@given(words)
def test_numbers_have_no_leading_zeros(value: int) -> None:
    assert decode_number(encode_number(value), 256) == value
    for other in (b"\0" + encode_number(value), [encode_number(value)], b"\1" * 33):
        with pytest.raises(RlpError):
            decode_number(other, 256)


@settings(max_examples=200, deadline=None)
@given(transactions)
def test_a_transaction_is_signed_as_eth_account_signs_it(transaction: EvmTransaction) -> None:
    theirs = Account.sign_transaction({
        "type": 2, "chainId": transaction.chain_id, "nonce": transaction.nonce, "value": transaction.value,
        "maxPriorityFeePerGas": transaction.max_priority_fee, "maxFeePerGas": transaction.max_fee,
        "gas": transaction.gas_limit, "to": eip55(transaction.to), "data": transaction.data,
    }, SECRET)
    ours = signed_by(KEY, transaction)
    assert ours == bytes(theirs.raw_transaction)
    assert transaction_hash(ours) == "0x" + bytes(theirs.hash).hex()
    read, signature = parse_signed(ours)
    assert (read, parse_unsigned(encode_unsigned(transaction))) == (transaction, transaction)
    assert sender(read, signature) == address_of(KEY.public_key.format(compressed=False))
    assert eip55(sender(read, signature)) == Account.from_key(SECRET).address


@settings(max_examples=300, deadline=None)
@given(transactions, st.data())
def test_a_changed_transaction_is_refused_or_is_another_of_somebody_else(
    transaction: EvmTransaction, data: st.DataObject
) -> None:
    raw = signed_by(KEY, transaction)
    at, by = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
    changed = raw[:at] + bytes([raw[at] ^ by]) + raw[at + 1 :]
    try:
        read, signature = parse_signed(changed)
        who = sender(read, signature)
    except EvmTransactionError:
        return
    assert encode_signed(read, signature) == changed
    assert who != address_of(KEY.public_key.format(compressed=False))


GOOD = EvmTransaction(1, 0, 1, 2, 21_000, b"\1" * 20, 0, b"")


@pytest.mark.parametrize(
    "fields",
    [
        {"chain_id": 0}, {"chain_id": 2**63}, {"nonce": -1}, {"nonce": 2**64 - 1}, {"max_priority_fee": 3},
        {"max_priority_fee": -1}, {"max_fee": 2**128}, {"gas_limit": 20_999}, {"gas_limit": 2**24 + 1}, {"to": b""},
        {"to": b"\1" * 21}, {"value": -1}, {"value": 2**256},
    ],
    ids=str,
)
def test_a_transaction_out_of_its_bounds_is_never_made(fields: dict[str, Any]) -> None:
    made = {name: getattr(GOOD, name) for name in GOOD.__slots__}
    with pytest.raises(EvmTransactionError):
        EvmTransaction(**{**made, **fields})


def with_fields(
    nonce: bytes = b"", payee: Any = b"\1" * 20, data: Any = b"", access_list: Any = ()
) -> bytes:
    return b"\2" + encode_rlp([b"\1", nonce, b"\1", b"\2", b"\x52\x08", payee, b"", data, access_list])


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\2", b"\1" + encode_unsigned(GOOD)[1:], encode_unsigned(GOOD) + b"\0", b"\2\x80",
        b"\2" + encode_rlp([b""] * 8), with_fields(access_list=b""), with_fields(payee=[]), with_fields(nonce=b"\0"),
        with_fields(access_list=[[b"\1" * 20, []]]), with_fields(data=[]),
    ],
)
def test_bytes_that_are_no_transaction_of_this_kind_are_refused(raw: bytes) -> None:
    with pytest.raises(EvmTransactionError):
        parse_unsigned(raw)


@pytest.mark.parametrize(("y", "r", "s"), [(2, 1, 1), (0, 0, 1), (0, 1, 0), (0, ORDER, 1), (0, 1, ORDER // 2 + 1)])
def test_a_signature_has_one_form(y: int, r: int, s: int) -> None:
    with pytest.raises(EvmTransactionError):
        EvmSignature(y, r, s)


def test_a_signature_that_no_key_made_and_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(EvmTransactionError, match="no key made"):
        sender(GOOD, EvmSignature(0, 5, 1))
    with pytest.raises(EvmTransactionError):
        parse_signed(b"\2" + encode_rlp([*decode_rlp(encode_unsigned(GOOD)[1:]), b"", b"\0\1", b"\1"]))


kinds = st.recursive(
    st.sampled_from(["uint256", "uint96", "uint8", "address", "bool", "bytes32", "bytes", "string"]),
    lambda inner: st.one_of(
        inner.map(lambda kind: f"{kind}[]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: f"({','.join(each)})"),
    ),
    max_leaves=6,
)


def a_value(draw: st.DrawFn, kind: str) -> Any:
    if kind.endswith("[]"):
        return [a_value(draw, kind[:-2]) for _ in range(draw(st.integers(0, 3)))]
    if kind.startswith("("):
        inner = eth_abi.grammar.parse(kind)
        return [a_value(draw, each.to_type_str()) for each in inner.components]
    plain = {
        "address": addresses, "bool": st.booleans(), "bytes32": st.binary(min_size=32, max_size=32),
        "bytes": st.binary(max_size=70), "string": st.text(max_size=40),
    }
    return draw(plain[kind] if kind in plain else st.integers(0, 2 ** int(kind.removeprefix("uint")) - 1))


@st.composite
def arguments(draw: st.DrawFn) -> tuple[list[str], list[Any]]:
    types = draw(st.lists(kinds, max_size=4))
    return types, [a_value(draw, kind) for kind in types]


@settings(max_examples=300, deadline=None)
@given(arguments())
def test_arguments_are_encoded_as_eth_abi_encodes_them(made: tuple[list[str], list[Any]]) -> None:
    types, values = made
    assert encode_values(f"({','.join(types)})", values) == eth_abi.encode(types, values)


def test_a_call_begins_with_its_selector() -> None:
    call = encode_call("transfer(address,uint256)", [b"\1" * 20, 5])
    assert call.hex() == "a9059cbb" + "00" * 12 + "01" * 20 + "00" * 31 + "05"


@pytest.mark.parametrize(
    ("types", "values"),
    [
        ("(uint8)", [256]), ("(uint8)", [-1]), ("(uint8)", [True]), ("(uint7)", [1]), ("(uint264)", [1]),
        ("(bool)", [1]),
        ("(address)", [b"\1" * 19]), ("(address)", ["0x" + "01" * 20]), ("(bytes32)", [b""]), ("(bytes)", ["a"]),
        ("(string)", [b"a"]), ("(uint8[])", [5]), ("(uint8,uint8)", [1]), ("(int8)", [1]), ("(uint8", [1]),
        ("((uint8)x)", [[1]]),
    ],
)
def test_a_value_that_isnt_of_its_type_is_refused(types: str, values: list[Any]) -> None:
    with pytest.raises(AbiError):
        encode_values(types, values)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.text(max_size=5), words, addresses, words, st.binary(max_size=40), st.booleans())
def test_typed_messages_are_hashed_as_eth_account_hashes_them(
    name: str, version: str, chain: int, contract: bytes, value: int, data: bytes, flag: bool
) -> None:
    domain = {"name": name, "version": version, "chainId": chain, "verifyingContract": contract}
    ours = typed_digest(domain, "Order(address to,uint256 value,bytes data,string memo,bool final)",
                        [contract, value, data, name, flag])
    theirs = encode_typed_data(
        {**domain, "verifyingContract": eip55(contract)},
        {"Order": [{"name": "to", "type": "address"}, {"name": "value", "type": "uint256"},
                   {"name": "data", "type": "bytes"}, {"name": "memo", "type": "string"},
                   {"name": "final", "type": "bool"}]},
        {"to": eip55(contract), "value": value, "data": data, "memo": name, "final": flag},
    )
    assert ours == keccak256(b"\x19" + theirs.version + theirs.header + theirs.body)


def test_a_message_with_another_number_of_members_is_refused() -> None:
    domain = {"name": "a", "version": "1", "chainId": 1, "verifyingContract": b"\1" * 20}
    with pytest.raises(AbiError, match="has 1 members, not 2"):
        typed_digest(domain, "Pause(uint256 epoch)", [1, 2])
