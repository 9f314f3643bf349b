"""The sandbox's EVM node, alone: what it is when it was ended and is back."""

import subprocess
import time
from pathlib import Path

from tests.ports import port_block

from strongroom.sandbox import parts
from strongroom.sandbox.evm import Evm, node_arguments

STARTS = 5


def test_a_node_that_ends_again_and_again_goes_on_with_its_chain_by_our_clock(tmp_path: Path) -> None:
    """Anvil keeps the first block of each of its starts, and takes any of them for the chain's."""
    seen: set[str] = set()
    with port_block() as ports:
        port = ports.take()
        for start in range(STARTS):
            node = Evm(f"http://127.0.0.1:{port}")
            with subprocess.Popen([*parts.anvil(print), *node_arguments(tmp_path, port)]) as process:
                try:
                    node.wait(lambda process=process: process.poll() is None)  # type: ignore[misc]  # of this one
                    node.mine()
                    newest = node.call("eth_getBlockByNumber", "latest", False)
                    seen.add(node.genesis())
                finally:
                    process.terminate()
                    node.close()
            assert int(newest["number"], 16) == start + 1
            assert abs(int(newest["timestamp"], 16) - time.time()) < 30
    assert len(seen) == 1
