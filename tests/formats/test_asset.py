"""Assets by their CAIP-19 names."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.asset import AssetError, AssetKind, parse_asset

TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


@pytest.mark.parametrize(
    ("text", "kind", "network", "contract"),
    [
        ("bip122:000000000019d6689c085ae165831e93/slip44:0", "bitcoin", "bip122:000000000019d6689c085ae165831e93", ""),
        (f"eip155:31337/erc20:{TOKEN}", "erc20", "eip155:31337", TOKEN),
        ("iso4217:EUR", "fiat", "sepa", ""),
        ("sim:sandbox/coin:1", "simulated", "sim:sandbox", ""),
    ],
)
def test_names(text: str, kind: str, network: str, contract: str) -> None:
    asset = parse_asset(text)
    assert (asset.id, asset.kind, asset.network, asset.contract) == (text, AssetKind(kind), network, contract)


@pytest.mark.parametrize(
    "text",
    ["", "BTC", "sim:sandbox", "sim:sandbox/coin:2", "sim:other/coin:1", "iso4217:USD",
     "bip122:000000000019d6689c085ae165831e93", "bip122:00/slip44:0",
     "bip122:000000000019d6689c085ae165831e93/slip44:2", f"eip155:0/erc20:{TOKEN}", f"eip155:1/erc721:{TOKEN}",
     f"eip155:1/erc20:{TOKEN.lower()}", f"eip155:1/erc20:0x{'0' * 40}", f"eip155:1/erc20:{TOKEN}\n"],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(AssetError, match=r"CAIP-19|token's address"):
        parse_asset(text)


@given(st.text())
def test_only_its_own_error_escapes(text: str) -> None:
    with contextlib.suppress(AssetError):
        assert parse_asset(text).network
