"""Guard's own eyes, on a real simulated chain, and on nodes that lie or keep silent; the signer believes what they saw.

The attacker owns the engine, and in some tests guard's node. It wants an attestation of what isn't final, or isn't so.
"""

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.guard.process import free_port
from tests.guard.test_with_signer import RealGuard
from tests.rails.chain import Chain, running_chain
from tests.signer.world import CLEO, DAN, ORGANISATION, AskRefused, World, payee

from strongroom.domain.document import DocumentError, Fields
from strongroom.formats import simulated
from strongroom.formats.simulated_block import block_hash
from strongroom.guard.config import Node
from strongroom.guard.eyes import Eyes
from strongroom.guard.main import Listeners
from strongroom.guard.officers import Limiter, Officers
from strongroom.protocol.guard_wire import open_attestation
from strongroom.protocol.negative import Action, InstructionError

MINOR = 20_000


class Watched:
    """A signer, a guard with eyes, and the chain that both mean."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        for name in ("signer", "guard"):
            (folder / name).mkdir(mode=0o700)
        self.chain = chain
        self.node = Node("127.0.0.1", chain.port, None, chain.call("GET", "/identity")["genesis"])
        self.world = World(folder / "signer")
        self.guard: Any = RealGuard(self.world, folder / "guard", nodes={simulated.NETWORK: self.node})
        self.world.guard = self.guard
        self.world._open(self.world.journal)
        self.world.notary.agree()
        self.guard.beat()

    def coin(self, minor: int = 60_000) -> simulated.Input:
        """A real one, of the organisation's wallet, in a block."""
        address = self.world.wallet.address(ORGANISATION, 0, 0)
        txid = self.chain.fund(address, minor)
        self.chain.mine()
        return simulated.Input(bytes.fromhex(txid), 0, minor, address)

    def send(self, signed: bytes) -> tuple[str, int]:
        """Its id, and the height of the block that it will stand in."""
        answer = self.chain.call("POST", "/transactions", {"signed": signed.hex()})
        assert answer["accepted"], answer
        return str(answer["txid"]), int(self.chain.call("GET", "/tip")["height"]) + 1

    def attest(self, chain_transaction: str, height: int, network: str = simulated.NETWORK) -> bytes:
        """Raises: DocumentError."""
        return attested(self.guard.parts.eyes, chain_transaction, height, network)


def attested(eyes: Eyes, chain_transaction: str, height: int, network: str = simulated.NETWORK) -> bytes:
    body = {"chain_transaction": chain_transaction, "height": height, "network": network}
    return b64decode(str(asyncio.run(eyes.attest(Fields(body)))["attestation"]))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with running_chain(tmp_path) as chain:
        yield Watched(tmp_path, chain)


def test_what_guard_saw_final_makes_a_signed_payout_void_and_its_successor_is_paid_once(watched: Watched) -> None:
    world, coin = watched.world, watched.coin()
    record = world.cooled()
    payout = world.intent(record, MINOR // 2, external_id="trip")
    paid = world.sign([payout], coins=[coin])
    cancel, _ = world.transaction([], coins=[coin], fee=900)
    txid, height = watched.send(world.sign([], operation="cancel", raw=cancel))
    watched.chain.mine()
    with pytest.raises(DocumentError, match="no answer to GET /blocks"):  # one block is too few
        watched.attest(txid, height)
    watched.chain.mine()
    frame = watched.attest(txid, height)
    seen = open_attestation(bytes(world.keys.guard.verify_key), frame, world.book.deployment)
    assert (seen.identifier, seen.depth) == (txid, 2)
    assert seen.spends == (f"{coin.txid.hex()}:0",)
    with pytest.raises(AskRefused, match="debt-once"):
        world.intent(record, MINOR // 2, external_id="trip", replaces=payout)
    world.void(payout, frame)
    successor = world.intent(record, MINOR // 2, external_id="trip", replaces=payout)
    signed = world.sign([successor], coins=[watched.coin()])
    watched.send(signed)
    assert not watched.chain.call("POST", "/transactions", {"signed": paid.hex()})["accepted"]
    with pytest.raises(AskRefused, match="intent-alive"):
        world.sign([payout], coins=[coin])
    watched.chain.mine(2)
    assert paid_to(watched.chain, record.address) == [MINOR // 2]


def paid_to(chain: Chain, address: str) -> list[int]:
    """By the raw blocks."""
    tip = chain.call("GET", "/tip")["height"]
    raw = [each for at in range(tip + 1) for each in chain.call("GET", f"/blocks/{at}")["transactions"]]
    outputs = [out for each in raw for out in simulated.parse_signed(bytes.fromhex(each))[0].outputs]
    return [each.amount for each in outputs if each.address == address]


def test_it_is_found_among_others_in_its_block(watched: Watched) -> None:
    txids = [watched.chain.fund(payee(name), 5_000) for name in ("first", "second")]
    height = watched.chain.mine(2) - 1
    keys = watched.world.keys.guard.verify_key
    for txid in txids:
        seen = open_attestation(bytes(keys), watched.attest(txid, height), watched.world.book.deployment)
        assert (seen.identifier, len(seen.spends)) == (txid, 1)


def test_a_reorg_takes_the_block_away_and_the_attestation_with_it(watched: Watched) -> None:
    txid = watched.chain.fund(payee("anybody"), 5_000)
    height = watched.chain.mine(2) - 1
    watched.attest(txid, height)
    watched.chain.fault("reorg", depth=2)
    with pytest.raises(DocumentError, match="doesn't stand in that block"):
        watched.attest(txid, height)


def test_a_release_at_guards_listener_needs_its_quorum_and_then_frees_what_was_stolen(watched: Watched) -> None:
    world, coin = watched.world, watched.coin()
    payout = world.intent(world.cooled(), MINOR)
    raw, _ = world.transaction([world.output(payout)], coins=[coin])
    world.sign([payout], raw=raw)
    theft = simulated.Transaction((coin,), (simulated.Output(coin.amount - 900, payee("thief")),))
    signed = world.wallet.sign(ORGANISATION, simulated.encode_unsigned(theft), [(0, 0)])
    txid, height = watched.send(signed)
    watched.chain.mine(2)
    frame = watched.attest(txid, height)
    with pytest.raises(AskRefused, match="payout-released"):
        world.void(payout, frame)
    said = {"attempts": (simulated.transaction_id(raw).hex(),), "reason": "stolen, and made good"}
    with pytest.raises(InstructionError, match="quorum"):
        watched.guard.instruct(Action.RELEASE, payout, CLEO, **said)
    watched.guard.instruct(Action.RELEASE, payout, CLEO, DAN, **said)
    world.desk.idle()
    assert world.void(payout, frame)["receipt"]


@pytest.mark.parametrize(
    ("network", "height", "match"),
    [
        ("sim:elsewhere", 1, "network: guard reads no node of it"),
        (simulated.NETWORK, 9_999, "no answer to GET /blocks/9999"),
        (simulated.NETWORK, 1, "doesn't stand in that block"),
    ],
)
def test_what_it_doesnt_see_is_said_and_not_attested(watched: Watched, network: str, height: int, match: str) -> None:
    watched.chain.mine(3)
    with pytest.raises(DocumentError, match=match):
        watched.attest("a" * 64, height, network)


def test_without_a_node_guard_attests_nothing(watched: Watched) -> None:
    blind = Eyes({}, watched.world.keys.guard, watched.guard.parts.log, watched.guard.parts.witness._clock)
    with pytest.raises(DocumentError, match="guard reads no node of it"):
        attested(blind, "a" * 64, 1)


def test_another_chains_node_is_not_believed(watched: Watched) -> None:
    txid = watched.chain.fund(payee("anybody"), 5_000)
    height = watched.chain.mine(2) - 1
    other = Node("127.0.0.1", watched.chain.port, None, "0" * 64)
    with pytest.raises(DocumentError, match="first block isn't the one"):
        attested(eyes_at(watched, other), txid, height)


def eyes_at(watched: Watched, node: Node) -> Eyes:
    log = watched.guard.parts.log
    return Eyes({simulated.NETWORK: node}, watched.world.keys.guard, log, watched.guard.parts.witness._clock)


Answer = Callable[[int], bytes | None]


async def lying(port: int, answer: Answer) -> asyncio.Server:
    """A node that answers with these bytes for a block of this height, or never."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        raw = answer(int(line.rpartition(b"/")[2]))
        if raw is None:
            await reader.read()
        else:
            writer.write(raw)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)


def http(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: " + str(size).encode() + b"\r\n\r\n" + body


class Forged:
    """A chain that a liar made: well formed, each block on the one before, and each claim as it likes."""

    def __init__(self, signed: list[bytes]) -> None:
        self.blocks: list[dict[str, Any]] = []
        for height in range(4):
            previous = self.blocks[-1]["hash"] if self.blocks else "0" * 64
            made = signed if height == 1 else []
            digest = block_hash(bytes.fromhex(previous), height, bytes(32), made).hex()
            self.blocks.append({
                "hash": digest, "height": height, "previous": previous, "salt": "0" * 64,
                "transactions": [each.hex() for each in made],
            })

    def answer(self, height: int) -> bytes:
        return http(json.dumps(self.blocks[height]).encode())


def broken(forged: Forged, at: int, /, **changes: Any) -> Answer:
    forged.blocks[at] |= changes
    return forged.answer


def taken(watched: Watched) -> bytes:
    """A chain transaction with real signatures."""
    coin = watched.world.coin(60_000)
    raw, _ = watched.world.transaction([], coins=[coin])
    return watched.world.wallet.sign(ORGANISATION, raw, [(0, 0)])


def look_at_liar(watched: Watched, answer: Answer, genesis: str, signed: bytes) -> bytes:
    port = free_port()
    unsigned = simulated.encode_unsigned(simulated.parse_signed(signed)[0])
    body = {"chain_transaction": simulated.transaction_id(unsigned).hex(), "height": 1, "network": simulated.NETWORK}

    async def look() -> bytes:
        server = await lying(port, answer)
        try:
            seen = await eyes_at(watched, Node("127.0.0.1", port, None, genesis)).attest(Fields(body))
            return b64decode(str(seen["attestation"]))
        finally:
            server.close()

    return asyncio.run(look())


def test_a_liars_chain_is_believed_only_as_far_as_it_holds_together(watched: Watched) -> None:
    """The control: a node that makes a whole chain up is believed, which is why it is guard's own."""
    signed = taken(watched)
    forged = Forged([signed])
    assert look_at_liar(watched, forged.answer, forged.blocks[0]["hash"], signed)


LIES: dict[str, tuple[Callable[[Forged], Answer], str]] = {
    "a block that isn't its hash's": (lambda f: broken(f, 1, salt="1" * 64), "isn't that of its content"),
    "a transaction put in": (lambda f: broken(f, 2, transactions=["00"]), "isn't that of its content"),
    "another height": (lambda f: broken(f, 1, height=2), "height"),
    "another block than was asked for": (lambda f: lambda at: f.answer(3 if at == 2 else at), "height"),
    "an unknown field": (lambda f: broken(f, 1, more=1), "more"),
    "a transaction that isn't hex": (lambda f: broken(f, 1, transactions=["zz"]), "transactions"),
    "no JSON": (lambda f: lambda at: http(b"{") if at else f.answer(0), "JSON"),
    "an error": (lambda f: lambda at: http(b"{}", b"500 Oh") if at else f.answer(0), "no answer to GET"),
    "without a length": (lambda f: lambda at: b"HTTP/1.1 200 OK\r\n\r\n{}" if at else f.answer(0), "no answer to GET"),
    "too long": (lambda f: lambda at: http(b"", length=99_999_999) if at else f.answer(0), "no answer to GET"),
    "half of it": (lambda f: lambda at: http(b"{", length=9) if at else f.answer(0), "doesn't show it"),
    "a head without end": (lambda f: lambda at: b"x" * 100_000 if at else f.answer(0), "doesn't show it"),
    "nothing": (lambda f: lambda at: b"" if at else f.answer(0), "doesn't show it"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_that_can_be_told_isnt_attested(watched: Watched, name: str) -> None:
    signed = taken(watched)
    forged = Forged([signed])
    lie, match = LIES[name]
    with pytest.raises(DocumentError, match=match):
        look_at_liar(watched, lie(forged), forged.blocks[0]["hash"], signed)


def test_blocks_that_dont_go_on_from_each_other_arent_attested(watched: Watched) -> None:
    """Each is what its hash says; the second is of another chain."""
    signed = taken(watched)
    one, other = Forged([signed]), Forged([])
    with pytest.raises(DocumentError, match="don't go on from each other"):
        look_at_liar(watched, lambda at: (other if at == 2 else one).answer(at), one.blocks[0]["hash"], signed)


def test_what_no_key_signed_isnt_attested(watched: Watched) -> None:
    """A lying node can't spend our coins in what guard says: their owner's signature must hold."""
    signed = bytearray(taken(watched))
    signed[-1] ^= 1
    forged = Forged([bytes(signed)])
    with pytest.raises(DocumentError, match="signature of input 0"):
        look_at_liar(watched, forged.answer, forged.blocks[0]["hash"], bytes(signed))


def test_a_node_that_isnt_there_is_said(watched: Watched) -> None:
    with pytest.raises(DocumentError, match="doesn't show it"):
        attested(eyes_at(watched, Node("127.0.0.1", free_port(), None, "0" * 64)), "a" * 64, 1)


def test_a_silent_node_keeps_neither_the_signer_nor_other_requests_waiting(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who ask wait for the node, and are told so in time; meanwhile guard cosigns and answers others at once."""
    monkeypatch.setattr("strongroom.guard.officers.TIMEOUT_S", 2)
    parts, world, port = watched.guard.parts, watched.world, free_port()
    eyes = eyes_at(watched, Node("127.0.0.1", port, None, "0" * 64))
    clock = parts.witness._clock
    officers = Officers(parts.witness, parts.log, parts.leases, eyes, parts.cosigner, Limiter(9, clock), clock)
    body = json.dumps({"chain_transaction": "a" * 64, "height": 1, "network": simulated.NETWORK}).encode()
    asked = b"POST /v1/attestations HTTP/1.1\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body

    async def ask(listen: int, raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", listen)
        writer.write(raw)
        answer = await reader.read()
        writer.close()
        return answer

    async def go() -> tuple[list[bytes], bytes, float]:
        listen = free_port()
        node, server = await lying(port, lambda _: None), await Listeners().listen(("127.0.0.1", listen), None,
                                                                                   officers.serve)
        waiting = [asyncio.create_task(ask(listen, asked)) for _ in range(2)]
        await asyncio.sleep(0.2)
        started = time.monotonic()
        world.sign([world.intent(world.cooled(), MINOR)])
        status = await ask(listen, b"GET /v1/status HTTP/1.1\r\n\r\n")
        took_s = time.monotonic() - started
        are_waiting = not any(each.done() for each in waiting)
        answers = await asyncio.gather(*waiting)
        node.close()
        server.close()
        assert are_waiting
        return answers, status, took_s

    answers, status, took_s = asyncio.run(go())
    assert [each.partition(b"\r\n")[0] for each in answers] == [b"HTTP/1.1 408 Too slow"] * 2
    assert status.startswith(b"HTTP/1.1 200 ")
    assert took_s < 2
