"""Guard's own eyes: reads a few blocks from a node of its own, and signs what stands in them.

Believes the node that its blocks are those of the one true chain. What it checks: the first block is the one that was
configured, each has the hash of its content and goes on from the one before, and whoever owned the coins signed. One
look at a time, a block at a time, the heavy work beside the event loop: cosigning never waits for it. Without a node
guard attests nothing, and says so.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.formats.simulated_block import block_hash
from strongroom.guard.config import Node
from strongroom.guard.control_log import ControlLog
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.canonical import JsonValue, parse_object
from strongroom.protocol.record import take_distinct, take_hash

BLOCK_BYTES_MAXIMUM: Final = 16 * 2**20
BLOCK_TRANSACTIONS_MAXIMUM: Final = 20_000
HEIGHT_MAXIMUM: Final = 2**31
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,8})\r\n")

_Block = tuple[str, str, tuple[bytes, ...]]
"""Its hash, that of the one before, and its signed transactions."""


class Eyes:
    def __init__(
        self, nodes: Mapping[str, Node], key: SigningKey, log: ControlLog, clock: Callable[[], Instant]
    ) -> None:
        self._nodes, self._key, self._log, self._clock = nodes, key, log, clock
        self._one_look = asyncio.Lock()

    async def attest(self, fields: Fields) -> Mapping[str, JsonValue]:
        """A frame with an attestation, if it is as deep as every policy asks for. `height` is where to look.

        Raises: DocumentError for what guard doesn't see.
        """
        network, identifier = fields.text("network"), take_hash(fields, "chain_transaction")
        height = fields.integer("height", 1, HEIGHT_MAXIMUM)
        fields.close()
        node = self._nodes.get(network)
        wallets = [each.policy.wallets.get(network) for each in self._log.current.values()]
        depth = max((each.finality_blocks for each in wallets if each is not None), default=0)
        if node is None or depth == 0:
            raise DocumentError("network", "guard reads no node of it for a wallet, so it attests nothing there")
        try:
            async with self._one_look:
                spends = await _look(node, identifier, height, depth)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as fault:
            raise DocumentError("chain_transaction", f"guard's own node doesn't show it: {fault}") from fault
        raw = wire.encode_attestation(
            wire.Attestation(self._clock(), identifier, depth, network, spends), self._log.standings.deployment
        )
        return {"attestation": b64encode(wire.sign_frame(self._key, raw, wire.ATTESTATION_TYPE)).decode()}


async def _look(node: Node, identifier: str, height: int, depth: int) -> tuple[str, ...]:
    """What it spends, in the block at this height, under so many that follow. Raises: many kinds; the caller knows."""
    if (await _block(node, 0))[0] != node.genesis:
        raise ValueError("its first block isn't the one that was configured")
    blocks = [await _block(node, each) for each in range(height, height + depth)]
    if any(after[1] != before[0] for before, after in pairwise(blocks)):
        raise ValueError("its blocks don't go on from each other: a reorg, or a lie")
    return await asyncio.to_thread(_spends, blocks[0], identifier)


async def _block(node: Node, height: int) -> _Block:
    reader, writer = await asyncio.open_connection(node.host, node.port, ssl=node.tls)
    try:
        writer.write(f"GET /blocks/{height} HTTP/1.1\r\nhost: {node.host}\r\nconnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = _LENGTH.search(head)
        if not head.startswith(b"http/1.1 200 ") or length is None or int(length[1]) > BLOCK_BYTES_MAXIMUM:
            raise ValueError(f"no block {height} of at most {BLOCK_BYTES_MAXIMUM} bytes")
        raw = await reader.readexactly(int(length[1]))
    finally:
        writer.close()
    return await asyncio.to_thread(_read, raw, height)


def _read(raw: bytes, height: int) -> _Block:
    fields = Fields(parse_object(raw))
    said, previous, salt = (take_hash(fields, name) for name in ("hash", "previous", "salt"))
    fields.integer("height", height, height)
    signed = take_distinct(fields, "transactions", BLOCK_TRANSACTIONS_MAXIMUM, bytes.fromhex)
    fields.close()
    if block_hash(bytes.fromhex(previous), height, bytes.fromhex(salt), signed).hex() != said:
        raise ValueError(f"the hash of block {height} isn't that of its content")
    return said, previous, signed


def _spends(block: _Block, identifier: str) -> tuple[str, ...]:
    for signed in block[2]:
        transaction, witnesses = simulated.parse_signed(signed)
        if simulated.transaction_id(simulated.encode_unsigned(transaction)).hex() == identifier:
            simulated.verify_witnesses(transaction, witnesses)
            return tuple(f"{each.txid.hex()}:{each.index}" for each in transaction.inputs)
    raise ValueError("it doesn't stand in that block")
