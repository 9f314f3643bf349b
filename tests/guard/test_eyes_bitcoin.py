"""Guard's own eyes on a real Bitcoin node, and on nodes that lie.

The attacker owns the engine, and in some tests guard's node. It wants an attestation of what isn't final, or isn't so.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.formats.test_bitcoin_block import TRANSACTIONS, mined
from tests.guard.process import free_port
from tests.rails import bitcoin_node
from tests.rails.bitcoin_node import REGTEST, running_node

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.formats.bitcoin_block import parse_block
from strongroom.formats.bitcoin_transaction import Output, Transaction, transaction_id
from strongroom.guard.config import Node
from strongroom.guard.eyes import Eyes
from strongroom.protocol.guard_wire import Attestation, open_attestation

KEY = SigningKey(b"\x05" * 32)
DEPLOYMENT = "0" * 16
DEPTH = 3


@pytest.fixture(scope="module")
def bitcoin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bitcoin_node.Node]:
    with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running


def eyes_at(node: Node) -> Eyes:
    rule = SimpleNamespace(policy=SimpleNamespace(wallets={REGTEST: SimpleNamespace(finality_blocks=DEPTH)}))
    log: Any = SimpleNamespace(current={"org": rule}, standings=SimpleNamespace(deployment=DEPLOYMENT))
    return Eyes({REGTEST: node}, KEY, log, lambda: Instant(1_700_000_000_000))


def guards(bitcoin: bitcoin_node.Node, **changes: Any) -> Node:
    known = {"port": bitcoin.port, "genesis": bitcoin.rpc.call("getblockhash", 0), "cookie_file": str(bitcoin.cookie)}
    return Node(host="127.0.0.1", tls=None, **{**known, **changes})


async def attest(node: Node, chain_transaction: str, height: int) -> Attestation:
    """Raises: DocumentError."""
    body = {"chain_transaction": chain_transaction, "height": height, "network": REGTEST}
    frame = b64decode(str((await eyes_at(node).attest(Fields(body)))["attestation"]))
    return open_attestation(bytes(KEY.verify_key), frame, DEPLOYMENT)


def paid(bitcoin: bitcoin_node.Node) -> tuple[str, int]:
    """A chain transaction of the miner's, and the height at which it stands."""
    txid = bitcoin.rpc.call("sendtoaddress", bitcoin_node.new_key().address, "0.01", wallet=bitcoin_node.WALLET)
    bitcoin.mine()
    return txid, bitcoin.rpc.call("getblockcount")


def test_what_stands_under_enough_blocks_is_attested_with_the_coins_that_it_spends(bitcoin: bitcoin_node.Node) -> None:
    txid, height = paid(bitcoin)
    for _ in range(DEPTH - 1):
        with pytest.raises(DocumentError, match="it says no: Block height out of range"):
            asyncio.run(attest(guards(bitcoin), txid, height))
        bitcoin.mine()
    seen = asyncio.run(attest(guards(bitcoin), txid, height))
    assert (seen.identifier, seen.depth, seen.network) == (txid, DEPTH, REGTEST)
    known = bitcoin.rpc.call("gettransaction", txid, True, True, wallet=bitcoin_node.WALLET)["decoded"]["vin"]
    assert seen.spends == tuple(f"{each['txid']}:{each['vout']}" for each in known)
    for other in (height - 1, height + 1):
        bitcoin.mine()
        with pytest.raises(DocumentError, match="doesn't stand in that block"):
            asyncio.run(attest(guards(bitcoin), txid, other))


def test_a_reorg_takes_the_block_away_and_the_attestation_with_it(bitcoin: bitcoin_node.Node) -> None:
    txid, height = paid(bitcoin)
    bitcoin.mine(DEPTH)
    asyncio.run(attest(guards(bitcoin), txid, height))
    bitcoin.reorg(DEPTH + 1)
    with pytest.raises(DocumentError, match="doesn't stand in that block"):
        asyncio.run(attest(guards(bitcoin), txid, height))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"genesis": "0" * 64}, "first block isn't the one"),
        ({"cookie_file": "/nonexistent/cookie"}, "No such file"),
        ({"cookie_file": "/etc/hostname"}, "no answer to POST /"),
    ],
)
def test_what_guard_is_told_wrong_is_said(changes: dict[str, str], said: str, bitcoin: bitcoin_node.Node) -> None:
    with pytest.raises(DocumentError, match=said):
        asyncio.run(attest(guards(bitcoin, **changes), "a" * 64, 1))


Call = Callable[[str, list[Any]], Any]


class Forged:
    """A chain that a liar made with the least work, each block on the one before; what is asked for stands in one."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        for number in range(DEPTH + 1):
            previous = self.hash_of(self.blocks[-1]) if self.blocks else bytes(32)
            mine = [Transaction(2, TRANSACTIONS[0].inputs, (Output(number, b"\x51"),), 0), *TRANSACTIONS[1:3]]
            self.blocks.append(mined(mine, previous=previous))
        self.txid = transaction_id(TRANSACTIONS[1])

    def hash_of(self, block: bytes) -> bytes:
        return bytes.fromhex(parse_block(block).block_hash)[::-1]

    def name(self, height: int) -> str:
        return parse_block(self.blocks[height]).block_hash

    def call(self, method: str, parameters: list[Any]) -> Any:
        if method == "getblockhash":
            return self.name(parameters[0])
        block = next(each for each in self.blocks if parse_block(each).block_hash == parameters[0])
        return block[:80].hex() if method == "getblockheader" else block.hex()


async def lying(port: int, call: Call) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = json.loads(await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0])))
        assert head.startswith(b"POST / HTTP/1.1\r\n")
        assert b"\r\nauthorization: Basic " in head
        answer = call(asked["method"], asked["params"])
        if not isinstance(answer, bytes):
            body = answer if isinstance(answer, dict) else {"jsonrpc": "2.0", "id": asked["id"], "result": answer}
            raw = json.dumps(body).encode()
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)


def look_at_liar(forged: Forged, call: Call, cookie: Path) -> Attestation:
    cookie.write_text("guard:secret\n")

    async def look() -> Attestation:
        port = free_port()
        server = await lying(port, call)
        try:
            node = Node("127.0.0.1", port, None, parse_block(forged.blocks[0]).block_hash, str(cookie))
            return await attest(node, forged.txid, 1)
        finally:
            server.close()

    return asyncio.run(look())


def test_a_liars_chain_is_believed_only_as_far_as_it_holds_together(tmp_path: Path) -> None:
    """The control: a node that makes a whole chain up is believed, which is why it is guard's own."""
    forged = Forged()
    assert look_at_liar(forged, forged.call, tmp_path / "cookie").identifier == forged.txid


def instead(forged: Forged, method: str, answer: Any) -> Call:
    return lambda asked, parameters: answer if asked == method else forged.call(asked, parameters)


def unlinked(forged: Forged) -> Call:
    """Each is what its hash says; the second is of another chain."""
    forged.blocks[2] = mined(TRANSACTIONS[3:5], previous=b"\x07" * 32)
    return forged.call


LIES: dict[str, tuple[Callable[[Forged], Call], str]] = {
    "blocks that don't go on from each other": (unlinked, "don't go on from each other"),
    "another header": (lambda f: instead(f, "getblockheader", f.blocks[0][:80].hex()), "another header"),
    "a header without work": (
        lambda f: instead(f, "getblockheader", (f.blocks[1][:72] + b"\xff\xff\x00\x1d" + f.blocks[1][76:80]).hex()),
        "hasn't the work"),
    "half of a header": (lambda f: instead(f, "getblockheader", f.blocks[1][:79].hex()), "result"),
    "another block": (lambda f: instead(f, "getblock", f.blocks[2].hex()), "another block"),
    "a transaction put in": (
        lambda f: instead(f, "getblock", (f.blocks[1][:80] + mined(TRANSACTIONS)[80:]).hex()), "other transactions"),
    "half of a block": (lambda f: instead(f, "getblock", f.blocks[1][:-9].hex()), "ends too early"),
    "a block that isn't hex": (lambda f: instead(f, "getblock", "zz" * 80), "must be lower-case hex"),
    "a hash that is none": (lambda f: instead(f, "getblockhash", "ab"), "result"),
    "a number": (lambda f: instead(f, "getblockhash", 7), "result"),
    "no, with a reason": (
        lambda f: instead(f, "getblockheader", {"jsonrpc": "2.0", "id": 1, "error": {"code": -5, "message": "gone"}}),
        "it says no: gone"),
    "the answer to another": (
        lambda f: instead(f, "getblockhash", {"jsonrpc": "2.0", "id": 2, "result": "ab" * 32}), "id"),
    "no JSON-RPC": (lambda f: instead(f, "getblockhash", {"id": 1, "result": "ab" * 32}), "jsonrpc"),
    "no JSON": (lambda f: instead(f, "getblock", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{"), "JSON"),
    "too long": (
        lambda f: instead(f, "getblock", b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n"), "no answer to POST"),
    "nothing": (lambda f: instead(f, "getblock", b""), "doesn't show it"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_that_can_be_told_isnt_attested(name: str, tmp_path: Path) -> None:
    forged = Forged()
    lie, said = LIES[name]
    with pytest.raises(DocumentError, match=said):
        look_at_liar(forged, lie(forged), tmp_path / "cookie")
