"""The sandbox's Bitcoin node, alone: what it keeps when it is killed."""

from pathlib import Path

from tests.rails.bitcoin_node import running_node

from strongroom.sandbox.bitcoin import MATURE_BLOCKS, forget_filters

REORG = 5
ROUNDS = 3


def test_a_node_that_is_killed_has_its_blocks_when_it_is_back(tmp_path: Path) -> None:
    """Bitcoin Core writes them down once an hour, and gets from its peers what it lost: this one has none."""
    with running_node(tmp_path) as node:
        node.mine(3)
        before = node.rpc.call("getbestblockhash")
        node.kill()
        node.start()
        assert node.rpc.call("getbestblockhash") == before
        assert node.rpc.call("getblockcount") == MATURE_BLOCKS + 3


def test_a_node_that_is_killed_after_reorgs_starts_again(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        for _ in range(ROUNDS):
            node.mine(REORG)
            node.reorg(REORG)
            node.kill()
            forget_filters(tmp_path)  # without this it says that its index may be corrupted, and ends
            node.start()
            assert "basic block filter index" in node.rpc.call("getindexinfo")
