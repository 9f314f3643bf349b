"""The simulated rail's bytes: golden vectors, one spelling, and signatures that commit to what they should.

tests/vectors/formats_simulated.json was made once by this format's first version; its keys are published nowhere else
and worth nothing.
"""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.formats.address_error import AddressError
from strongroom.formats.simulated import (
    AMOUNT_MAXIMUM,
    INPUTS_MAXIMUM,
    NETWORK,
    OUTPUTS_MAXIMUM,
    SIGHASH_ALL,
    SIGHASH_ANYONECANPAY,
    SIGHASH_NONE,
    SIGHASH_SINGLE,
    Input,
    Output,
    SimulatedError,
    Transaction,
    Witness,
    assemble,
    encode_unsigned,
    fee,
    parse_signed,
    parse_simulated_address,
    parse_unsigned,
    signature_hash,
    signed_size,
    simulated_address,
    transaction_id,
    verify_witnesses,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/formats_simulated.json").read_text())
FLAGS = (SIGHASH_ALL, SIGHASH_NONE, SIGHASH_SINGLE, SIGHASH_ANYONECANPAY)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEYS = [PrivateKey(bytes([number]) * 32) for number in (1, 2, 3)]
ADDRESSES = [simulated_address(key.public_key.format()) for key in KEYS]
TRANSACTION = Transaction(
    (Input(b"\x11" * 32, 0, 50_000, ADDRESSES[0]), Input(b"\x11" * 32, 7, AMOUNT_MAXIMUM, ADDRESSES[1])),
    (Output(546, ADDRESSES[2]), Output(AMOUNT_MAXIMUM, ADDRESSES[0]), Output(40_000, ADDRESSES[1])),
)
UNSIGNED = encode_unsigned(TRANSACTION)

addresses = st.binary(min_size=33, max_size=33).map(simulated_address)
amounts = st.integers(1, AMOUNT_MAXIMUM)
inputs = st.lists(
    st.builds(Input, st.binary(min_size=32, max_size=32), st.integers(0, OUTPUTS_MAXIMUM - 1), amounts, addresses),
    min_size=1, max_size=4, unique_by=lambda each: (each.txid, each.index),
)
outputs = st.lists(st.builds(Output, amounts, addresses), min_size=1, max_size=4)
transactions = st.builds(Transaction, inputs.map(tuple), outputs.map(tuple))
witnesses = st.builds(
    Witness, st.sampled_from(FLAGS), st.binary(min_size=33, max_size=33), st.binary(min_size=64, max_size=64)
)


def sign(unsigned: bytes, keys: list[PrivateKey], flag: int = SIGHASH_ALL) -> tuple[Witness, ...]:
    return tuple(
        Witness(flag, key.public_key.format(), key.sign_recoverable(signature_hash(unsigned, flag, place), None)[:64])
        for place, key in enumerate(keys)
    )


def holds(transaction: Transaction, signed: tuple[Witness, ...]) -> bool:
    try:
        verify_witnesses(transaction, signed)
    except SimulatedError:
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS["addresses"])
def test_addresses_are_those_of_the_vectors(vector: dict[str, str]) -> None:
    public_key = bytes.fromhex(vector["public_key"])
    assert simulated_address(public_key) == vector["address"]
    assert parse_simulated_address(vector["address"], NETWORK).hex() == vector["hash20"]
    assert hashlib.sha256(public_key).hexdigest().startswith(vector["hash20"])


@pytest.mark.parametrize("vector", VECTORS["transactions"])
def test_transactions_are_those_of_the_vectors(vector: dict[str, str]) -> None:
    unsigned = bytes.fromhex(vector["unsigned"])
    transaction = parse_unsigned(unsigned)
    assert encode_unsigned(transaction) == unsigned
    assert transaction_id(unsigned).hex() == vector["txid"]
    hashes = [signature_hash(unsigned, flag).hex() for flag in FLAGS]
    assert hashes == [vector[name] for name in ("all", "none", "single", "anyonecanpay")]
    signed, given_witnesses = parse_signed(bytes.fromhex(vector["signed"]))
    assert signed == transaction
    assert assemble(unsigned, given_witnesses).hex() == vector["signed"]
    assert signed_size(len(transaction.inputs), len(transaction.outputs)) * 2 == len(vector["signed"])
    assert fee(transaction) == int(vector["fee"])
    assert holds(transaction, given_witnesses)


@pytest.mark.parametrize(
    ("text", "network", "fault"),
    [
        (ADDRESSES[0].upper(), NETWORK, "address_invalid"),
        (ADDRESSES[0][:-1], NETWORK, "address_invalid"),
        (ADDRESSES[0] + "=", NETWORK, "address_invalid"),
        (ADDRESSES[0] + "\n", NETWORK, "address_invalid"),
        (" " + ADDRESSES[0], NETWORK, "address_invalid"),
        ("sim1" + "a" * 40, NETWORK, "address_invalid"),
        ("sim1" + "1" * 40, NETWORK, "address_invalid"),
        ("", NETWORK, "address_invalid"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", NETWORK, "address_invalid"),
        (ADDRESSES[0], "sim:other", "network_mismatch"),
        (ADDRESSES[0], "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "network_mismatch"),
    ],
)
def test_what_is_no_address_is_refused(text: str, network: str, fault: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse_simulated_address(text, network)
    assert refused.value.fault == fault


@given(st.integers(4, 43), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_character_is_noticed(place: int, character: str) -> None:
    mistyped = ADDRESSES[0][:place] + character + ADDRESSES[0][place + 1 :]
    if mistyped != ADDRESSES[0]:
        with pytest.raises(AddressError, match="mistyped"):
            parse_simulated_address(mistyped, NETWORK)
    else:
        assert parse_simulated_address(mistyped, NETWORK)


@given(transactions)
def test_an_unsigned_transaction_survives_its_bytes(transaction: Transaction) -> None:
    assert parse_unsigned(encode_unsigned(transaction)) == transaction


@given(transactions, st.data())
def test_a_signed_transaction_survives_its_bytes(transaction: Transaction, data: st.DataObject) -> None:
    count = len(transaction.inputs)
    given_witnesses = tuple(data.draw(st.lists(witnesses, min_size=count, max_size=count)))
    signed = assemble(encode_unsigned(transaction), given_witnesses)
    assert parse_signed(signed) == (transaction, given_witnesses)
    assert len(signed) == signed_size(count, len(transaction.outputs))


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda end: UNSIGNED[:5] + end))
def test_only_its_own_error_escapes_and_what_is_read_has_one_spelling(raw: bytes) -> None:
    with contextlib.suppress(SimulatedError):
        assert encode_unsigned(parse_unsigned(raw)) == raw
    with contextlib.suppress(SimulatedError):
        transaction, given_witnesses = parse_signed(raw)
        assert assemble(encode_unsigned(transaction), given_witnesses) == raw
        holds(transaction, given_witnesses)


@given(st.integers(0, len(UNSIGNED) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_transaction_is_another_or_none(place: int, patch: bytes, cut: bool) -> None:
    damaged = UNSIGNED[:place] if cut else UNSIGNED[:place] + patch + UNSIGNED[place + len(patch) :]
    with contextlib.suppress(SimulatedError):
        assert (parse_unsigned(damaged) == TRANSACTION) == (damaged == UNSIGNED)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "version"),
        (UNSIGNED[:4], "version"),
        (b"\x00" + UNSIGNED[1:], "version"),
        (b"\x02" + UNSIGNED[1:], "version"),
        (UNSIGNED + b"\x00", "as long as"),
        (UNSIGNED[:-1], "as long as"),
        (b"\x01\x00\x00\x00\x01" + UNSIGNED[129:157], "1 to 256"),
        (b"\x01\x00\x01\x00\x00" + UNSIGNED[5:67], "1 to 256"),
        (b"\x01" + (INPUTS_MAXIMUM + 1).to_bytes(2) + b"\x00\x01", "1 to 256"),
        (b"\x01\x00\x01" + (OUTPUTS_MAXIMUM + 1).to_bytes(2), "2100"),
        (UNSIGNED[:37] + OUTPUTS_MAXIMUM.to_bytes(2) + UNSIGNED[39:], "index below"),
        (UNSIGNED[:39] + bytes(8) + UNSIGNED[47:], "amount"),
        (UNSIGNED[:39] + b"\x80" + bytes(7) + UNSIGNED[47:], "amount"),
        (UNSIGNED[:129] + bytes(8) + UNSIGNED[137:], "amount"),
        (UNSIGNED[:67] + UNSIGNED[5:67] + UNSIGNED[129:], "twice"),
    ],
)
def test_bytes_that_are_no_transaction_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(SimulatedError, match=reason):
        parse_unsigned(raw)


def test_bytes_with_too_few_or_many_witnesses_or_an_unknown_flag_are_no_signed_transaction() -> None:
    signed = assemble(UNSIGNED, sign(UNSIGNED, KEYS[:2]))
    flag = len(UNSIGNED)
    for raw in (UNSIGNED, signed[:-98], signed + signed[-98:], signed[:flag] + b"\x83" + signed[flag + 1 :]):
        with pytest.raises(SimulatedError):
            parse_signed(raw)


@pytest.mark.parametrize(
    "spent",
    [
        Input(b"\x11" * 31, 0, 1, ADDRESSES[0]),
        Input(b"\x11" * 32, -1, 1, ADDRESSES[0]),
        Input(b"\x11" * 32, OUTPUTS_MAXIMUM, 1, ADDRESSES[0]),
        Input(b"\x11" * 32, 0, True, ADDRESSES[0]),
    ],
)
def test_a_transaction_checks_its_inputs_when_it_is_made(spent: Input) -> None:
    with pytest.raises(SimulatedError):
        Transaction((spent,), (Output(1, ADDRESSES[0]),))


@pytest.mark.parametrize(("spent", "paid"), [(ADDRESSES[0].upper(), ADDRESSES[0]), (ADDRESSES[0], ADDRESSES[0][:-1])])
def test_a_wrong_address_is_never_written(spent: str, paid: str) -> None:
    with pytest.raises(AddressError):
        encode_unsigned(Transaction((Input(b"\x11" * 32, 0, 1, spent),), (Output(1, paid),)))


@pytest.mark.parametrize(("flag", "key", "signature"), [(0, 33, 64), (0x83, 33, 64), (1, 32, 64), (1, 33, 63)])
def test_a_witness_checks_its_fields_when_it_is_made(flag: int, key: int, signature: int) -> None:
    with pytest.raises(SimulatedError, match="witness"):
        Witness(flag, bytes(key), bytes(signature))


def test_the_largest_transaction_is_one_and_can_be_signed() -> None:
    coins = tuple(Input(bytes([place]) * 32, 0, 1_000_000, ADDRESSES[0]) for place in range(INPUTS_MAXIMUM))
    transaction = Transaction(coins, (Output(546, ADDRESSES[1]),) * OUTPUTS_MAXIMUM)
    unsigned = encode_unsigned(transaction)
    key = KEYS[0]
    whole = signature_hash(unsigned, SIGHASH_ALL)
    witness = Witness(SIGHASH_ALL, key.public_key.format(), key.sign_recoverable(whole, None)[:64])
    signed = assemble(unsigned, (witness,) * INPUTS_MAXIMUM)
    assert len(signed) == signed_size(INPUTS_MAXIMUM, OUTPUTS_MAXIMUM)
    assert holds(*parse_signed(signed))


def test_every_flipped_bit_of_a_signed_transaction_is_refused() -> None:
    """The attacker relays a transaction that was signed for all, and wants another one to be taken, even one bit."""
    signed = assemble(UNSIGNED, sign(UNSIGNED, KEYS[:2]))
    assert holds(*parse_signed(signed))
    taken = []
    for place in range(len(signed) * 8):
        flipped = bytearray(signed)
        flipped[place // 8] ^= 1 << place % 8
        with contextlib.suppress(SimulatedError):
            verify_witnesses(*parse_signed(bytes(flipped)))
            taken.append(place)
    assert taken == []


def test_the_twin_of_a_signature_is_refused() -> None:
    first, second = sign(UNSIGNED, KEYS[:2])
    twin = (ORDER - int.from_bytes(first.signature[32:])).to_bytes(32)
    high = dataclasses.replace(first, signature=first.signature[:32] + twin)
    assert holds(TRANSACTION, (first, second))
    assert not holds(TRANSACTION, (high, second))


@pytest.mark.parametrize("signature", [bytes(64), ORDER.to_bytes(32) + b"\x01" * 32, b"\xff" * 32 + b"\x01" * 32])
def test_numbers_that_no_signature_has_are_refused(signature: bytes) -> None:
    first, second = sign(UNSIGNED, KEYS[:2])
    assert not holds(TRANSACTION, (dataclasses.replace(first, signature=signature), second))


def test_a_public_key_off_the_curve_is_refused_though_its_hash_is_the_address() -> None:
    public_key = b"\x02" + b"\xff" * 32
    transaction = Transaction((Input(bytes(32), 0, 1, simulated_address(public_key)),), (Output(1, ADDRESSES[0]),))
    assert not holds(transaction, (Witness(SIGHASH_ALL, public_key, b"\x01" * 64),))


def test_a_key_that_isnt_the_address_is_refused_and_so_is_a_missing_witness() -> None:
    assert not holds(TRANSACTION, sign(UNSIGNED, [KEYS[0], KEYS[2]]))
    assert not holds(TRANSACTION, sign(UNSIGNED, KEYS[:1]))


BUMPED = dataclasses.replace
CHANGES = {
    "an input's amount": lambda each: BUMPED(each, inputs=(BUMPED(each.inputs[0], amount=49_999), *each.inputs[1:])),
    "another input": lambda each: BUMPED(each, inputs=(*each.inputs, Input(b"\x22" * 32, 0, 1, ADDRESSES[1]))),
    "the output beside": lambda each: BUMPED(each, outputs=(Output(547, ADDRESSES[2]), *each.outputs[1:])),
    "another output": lambda each: BUMPED(each, outputs=(*each.outputs[:2], Output(40_000, ADDRESSES[2]))),
    "an output left out": lambda each: BUMPED(each, outputs=each.outputs[:2]),
}


@pytest.mark.parametrize(
    ("flag", "uncommitted"),
    [
        (SIGHASH_ALL, set()),
        (SIGHASH_NONE, {"the output beside", "another output", "an output left out"}),
        (SIGHASH_SINGLE, {"another output", "an output left out"}),
        (SIGHASH_ANYONECANPAY, {"another input"}),
    ],
)
def test_each_flag_commits_to_what_it_says_and_to_no_more(flag: int, uncommitted: set[str]) -> None:
    before = signature_hash(UNSIGNED, flag)
    after = {name: signature_hash(encode_unsigned(change(TRANSACTION)), flag) for name, change in CHANGES.items()}
    assert {name for name, changed in after.items() if changed == before} == uncommitted


@pytest.mark.parametrize("flag", FLAGS)
def test_a_signature_with_any_flag_holds_on_its_transaction_and_under_no_other_flag(flag: int) -> None:
    signed = sign(UNSIGNED, KEYS[:2], flag)
    assert holds(TRANSACTION, signed)
    for other in set(FLAGS) - {flag}:
        assert not holds(TRANSACTION, tuple(dataclasses.replace(each, sighash_flag=other) for each in signed))


def test_a_signature_that_covers_no_outputs_pays_whoever_takes_it() -> None:
    """The attacker has a transaction signed with NONE, wants its coins, and on this format they are his."""
    signed = sign(UNSIGNED, KEYS[:2], SIGHASH_NONE)
    stolen = Transaction(TRANSACTION.inputs, (Output(90_000, ADDRESSES[2]),))
    assert holds(stolen, signed)
    assert not holds(stolen, sign(UNSIGNED, KEYS[:2]))


def test_a_flag_that_isnt_known_and_a_place_that_isnt_there_have_no_hash() -> None:
    two_in_one_out = encode_unsigned(Transaction(TRANSACTION.inputs, (Output(1, ADDRESSES[2]),)))
    for unsigned, flag, place in (
        (UNSIGNED, 0, 0), (UNSIGNED, 0x82, 0), (UNSIGNED, SIGHASH_ALL, 2), (UNSIGNED, SIGHASH_ALL, -1),
        (two_in_one_out, SIGHASH_SINGLE, 1), (b"a hash of somebody else's making", SIGHASH_ALL, 0),
    ):
        with pytest.raises(SimulatedError):
            signature_hash(unsigned, flag, place)
    assert signature_hash(two_in_one_out, SIGHASH_ALL, 1)


def test_an_id_is_of_an_unsigned_transaction_only() -> None:
    with pytest.raises(SimulatedError, match="as long as"):
        transaction_id(assemble(UNSIGNED, sign(UNSIGNED, KEYS[:2])))


def test_a_fee_may_be_nothing_but_never_less() -> None:
    coin = Input(bytes(32), 0, 1_000, ADDRESSES[0])
    assert fee(Transaction((coin,), (Output(1_000, ADDRESSES[1]),))) == 0
    assert fee(Transaction((coin,), (Output(600, ADDRESSES[1]), Output(300, ADDRESSES[0])))) == 100
    with pytest.raises(SimulatedError, match="gives more"):
        fee(Transaction((coin,), (Output(1_001, ADDRESSES[1]),)))
