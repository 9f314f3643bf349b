"""Pays what each wallet opens with: coins on the simulated chain and Bitcoin's, and a vault with its tokens on the EVM
node. The signer says where to, on its admin socket.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from strongroom.domain.document import Fields
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.bitcoin import Bitcoin
from strongroom.sandbox.evm import Evm
from strongroom.sandbox.evm_vault import guardian_of, is_open, open_vault
from strongroom.sandbox.organisation import BITCOIN, EVM, opening_of
from strongroom.sandbox.safe import treasurers
from strongroom.sandbox.trusted import ASK_TIMEOUT_S, SignerRefusedError, TrustedError, ask_signer

FUNDED_COINS: Final = 20
"""The opening is paid in so many coins, so that several batches can be under way."""
_TOKEN: Final = f"{EVM}/erc20:"


@dataclass(slots=True)
class Nodes:
    """Those of the chains that run. `simulated_url` is empty without a simulated one."""

    simulated_url: str = ""
    bitcoin: Bitcoin | None = None
    evm: Evm | None = None


def fund_wallets(path: Path, nodes: Nodes, organisation: str, opening: Mapping[str, int], keys: Path) -> None:
    """Pay the opening of each wallet whose chain runs, once. `path` is the signer's admin socket, `keys` the
    organisation's folder.

    Raises: TrustedError, BitcoinError, EvmError, httpx.HTTPError.
    """
    amount = opening.get(simulated.ASSET, 0)
    if nodes.simulated_url and amount:
        fund_wallet(path, nodes.simulated_url, organisation, amount)
    amount = opening.get(f"{BITCOIN}/slip44:0", 0)
    if nodes.bitcoin is not None and amount:
        nodes.bitcoin.fund(_addresses(path, organisation, BITCOIN), amount)
    if nodes.evm is not None:
        _open_vault(path, nodes.evm, organisation, opening, keys)


def open_vaults(path: Path, node: Evm, keys: Path) -> None:
    """Of every organisation of a sandbox, where a node that was killed has lost one. `keys` has a folder for each.

    Raises: TrustedError, EvmError.
    """
    for folder in keys.glob("org_*"):
        policy = json.loads((folder / "policy.json").read_text())
        if not is_open(node, folder.name):
            opening = opening_of({each["symbol"]: each["asset"] for each in policy["assets"]})
            try:
                _open_vault(path, node, folder.name, opening, folder)
            except SignerRefusedError:  # it was made, and never let in
                continue


def _open_vault(path: Path, node: Evm, organisation: str, opening: Mapping[str, int], keys: Path) -> None:
    tokens = {asset.removeprefix(_TOKEN): minor for asset, minor in opening.items() if asset.startswith(_TOKEN)}
    ether = opening.get(f"{EVM}/slip44:60", 0)
    if tokens and ether:
        (operator,) = _addresses(path, organisation, EVM, count=1)
        open_vault(node, organisation, operator, tokens, ether, treasurers(keys), guardian_of(keys.parent))


def _addresses(path: Path, organisation: str, network: str, count: int = FUNDED_COINS) -> list[str]:
    body: dict[str, JsonValue] = {
        "count": count, "first": 0, "generation": 0, "network": network, "organisation": organisation,
    }
    addresses = Fields(ask_signer(path, Ask.ADDRESSES, body)).take("addresses")
    if not isinstance(addresses, list):
        raise TrustedError("the signer gives no addresses")
    return [str(each) for each in addresses]


def fund_wallet(path: Path, chain_url: str, organisation: str, amount: int) -> None:
    """Pay the opening of a wallet on the simulated chain."""
    addresses = _addresses(path, organisation, simulated.NETWORK)
    share, rest = divmod(amount, len(addresses))
    with httpx.Client(base_url=chain_url, timeout=ASK_TIMEOUT_S, trust_env=False) as chain:
        for place, address in enumerate(addresses):
            minor = share + (rest if place == 0 else 0)
            chain.post("/fund", json={"address": address, "amount": str(minor)}).raise_for_status()
        chain.post("/mine", json={"blocks": 1}).raise_for_status()
