"""What watch says of a vault's calls and batches, on a real node: reported once, undone by reorgs, final when the
policy says so, and the same after a restart.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Database
from tests.contracts.node import DEPLOYER, Node, running_node
from tests.contracts.vault import account
from tests.watch.vaults import ETHER, FINALITY, House, play

from strongroom.formats.hot_vault import Retry
from strongroom.watch import account_view


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def house(node: Node, database: Database) -> House:
    return House(node, database)


async def rows(house: House, table: str) -> int:
    found: int = await house.owner.fetchval(f"SELECT count(*) FROM strongroom.{table}")
    return found


def test_a_payment_is_pending_then_confirmed_then_final_with_what_it_cost(house: House) -> None:
    call = house.call(0, (account("a"), 5), (account("b"), 7))

    async def story() -> None:
        house.begin()
        name = await house.record(call)
        await house.step()
        assert await house.report(name) == ("unseen", 0, None, False)
        house.send(call)
        await house.step()
        assert await house.report(name) == ("pending", 0, None, False)
        assert await house.fates(call) == []
        house.mine()
        assert await house.step()
        status, depth, fee, is_final = await house.report(name)
        assert (status, depth, is_final) == ("confirmed", 1, False)
        assert fee == house.ether - int(house.node.rpc("eth_getBalance", call_account(call), "latest"), 16)
        assert await house.fates(call) == [("paid", False)] * 2
        house.mine(FINALITY - 1)
        await house.step()
        assert await house.report(name) == ("confirmed", FINALITY, fee, True)
        assert await house.fates(call) == [("paid", True)] * 2
        before = [await rows(house, each) for each in ("chain_reports", "batch_reports", "reconciliations")]
        house.mine(3)
        await house.step(3)
        assert [await rows(house, each) for each in ("chain_reports", "batch_reports", "reconciliations")] == before

    play(house, story)


def call_account(call: Any) -> str:
    return "0x" + call.sender.hex()


def test_the_policy_may_ask_for_more_depth_than_the_node_calls_final(node: Node, database: Database) -> None:
    house = House(node, database, finality=FINALITY + 2)
    call = house.call(0, (account("a"), 5))

    async def story() -> None:
        await house.owner.execute("SELECT 1")
        house.finality = FINALITY
        house.begin()
        name = await house.pay(call)
        house.mine(FINALITY - 1)
        await house.step()
        assert (await house.report(name))[3] is False
        assert await house.fates(call) == [("paid", False)]
        house.mine(2)
        await house.step()
        assert (await house.report(name))[1::2] == (FINALITY + 2, True)
        assert await house.fates(call) == [("paid", True)]

    play(house, story)


def test_a_call_that_failed_in_its_block_is_reverted_and_its_batch_is_open(house: House) -> None:
    call = house.call(0, (account("a"), 5), deadline=1)

    async def story() -> None:
        house.begin()
        name = await house.pay(call)
        await house.step()
        status, _, fee, _ = await house.report(name)
        assert (status, fee > 0) == ("reverted", True)
        assert await house.fates(call) == []

    play(house, story)


def test_a_nonce_that_another_used_is_replaced_by_our_own_name_for_it(house: House) -> None:
    first = house.call(0, (account("a"), 5))
    bumped = house.call(0, (account("a"), 5), salt=first.salt, gwei=2)

    async def story() -> None:
        house.begin()
        old, new = await house.record(first), await house.record(bumped)
        house.send(first)
        await house.step()
        assert (await house.report(old))[0] == "pending"
        house.send(bumped)
        house.mine()
        await house.step()
        assert (await house.report(old))[0] == "replaced"
        assert (await house.report(new))[0] == "confirmed"
        by = await house.owner.fetchval(
            "SELECT conflicts_with FROM strongroom.chain_reports WHERE chain_transaction = $1 ORDER BY id DESC", old
        )
        assert by == new
        assert await house.fates(first) == await house.fates(bumped) == [("paid", False)]
        house.mine(FINALITY)
        await house.step()
        assert (await house.report(old))[3] is True

    play(house, story)


def test_a_reorg_takes_both_kinds_of_report_back(house: House) -> None:
    first = house.call(0, (account("a"), 5))
    second = house.call(0, (account("a"), 5), kills=[first.batch.name])

    async def story() -> None:
        house.begin()
        house.mine(FINALITY)
        old = await house.pay(first)
        await house.step()
        assert ((await house.report(old))[0], await house.fates(first)) == ("confirmed", [("paid", False)])
        house.reorg(1)
        await house.step()
        assert ((await house.report(old))[0], await house.fates(first)) == ("unseen", [("unseen", False)])
        new = await house.pay(second)
        await house.step()
        assert ((await house.report(old))[0], (await house.report(new))[0]) == ("replaced", "confirmed")
        assert (await house.fates(first), await house.fates(second)) == ([("dead", False)], [("paid", False)])
        house.mine(FINALITY)
        await house.step()
        assert (await house.fates(first), await house.fates(second)) == ([("dead", True)], [("paid", True)])
        assert not house.alarms.names

    play(house, story)


def test_what_was_skipped_is_told_and_whose_it_is_since(house: House) -> None:
    good, late = account("good"), account("late")
    first = house.call(0, (good, 5), (late, 7))
    again = house.call(1, (late, 7), retries=[Retry(first.batch.name, 1)])

    async def story() -> None:
        house.begin()
        house.vault.usdc.send(DEPLOYER, "setBlacklisted", late, True)
        await house.pay(first)
        house.mine(FINALITY)
        await house.step()
        assert await house.fates(first) == [("paid", True), ("skipped", True)]
        await house.owner.execute("UPDATE strongroom.attempts SET state = 'settled'")
        house.vault.usdc.send(DEPLOYER, "setBlacklisted", late, False)
        await house.pay(again)
        await house.step()
        assert await house.fates(first) == [("paid", True), ("taken_over", False)]
        assert await house.fates(again) == [("paid", False)]

    play(house, story)


@pytest.mark.parametrize("is_kept", [True, False], ids=["with its file", "without a file"])
def test_a_watch_that_is_started_again_says_the_same(
    house: House, tmp_path: Path, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many blocks that the first payment is folded; a call is mined, and an item taken over, while nobody looked."""
    monkeypatch.setattr(account_view, "REORG_MAXIMUM", 5)
    monkeypatch.setattr(account_view.KeptFile, "SAVED_EVERY_BLOCKS", 1)
    good, late = account("good"), account("late")
    first = house.call(0, (good, 5), (late, 7))
    second = house.call(1, (good, 9))
    again = house.call(2, (late, 7), retries=[Retry(first.batch.name, 1)])
    folder = tmp_path if is_kept else None

    async def story() -> None:
        house.begin(folder)
        house.vault.usdc.send(DEPLOYER, "setBlacklisted", late, True)
        await house.pay(first)
        house.mine(10)
        await house.step(2)
        assert await house.fates(first) == [("paid", True), ("skipped", True)]
        assert bool(os.listdir(tmp_path)) is is_kept
        before = await rows(house, "batch_reports")
        house.begin(folder)
        await house.step(2)
        assert await rows(house, "batch_reports") == before
        name = await house.pay(second)
        house.vault.usdc.send(DEPLOYER, "setBlacklisted", late, False)
        await house.pay(again)
        house.mine(10)
        house.begin(folder)
        await house.step(2)
        assert (await house.report(name))[0] == "confirmed"
        assert await house.fates(second) == [("paid", True)]
        assert await house.fates(first) == [("paid", True), ("taken_over", True)]
        assert (await house.found(house.usdc))[2] is True
        assert (await house.found(ETHER))[2] is True
        assert not house.alarms.names

    play(house, story)


def test_what_was_final_and_is_gone_is_an_alarm_and_all_is_told_as_it_is_now(house: House) -> None:
    call = house.call(0, (account("a"), 5))

    async def story() -> None:
        house.begin()
        name = await house.pay(call)
        house.mine(FINALITY - 1)
        await house.step()
        assert (await house.fates(call), (await house.report(name))[3]) == ([("paid", True)], True)
        house.reorg(FINALITY)
        house.mine(FINALITY)
        assert not await house.step()
        assert [each.rpartition(".")[0] for each in house.alarms.names] == ["finality.eip155:31337"]
        assert await house.step(2)
        assert (await house.fates(call), (await house.report(name))[0]) == ([("unseen", False)], "unseen")

    play(house, story)
