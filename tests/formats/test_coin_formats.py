"""Every chain of coins, read and written alike: the same table for each format."""

import dataclasses
import hashlib

import pytest

from strongroom.formats import simulated
from strongroom.formats.address_error import AddressError
from strongroom.formats.bitcoin_address import NETWORKS, bitcoin_address_of
from strongroom.formats.bitcoin_coins import INPUTS_MAXIMUM
from strongroom.formats.bitcoin_psbt import SEQUENCE, encode_psbt, parse_psbt
from strongroom.formats.bitcoin_transaction import (
    KEY_HASH,
    Input,
    Output,
    Transaction,
    encode_transaction,
    key_output_script,
    parse_transaction,
    transaction_id,
)
from strongroom.formats.coin_formats import COIN_FORMATS, CoinFormat
from strongroom.formats.coins import Coin, CoinsError

REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
KEYS = [bytes.fromhex(each) for each in (
    "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115",
    "83dfe85a3151d2517290da461fe2815591ef69f2b18a2ce63f01697a8b313145",
    "399f1b2f4393f29a18c937859c5dd8a77350103157eb880f02e8c08214277cef",
)]
FORMATS = [COIN_FORMATS[simulated.NETWORK], COIN_FORMATS[REGTEST]]
everywhere = pytest.mark.parametrize("form", FORMATS, ids=["simulated", "bitcoin"])


def address(form: CoinFormat, place: int) -> str:
    if form.network == simulated.NETWORK:
        return simulated.simulated_address(bytes([2]) + KEYS[place])
    return str(bitcoin_address_of(key_output_script(KEYS[place]), form.network))


def coins(form: CoinFormat, count: int = 2) -> list[Coin]:
    names = [hashlib.sha256(each.to_bytes(2)).hexdigest() for each in range(count)]
    return [Coin(f"{name}:{each}", 50_000 + each, address(form, each % 2)) for each, name in enumerate(names)]


def places(form: CoinFormat, count: int = 2) -> list[str]:
    """Where these coins are."""
    return [coin.address for coin in coins(form, count)]


def signed(form: CoinFormat, unsigned: bytes) -> bytes:
    """With signatures of the right length, and wrong."""
    if form.network == simulated.NETWORK:
        inputs = len(form.read_unsigned(unsigned).inputs)
        return simulated.assemble(unsigned, (simulated.Witness(1, b"\2" + bytes(32), bytes(64)),) * inputs)
    bare = parse_psbt(unsigned).transaction
    return encode_transaction(dataclasses.replace(bare, witnesses=((bytes(64),),) * len(bare.inputs)))


def size(form: CoinFormat, raw: bytes) -> int:
    if form.network == simulated.NETWORK:
        return len(raw)
    bare = len(encode_transaction(parse_transaction(raw), with_witnesses=False))
    return -(-(3 * bare + len(raw)) // 4)


def test_each_chain_of_coins_has_its_format() -> None:
    assert COIN_FORMATS.keys() == {simulated.NETWORK, *NETWORKS}
    assert all(form.network == network for network, form in COIN_FORMATS.items())
    assert all(form.asset.startswith(f"{network}/") for network, form in COIN_FORMATS.items())


@everywhere
def test_what_is_written_for_the_signer_is_read_alike(form: CoinFormat) -> None:
    outputs = [(address(form, 2), 60_000), (address(form, 0), 30_001)]
    read = form.read_unsigned(form.write_unsigned(coins(form), outputs))
    assert (read.network, read.asset, read.dust_minor) == (form.network, form.asset, form.dust_minor)
    assert (read.inputs, read.outputs) == (tuple(coins(form)), tuple(outputs))
    assert read.fee == 10_000
    assert read.spends == [coin.outpoint for coin in coins(form)]


@everywhere
def test_signed_bytes_have_the_name_and_the_size_that_the_unsigned_ones_said(form: CoinFormat) -> None:
    unsigned = form.write_unsigned(coins(form), [(address(form, 2), 60_000)])
    read, moved = form.read_unsigned(unsigned), form.read_signed(signed(form, unsigned))
    assert (moved.identifier, list(moved.spends), moved.pays) == (read.identifier, read.spends, read.outputs)
    assert read.size == size(form, signed(form, unsigned)) == form.signed_sizes([address(form, 2)])(places(form))


@everywhere
@pytest.mark.parametrize("inputs", [1, 2, 3, 252, 253, 256])
def test_the_size_is_known_for_any_number_of_coins(form: CoinFormat, inputs: int) -> None:
    paid = [address(form, 0), address(form, 1)]
    unsigned = form.write_unsigned(coins(form, inputs), [(each, 1_000) for each in paid])
    assert form.signed_sizes(paid)(places(form, inputs)) == form.read_unsigned(unsigned).size


@everywhere
@pytest.mark.parametrize("outputs", [1, 252, 253, 2_000])
def test_the_size_is_known_for_any_number_of_payees(form: CoinFormat, outputs: int) -> None:
    paid = [address(form, each % 2) for each in range(outputs)]
    unsigned = form.write_unsigned(coins(form, 3), [(each, 1_000) for each in paid])
    assert form.signed_sizes(paid)(places(form, 3)) == form.read_unsigned(unsigned).size <= form.size_maximum


def test_bitcoin_writes_what_made_a_coin_of_a_keys_hash_and_reads_it_again_and_knows_that_it_is_larger() -> None:
    form = COIN_FORMATS[REGTEST]
    hashed = str(bitcoin_address_of(KEY_HASH + bytes(20), REGTEST))
    outputs = (Output(5, b"\x51"), Output(70_000, KEY_HASH + bytes(20)))
    paying = Transaction(2, (Input("33" * 32, 0, SEQUENCE),), outputs, 0)
    own = [*coins(form), Coin(f"{transaction_id(paying)}:1", 70_000, hashed, encode_transaction(paying))]
    unsigned = form.write_unsigned(own, [(hashed, 60_000)])
    read = form.read_unsigned(unsigned)
    assert read.inputs == tuple(own)
    assert form.write_unsigned(read.inputs, [(hashed, 60_000)]) == unsigned
    assert [form.needs_made_by(coin.address) for coin in own] == [False, False, True]
    sizes = form.signed_sizes([hashed])
    assert sizes([coin.address for coin in own]) == read.size == sizes(places(form)) + 68
    assert not FORMATS[0].needs_made_by(address(FORMATS[0], 0))


@everywhere
def test_other_bytes_than_those_that_were_asked_for_are_noticed(form: CoinFormat) -> None:
    asked = form.write_unsigned(coins(form), [(address(form, 2), 60_000)])
    others = [
        form.write_unsigned(coins(form), [(address(form, 2), 60_001)]),
        form.write_unsigned(coins(form), [(address(form, 1), 60_000)]),
        form.write_unsigned(coins(form, 1), [(address(form, 2), 60_000)]),
    ]
    assert form.is_signed_form(signed(form, asked), asked)
    assert not any(form.is_signed_form(signed(form, each), asked) for each in others)


@everywhere
@pytest.mark.parametrize("raw", [b"", b"\0" * 100, b"psbt\xff"])
def test_bytes_that_are_none_have_one_kind_of_error(form: CoinFormat, raw: bytes) -> None:
    for read in (form.read_unsigned, form.read_signed, lambda raw: form.is_signed_form(raw, raw)):
        with pytest.raises(CoinsError):
            read(raw)


@everywhere
def test_an_address_of_another_chain_is_refused(form: CoinFormat) -> None:
    other = FORMATS[form is FORMATS[0]]
    with pytest.raises(AddressError):
        form.write_unsigned(coins(form), [(address(other, 0), 1_000)])


def test_bitcoin_signs_nothing_that_no_node_relays_or_that_pays_a_script_without_an_address() -> None:
    form = COIN_FORMATS[REGTEST]
    with pytest.raises(CoinsError, match="is larger than"):
        form.read_unsigned(form.write_unsigned(coins(form, INPUTS_MAXIMUM + 1), [(address(form, 0), 1_000)]))
    with pytest.raises(CoinsError, match="is larger than"):
        form.read_unsigned(form.write_unsigned(coins(form, 1), [(address(form, 0), 1_000)] * 2_400))
    bare = parse_psbt(form.write_unsigned(coins(form, 1), [(address(form, 0), 1_000)]))
    odd = dataclasses.replace(bare.transaction, outputs=(Output(1_000, b"\x6a\x01\x00"),))
    with pytest.raises(CoinsError, match="no address here"):
        form.read_unsigned(encode_psbt(odd, bare.spent))
    with pytest.raises(CoinsError, match="no address here"):
        form.read_unsigned(encode_psbt(bare.transaction, [Output(50_000, b"\x51\x01\x00")]))
    assert form.read_signed(encode_transaction(odd)).pays == (("", 1_000),)
