"""What engine and watch are told of their nodes: what can't work is refused at the start, by the name of its field."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rails.bitcoin_node import REGTEST

from strongroom.engine import config as engine
from strongroom.formats.simulated import NETWORK as SIMULATED
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.several import SeveralRails
from strongroom.rails.registry import open_account_rails, open_rails
from strongroom.watch import config as watch

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
BITCOIN = {"url": "http://127.0.0.1:18443", "genesis": GENESIS, "cookie_file": "/var/lib/bitcoind/.cookie"}
CHAIN = {"url": "http://127.0.0.1:8433", "genesis": "ab" * 32}
EVM = "eip155:31337"
ACCOUNTS = {"url": "http://127.0.0.1:8545", "genesis": "cd" * 32, "finality": 2}
REST: dict[str, dict[str, Any]] = {
    "engine": {"database_url": "", "signer_socket": ""},
    "watch": {"database_url": "", "checkpoint_key_file": "", "last_checkpoint_file": "", "origin": "strongroom/a",
              "deployment": "0" * 16},
}


def read(process: str, folder: Path, nodes: dict[str, Any]) -> engine.Config | watch.Config:
    file = folder / "config.json"
    file.write_text(json.dumps({**REST[process], "nodes": nodes}))
    return engine.read_config(file) if process == "engine" else watch.read_config(file)


@pytest.mark.parametrize("process", REST)
def test_nodes_of_both_kinds_are_taken(process: str, tmp_path: Path) -> None:
    nodes = read(process, tmp_path, {REGTEST: BITCOIN, SIMULATED: CHAIN, EVM: ACCOUNTS}).nodes
    assert (nodes[REGTEST].cookie_file, nodes[SIMULATED].cookie_file) == (BITCOIN["cookie_file"], None)
    assert (open_rails(nodes).keys(), open_account_rails(nodes).keys()) == ({REGTEST, SIMULATED}, {EVM})


@pytest.mark.parametrize("finality", ["safe", "finalized", 1, 64])
def test_what_is_final_on_an_evm_chain_is_a_tag_or_a_depth(finality: str | int, tmp_path: Path) -> None:
    node = {**ACCOUNTS, "finality": finality}
    assert isinstance(open_account_rails(read("watch", tmp_path, {EVM: node}).nodes)[EVM], EvmRail)


def test_with_others_none_of_the_nodes_is_believed_alone(tmp_path: Path) -> None:
    node = {**ACCOUNTS, "others": ["https://a.example", "https://b.example"]}
    assert isinstance(open_account_rails(read("watch", tmp_path, {EVM: node}).nodes)[EVM], SeveralRails)


@pytest.mark.parametrize("process", REST)
@pytest.mark.parametrize(
    ("network", "node", "said"),
    [
        ("sim:other", CHAIN, "nodes.sim:other: there is no rail"),
        ("eip155:01", ACCOUNTS, "nodes.eip155:01: there is no rail"),
        (EVM, CHAIN, f"nodes.{EVM}.finality: must be"),
        (EVM, {**ACCOUNTS, "finality": 0}, f"nodes.{EVM}.finality: must be"),
        (EVM, {**ACCOUNTS, "finality": "latest"}, "`$.nodes[...].finality`"),
        (EVM, {**ACCOUNTS, "finality": True}, "`$.nodes[...].finality`"),
        (EVM, {**ACCOUNTS, "genesis": "0x" + "cd" * 32}, f"nodes.{EVM}.genesis: must be 64 hex digits"),
        (EVM, {**ACCOUNTS, "cookie_file": "/a"}, f"nodes.{EVM}.cookie_file: a node of this network has none"),
        (EVM, {**ACCOUNTS, "url": "http://node.example:8545"}, f"nodes.{EVM}.url: an EVM node must be at"),
        (EVM, {**ACCOUNTS, "others": ["https://a.example", "http://b.example"]},
         f"nodes.{EVM}.others[1]: an EVM node must be at"),
        (SIMULATED, {**CHAIN, "finality": 2}, f"nodes.{SIMULATED}: finality and others are for nodes of EVM chains"),
        (REGTEST, {**BITCOIN, "others": ["https://a.example"]}, f"nodes.{REGTEST}: finality and others are for nodes"),
        (REGTEST, CHAIN, f"nodes.{REGTEST}.genesis: isn't the first block of regtest"),
        (REGTEST, {**BITCOIN, "genesis": GENESIS[:-1]}, f"nodes.{REGTEST}.genesis: must be 64 hex digits"),
        (REGTEST, {**BITCOIN, "genesis": GENESIS + "\n"}, f"nodes.{REGTEST}.genesis: must be 64 hex digits"),
        (REGTEST, {**BITCOIN, "cookie_file": None}, f"nodes.{REGTEST}.cookie_file: must be the whole path"),
        (REGTEST, {**BITCOIN, "cookie_file": ".cookie"}, f"nodes.{REGTEST}.cookie_file: must be the whole path"),
        (REGTEST, {**BITCOIN, "url": "http://node.example:8332"}, f"nodes.{REGTEST}.url: a Bitcoin node must be at"),
        (REGTEST, {**BITCOIN, "cookie": "a:b"}, "unknown field `cookie`"),
        (SIMULATED, {**CHAIN, "cookie_file": "/a"}, f"nodes.{SIMULATED}.cookie_file: a node of this network has none"),
        (SIMULATED, {**CHAIN, "url": "http://10.0.0.1:1"}, f"nodes.{SIMULATED}.url: the simulated chain must be at"),
    ],
)
def test_a_node_that_cant_be_read_from_is_refused_by_the_name_of_its_field(
    process: str, network: str, node: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises((engine.ConfigError, watch.ConfigError)) as refused:
        read(process, tmp_path, {network: node})
    assert said in str(refused.value)
