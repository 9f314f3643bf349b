"""The EVM rail against a real node, through a provider that lies."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.contracts.node import Node, running_node
from tests.contracts.vault import Vault, founded
from tests.rails.account_conformance import AccountConformance, mined, run
from tests.rails.evm_ground import EvmGround
from tests.rails.lying_node import LyingNode, lying_node

from strongroom.rails.account_port import AccountRail, AccountStatus, Mined
from strongroom.rails.evm.rail import EvmRail, Finality
from strongroom.rails.evm.wire import WireHeader
from strongroom.rails.port import Accepted, RailError, Rejected, Unknown


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node(31337, "--slots-in-an-epoch", "2") as running:
        yield running


@pytest.fixture(scope="module")
def vault(node: Node) -> Vault:
    return founded(node)


@pytest.fixture
def provider(node: Node) -> Iterator[LyingNode]:
    with lying_node(node.port) as running:
        yield running


@pytest.fixture
def ground(node: Node, provider: LyingNode, vault: Vault) -> EvmGround:
    return EvmGround(node, vault, provider)


class TestEvm(AccountConformance):
    """Every test of the suite."""


def asked(ground: EvmGround, rail: AccountRail, ask: str) -> Any:
    async def go() -> Any:
        try:
            return await getattr(rail, ask)()
        finally:
            await rail.close()

    return asyncio.run(go())


@pytest.mark.parametrize(("tag", "behind"), [("safe", 2), ("finalized", 4)])
def test_finality_can_be_the_nodes_own_word(ground: EvmGround, tag: Finality, behind: int) -> None:
    ground.mine(5)
    tip = asked(ground, ground.open(), "tip")
    assert asked(ground, ground.open(finality=tag), "final").height == tip.height - behind


def test_another_chain_id_is_refused_and_a_lie_about_it_does_not_help(ground: EvmGround) -> None:
    """Chains that were forked off each other have the same first block."""
    with pytest.raises(RailError, match="chain id is 31337, and 1 is configured"):
        asked(ground, EvmRail("eip155:1", ground.providers[0].url, ground.genesis, 1), "identity")
    ground.providers[0].lies["eth_chainId"] = lambda *_: "0x1"
    with pytest.raises(RailError, match="first block isn't"):
        asked(ground, EvmRail("eip155:1", ground.providers[0].url, "0x" + "d4" * 32, 1), "identity")


def test_a_chain_that_differs_at_a_checkpoint_or_is_not_there_yet_is_refused(ground: EvmGround) -> None:
    ground.mine(2)
    passed = ground.node.rpc("eth_getBlockByNumber", "0x2", False)["hash"]
    assert asked(ground, ground.open(checkpoint=(2, passed)), "identity").genesis == ground.genesis
    with pytest.raises(RailError, match="block 2 isn't the one that was configured"):
        asked(ground, ground.open(checkpoint=(2, ground.genesis)), "identity")
    with pytest.raises(RailError, match="hasn't block 9999 yet"):
        asked(ground, ground.open(checkpoint=(9_999, passed)), "identity")


@pytest.mark.parametrize("turn", range(8))
def test_a_reorg_in_the_middle_of_a_question_makes_nothing_final_that_it_undid(ground: EvmGround, turn: int) -> None:
    """While one of the node's answers is on its way, the chain changes and grows, and what it then has is final."""
    left = turn
    signed = ground.pay(ground.account(), 0)
    ground.mine()

    def shown(_: list[Any], true: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            ground.reorg(1)
            ground.mine(3)
        return true

    async def story(rail: AccountRail) -> AccountStatus | None:
        assert await rail.broadcast(signed) == Accepted()
        ground.mine()
        ground.providers[0].lies |= {"eth_getBlockByNumber": shown, "eth_getBlockByHash": shown}
        try:
            return await rail.status(signed)
        except RailError:
            return None
        finally:
            await rail.close()

    status = asyncio.run(story(ground.open(finality=2)))
    is_there = ground.node.rpc("eth_getTransactionReceipt", ground.id_of(signed)) is not None
    assert is_there or not isinstance(status, Mined) or not status.is_final
    assert is_there == (left >= 0), "six questions are asked, and the chain changes after the one of this turn"


def test_bytes_for_another_chain_are_never_sent(ground: EvmGround) -> None:
    """Signed for another network by the same key: nothing of this one must be told of them."""

    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        outcome = await rail.broadcast(signed)
        assert outcome == Rejected("never sent: the chain transaction is for the chain 31337", permanent=True)
        with pytest.raises(RailError, match="for the chain 31337"):
            await rail.status(signed)
        assert "eth_sendRawTransaction" not in ground.providers[0].asked

    async def go() -> None:
        rail = EvmRail("eip155:1", ground.providers[0].url, "0x", 1)
        await story(rail)
        await rail.close()

    asyncio.run(go())


def test_a_node_that_took_another_chain_transaction_took_an_unknown_one(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        ground.providers[0].lies["eth_sendRawTransaction"] = lambda *_: "0x" + "11" * 32
        assert isinstance(await rail.broadcast(ground.pay(ground.account(), 0)), Unknown)

    run(ground, story)


def test_a_node_that_hides_what_stands_in_its_block_is_not_believed(ground: EvmGround) -> None:
    """The attacker has the node, and wants what was paid to look replaced, so that it is paid again."""

    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        await rail.broadcast(signed)
        ground.mine(3)
        ground.providers[0].lies["eth_getTransactionByHash"] = lambda *_: None
        with pytest.raises(RailError, match="hides"):
            await rail.status(signed)

    run(ground, story)


def test_on_a_chain_that_leaves_its_blooms_empty_nothing_is_taken_for_not_there(ground: EvmGround) -> None:
    """Its headers have the hash that they should, and deny every log."""

    async def story(rail: AccountRail) -> None:
        contract, signed = ground.emits(ground.account(), 0)
        await rail.broadcast(signed)
        ground.mine()
        newest = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        header = replace(msgspec.convert(newest, WireHeader).header(), bloom=bytes(256))
        empty = newest | {"logsBloom": "0x" + "00" * 256, "hash": "0x" + header.block_hash.hex()}
        receipts = ground.node.rpc("eth_getBlockReceipts", "latest")
        ground.providers[0].lies |= {
            "eth_getBlockByNumber": lambda *_: empty, "eth_getBlockReceipts": lambda *_: receipts,
        }
        with pytest.raises(RailError, match="a bloom that isn't that of its logs"):
            await rail.block(header.number, [contract])

    run(ground, story)


def test_what_is_mined_between_two_questions_is_mined_and_not_replaced(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        await rail.broadcast(signed)

        def shown(_: list[Any], true: Any) -> Any:
            ground.providers[0].honest()
            ground.mine()
            return true

        ground.providers[0].lies["eth_getTransactionByHash"] = shown
        assert (await mined(rail, signed)).depth == 1

    run(ground, story)


@pytest.mark.parametrize("network", ["eip155", "eip155:0", "eip155:x", "bip122:1", "eip155:9223372036854775808"])
def test_a_network_that_is_none_is_refused(network: str) -> None:
    with pytest.raises(RailError, match="isn't an EVM network"):
        EvmRail(network, "https://node.example", "0x", 1)


@pytest.mark.parametrize("finality", [0, -1, True, "latest"])
def test_a_finality_that_is_none_is_refused(finality: Any) -> None:
    with pytest.raises(RailError, match="finality must be"):
        EvmRail("eip155:1", "https://node.example", "0x", finality)
