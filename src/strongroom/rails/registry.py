"""Which plug-in speaks for which network, and what each must be told of its node."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.simulated import NETWORK as SIMULATED
from strongroom.rails.bitcoin.rail import BitcoinRail
from strongroom.rails.port import Rail, RailError
from strongroom.rails.simulated import SimulatedRail

_HASH: Final = re.compile("[0-9a-f]{64}")


class NodeError(Exception):
    """A node is configured so that nothing could be read from it; the message names the field."""


class Node(msgspec.Struct, forbid_unknown_fields=True):
    """`genesis` is the hash of the first block that must be found at `url`. `cookie_file`, for Bitcoin, holds
    `NAME:PASSWORD`: the file that bitcoind writes at each start, or one that is made with its `rpcauth`."""

    url: str
    genesis: str
    cookie_file: str | None = None


def open_rails(nodes: Mapping[str, Node]) -> dict[str, Rail]:
    """By network (CAIP-2). Not connected yet: whoever opens them asks for their identities before anything else.

    Raises: NodeError.
    """
    return {network: _open(network, node) for network, node in nodes.items()}


def _open(network: str, node: Node) -> Rail:
    field = f"nodes.{network}"
    if network != SIMULATED and network not in NETWORKS:
        raise NodeError(f"{field}: there is no rail for this network")
    if _HASH.fullmatch(node.genesis) is None:
        raise NodeError(f"{field}.genesis: must be 64 hex digits, the hash of the chain's first block")
    try:
        if network in NETWORKS:
            return _open_bitcoin(field, network, node)
        if node.cookie_file is not None:
            raise NodeError(f"{field}.cookie_file: a node of this network has none")
        return SimulatedRail(node.url, node.genesis)
    except RailError as fault:
        raise NodeError(f"{field}.url: {fault}") from fault


def _open_bitcoin(field: str, network: str, node: Node) -> Rail:
    if not node.genesis.startswith(network.removeprefix("bip122:")):
        raise NodeError(f"{field}.genesis: isn't the first block of {NETWORKS[network].name}, which the network names")
    if node.cookie_file is None or not Path(node.cookie_file).is_absolute():
        raise NodeError(f"{field}.cookie_file: must be the whole path of a file with NAME:PASSWORD for the node")
    return BitcoinRail(network, node.url, node.genesis, Path(node.cookie_file))
