"""The Bitcoin rail against a real node on regtest."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.rails import bitcoin_node
from tests.rails.bitcoin_node import REGTEST, Key, encoded, new_key, running_node
from tests.rails.conformance import COIN_MINOR, FEE_MINOR, Conformance, ReorgConformance

from strongroom.domain.instant import DAY_MS, SECOND_MS, Instant
from strongroom.formats.bitcoin_transaction import parse_transaction, transaction_id
from strongroom.rails.bitcoin.rail import BitcoinRail
from strongroom.rails.port import ChainTransactionId, Coin, Rail, RailError
from strongroom.rails.registry import Node, open_rails

BLOCKS = 80
MAINNET = "bip122:000000000019d6689c085ae165831e93"


class BitcoinGround:
    network = REGTEST
    low_bumps = (FEE_MINOR - 1, FEE_MINOR + 1, FEE_MINOR + 10)
    shows_strangers = False

    def __init__(self, node: bitcoin_node.Node) -> None:
        self.node = node
        self.genesis = str(node.rpc.call("getblockhash", 0))
        self.fund, self.mine, self.kill, self.start = node.fund, node.mine, node.kill, node.start
        self._keys: dict[str, Key] = {}

    def open(self, genesis: str | None = None, answer_timeout_s: float = 10) -> Rail:
        return BitcoinRail(REGTEST, self.node.url, genesis, self.node.cookie, answer_timeout_s=answer_timeout_s)

    def new_address(self) -> str:
        key = new_key()
        self._keys[key.address] = key
        return key.address

    def pay(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> bytes:
        return encoded(self._keys[coins[0].address].spend(coins, outputs))

    def id_of(self, signed: bytes) -> ChainTransactionId:
        return ChainTransactionId(transaction_id(parse_transaction(signed)))

    def spoiled(self, signed: bytes) -> bytes:
        """Another byte of the last signature, which stands before the lock time."""
        return signed[:-5] + bytes([signed[-5] ^ 1]) + signed[-4:]

    def fault(self, fault: str, **fields: Any) -> None:
        assert fault == "reorg"
        self.node.reorg(**fields)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bitcoin_node.Node]:
    with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def ground(node: bitcoin_node.Node) -> BitcoinGround:
    return BitcoinGround(node)


class TestBitcoin(Conformance, ReorgConformance):
    """Every test of the suite."""


def test_a_node_of_another_network_is_refused(ground: BitcoinGround) -> None:
    async def story() -> None:
        rail = BitcoinRail(MAINNET, ground.node.url, None, ground.node.cookie)
        try:
            with pytest.raises(RailError, match="another chain"):
                await rail.identity()
        finally:
            await rail.close()

    asyncio.run(story())


def test_the_registry_opens_the_rail_of_a_node_by_the_cookie_that_it_writes(ground: BitcoinGround) -> None:
    async def story() -> None:
        node = Node(ground.node.url, ground.genesis, str(ground.node.cookie))
        rail = open_rails({REGTEST: node})[REGTEST]
        try:
            assert (await rail.identity()).genesis == ground.genesis
        finally:
            await rail.close()

    asyncio.run(story())


def test_coins_from_before_are_found_by_a_node_that_never_heard_of_the_address(ground: BitcoinGround) -> None:
    """Its wallet was lost, or the node is another one; what is deep in the chain is found as well."""

    async def story() -> None:
        address = ground.new_address()
        ground.fund(address, COIN_MINOR)
        ground.mine(20)
        rail = BitcoinRail(REGTEST, ground.node.url, None, ground.node.cookie, wallet="another")
        try:
            (coin,) = await rail.coins([address])
            assert (coin.amount_minor, coin.address) == (COIN_MINOR, address)
            assert coin.height == (await rail.tip()).height - 19
        finally:
            await rail.close()

    asyncio.run(story())


def test_no_block_of_the_height_before_a_moment_or_below_was_made_after_it(tmp_path: Path) -> None:
    """Blocks an hour apart, whose times a node takes as its own clock says."""

    async def story(node: bitcoin_node.Node) -> None:
        rail = BitcoinRail(REGTEST, node.url, None, node.cookie)
        try:
            tip = await rail.tip()
            assert await rail.height_before(Instant(0)) == 0
            assert await rail.height_before(Instant(times[0] * SECOND_MS)) < tip.height - BLOCKS
            height = await rail.height_before(Instant(times[40] * SECOND_MS))
            made = node.rpc.call("getblockheader", node.rpc.call("getblockhash", height))["time"]
            assert DAY_MS // SECOND_MS - 6 * 3_600 < times[40] - made < 40 * 3_600
            assert await rail.height_before(Instant((times[-1] + 10 * 86_400) * SECOND_MS)) == tip.height
        finally:
            await rail.close()

    with running_node(tmp_path) as node:
        first = node.rpc.call("getblockheader", node.rpc.call("getbestblockhash"))["time"]
        times = [first + 3_600 * hour for hour in range(1, BLOCKS + 1)]
        for moment in times:
            node.rpc.call("setmocktime", moment)
            node.mine()
        asyncio.run(story(node))


def wait_for_filters(node: bitcoin_node.Node, height: int) -> None:
    while node.rpc.call("getindexinfo")["basic block filter index"]["best_block_height"] < height:
        time.sleep(0.01)


def test_by_the_nodes_filters_an_address_that_was_paid_or_emptied_may_be_touched(ground: BitcoinGround) -> None:
    async def story() -> None:
        rail = ground.open()
        try:
            paid, emptied, never = ground.new_address(), ground.new_address(), ground.new_address()
            ground.fund(paid, COIN_MINOR)
            ground.fund(emptied, COIN_MINOR)
            ground.mine()
            first = (await rail.tip()).height
            await rail.broadcast(ground.pay(await rail.coins([emptied]), [(never, COIN_MINOR - FEE_MINOR)]))
            ground.mine(3)
            last = (await rail.tip()).height
            wait_for_filters(ground.node, last)
            asked = [([paid], first, first), ([paid], first + 1, last), ([emptied], first, first),
                     ([emptied], first + 1, first + 1), ([emptied], first + 2, last), ([never, paid], 0, last),
                     ([ground.new_address()], 0, last)]
            assert [await rail.may_touch(*each) for each in asked] == [True, False, True, True, False, True, False]
            assert await rail.may_touch([ground.new_address()], 0, last + 1)  # which its index doesn't have yet
        finally:
            await rail.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "url", ["http://node.example:8332", "ftp://127.0.0.1", "http://127.0.0.1:1/wallet/x", "http://127.0.0.1:1/?a"]
)
def test_a_password_is_never_sent_in_the_clear(url: str) -> None:
    with pytest.raises(RailError, match="must be at https"):
        BitcoinRail(REGTEST, url, None, Path("cookie"))
