"""Bitcoin addresses: published vectors, a second implementation, and what must never be paid.

Vectors: BIP-173 and BIP-350 (BSD-2-Clause), BIP-341 wallet test vectors (BSD-3-Clause), the genesis coinbase.
"""

import hashlib

import bdkpython as bdk
import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.address_error import AddressError, AddressFault
from strongroom.formats.bitcoin_address import (
    NETWORKS,
    BitcoinAddressKind,
    _is_key,
    _polymod,
    _to_bytes,
    bitcoin_address_of,
    parse_bitcoin_address,
)

MAIN = "bip122:000000000019d6689c085ae165831e93"
TEST = "bip122:000000000933ea01ad0ee984209779ba"
REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"

GOOD = [
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", MAIN, "p2wpkh", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
    ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", TEST, "p2wsh",
     "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"),
    ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", MAIN, "p2tr",
     "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
    ("bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5", MAIN, "p2tr",
     "512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", MAIN, "p2pkh", "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac"),
    ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", MAIN, "p2sh", "a914e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a87"),
    ("1111111111111111111114oLvT2", MAIN, "p2pkh", "76a914" + "00" * 20 + "88ac"),
]

BAD = [
    ("tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", MAIN, "address_invalid"),  # unknown prefix
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", MAIN, "address_invalid"),  # checksum
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", MAIN, "address_invalid"),  # upper case: valid, not accepted
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8F3t4", MAIN, "address_invalid"),  # mixed case
    ("bc1rw5uspcuh", MAIN, "address_invalid"),  # version 3
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", MAIN, "address_invalid"),  # version 2
    ("bc1pfeessrawgf", MAIN, "address_invalid"),  # pay to anchor
    ("bc1gmk9yu", MAIN, "address_invalid"),  # empty data
    ("bc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
     MAIN, "address_invalid"),  # too long
    ("bc1qr508d6qejxtdg4y5r3zarvaryv98gj9p", MAIN, "address_invalid"),  # version 0, 16 bytes
    ("bc1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", MAIN, "address_invalid"),  # BIP-350 sum
    ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", MAIN, "address_invalid"),  # letter o
    ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", MAIN, "address_invalid"),  # BIP-173 sum
    ("bc1qbc1", MAIN, "address_invalid"),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", MAIN, "address_invalid"),  # checksum
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7Div0Na", MAIN, "address_invalid"),  # not base58
    ("", MAIN, "address_invalid"),
    (" bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", MAIN, "address_invalid"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n", MAIN, "address_invalid"),
    ("bc1qé", MAIN, "address_invalid"),
    ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", MAIN, "network_mismatch"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", REGTEST, "network_mismatch"),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", REGTEST, "network_mismatch"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bip122:00000000000000000000000000000000", "network_mismatch"),
]


@pytest.mark.parametrize(("text", "network", "kind", "script"), GOOD)
def test_published_addresses_lead_to_their_scripts(text: str, network: str, kind: str, script: str) -> None:
    address = parse_bitcoin_address(text, network)
    assert (address.kind, address.script_pubkey.hex()) == (kind, script)
    assert (address.text, address.network) == (text, network)


@pytest.mark.parametrize(("text", "network", "kind", "script"), GOOD)
def test_scripts_lead_back_to_their_addresses(text: str, network: str, kind: str, script: str) -> None:
    assert bitcoin_address_of(bytes.fromhex(script), network) == text, kind


LENGTHS = {"0014{}": 20, "0020{}": 32, "5120{}": 32, "76a914{}88ac": 20, "a914{}87": 20}
PROGRAMS = st.one_of(*(st.binary(min_size=length, max_size=length) for length in (20, 32)), st.binary(max_size=42))


@given(st.sampled_from(sorted(LENGTHS)), PROGRAMS, st.sampled_from(sorted(NETWORKS)))
def test_a_script_has_the_address_that_wallycore_writes_if_it_can_be_spent(
    form: str, program: bytes, network: str
) -> None:
    script, of = bytes.fromhex(form.format(program.hex())), NETWORKS[network]
    text = bitcoin_address_of(script, network)
    if len(program) != LENGTHS[form] or (form == "5120{}" and not _is_key(program)):
        assert text is None
        return
    wally = wallycore.WALLY_NETWORK_BITCOIN_MAINNET if of.name == "mainnet" else wallycore.WALLY_NETWORK_BITCOIN_TESTNET
    assert text == (
        wallycore.addr_segwit_from_bytes(script, of.human_readable_part, 0) if form[:2] in ("00", "51")
        else wallycore.scriptpubkey_to_address(script, wally)
    )
    assert parse_bitcoin_address(str(text), network).script_pubkey == script


@pytest.mark.parametrize(("text", "network", "fault"), BAD)
def test_what_must_never_be_paid_is_refused(text: str, network: str, fault: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse_bitcoin_address(text, network)
    assert refused.value.fault == fault
    assert str(refused.value)


def base58(payload: bytes) -> str:
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_base58_of_another_length_than_20_bytes_is_refused(length: int) -> None:
    with pytest.raises(AddressError, match="20 bytes"):
        parse_bitcoin_address(base58(b"\x00" + bytes(length)), MAIN)


def bech32(part: str, version: int, program: bytes, extra: int = 0) -> str:
    """Encode with the right checksum, whatever the version and program; `extra` goes into the padding bits."""
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    values = [version] + [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    values[-1] |= extra
    constant = 1 if version == 0 else 0x2BC830A3
    sum_of = _polymod(part, [*values, 0, 0, 0, 0, 0, 0]) ^ constant
    values += [(sum_of >> 5 * (5 - place)) & 31 for place in range(6)]
    return part + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bech32("bc", 0, bytes(32), extra=1), "padding"),
        (bech32("bc", 0, bytes(19)), "20 or 32"),
        (bech32("bc", 1, bytes(32)), "taproot key"),  # x = 0 is on no curve point
        (bech32("bc", 1, b"\xff" * 32), "taproot key"),
        (bech32("bc", 1, bytes(31)), "taproot key"),
        (bech32("bc", 2, bytes(32)), "witness version 2"),
        (bech32("bc", 16, b"\x75\x1e"), "witness version 16"),
    ],
)
def test_well_formed_but_unpayable_programs_are_refused(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        parse_bitcoin_address(text, MAIN)


def test_five_or_more_bits_of_padding_are_refused() -> None:
    with pytest.raises(AddressError, match="padding"):
        _to_bytes([0])


ORACLE = {MAIN: bdk.Network.BITCOIN, TEST: bdk.Network.TESTNET, REGTEST: bdk.Network.REGTEST}
CHARACTERS = st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l1bcQBC23456789A")


@given(st.binary(min_size=20, max_size=20), st.sampled_from(sorted(ORACLE)), st.sampled_from(["p2pkh", "p2sh", "wpkh"]))
def test_every_hash_agrees_with_a_second_implementation(digest: bytes, network: str, kind: str) -> None:
    known = NETWORKS[network]
    text = {
        "p2pkh": base58(bytes([known.p2pkh_version]) + digest),
        "p2sh": base58(bytes([known.p2sh_version]) + digest),
        "wpkh": bech32(known.human_readable_part, 0, digest),
    }[kind]
    mine = parse_bitcoin_address(text, network)
    assert bytes(bdk.Address(text, ORACLE[network]).script_pubkey().to_bytes()) == mine.script_pubkey


@given(st.sampled_from([text for text, _, _, _ in GOOD]), st.integers(0, 61), CHARACTERS)
def test_one_changed_character_is_never_accepted(text: str, place: int, character: str) -> None:
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    if changed == text:
        return
    for network in NETWORKS:
        with pytest.raises(AddressError):
            parse_bitcoin_address(changed, network)


@given(st.text() | st.text(alphabet=CHARACTERS, max_size=95), st.sampled_from(sorted(NETWORKS)))
def test_only_its_own_error_escapes(text: str, network: str) -> None:
    try:
        assert parse_bitcoin_address(text, network).kind in BitcoinAddressKind
    except AddressError as fault:
        assert fault.fault in AddressFault  # noqa: PT017 either answer is good
