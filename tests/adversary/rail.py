"""The chain, whose miners the machine owns: they take what can follow, in any order, or leave it out for ever.

Guard has a node of its own, over a real socket, which shows this chain as it is. Blocks may go back, but for those that
are final by the policy. Coins that no transaction here made came from outside.
"""

import asyncio
import hashlib
import json
from base64 import b64decode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

from tests.adversary.till import coins_of

from strongroom.domain.document import Fields
from strongroom.formats import simulated
from strongroom.formats.simulated_block import GENESIS_PREVIOUS, block_hash
from strongroom.guard.config import Node
from strongroom.guard.eyes import Eyes

Coin = tuple[str, int]


@dataclass
class Block:
    raw: dict[str, Any]
    signed: dict[str, bytes] = field(default_factory=dict)
    """By id."""


class Rail:
    def __init__(self, finality_blocks: int) -> None:
        self.finality_blocks = finality_blocks
        self.heights: dict[str, int] = {}
        self.spent: dict[Coin, str] = {}
        self.blocks: list[Block] = []
        self.fixed = 1
        """So many blocks are final, or were once."""
        self.salts = count()
        self.mine([])
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))

    def close(self) -> None:
        self._server.close()
        self._loop.run_until_complete(self._server.wait_closed())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    # What miners do.

    def can_follow(self, raw: bytes, known: Collection[str]) -> bool:
        """Whether the chain could take it now; `known` are all transactions of which a parent must be here first."""
        transaction, name = read(raw)
        return name not in self.heights and all(self.has(coin, known) for coin in transaction.inputs)

    def has(self, coin: simulated.Input, known: Collection[str]) -> bool:
        """Whether it is there to be spent."""
        parent = coin.txid.hex()
        return (parent, coin.index) not in self.spent and (parent not in known or parent in self.heights)

    def mine(self, signed: Sequence[bytes]) -> None:
        """One block with these, each of which can follow when those before it are there."""
        height = len(self.blocks)
        previous = bytes.fromhex(self.blocks[-1].raw["hash"]) if self.blocks else GENESIS_PREVIOUS
        salt = hashlib.sha256(next(self.salts).to_bytes(8)).digest()
        block = Block({
            "hash": block_hash(previous, height, salt, signed).hex(), "height": height, "previous": previous.hex(),
            "salt": salt.hex(), "transactions": [raw.hex() for raw in signed],
        })
        for raw in signed:
            transaction, name = read(raw)
            block.signed[name] = raw
            self.heights[name] = height
            self.spent.update(dict.fromkeys(coins_of(transaction), name))
        self.blocks.append(block)
        self.fixed = max(self.fixed, len(self.blocks) - self.finality_blocks + 1)

    def go_back(self, blocks: int) -> None:
        """A reorg, which takes nothing back that is final."""
        for _ in range(min(blocks, len(self.blocks) - self.fixed)):
            for name, raw in self.blocks.pop().signed.items():
                del self.heights[name]
                for coin in coins_of(read(raw)[0]):
                    del self.spent[coin]

    def is_final(self, name: str) -> bool:
        """Or was once: that is never taken back, however short the chain is now."""
        return self.heights.get(name, self.fixed) < self.fixed

    # What guard sees.

    @property
    def node(self) -> Node:
        return Node("127.0.0.1", self._server.sockets[0].getsockname()[1], None, str(self.blocks[0].raw["hash"]))

    def attested(self, eyes: Eyes, name: str, height: int) -> bytes:
        """Raises: DocumentError for what guard's node doesn't show it."""
        body = {"chain_transaction": name, "height": height, "network": simulated.NETWORK}
        answer = self._loop.run_until_complete(eyes.attest(Fields(body)))
        return b64decode(str(answer["attestation"]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        height = int(request.split(b" ")[1].rpartition(b"/")[2])
        if height < len(self.blocks):
            body = json.dumps(self.blocks[height].raw).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@lru_cache(4_096)
def read(raw: bytes) -> tuple[simulated.Transaction, str]:
    transaction, _ = simulated.parse_signed(raw)
    return transaction, simulated.transaction_id(simulated.encode_unsigned(transaction)).hex()
