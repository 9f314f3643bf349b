"""Assets by their CAIP-19 names, and the network on which each is paid.

`bip122:<genesis>/slip44:0` is bitcoin, `eip155:<chain>/erc20:<address>` a token, `iso4217:EUR` money in a bank,
paid through SEPA, `sim:sandbox/coin:1` play money. How many decimals an asset has, the policy says, not its name.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.money import AssetId
from strongroom.formats.address_error import AddressError
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.evm_address import parse_evm_address
from strongroom.formats.simulated import ASSET as SIMULATED_ASSET
from strongroom.formats.simulated import NETWORK as SIMULATED_NETWORK

SEPA: Final = "sepa"

_TOKEN = re.compile(r"(eip155:[1-9][0-9]{0,17})/erc20:(0x[0-9a-fA-F]{40})")


class AssetError(ValueError):
    """The name isn't one of an asset that could be paid."""


class AssetKind(StrEnum):
    BITCOIN = "bitcoin"
    ERC20 = "erc20"
    FIAT = "fiat"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Asset:
    """`contract` is the token's address, empty for others."""

    id: AssetId
    kind: AssetKind
    network: str
    contract: str = ""


def parse_asset(text: str) -> Asset:
    """Raises: AssetError."""
    network, _, reference = text.partition("/")
    if network in NETWORKS and reference == "slip44:0":
        return Asset(AssetId(text), AssetKind.BITCOIN, network)
    if text == "iso4217:EUR":
        return Asset(AssetId(text), AssetKind.FIAT, SEPA)
    if text == SIMULATED_ASSET:
        return Asset(AssetId(text), AssetKind.SIMULATED, SIMULATED_NETWORK)
    token = _TOKEN.fullmatch(text)
    if token is None:
        raise AssetError("must be a CAIP-19 name of bitcoin, an ERC-20 token or the simulated coin, or iso4217:EUR")
    try:
        parse_evm_address(token[2], token[1])
    except AddressError as fault:
        raise AssetError(f"the token's address {fault}") from fault
    return Asset(AssetId(text), AssetKind.ERC20, token[1], token[2])
