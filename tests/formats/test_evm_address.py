"""EVM addresses: EIP-55 is the only spelling. Vectors: EIP-55 (CC0)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.address_error import AddressError
from strongroom.formats.evm_address import eip55, parse_evm_address

NETWORK = "eip155:1"
MIXED = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]
ONE_CASE = [
    "0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
]


@pytest.mark.parametrize("text", MIXED + ONE_CASE)
def test_published_addresses(text: str) -> None:
    assert parse_evm_address(text, NETWORK) == bytes.fromhex(text[2:])
    assert eip55(bytes.fromhex(text[2:])) == text


@pytest.mark.parametrize(
    ("text", "network", "fault", "reason"),
    [
        (MIXED[0].lower(), NETWORK, "address_invalid", "mixed case"),
        ("0x" + MIXED[0][2:].upper(), NETWORK, "address_invalid", "mixed case"),
        (MIXED[0].replace("aA", "Aa"), NETWORK, "address_invalid", "wrong checksum"),
        (MIXED[0][:-1], NETWORK, "address_invalid", "40 hex digits"),
        (MIXED[0] + "\n", NETWORK, "address_invalid", "40 hex digits"),
        (MIXED[0][2:], NETWORK, "address_invalid", "40 hex digits"),
        ("0X" + MIXED[0][2:], NETWORK, "address_invalid", "40 hex digits"),
        ("0x" + "0" * 40, NETWORK, "address_forbidden", "nobody holds"),
        ("0x" + "0" * 39 + "1", NETWORK, "address_forbidden", "nobody holds"),
        (MIXED[1], NETWORK, "address_forbidden", "must not be paid"),
        (MIXED[0], "eip155:01", "network_mismatch", "isn't an EVM network"),
        (MIXED[0], "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "network_mismatch", "isn't an EVM network"),
    ],
)
def test_refusals(text: str, network: str, fault: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as refused:
        parse_evm_address(text, network, frozenset({MIXED[1]}))
    assert refused.value.fault == fault


@given(st.binary(min_size=20, max_size=20).filter(lambda raw: any(raw[:18])))
def test_every_address_survives_its_text(raw: bytes) -> None:
    assert parse_evm_address(eip55(raw), NETWORK) == raw


@given(st.text(), st.text(max_size=12))
def test_only_its_own_error_escapes(text: str, network: str) -> None:
    with pytest.raises(AddressError):
        parse_evm_address(text, network)
