"""Guard's own eyes: reads a few blocks from a node of its own, and signs what stands in them.

Believes the node that its blocks are those of the one true chain. What it checks (elsewhere as `eyes_bitcoin` and
`eyes_evm` say): the first block is the one that was configured, each has the hash of its content and goes on from the
one before, and whoever owned the coins signed. One look at a time, a block at a time, the heavy work beside the event
loop: cosigning never waits for it. Without a node guard attests nothing, and says so.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.simulated_block import block_hash
from strongroom.guard import eyes_bitcoin, eyes_evm
from strongroom.guard.config import Node
from strongroom.guard.control_log import ControlLog
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.canonical import JsonValue, parse_object
from strongroom.protocol.record import take_bytes, take_distinct, take_hash

BLOCK_TRANSACTIONS_MAXIMUM: Final = 20_000
HEIGHT_MAXIMUM: Final = 2**31


class Eyes:
    def __init__(
        self, nodes: Mapping[str, Node], key: SigningKey, log: ControlLog, clock: Callable[[], Instant]
    ) -> None:
        self._nodes, self._key, self._log, self._clock = nodes, key, log, clock
        self._one_look = asyncio.Lock()

    async def attest(self, fields: Fields) -> Mapping[str, JsonValue]:
        """A frame with an attestation, if it is as deep as every policy asks for. `height` is where to look; `call` is
        what was signed for a vault.

        Raises: DocumentError for what guard doesn't see.
        """
        network, identifier = fields.text("network"), take_hash(fields, "chain_transaction")
        height = fields.integer("height", 1, HEIGHT_MAXIMUM)
        call = fields.done(take_bytes(fields, "call", 1, eyes_evm.CALL_MAXIMUM) if fields.has("call") else b"")
        node = self._nodes.get(network)
        wallets = [each.policy.wallets.get(network) for each in self._log.current.values()]
        depth = max((each.finality_blocks for each in wallets if each is not None), default=0)
        if node is None or depth == 0:
            raise DocumentError("network", "guard reads no node of it for a wallet, so it attests nothing there")
        try:
            async with self._one_look:
                spends = await _LOOKS.get(network, eyes_evm.look)(node, identifier, height, depth, call)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as fault:
            raise DocumentError("chain_transaction", f"guard's own node doesn't show it: {fault}") from fault
        seen = wire.Attestation(self._clock(), identifier, depth, network, spends)
        raw = wire.encode_attestation(seen, self._log.standings.deployment)
        return {"attestation": b64encode(wire.sign_frame(self._key, raw, wire.ATTESTATION_TYPE)).decode()}


async def _look(node: Node, identifier: str, height: int, depth: int, _: bytes) -> tuple[str, ...]:
    """What it spends, in the block at this height, under so many that follow. Raises: many kinds; the caller knows."""
    if (await _block(node, 0))[0] != node.genesis:
        raise ValueError("its first block isn't the one that was configured")
    blocks = [await _block(node, each) for each in range(height, height + depth)]
    if any(after[1] != before[0] for before, after in pairwise(blocks)):
        raise ValueError("its blocks don't go on from each other: a reorg, or a lie")
    return await asyncio.to_thread(_spends, blocks[0][2], identifier)


async def _block(node: Node, height: int) -> tuple[str, str, tuple[bytes, ...]]:
    return await asyncio.to_thread(_read, await node.ask(f"GET /blocks/{height}"), height)


def _read(raw: bytes, height: int) -> tuple[str, str, tuple[bytes, ...]]:
    """Its hash, that of the one before, and its signed transactions."""
    fields = Fields(parse_object(raw))
    said, previous, salt = (take_hash(fields, name) for name in ("hash", "previous", "salt"))
    fields.integer("height", height, height)
    signed = fields.done(take_distinct(fields, "transactions", BLOCK_TRANSACTIONS_MAXIMUM, bytes.fromhex))
    if block_hash(bytes.fromhex(previous), height, bytes.fromhex(salt), signed).hex() != said:
        raise ValueError(f"the hash of block {height} isn't that of its content")
    return said, previous, signed


def _spends(transactions: tuple[bytes, ...], identifier: str) -> tuple[str, ...]:
    for signed in transactions:
        transaction, witnesses = simulated.parse_signed(signed)
        if simulated.transaction_id(simulated.encode_unsigned(transaction)).hex() == identifier:
            simulated.verify_witnesses(transaction, witnesses)
            return tuple(f"{each.txid.hex()}:{each.index}" for each in transaction.inputs)
    raise ValueError("it doesn't stand in that block")


_LOOKS: Final = {simulated.NETWORK: _look} | dict.fromkeys(NETWORKS, eyes_bitcoin.look)
