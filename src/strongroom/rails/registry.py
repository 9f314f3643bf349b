"""Which plug-in speaks for which network, and what each must be told of its node."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.evm_address import EVM_NETWORK
from strongroom.formats.simulated import NETWORK as SIMULATED
from strongroom.rails.account_port import AccountRail
from strongroom.rails.bitcoin.rail import BitcoinRail
from strongroom.rails.evm.rail import EvmRail, Finality
from strongroom.rails.evm.several import SeveralRails
from strongroom.rails.port import Rail, RailError
from strongroom.rails.simulated import SimulatedRail

OTHERS_MAXIMUM: Final = 8
_HASH: Final = re.compile("[0-9a-f]{64}")


class NodeError(Exception):
    """A node is configured so that nothing could be read from it; the message names the field."""


class Node(msgspec.Struct, forbid_unknown_fields=True):
    """`genesis` is the hash of the first block that must be found at `url`. `cookie_file`, for Bitcoin, holds
    `NAME:PASSWORD`: the file that bitcoind writes at each start, or one that is made with its `rpcauth`.

    For EVM chains: `finality` is what won't be undone, by the node's word (`finalized`, `safe`) or by depth, of which 1
    is the newest block itself. `others` are nodes that aren't one's own and have to say the same.
    """

    url: str
    genesis: str
    cookie_file: str | None = None
    finality: Finality | None = None
    others: Annotated[list[str], msgspec.Meta(max_length=OTHERS_MAXIMUM)] = []


def open_rails(nodes: Mapping[str, Node]) -> dict[str, Rail]:
    """Those for coins, by network (CAIP-2). Not connected yet: whoever opens them asks for their identities before
    anything else.

    Raises: NodeError, also for networks of no kind.
    """
    return {network: _open(network, node) for network, node in nodes.items() if not _is_of_accounts(network)}


def open_account_rails(nodes: Mapping[str, Node]) -> dict[str, AccountRail]:
    """Those for accounts; to be opened where `open_rails` has looked at the rest. Raises: NodeError."""
    return {network: _open_evm(network, node) for network, node in nodes.items() if _is_of_accounts(network)}


def _is_of_accounts(network: str) -> bool:
    return EVM_NETWORK.fullmatch(network) is not None


def _open(network: str, node: Node) -> Rail:
    field = f"nodes.{network}"
    if network != SIMULATED and network not in NETWORKS:
        raise NodeError(f"{field}: there is no rail for this network")
    if node.finality is not None or node.others:
        raise NodeError(f"{field}: finality and others are for nodes of EVM chains")
    _check_genesis(field, node)
    try:
        if network in NETWORKS:
            return _open_bitcoin(field, network, node)
        if node.cookie_file is not None:
            raise NodeError(f"{field}.cookie_file: a node of this network has none")
        return SimulatedRail(node.url, node.genesis)
    except RailError as fault:
        raise NodeError(f"{field}.url: {fault}") from fault


def _check_genesis(field: str, node: Node) -> None:
    if _HASH.fullmatch(node.genesis) is None:
        raise NodeError(f"{field}.genesis: must be 64 hex digits, the hash of the chain's first block")


def _open_evm(network: str, node: Node) -> AccountRail:
    field = f"nodes.{network}"
    _check_genesis(field, node)
    if node.cookie_file is not None:
        raise NodeError(f"{field}.cookie_file: a node of this network has none")
    if node.finality is None or (type(node.finality) is int and node.finality < 1):
        raise NodeError(f"{field}.finality: must be `finalized`, `safe`, or a depth from 1")
    rails: list[EvmRail] = []
    for name, url in [("url", node.url), *((f"others[{at}]", each) for at, each in enumerate(node.others))]:
        try:
            rails.append(EvmRail(network, url, "0x" + node.genesis, node.finality))
        except RailError as fault:
            raise NodeError(f"{field}.{name}: {fault}") from fault
    own, *others = rails
    return SeveralRails(own, others, len(others)) if others else own


def _open_bitcoin(field: str, network: str, node: Node) -> Rail:
    if not node.genesis.startswith(network.removeprefix("bip122:")):
        raise NodeError(f"{field}.genesis: isn't the first block of {NETWORKS[network].name}, which the network names")
    if node.cookie_file is None or not Path(node.cookie_file).is_absolute():
        raise NodeError(f"{field}.cookie_file: must be the whole path of a file with NAME:PASSWORD for the node")
    return BitcoinRail(network, node.url, node.genesis, Path(node.cookie_file))
