"""What a payout costs the wallet that pays it, in what its chain counts fees by. For previews: it decides nothing.

On Bitcoin and the simulated chain that is bytes, on EVM chains gas. How much is a payout's depends on what goes out
with it: so there are two numbers, its share of a large batch, and all of a chain transaction that pays it alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from strongroom.formats import simulated
from strongroom.formats.address_error import AddressError
from strongroom.formats.bitcoin_address import NETWORKS, bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.evm_address import EVM_NETWORK

BATCHED_GAS: Final = 10_000
"""To a payee who has some of the token; to others 17,000 more (docs/vault.md)."""
ALONE_GAS: Final = 110_000
"""More than a batch of one to a payee who has none (docs/vault.md)."""
_SHARE: Final = 1
"""Of what is in a large batch besides its payees, in vbytes or bytes."""
_OWN: Final = b"\x51\x20" + bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
"""Where coins and change may be: any taproot key will do, here the curve's generator."""


@dataclass(frozen=True, slots=True)
class Cost:
    """In vbytes, bytes or gas."""

    batched: int
    alone: int


def cost_of(network: str, address: str) -> Cost | None:
    """Of a payout to this address; None where nothing pays, or to what is no address there."""
    if EVM_NETWORK.fullmatch(network) is not None:
        return Cost(BATCHED_GAS, ALONE_GAS)
    if network == simulated.NETWORK:
        alone = simulated.signed_size(1, 2)
        return Cost(alone - simulated.signed_size(1, 1) + _SHARE, alone)
    if network not in NETWORKS:
        return None
    try:
        output = 8 + 1 + len(parse_bitcoin_address(address, network).script_pubkey)
    except AddressError:
        return None
    return Cost(output + _SHARE, output + _rest(network))


@lru_cache(len(NETWORKS))
def _rest(network: str) -> int:
    """Of a Bitcoin transaction: one coin and the change."""
    own = str(bitcoin_address_of(_OWN, network))
    return COIN_FORMATS[network].signed_sizes([own])([own])
