"""Assets by their CAIP-19 names, and the network on which each is paid.

`bip122:<genesis>/slip44:0` is bitcoin, `eip155:<chain>/erc20:<address>` a token, `iso4217:EUR` money in a bank,
paid through SEPA. How many decimals an asset has, its name does not say: the policy does.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.money import AssetId
from strongroom.formats.address_error import AddressError
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.evm_address import parse_evm_address

SEPA: Final = "sepa"

_TOKEN = re.compile(r"(eip155:[1-9][0-9]{0,17})/erc20:(0x[0-9a-fA-F]{40})")


class AssetError(ValueError):
    """The name isn't one of an asset that could be paid."""


class AssetKind(StrEnum):
    BITCOIN = "bitcoin"
    ERC20 = "erc20"
    FIAT = "fiat"


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
    token = _TOKEN.fullmatch(text)
    if token is None:
        raise AssetError("must be a CAIP-19 name of bitcoin or an ERC-20 token, or iso4217:EUR")
    try:
        parse_evm_address(token[2], token[1])
    except AddressError as fault:
        raise AssetError(f"the token's address {fault}") from fault
    return Asset(AssetId(text), AssetKind.ERC20, token[1], token[2])
