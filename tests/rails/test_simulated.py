"""The simulated rail against the real chain process, and against a node that answers with anything."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.rails.chain import Chain, running_chain
from tests.rails.conformance import FEE_MINOR, Conformance, FaultConformance, ReorgConformance
from tests.rails.wallet import Wallet, id_of, new_wallet

from strongroom.formats.simulated import NETWORK, OUTPUTS_MAXIMUM
from strongroom.formats.simulated_block import block_hash
from strongroom.rails import port
from strongroom.rails.port import ChainTransactionId, Coin, Rail, RailError, Rejected, Unknown
from strongroom.rails.registry import Node, open_rails
from strongroom.rails.simulated import CHECKED_MAXIMUM, SimulatedRail


class SimulatedGround:
    network = NETWORK
    low_bumps = (FEE_MINOR - 1, FEE_MINOR + 1, FEE_MINOR * 11 // 10 - 1)
    shows_strangers = True

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.genesis = str(chain.call("GET", "/identity")["genesis"])
        self.fund, self.mine, self.fault = chain.fund, chain.mine, chain.fault
        self.kill, self.start = chain.kill, chain.start
        self._wallets: dict[str, Wallet] = {}

    def open(self, genesis: str | None = None, answer_timeout_s: float = 10) -> Rail:
        return SimulatedRail(self.chain.url, genesis, answer_timeout_s=answer_timeout_s)

    def new_address(self) -> str:
        wallet = new_wallet()
        self._wallets[wallet.address] = wallet
        return wallet.address

    def pay(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes:
        return self._wallets[coins[0].address].spend(coins, outputs)

    def id_of(self, signed: bytes) -> ChainTransactionId:
        return id_of(signed)

    def spoiled(self, signed: bytes) -> bytes:
        return signed[:-1] + bytes([signed[-1] ^ 1])


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture
def ground(chain: Chain) -> Iterator[SimulatedGround]:
    yield SimulatedGround(chain)
    chain.behave()


class TestSimulated(Conformance, ReorgConformance, FaultConformance):
    """Every test of the suite."""


def test_the_registry_opens_the_rail_of_a_network(ground: SimulatedGround) -> None:
    async def story() -> None:
        rail = open_rails({NETWORK: Node(ground.chain.url, ground.genesis)})[NETWORK]
        try:
            assert (await rail.identity()).genesis == ground.genesis
        finally:
            await rail.close()

    asyncio.run(story())


def test_a_block_that_was_read_before_is_still_read_by_its_hash(ground: SimulatedGround) -> None:
    """More blocks than are kept, each asked for twice, and one that a reorg has put in another's place."""

    async def story() -> None:
        rail = ground.open()
        ground.mine(CHECKED_MAXIMUM + 2)
        tip = await rail.tip()
        heights = range(tip.height - CHECKED_MAXIMUM - 1, tip.height + 1)
        first = [await rail.block(height) for height in heights]
        assert [await rail.block(height) for height in heights] == first
        ground.fault("reorg", depth=2)
        again = [await rail.block(height) for height in heights]
        assert again[:-2] == first[:-2]
        assert not {block.block_hash for block in again[-2:] if block} & {block.block_hash for block in first if block}
        await rail.close()

    asyncio.run(story())


def test_ten_thousand_small_coins_of_a_stranger_dont_hide_a_large_one(ground: SimulatedGround) -> None:
    """The attacker has a little money, and wants a wallet's coins not to be found, so that payouts stop."""

    async def story() -> None:
        rail, victim, stranger = ground.open(), ground.new_address(), ground.new_address()
        ground.fund(victim, 5_000_000)
        for _ in range(port.COINS_MAXIMUM // OUTPUTS_MAXIMUM + 1):
            ground.fund(stranger, 3_000_000)
            coins = await rail.coins([stranger])
            assert await rail.broadcast(ground.pay(coins, [(victim, 1_000)] * OUTPUTS_MAXIMUM)) == port.Accepted()
        ground.fund(victim, 7_000_000)
        ground.mine()
        amounts = [coin.amount_minor for coin in await rail.coins([victim])]
        assert amounts == [7_000_000, 5_000_000] + [1_000] * (port.COINS_MAXIMUM - 2)
        await rail.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:1", "http://localhost:1", "http://example.com:1", "http://127.0.0.1.example.com:1", "",
     "http://127.0.0.1@example.com:1", "http://127.0.0.1:1/path", "http://127.0.0.1:1?query", "file:///127.0.0.1"],
)
def test_a_chain_elsewhere_is_never_asked(url: str) -> None:
    with pytest.raises(RailError, match=r"127\.0\.0\.1"):
        SimulatedRail(url)


ID = ChainTransactionId("11" * 32)
TIP = {"hash": "ab" * 32, "height": 7}
STATUS: dict[str, Any] = {
    "block_hash": None, "by": None, "height": None, "signed": None, "state": "unseen", "tip_height": None,
}
SIGNED = new_wallet().spend([Coin(ID, 0, 5_000, new_wallet().address, None)], [(new_wallet().address, 1_000)])
COIN: dict[str, Any] = {"txid": "11" * 32, "index": 0, "amount": "5", "address": "asked", "height": None}
BLOCK: dict[str, Any] = {"hash": "ab" * 32, "height": 7, "previous": "cd" * 32, "salt": "ef" * 32, "transactions": []}


def served(body: object, status: int = 200, head: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


async def ask(answer: bytes, method: str, *arguments: object, block: bytes = b"") -> object:
    """What the rail makes of a node that answers everything with these bytes (but blocks, if given), then hangs up."""

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(block if block and head.startswith(b"GET /blocks/") else answer)
        writer.close()

    server = await asyncio.start_server(node, "127.0.0.1", 0)
    rail = SimulatedRail(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", answer_timeout_s=1)
    try:
        return await getattr(rail, method)(*arguments)
    finally:
        await rail.close()
        server.close()


NONSENSE = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "an empty body": served(b""),
    "no JSON": served(b"{"),
    "not UTF-8": served(b'{"a": "\xff"}'),
    "a list": served([]),
    "a key twice": served(b'{"height": 7, "height": 8, "hash": "' + b"ab" * 32 + b'"}'),
    "deep": served(b"[" * 100_000),
    "a redirect": served(TIP, 302, "Location: http://127.0.0.1:1/tip\r\n"),
    "an error": served(TIP, 500),
    "nothing found": served(TIP, 404),
    "cut in the body": served(TIP)[:-5],
    "gzip": served(b"\x1f\x8b\x08\x00garbage", head="Content-Encoding: gzip\r\n"),
    "too long": served(json.dumps(TIP).encode() + b" " * port.ANSWER_BYTES_MAXIMUM),
    "no end": b"HTTP/1.1 200 X\r\n\r\n" + b" " * (port.ANSWER_BYTES_MAXIMUM + 1),
    "a number too large": served(b'{"height": 99999999999999999999, "hash": "' + b"ab" * 32 + b'"}'),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("call", [("tip",), ("identity",), ("fee_rate",), ("coins", ["asked"]), ("status", ID)])
def test_nonsense_is_no_answer_and_only_one_error_escapes(answer: bytes, call: tuple[object, ...]) -> None:
    with pytest.raises(RailError):
        asyncio.run(ask(answer, *call))  # type: ignore[arg-type]  # the first is a str


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_after_a_broadcast_is_unknown(answer: bytes) -> None:
    assert isinstance(asyncio.run(ask(answer, "broadcast", SIGNED)), Unknown)


WRONG = {
    "a field more": ("tip", (), {**TIP, "more": 1}),
    "a field less": ("tip", (), {"height": 7}),
    "text for a number": ("tip", (), {**TIP, "height": "7"}),
    "a negative height": ("tip", (), {**TIP, "height": -1}),
    "a height too high": ("tip", (), {**TIP, "height": 2**31}),
    "a yes for a number": ("tip", (), {**TIP, "height": True}),
    "a hash in capitals": ("tip", (), {**TIP, "hash": "AB" * 32}),
    "a hash and a newline": ("tip", (), {**TIP, "hash": "ab" * 32 + "\n"}),
    "another network": ("identity", (), {"network": "bip122:00", "genesis": "ab" * 32, "software": "x"}),
    "no fee": ("fee_rate", (), {"minor_per_1000_bytes": 0}),
    "a fee that eats all": ("fee_rate", (), {"minor_per_1000_bytes": 10**12}),
    "a coin of nobody": ("coins", (["asked"],), {"coins": [{**COIN, "address": "other"}]}),
    "a coin twice": ("coins", (["asked"],), {"coins": [COIN, COIN]}),
    "an amount as a number": ("coins", (["asked"],), {"coins": [{**COIN, "amount": 5}]}),
    "an amount of nothing": ("coins", (["asked"],), {"coins": [{**COIN, "amount": "0"}]}),
    "an index too high": ("coins", (["asked"],), {"coins": [{**COIN, "index": 2_100}]}),
    "an unknown state": ("status", (ID,), {**STATUS, "state": "settled"}),
    "a conflict with nobody": ("status", (ID,), {**STATUS, "state": "conflicted"}),
    "a conflict with itself": ("status", (ID,), {**STATUS, "state": "conflicted", "by": ID}),
    "pending without bytes": ("status", (ID,), {**STATUS, "state": "pending"}),
    "pending with others": ("status", (ID,), {**STATUS, "state": "pending", "signed": SIGNED.hex()}),
    "pending with none": ("status", (ID,), {**STATUS, "state": "pending", "signed": "00"}),
    "confirmed nowhere": ("status", (id_of(SIGNED),), {**STATUS, "state": "confirmed", "signed": SIGNED.hex()}),
    "confirmed above the tip": ("status", (id_of(SIGNED),), {
        **STATUS, "state": "confirmed", "signed": SIGNED.hex(), "height": 8, "tip_height": 7, "block_hash": "ab" * 32,
    }),
    "another height": ("block", (8,), BLOCK),
    "a hash of nothing": ("block", (7,), BLOCK),
    "bytes that are none": ("block", (7,), {**BLOCK, "transactions": ["00"]}),
    "no id": ("status", ("nonsense",), STATUS),
    "an id that is a path": ("status", ("../tip",), STATUS),
}


@pytest.mark.parametrize(("method", "arguments", "body"), WRONG.values(), ids=WRONG.keys())
def test_an_answer_that_is_wrong_in_one_field_is_no_answer(method: str, arguments: tuple[Any], body: object) -> None:
    with pytest.raises(RailError):
        asyncio.run(ask(served(body), method, *arguments))


def test_the_answers_that_were_made_wrong_are_right_before() -> None:
    """Without it, the tests above could pass because everything is refused."""
    assert asyncio.run(ask(served(TIP), "tip")) == port.Tip(7, "ab" * 32)
    assert asyncio.run(ask(served(STATUS), "status", ID)) == port.Unseen()
    (coin,) = asyncio.run(ask(served({"coins": [COIN]}), "coins", ["asked"]))  # type: ignore[misc]  # it is a tuple
    assert coin == Coin(ID, 0, 5, "asked", None)
    pending = {**STATUS, "state": "pending", "signed": SIGNED.hex()}
    assert asyncio.run(ask(served(pending), "status", id_of(SIGNED))) == port.Pending()
    assert asyncio.run(ask(served({"minor_per_1000_bytes": 1}), "fee_rate")) == 1


def block_of(height: int, *signed: bytes, previous: str = "cd" * 32) -> dict[str, Any]:
    """A block whose hash is that of its content."""
    made = block_hash(bytes.fromhex(previous), height, b"\xef" * 32, signed)
    return {"hash": made.hex(), "height": height, "previous": previous, "salt": "ef" * 32,
            "transactions": [each.hex() for each in signed]}


def test_a_confirmation_is_believed_only_with_the_block_that_it_names() -> None:
    """The attacker has the node, and one block that holds the payment and never was on the chain it shows."""
    named = block_of(7, SIGNED)
    status = {**STATUS, "state": "confirmed", "signed": SIGNED.hex(), "height": 7, "tip_height": 9,
              "block_hash": named["hash"]}
    believed = asyncio.run(ask(served(status), "status", id_of(SIGNED), block=served(named)))
    assert believed == port.Confirmed(7, named["hash"], 3)
    for block, reason in (
        (served(block_of(7, SIGNED, previous="dc" * 32)), "isn't the one at its height"),
        (served({}, 404), "isn't the one at its height"),
        (served(block_of(7)), "isn't the one at its height"),
        (served({**named, "height": 8}), "isn't that of its content"),
        (served({**named, "transactions": []}), "isn't that of its content"),
    ):
        with pytest.raises(RailError, match=reason):
            asyncio.run(ask(served(status), "status", id_of(SIGNED), block=block))


def test_a_block_that_holds_a_payment_twice_is_no_block() -> None:
    with pytest.raises(RailError, match="twice"):
        asyncio.run(ask(served(block_of(7, SIGNED, SIGNED)), "block", 7))


@pytest.mark.parametrize(
    "fields",
    [{"txid": None}, {"txid": ID}, {"accepted": False}, {"accepted": False, "reason": "no"}, {"accepted": "yes"}],
)
def test_a_broadcast_that_is_answered_in_half_is_unknown(fields: dict[str, object]) -> None:
    body = {"accepted": True, "permanent": None, "reason": None, "txid": id_of(SIGNED), **fields}
    assert isinstance(asyncio.run(ask(served(body), "broadcast", SIGNED)), Unknown)


def test_the_words_of_a_node_are_cut_short() -> None:
    body = {"accepted": False, "permanent": False, "reason": "x" * 2_000, "txid": None}
    outcome = asyncio.run(ask(served(body), "broadcast", SIGNED))
    assert outcome == Rejected("x" * port.REASON_MAXIMUM, permanent=False)


def test_a_node_that_drips_is_given_up_on() -> None:
    """The attacker has the node, and wants engine to wait for ever: a byte now and then resets a read time-out."""

    async def story() -> float:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
            try:
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            except ConnectionError:
                writer.close()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        rail = SimulatedRail(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", answer_timeout_s=0.3)
        started = asyncio.get_running_loop().time()
        with pytest.raises(RailError, match=r"within 0\.3 s"):
            await rail.tip()
        took = asyncio.get_running_loop().time() - started
        await rail.close()
        server.close()
        await asyncio.sleep(0.1)
        return took

    assert asyncio.run(story()) < 2


def test_a_state_file_of_another_chain_has_another_first_block(ground: SimulatedGround, tmp_path: Path) -> None:
    with running_chain(tmp_path) as other:
        assert other.call("GET", "/identity")["genesis"] != ground.genesis
