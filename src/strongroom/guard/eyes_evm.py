"""Guard's own eyes on EVM chains: what a vault has decided of a batch, as a node of guard's own says by JSON-RPC.

The batch's name is made here, of the call that is shown, and commits to its chain and vault: so it is that vault that
is asked, whichever others answer to that name. The answer is as of the block at the height that was asked for, under so
many more that follow from it. A vault takes nothing back of what is attested, but for a skip when a retry takes it
over, which is an attempt itself. That a batch was executed is never said, only which of its items it left out.

What is believed of the node: its blocks, which nobody needs work to make up, and its word of what the contract answers.
That is why it is guard's own.
"""

import json
from itertools import pairwise
from typing import Final

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_vault_call import KILL, parse_vault_call
from strongroom.guard.config import Node
from strongroom.guard.eyes_bitcoin import result

CALL_MAXIMUM: Final = 2**15
GAS: Final = "0x30d40"
"""200,000: who has us ask a contract of his own keeps our node busy no longer."""
_EXECUTED: Final = 1
_KILLED: Final = 2


async def look(node: Node, identifier: str, height: int, depth: int, raw: bytes) -> tuple[str, ...]:
    """What excludes that its batch pays: `BATCH:kill`, or `BATCH:INDEX` of each item that it skipped.

    Raises: many kinds; the caller knows.
    """
    call = parse_vault_call(raw)
    if keccak256(raw).hex() != identifier or not call.items:
        raise ValueError("what is shown isn't the call of this name, or pays nobody")
    if int(await _ask(node, "eth_chainId"), 16) != call.chain_id or (await _block(node, 0))[0] != "0x" + node.genesis:
        raise ValueError("its chain isn't the one that was configured, or that the call is for")
    blocks = [await _block(node, each) for each in range(height, height + depth)]
    if any(after[1] != before[0] for before, after in pairwise(blocks)):
        raise ValueError("its blocks don't go on from each other: a reorg, or a lie")
    name = call.batch.name
    question = {"data": "0x" + encode_call("fates(bytes32)", [name]).hex(), "gas": GAS, "to": "0x" + call.vault.hex()}
    answer = bytes.fromhex((await _ask(node, "eth_call", question, {"blockHash": blocks[0][0]}))[2:])
    status, skipped = int.from_bytes(answer[:32]), int.from_bytes(answer[32:])
    if len(answer) == 64 and status == _KILLED:
        return (f"{name.hex()}:{KILL}",)
    indexes = [index for index in range(len(call.items)) if skipped >> index & 1]
    if len(answer) != 64 or status != _EXECUTED or not indexes:
        raise ValueError("its vault hasn't killed that batch, nor skipped any of its items")
    return tuple(f"{name.hex()}:{index}" for index in indexes)


async def _block(node: Node, height: int) -> tuple[str, str]:
    """Its hash, and that of the one before."""
    body = _body("eth_getBlockByNumber", hex(height), False)
    block = result(await node.ask("POST /", body, _HEADERS.format(len(body)))).inner("result")
    return block.text("hash"), block.text("parentHash")


async def _ask(node: Node, method: str, *parameters: object) -> str:
    body = _body(method, *parameters)
    return result(await node.ask("POST /", body, _HEADERS.format(len(body)))).text("result")


_HEADERS: Final = "content-type: application/json\r\ncontent-length: {}\r\n"


def _body(method: str, *parameters: object) -> bytes:
    return json.dumps({"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters}).encode()
