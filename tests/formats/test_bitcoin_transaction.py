"""Bitcoin's bytes: vectors that others wrote, libraries that others wrote, one spelling, and no other exception.

Vectors: tests/vectors/formats_bitcoin.json (BIP-341, BIP-86, BIP-143). Second opinions: wallycore, bdkpython.
"""

import json
from dataclasses import replace
from pathlib import Path

import bdkpython
import pytest
import wallycore
from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from strongroom.formats.bitcoin_address import NETWORKS, bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.bitcoin_psbt import SEQUENCE, encode_psbt, parse_psbt
from strongroom.formats.bitcoin_transaction import (
    AMOUNT_MAXIMUM,
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    BitcoinError,
    Input,
    Output,
    Reader,
    Transaction,
    compact_size,
    encode_transaction,
    key_hash_digests,
    key_hash_script,
    key_output_script,
    key_spend_digests,
    parse_transaction,
    signed_vsize,
    transaction_id,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/formats_bitcoin.json").read_text())
MAIN = "bip122:000000000019d6689c085ae165831e93"
REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
SPENT = [Output(each["amount"], bytes.fromhex(each["script"])) for each in VECTORS["spent"]]

Made = tuple[Transaction, tuple[Output, ...], tuple[bytes, ...]]
"""Unsigned, with the outputs that it spends, and what made those of a key's hash."""

scripts = st.one_of(
    st.binary(min_size=20, max_size=20).map(lambda raw: b"\x00\x14" + raw),
    st.binary(min_size=32, max_size=32).map(lambda raw: b"\x00\x20" + raw),
    st.binary(min_size=20, max_size=20).map(lambda raw: b"\x76\xa9\x14" + raw + b"\x88\xac"),
    st.binary(min_size=20, max_size=20).map(lambda raw: b"\xa9\x14" + raw + b"\x87"),
    st.binary(min_size=1, max_size=300),
)
outputs = st.builds(Output, st.integers(0, AMOUNT_MAXIMUM), scripts)
txids = st.binary(min_size=32, max_size=32).map(bytes.hex)
indexes = st.integers(0, 2**32 - 1)
inputs = st.builds(Input, txids, indexes, st.integers(0, 2**32 - 1), st.binary(max_size=300))
spends = st.lists(
    st.builds(Input, txids, indexes, st.just(SEQUENCE)), min_size=1, max_size=6, unique_by=lambda each: each.outpoint
)
stacks = st.lists(st.binary(max_size=80), max_size=4).map(tuple)


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    spent = draw(st.lists(inputs, min_size=1, max_size=5))
    witnesses = draw(st.one_of(st.just([]), st.lists(stacks, min_size=len(spent), max_size=len(spent))))
    return Transaction(
        draw(st.integers(0, 2**32 - 1)), tuple(spent), tuple(draw(st.lists(outputs, min_size=1, max_size=5))),
        draw(st.integers(0, 2**32 - 1)), tuple(witnesses) if any(witnesses) else (),
    )


@st.composite
def unsigned(draw: st.DrawFn) -> Made:
    coins = draw(spends)
    low = st.builds(Output, st.integers(0, 10**14), scripts)
    spent = draw(st.lists(low, min_size=len(coins), max_size=len(coins)))
    made = [b""] * len(coins)
    for place, (coin, output) in enumerate(zip(coins, spent, strict=True)):
        if output.script[:2] == b"\x00\x14":
            before = draw(transactions())
            after = tuple(draw(st.lists(outputs, max_size=2)))
            paying = Transaction(before.version, before.inputs, (*before.outputs, output, *after), before.locktime)
            made[place] = encode_transaction(paying)
            coins[place] = Input(transaction_id(paying), len(before.outputs), coin.sequence)
    assume(len({each.outpoint for each in coins}) == len(coins))
    paid = draw(st.lists(outputs, min_size=1, max_size=5))
    return Transaction(2, tuple(coins), tuple(paid), 0), tuple(spent), tuple(made)


@pytest.mark.parametrize("vector", VECTORS["digests"], ids=lambda each: f"input {each['index']}")
def test_a_taproot_key_signs_what_bip_341_says(vector: dict[str, int | str]) -> None:
    transaction = parse_transaction(bytes.fromhex(VECTORS["unsigned"]))
    hash_type, index = int(vector["hash_type"]), int(vector["index"])
    assert key_spend_digests(transaction, SPENT, hash_type)[index].hex() == vector["digest"]


def test_a_key_signs_for_a_coin_of_its_hash_what_bip_143_says() -> None:
    vector = VECTORS["key_hash"]
    transaction = parse_transaction(bytes.fromhex(vector["unsigned"]))
    spent = [Output(each["amount"], bytes.fromhex(each["script"])) for each in vector["spent"]]
    digest, public_key = key_hash_digests(transaction, spent)[vector["index"]], bytes.fromhex(vector["public_key"])
    assert digest.hex() == vector["digest"]
    assert key_hash_script(public_key) == spent[vector["index"]].script
    assert PublicKey(public_key).verify(bytes.fromhex(vector["signature"]), digest, hasher=None)


@settings(max_examples=100, deadline=None)
@given(unsigned())
def test_what_is_signed_for_a_keys_hash_is_what_another_library_signs(made: Made) -> None:
    transaction, spent, _ = made
    wally = wallycore.tx_from_bytes(encode_transaction(transaction), 0)
    for index, (digest, each) in enumerate(zip(key_hash_digests(transaction, spent), spent, strict=True)):
        if each.script[:2] == b"\x00\x14":
            code = b"\x76\xa9\x14" + each.script[2:] + b"\x88\xac"
            assert digest == wallycore.tx_get_btc_signature_hash(
                wally, index, code, each.amount, wallycore.WALLY_SIGHASH_ALL, wallycore.WALLY_TX_FLAG_USE_WITNESS
            )


@pytest.mark.parametrize("hash_type", [2, 3, 0x80, 0x81, 0x82, 0x83, -1, 4, 255])
def test_nothing_is_signed_that_leaves_inputs_or_outputs_open(hash_type: int) -> None:
    transaction = parse_transaction(bytes.fromhex(VECTORS["unsigned"]))
    with pytest.raises(BitcoinError, match="nothing is signed with the hash type"):
        key_spend_digests(transaction, SPENT, hash_type)


@pytest.mark.parametrize("vector", VECTORS["key_outputs"], ids=lambda each: each["internal_key"][:8])
def test_a_taproot_key_alone_locks_what_bip_341_and_bip_86_say(vector: dict[str, str]) -> None:
    script = key_output_script(bytes.fromhex(vector["internal_key"]))
    assert script.hex() == vector["script"]
    assert bitcoin_address_of(script, MAIN) == vector["address"]


def test_a_key_that_is_no_point_or_too_short_is_refused() -> None:
    for raw in (b"\xff" * 32, b"\x01" * 31, b""):
        with pytest.raises(BitcoinError, match="isn't a taproot key"):
            key_output_script(raw)


def test_the_signed_vector_is_read_and_written_again_and_has_the_id_of_the_unsigned_one_but_for_scripts() -> None:
    raw = bytes.fromhex(VECTORS["signed"])
    transaction = parse_transaction(raw)
    assert encode_transaction(transaction) == raw
    wally = wallycore.tx_from_bytes(raw, 0)
    assert transaction_id(transaction) == wallycore.tx_get_txid(wally)[::-1].hex()


@settings(max_examples=200, deadline=None)
@given(transactions())
def test_every_transaction_has_one_spelling_which_another_library_reads_alike(made: Transaction) -> None:
    raw = encode_transaction(made)
    assert parse_transaction(raw) == made
    wally = wallycore.tx_from_bytes(raw, 0)
    assert wallycore.tx_to_bytes(wally, wallycore.WALLY_TX_FLAG_USE_WITNESS) == raw
    assert wallycore.tx_get_txid(wally)[::-1].hex() == transaction_id(made)


@settings(max_examples=400, deadline=None)
@given(transactions(), st.data())
def test_changed_bytes_are_refused_or_are_read_as_exactly_what_they_are(made: Transaction, data: st.DataObject) -> None:
    raw = encode_transaction(made)
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    changed = data.draw(st.sampled_from([raw[:at], raw + b"\x00", flipped]))
    try:
        read = parse_transaction(changed)
    except BitcoinError:
        return
    assert encode_transaction(read) == changed


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "ends too early"),
        (bytes.fromhex("02000000 00"), "ends too early"),
        (bytes.fromhex("02000000 00 00 00000000"), "no inputs or no outputs"),
        (bytes.fromhex("02000000 feffffff7f"), "ends too early"),
        (bytes.fromhex("02000000 fd0100"), "shortest form"),
        (bytes.fromhex("02000000 fe00010000"), "shortest form"),
        (bytes.fromhex("02000000 ff0000010000000000"), "shortest form"),
    ],
)
def test_what_is_no_transaction_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(BitcoinError, match=reason):
        parse_transaction(raw)


def test_an_amount_above_all_coins_and_witnesses_that_are_none_are_refused() -> None:
    spent, paid = Input("11" * 32, 0, 0), Output(AMOUNT_MAXIMUM + 1, b"")
    with pytest.raises(BitcoinError, match="more than there ever will be"):
        parse_transaction(encode_transaction(Transaction(2, (spent,), (paid,), 0)))
    with pytest.raises(BitcoinError, match="says that it has witnesses"):
        parse_transaction(encode_transaction(Transaction(2, (spent,), (Output(1, b""),), 0, ((),))))


@given(st.integers(0, 2**64 - 1))
def test_a_count_is_read_as_it_is_written(value: int) -> None:
    reader = Reader(compact_size(value))
    assert reader.count() == value
    reader.close()


@settings(max_examples=200, deadline=None)
@given(unsigned())
def test_a_psbt_has_one_spelling_which_other_libraries_read_alike(made: Made) -> None:
    transaction, spent, _ = made
    raw = encode_psbt(*made)
    read = parse_psbt(raw)
    assert (read.transaction, read.spent, read.previous) == made
    assert read.fee == sum(each.amount for each in spent) - sum(each.amount for each in transaction.outputs)
    wally = wallycore.psbt_from_bytes(raw, wallycore.WALLY_PSBT_PARSE_FLAG_STRICT)
    assert wallycore.psbt_to_bytes(wally, 0) == raw
    bdk = bdkpython.Psbt(wallycore.psbt_to_base64(wally, 0))
    assert bdk.extract_tx_unchecked_fee_rate().compute_txid().serialize()[::-1].hex() == transaction_id(transaction)


@settings(max_examples=100, deadline=None)
@given(unsigned(), st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < int.from_bytes(raw) < 2**255))
def test_what_is_signed_is_what_another_library_signs(made: Made, secret: bytes) -> None:
    key = PrivateKey(secret)
    script = key_output_script(key.public_key.format()[1:])
    transaction, spent = made[0], tuple(Output(each.amount, script) for each in made[1])
    wally = wallycore.tx_from_bytes(encode_transaction(transaction), 0)
    spent_scripts = wallycore.map_init(len(spent), None)
    for index, each in enumerate(spent):
        wallycore.map_add_integer(spent_scripts, index, each.script)
    for index, digest in enumerate(key_spend_digests(transaction, spent)):
        theirs = wallycore.tx_get_btc_taproot_signature_hash(
            wally, index, spent_scripts, [each.amount for each in spent], None, 0, 0xFFFFFFFF, None, SIGHASH_DEFAULT, 0
        )
        assert digest == theirs
        tweaked = wallycore.ec_private_key_bip341_tweak(secret, None, 0)
        signature = PrivateKey(tweaked).sign_schnorr(digest, None)
        assert PublicKeyXOnly(script[2:]).verify(signature, digest)
    assert key_spend_digests(transaction, spent, SIGHASH_ALL) != key_spend_digests(transaction, spent)


@settings(max_examples=100, deadline=None)
@given(unsigned())
def test_the_size_is_known_before_anything_is_signed(made: Made) -> None:
    """Of a signature for a key's hash the longest: it may be a byte less, and mostly is."""
    transaction, spent, _ = made
    stacks = tuple((bytes(72), bytes(33)) if each.script[:2] == b"\x00\x14" else (bytes(64),) for each in spent)
    wally = wallycore.tx_from_bytes(encode_transaction(replace(transaction, witnesses=stacks)), 0)
    assert signed_vsize(transaction, spent) == wallycore.tx_get_vsize(wally)


COIN = Input("11" * 32, 0, SEQUENCE)
OTHER_COIN = Input("22" * 32, 0, SEQUENCE)
ALL_COINS = Output(AMOUNT_MAXIMUM, b"")
PAID = Output(1_000, b"\x00\x14" + bytes(20))
OWN = Output(1_000, b"\x51\x20" + bytes(32))
GOOD = encode_psbt(Transaction(2, (COIN,), (PAID,), 0), (OWN,))
MADE = Transaction(2, (OTHER_COIN,), (OWN, PAID), 0)
SPENDS = Input(transaction_id(MADE), 1, SEQUENCE)


def psbt_of(made: Transaction, spends: Input = SPENDS) -> bytes:
    """It spends an output of `made`."""
    return encode_psbt(Transaction(2, (spends,), (PAID,), 0), (PAID,), (encode_transaction(made),))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "isn't a PSBT"),
        (GOOD[:4] + b"\xfe" + GOOD[5:], "isn't a PSBT"),
        (GOOD[:-1], "an output's field"),
        (GOOD + b"\x00", "goes on after its end"),
        (GOOD[:5] + b"\x01\xfb\x04\x00\x00\x00\x00" + GOOD[5:], "must have its unsigned transaction first"),
        (GOOD.replace(b"\x01\x01\x2b", b"\x01\x02\x2b"), "for each input the output that it spends"),
        (encode_psbt(Transaction(2, (SPENDS,), (PAID,), 0), (PAID,)), "what made a coin in full"),
        (psbt_of(MADE, Input(SPENDS.txid, 0, SEQUENCE)), "and of no other coin"),
        (psbt_of(MADE, Input(SPENDS.txid, 2, SEQUENCE)), "another chain transaction than the one"),
        (psbt_of(MADE, COIN), "another chain transaction than the one"),
        (psbt_of(replace(MADE, outputs=(OWN, Output(2_000, PAID.script)))), "another chain transaction than the one"),
        (psbt_of(replace(MADE, witnesses=((b"x",),))), "or one with witnesses"),
        (GOOD[:-1] + b"\x01\x02\x01\x00\x00", "an output's field"),
        (GOOD[:-2] + b"\x01\x03\x04\x01\x00\x00\x00" + GOOD[-2:], "an input's field"),
        (encode_psbt(Transaction(1, (COIN,), (PAID,), 0), (OWN,)), "must be of version 2"),
        (encode_psbt(Transaction(2, (COIN,), (PAID,), 1), (OWN,)), "lock time of 0"),
        (encode_psbt(Transaction(2, (Input("11" * 32, 0, 0xFFFFFFFF),), (PAID,), 0), (OWN,)), "the sequence"),
        (encode_psbt(Transaction(2, (Input("11" * 32, 0, SEQUENCE, b"\x51"),), (PAID,), 0), (OWN,)), "signed already"),
        (encode_psbt(Transaction(2, (COIN,), (PAID,), 0, ((b"x",),)), (OWN,)), "signed already"),
        (encode_psbt(Transaction(2, (COIN, COIN), (PAID,), 0), (OWN, OWN)), "one coin twice"),
        (encode_psbt(Transaction(2, (COIN, OTHER_COIN), (PAID,), 0), (ALL_COINS, OWN)), "more than there ever"),
    ],
)
def test_what_is_no_psbt_of_this_form_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(BitcoinError, match=reason):
        parse_psbt(raw)


@settings(max_examples=400, deadline=None)
@given(unsigned(), st.data())
def test_a_changed_psbt_is_refused_or_means_another_payment(made: Made, data: st.DataObject) -> None:
    raw = encode_psbt(*made)
    at, by = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
    changed = raw[:at] + bytes([raw[at] ^ by]) + raw[at + 1 :]
    try:
        read = parse_psbt(changed)
    except BitcoinError:
        return
    assert encode_psbt(read.transaction, read.spent, read.previous) == changed
    assert (read.transaction, read.spent, read.previous) != made


@settings(max_examples=200, deadline=None)
@given(scripts, st.sampled_from(sorted(NETWORKS)))
def test_a_script_has_the_address_that_is_read_as_this_script_or_none(script: bytes, network: str) -> None:
    text = bitcoin_address_of(script, network)
    kinds = {22: b"\x00\x14", 34: b"\x00\x20", 25: b"\x76\xa9", 23: b"\xa9\x14"}
    if text is None:
        assert script[:2] != kinds.get(len(script)) or (script[-1:] not in (b"\xac", b"\x87") and script[0] != 0)
        return
    assert parse_bitcoin_address(text, network).script_pubkey == script


@pytest.mark.parametrize(
    "script", [b"", b"\x51\x02\x4e\x73", b"\x52\x20" + bytes(32), b"\x6a\x01\x00", b"\x51\x20" + b"\xff" * 32]
)
def test_scripts_that_nobody_can_be_paid_by_have_no_address(script: bytes) -> None:
    assert bitcoin_address_of(script, REGTEST) is None
