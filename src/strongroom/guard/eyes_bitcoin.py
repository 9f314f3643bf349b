"""Guard's own eyes on Bitcoin: a node of guard's own, asked by JSON-RPC for raw blocks and headers.

What is checked: the first block is the one that was configured; each header has the hash that it was asked for by, goes
on from the one before, and has the work that it claims; the block's header commits to just the chain transactions in
it, and the one asked for is among them. So many headers follow as the policy asks, less one.

What is believed of the node: that these blocks are of the chain with the most work, and that whoever owned the coins
signed. On a simulated chain guard checks signatures itself; here that is the node's work, which has verified every
script up to its tip, and the miners', who have built on it. The work that a header claims isn't held against the
chain's: a node that lies could make blocks that claim little. That is why the node is guard's own.
"""

import asyncio
import json
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Final

from strongroom.domain.document import Fields
from strongroom.formats.bitcoin_block import BYTES_MAXIMUM, HEADER_LENGTH, Header, parse_block, parse_header
from strongroom.guard.config import Node
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.record import take_bytes, take_hash

COOKIE_MAXIMUM: Final = 1_024


async def look(node: Node, identifier: str, height: int, depth: int, _: bytes) -> tuple[str, ...]:
    """What it spends, in the block at this height, under so many that follow. Raises: many kinds; the caller knows."""
    if await _hash_at(node, 0) != node.genesis:
        raise ValueError("its first block isn't the one that was configured")
    headers = [await _header(node, await _hash_at(node, each)) for each in range(height, height + depth)]
    if any(after.previous != before.block_hash for before, after in pairwise(headers)):
        raise ValueError("its blocks don't go on from each other: a reorg, or a lie")
    answer = await _ask(node, "getblock", headers[0].block_hash, 0)
    return await asyncio.to_thread(_spends, answer, headers[0].block_hash, identifier)


def _spends(answer: bytes, block_hash: str, identifier: str) -> tuple[str, ...]:
    block = parse_block(take_bytes(result(answer), "result", HEADER_LENGTH, BYTES_MAXIMUM))
    if block.block_hash != block_hash:
        raise ValueError("it gave another block than the one asked for")
    for each in block.entries:
        if each.txid == identifier:
            return tuple(spent.outpoint for spent in each.transaction.inputs)
    raise ValueError("it doesn't stand in that block")


async def _header(node: Node, block_hash: str) -> Header:
    answer = result(await _ask(node, "getblockheader", block_hash, False))
    header = parse_header(take_bytes(answer, "result", HEADER_LENGTH, HEADER_LENGTH))
    if header.block_hash != block_hash:
        raise ValueError("it gave another header than the one asked for")
    return header


async def _hash_at(node: Node, height: int) -> str:
    return take_hash(result(await _ask(node, "getblockhash", height)), "result")


async def _ask(node: Node, method: str, *parameters: object) -> bytes:
    """With the name and password of the cookie's file, which bitcoind writes anew at each start."""
    secret = await asyncio.to_thread(_secret, Path(node.cookie_file or ""))
    body = json.dumps({"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters}).encode()
    headers = f"authorization: Basic {secret}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return await node.ask("POST /", body, headers)


def _secret(file: Path) -> str:
    with file.open("rb") as opened:
        return b64encode(opened.read(COOKIE_MAXIMUM).strip()).decode()


def result(raw: bytes) -> Fields:
    """With the field `result` alone. Raises: ValueError, also when the node says no."""
    answer = Fields(parse_object(raw))
    answer.exactly("jsonrpc", "2.0")
    answer.integer("id", 1, 1)
    if answer.has("error"):
        raise ValueError(f"it says no: {answer.inner('error').text('message', 1_000)}")
    return answer
