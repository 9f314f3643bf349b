"""One's own node and two providers: whatever one of them says alone is nothing, and a dispute holds everything."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.contracts.node import Node, running_node
from tests.contracts.vault import OPERATOR, Vault, account, founded
from tests.rails.account_conformance import AccountConformance, mined
from tests.rails.evm_ground import EvmGround
from tests.rails.lying_node import lying_node

from strongroom.formats.evm_address import eip55
from strongroom.formats.hot_vault import Batch, VaultItem
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.preflight import USDC, Planned, Token, check
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.settlement import NotSeen, Paid
from strongroom.rails.evm.several import Disagree, SeveralRails
from strongroom.rails.evm.vault_history import VaultHistory
from strongroom.rails.evm.vault_sums import base_at
from strongroom.rails.port import Accepted, Pending, RailError, Rejected, Unknown, Unseen

NODES = 3
NO = b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}'
Story = Callable[[AccountRail], Awaitable[None]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture(scope="module")
def vault(node: Node) -> Vault:
    return founded(node)


@pytest.fixture
def ground(node: Node, vault: Vault) -> Iterator[EvmGround]:
    with ExitStack() as stack:
        yield EvmGround(node, vault, *(stack.enter_context(lying_node(node.port)) for _ in range(NODES)))


class TestSeveral(AccountConformance):
    """Every test of the suite, with the same fault at all of them."""


def run(ground: EvmGround, story: Story, needed: int = NODES - 1) -> None:
    async def go() -> None:
        own, *others = (EvmRail(ground.network, each.url, ground.genesis, 2) for each in ground.providers)
        rail = SeveralRails(own, others, needed)
        try:
            await story(rail)
        finally:
            await rail.close()

    asyncio.run(go())


def text(address: str) -> str:
    return eip55(bytes.fromhex(address[2:]))


@pytest.mark.parametrize("liar", range(NODES))
def test_a_payment_that_only_one_node_shows_is_not_settled(ground: EvmGround, vault: Vault, liar: int) -> None:
    """The attacker has one node of three, and makes there the very block that pays: with its true hash.

    So nothing about the block itself is wrong; it is of a fork that only the attacker's node follows.
    """
    item = VaultItem(bytes.fromhex(account("payee")[2:]), 5)
    fields = [bytes.fromhex(each[2:]) for each in (vault.address, vault.usdc.address)]
    wanted = Batch(31337, fields[0], fields[1], b"\x07" * 31 + bytes([liar]), (item,))

    async def story(rail: AccountRail) -> None:
        ground.mine(3)
        begin = await rail.final()
        history = VaultHistory(rail, base_at(begin, [fields[0]]))
        snapshot = ground.node.snapshot()
        vault.contract.send_data(OPERATOR, wanted.pay([], [], 2**40), gas=16_000_000)
        forged = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        receipts = ground.node.rpc("eth_getBlockReceipts", forged["hash"])
        one = EvmRail(ground.network, ground.providers[liar].url, ground.genesis, 1)
        alone = VaultHistory(one, base_at(begin, [fields[0]]))
        await alone.advance()
        await one.close()
        assert isinstance(alone.fates(wanted)[0], Paid), "the control: one node alone is believed"
        ground.node.revert(snapshot)
        ground.mine()
        lies = ground.providers[liar].lies

        def shown(asked: list[Any], true: Any) -> Any:
            return forged if asked[0] in ("latest", forged["number"], forged["hash"]) else true

        lies |= {"eth_getBlockByNumber": shown, "eth_getBlockByHash": shown}
        lies["eth_getBlockReceipts"] = lambda asked, true: receipts if asked[0] == forged["hash"] else true
        with pytest.raises(Disagree):
            await history.advance()
        assert history.fates(wanted) == (NotSeen(),)
        ground.honest()
        await history.advance()
        assert history.fates(wanted) == (NotSeen(),)

    run(ground, story)


LIES: dict[str, tuple[str, Any, Callable[[AccountRail, EvmGround], Awaitable[object]]]] = {
    "nonces": ("eth_getTransactionCount", "0x7", lambda rail, ground: rail.nonces(ground.account())),
    "code": ("eth_getCode", "0x", lambda rail, ground: _code(rail, ground)),
    "call": ("eth_call", "0x" + "00" * 32, lambda rail, ground: _call(rail, ground)),
}


async def _code(rail: AccountRail, ground: EvmGround) -> bytes:
    return await rail.code(text(ground.vault.address), await rail.tip())


async def _call(rail: AccountRail, ground: EvmGround) -> bytes | None:
    return await rail.call(text(ground.vault.usdc.address), bytes.fromhex("313ce567"), await rail.tip())  # decimals()


@pytest.mark.parametrize("liar", range(NODES))
@pytest.mark.parametrize("name", LIES)
def test_what_one_node_says_otherwise_is_a_dispute_and_not_a_choice(ground: EvmGround, name: str, liar: int) -> None:
    method, lie, ask = LIES[name]

    async def story(rail: AccountRail) -> None:
        ground.mine()
        await ask(rail, ground)
        ground.providers[liar].lies[method] = lambda *_: lie
        with pytest.raises(Disagree, match="don't agree"):
            await ask(rail, ground)
        ground.honest()
        await ask(rail, ground)

    run(ground, story)


def test_all_three_lying_alike_are_believed(ground: EvmGround) -> None:
    """The control, and what is not promised."""

    async def story(rail: AccountRail) -> None:
        for each in ground.providers:
            each.lies["eth_getTransactionCount"] = lambda *_: "0x7"
        assert (await rail.nonces(ground.account())).mined == 7

    run(ground, story)


@pytest.mark.parametrize("liar", range(NODES))
def test_a_lie_that_a_payee_is_not_refused_holds_the_batch(ground: EvmGround, vault: Vault, liar: int) -> None:
    planned = Planned(
        text(vault.address), text(OPERATOR), Token(text(vault.usdc.address), USDC), [(text(account("payee")), 5)]
    )

    async def story(rail: AccountRail) -> None:
        ground.mine()
        assert (await check(rail, planned)).obstacles == ()
        ground.providers[liar].lies["eth_call"] = lambda *_: "0x" + "00" * 31 + "01"
        with pytest.raises(Disagree):
            await check(rail, planned)

    run(ground, story)


@pytest.mark.parametrize("silent", range(NODES))
def test_one_may_be_silent_if_so_configured_but_never_ones_own(ground: EvmGround, silent: int) -> None:
    async def story(rail: AccountRail) -> None:
        ground.providers[silent].is_gone = True
        if silent == 0:
            with pytest.raises(RailError, match="own node"):
                await rail.tip()
        else:
            assert (await rail.tip()).height

    async def strict(rail: AccountRail) -> None:
        ground.providers[silent].is_gone = True
        with pytest.raises(RailError, match=r"own node|2 have to"):
            await rail.tip()

    run(ground, story, needed=1)
    run(ground, strict)


def test_a_node_that_is_behind_sets_the_pace_and_one_that_is_far_behind_is_a_dispute(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        ground.mine(2)
        tip = await rail.tip()
        old = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        ground.mine(3)
        ground.providers[1].lies["eth_getBlockByNumber"] = lambda asked, true: old if asked[0] == "latest" else true
        assert await rail.tip() == tip
        ground.mine(60)
        assert await rail.tip() == tip
        ground.mine(2)
        with pytest.raises(Disagree, match="behind"):
            await rail.tip()

    run(ground, story)


def test_a_block_is_there_when_all_have_it_and_is_as_deep_as_the_last_says(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        await rail.broadcast(signed)
        ground.mine()
        old = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        ground.mine(3)
        newest = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        for slow in range(NODES):
            def shown(asked: list[Any], true: Any) -> Any:
                if asked[0] == "latest":
                    return old
                return None if int(asked[0], 16) > int(old["number"], 16) else true

            ground.providers[slow].lies["eth_getBlockByNumber"] = shown
            assert await rail.block(int(newest["number"], 16), []) is None
            status = await mined(rail, signed)
            assert (status.depth, status.is_final) == (1, False)
            ground.honest()
        assert await rail.block(int(newest["number"], 16), []) is not None
        assert (await mined(rail, signed)).depth == 4

    run(ground, story)


def test_a_newest_block_that_is_not_on_the_chain_that_all_show_is_a_dispute(ground: EvmGround) -> None:
    """The chain changes while they are asked: the newest block was of the old one, and what all show is of the new."""

    async def story(rail: AccountRail) -> None:
        await rail.broadcast(ground.pay(ground.account(), 0))
        ground.mine()
        newest = ground.node.rpc("eth_getBlockByNumber", "latest", False)
        ground.reorg(1)
        for each in ground.providers:
            each.lies["eth_getBlockByNumber"] = lambda asked, true: newest if asked[0] == "latest" else true
        with pytest.raises(Disagree, match="different blocks"):
            await rail.tip()

    run(ground, story)


def test_a_claim_that_more_is_final_changes_nothing(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        await rail.broadcast(signed)
        ground.mine()
        eager = EvmRail(ground.network, ground.providers[2].url, ground.genesis, 1)
        assert (await mined(eager, signed)).is_final
        own, other = (EvmRail(ground.network, each.url, ground.genesis, 2) for each in ground.providers[:2])
        both = SeveralRails(own, [other, eager], 2)
        assert not (await mined(both, signed)).is_final
        assert (await both.final()).height == (await both.tip()).height - 1
        await both.close()

    run(ground, story)


def test_bytes_go_to_all_and_one_that_takes_them_is_enough(ground: EvmGround) -> None:
    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        for each in ground.providers[:2]:
            each.swallows.add("eth_sendRawTransaction")
        assert await rail.broadcast(signed) == Accepted()
        assert all("eth_sendRawTransaction" in each.asked for each in ground.providers)
        ground.honest()
        assert await rail.status(signed) == Pending()
        ground.providers[1].lies["eth_getTransactionByHash"] = lambda *_: None
        assert await rail.status(signed) == Pending()
        other = ground.pay(ground.account(), 0)
        ground.providers[1].raw["eth_sendRawTransaction"] = NO
        for each in (ground.providers[0], ground.providers[2]):
            each.swallows.add("eth_sendRawTransaction")
        assert isinstance(await rail.broadcast(other), Unknown), "one that says no, and two that say nothing"
        for each in ground.providers:
            each.raw["eth_sendRawTransaction"] = NO
            each.swallows.clear()
            each.lies["eth_getTransactionByHash"] = lambda *_: None
        outcome = await rail.broadcast(other)
        assert isinstance(outcome, Rejected)
        assert not outcome.permanent

    run(ground, story)


@pytest.mark.parametrize("liar", range(NODES))
def test_a_lie_that_a_payment_failed_or_is_gone_is_a_dispute(ground: EvmGround, liar: int) -> None:
    """The attacker has one node, and wants what was paid to be paid again: by silence about it, or by its failure."""

    async def story(rail: AccountRail) -> None:
        signed = ground.pay(ground.account(), 0)
        await rail.broadcast(signed)
        ground.mine()
        await mined(rail, signed)
        ground.providers[liar].lies["eth_getTransactionByHash"] = lambda *_: None
        ground.providers[liar].lies["eth_getTransactionCount"] = lambda *_: "0x0"
        alone = EvmRail(ground.network, ground.providers[liar].url, ground.genesis, 1)
        assert await alone.status(signed) == Unseen(), "the control: one node alone is believed"
        await alone.close()
        with pytest.raises(Disagree):
            await rail.status(signed)

    run(ground, story)


def test_rails_of_two_networks_and_nobody_to_compare_with_are_refused(ground: EvmGround) -> None:
    one, other = (EvmRail(network, ground.providers[0].url, "0x", 1) for network in ("eip155:1", "eip155:10"))
    with pytest.raises(RailError, match="different networks"):
        SeveralRails(one, [other], 1)
    for others, needed in (([], 0), ([], 1), ([one], 0), ([one], 2)):
        with pytest.raises(RailError, match="at least one other node"):
            SeveralRails(one, others, needed)
