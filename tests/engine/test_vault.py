"""Payouts by a vault on a real EVM node, with a real signer and a real database: planned, signed, sent, settled."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.contracts.vault import FUNDED, GUARDIAN, OWNER, STRANGER, Vault
from tests.engine.kills import Killed, Points
from tests.engine.vault_road import ETHER, VaultRoad, items_of, open_vault_road, vault_on_node
from tests.rails.lying_node import LyingNode, lying_node
from tests.signer.test_sign_evm import GWEI
from tests.signer.world import ORGANISATION

from strongroom.protocol.signer_wire import Ask
from strongroom.rails.evm.rail import EvmRail
from strongroom.signer.desk import ADMIN


@pytest.fixture(scope="module")
def founded_vault() -> Iterator[Vault]:
    with vault_on_node() as vault:
        yield vault


@pytest.fixture
def vault(founded_vault: Vault) -> Iterator[Vault]:
    snapshot = founded_vault.node.snapshot()
    yield founded_vault
    founded_vault.node.revert(snapshot)
    founded_vault.node.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")  # which no snapshot has
    founded_vault.node.rpc("evm_mine")


def test_payouts_in_two_tokens_go_out_as_two_batches_and_settle_to_the_unit(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            for number in range(3):
                await road.pay(f"coin{number}", 1_000 + number)
                await road.pay(f"tether{number}", 2_000 + number, asset=road.asset_of(vault.usdt))
            await road.settle()
            assert set((await road.states()).values()) == {"settled"}
            assert [road.paid(f"coin{number}") for number in range(3)] == [1_000, 1_001, 1_002]
            assert [road.paid(f"tether{number}", vault.usdt) for number in range(3)] == [2_000, 2_001, 2_002]
            assert [(state, len(call.items)) for state, call in await road.calls()] == [("settled", 3), ("settled", 3)]
            assert [call.nonce for _, call in await road.calls()] == [0, 1]
            assert await road.is_balanced()

    asyncio.run(story())


def test_what_is_stuck_is_outbid_at_its_nonce_and_one_of_both_is_paid_for(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.go()
            vault.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * GWEI))
            road.mine()
            await road.go()
            assert [call.nonce for _, call in await road.calls()] == [0]
            road.world.pass_by(60_000)
            await road.go()
            (_, first), (_, second) = await road.calls()
            assert (first.nonce, second.nonce, first.batch) == (0, 0, second.batch)
            assert second.max_fee >= 20 * GWEI
            assert second.deadline > first.deadline
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            assert road.paid("ada") == 5_000
            (one, nothing), (other, cost) = await road.fees()
            assert ((one, nothing), other) == (("dropped", None), "settled")
            assert cost
            assert await road.is_balanced()

    asyncio.run(story())


def test_above_the_policys_price_payouts_wait_and_say_so_and_go_when_it_falls(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            vault.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(300 * GWEI))
            road.mine()
            await road.pay("ada", 5_000)
            await road.go()
            rows = await road.fetch("SELECT state, hold, status_detail FROM strongroom.payouts")
            assert [tuple(row) for row in rows] == [("held", "fee", "263.5 > 200 gwei")]
            road.mine(12)
            road.world.pass_by(60_000)
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}

    asyncio.run(story())


def test_what_the_node_forgot_and_the_policy_has_no_higher_price_for_is_sent_as_it_is(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    """It is overdue, and a replacement would have to offer a tenth more than it: above the policy's price."""

    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            vault.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(130 * GWEI))
            road.mine()
            await road.pay("ada", 5_000)
            await road.go()
            vault.node.rpc("anvil_dropAllTransactions")
            for _ in range(3):
                road.world.pass_by(60_000)
                await road.go()
            assert await road.states() == {"ada": "broadcast:fee_rate"}
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            assert len(await road.calls()) == 1
            assert await road.is_balanced()

    asyncio.run(story())


def test_a_batch_that_reverted_is_sent_again_with_the_next_nonce_when_it_can_be_paid(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    """Paused when it came to the chain, which costs; it waits while the vault is paused, which doesn't."""
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.pay("ben", 6_000)
            await road.go()
            vault.node.rpc("anvil_dropAllTransactions")
            vault.contract.send(OWNER, "pause")
            await road.go()
            road.world.pass_by(5_000)
            await road.settle(3)
            assert await road.states() == dict.fromkeys(("ada", "ben"), "broadcast:vault_paused")
            assert [state for state, _ in await road.fees()] == ["reverted"]
            assert await road.is_balanced()  # what it cost is in the ledger
            vault.contract.send(OWNER, "unpause")
            road.world.pass_by(60_000)
            await road.settle(4)
            assert set((await road.states()).values()) == {"settled"}
            (_, first), (_, second) = await road.calls()
            assert (first.nonce, second.nonce, first.batch) == (0, 1, second.batch)
            assert (road.paid("ada"), road.paid("ben")) == (5_000, 6_000)
            assert await road.is_balanced()

    asyncio.run(story())


def test_a_revert_that_was_final_and_is_gone_is_sent_again_and_what_it_cost_is_back(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    """By a reorg deeper than what was thought final. Its nonce is the account's next one again."""

    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.go()
            vault.node.rpc("anvil_dropAllTransactions")
            vault.contract.send(OWNER, "pause")
            await road.go()
            road.world.pass_by(5_000)
            await road.settle(3)
            assert [state for state, _ in await road.fees()] == ["reverted"]
            vault.contract.send(OWNER, "unpause")
            vault.node.rpc("anvil_reorg", 6, [])
            vault.node.rpc("anvil_dropAllTransactions")
            for _ in range(3):
                road.world.pass_by(60_000)
                await road.settle(3)
            assert await road.states() == {"ada": "settled"}
            assert road.paid("ada") == 5_000
            assert {call.nonce for _, call in await road.calls()} == {0}
            assert (await road.account("wallet:hot", ETHER))[0] == int(
                road.node.rpc("eth_getBalance", road.operator, "latest"), 16)

    asyncio.run(story())


def test_a_batch_whose_deadline_passed_is_signed_with_a_later_one(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.go()
            (_, first), = await road.calls()
            vault.node.next_block_at(first.deadline + 1)
            road.world.pass_by(4_000_000)
            road.mine()
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            (_, first), (_, second) = await road.calls()
            assert (second.batch, second.nonce) == (first.batch, 1)
            assert second.deadline > first.deadline
            assert road.paid("ada") == 5_000
            assert await road.is_balanced()

    asyncio.run(story())


def test_a_nonce_that_another_took_is_left_and_the_batch_goes_with_the_next(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    """Whoever has the operator's key elsewhere."""
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.go()
            vault.node.rpc("anvil_dropAllTransactions")
            vault.node.send(road.operator, STRANGER, b"")
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            assert [call.nonce for _, call in await road.calls()] == [0, 1]
            assert road.paid("ada") == 5_000

    asyncio.run(story())


def test_an_engine_that_dies_at_any_step_goes_on_where_the_chain_is(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            for number in range(4):
                await road.pay(f"payee{number}", 1_000)
                for _ in range(3):
                    await road.steps(1)
                    await road.crash_engine()
                    await road.look()
                road.mine()
            await road.settle(6)
            assert set((await road.states()).values()) == {"settled"}
            assert [road.paid(f"payee{number}") for number in range(4)] == [1_000] * 4
            assert await road.is_balanced()

    asyncio.run(story())


def test_a_reorg_takes_a_batch_back_and_the_same_bytes_are_sent_again(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.go()
            road.mine()
            await road.go()
            assert await road.states() == {"ada": "confirmed"}
            vault.node.rpc("anvil_reorg", 1, [])
            vault.node.rpc("anvil_dropAllTransactions")
            assert road.paid("ada") == 0
            await road.look()
            await road.steps(2)
            assert await road.states() == {"ada": "broadcast:reorg"}
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            assert [(state, call.nonce) for state, call in await road.calls()] == [("settled", 0)]
            assert road.paid("ada") == 5_000
            assert await road.is_balanced()

    asyncio.run(story())


@pytest.mark.skipif(os.environ.get("STRONGROOM_FAULTS") != "full", reason="twenty seconds; tests/e2e pays as many")
def test_many_go_in_as_few_batches_as_the_vault_has_flags_for(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            for name, asset in (("coin", road.asset), ("tether", road.asset_of(vault.usdt))):
                await road.begin_run(name, 250, 100, asset=asset)
                await road.seal_run(name)
            await road.steps(2)  # the signer hears of all destinations, and they cool off
            road.world.pass_by(10_000)
            await road.settle(6)
            assert set((await road.states()).values()) == {"settled"}
            assert sorted(items_of([each for each in await road.calls() if each[0] == "settled"])) == [2, 2, 248, 248]
            assert vault.held(vault.usdc) == vault.held(vault.usdt) == FUNDED - 25_000
            assert await road.is_balanced()

    asyncio.run(story())


STRIDE = 1 if os.environ.get("STRONGROOM_FAULTS") == "full" else 5
def test_after_the_signers_keys_and_the_vaults_operator_were_rotated_the_new_account_begins_at_its_own_nonce(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.settle(4)
            road.world.ask(Ask.ROTATE, channel=ADMIN, network=road.network, generation=1)
            account = road.world.wallets(road.network).address(ORGANISATION, 1, 0)  # type: ignore[union-attr]  # there is one
            vault.node.rpc("anvil_setBalance", account, hex(10**19))
            await road.pay("ben", 6_000)
            await road.settle(2)
            assert await road.states() == {"ada": "settled", "ben": "held:rail:vault_operator_differs"}
            vault.contract.send(OWNER, "rotate", account.lower(), GUARDIAN)
            road.world.pass_by(60_000)
            await road.settle(4)
            assert set((await road.states()).values()) == {"settled"}
            assert [call.nonce for _, call in await road.calls()] == [0, 0]
            assert (road.paid("ada"), road.paid("ben")) == (5_000, 6_000)

    asyncio.run(story())


EVERY_STEP = {
    "engine_addresses", "engine_move", "engine_plan_call", "engine_asking", "sign", "engine_attempt", "broadcast",
    "engine_end_call", "commit",
}


def test_killed_at_every_step_the_engine_pays_once(tmp_path: Path, database: Database, vault: Vault) -> None:
    async def until_killed(road: VaultRoad) -> bool:
        try:
            await road.go()
        except Killed:
            await road.crash_engine()
            await road.go()
            return True
        return False

    async def walk(road: VaultRoad, name: str) -> bool:
        await road.pay(name, 1_000)
        killed = False
        for _ in range(3):
            killed |= await until_killed(road)
            road.mine()
        return await until_killed(road) or killed

    async def story() -> None:
        points = Points()
        async with open_vault_road(tmp_path, database, vault) as road:
            road.wrap = points.wrap
            await road.crash_engine()
            points.arm(0)
            await walk(road, "dry")
            names = list(points.names)
            assert {name.split(" ", 1)[1] for name in names} >= EVERY_STEP, names
            walks = [number for number, name in enumerate(names, 1) if names.index(name) == number - 1][::STRIDE]
            killed = 0
            for number in walks:
                points.arm(number)
                killed += await walk(road, f"payee{number}")
            assert killed >= len(walks) - 4  # what is done once for each engine doesn't come again at its place
            points.arm(0)
            await road.settle(3)
            assert set((await road.states()).values()) == {"settled"}
            assert {road.paid(name) for name in await road.states()} == {1_000}
            assert len([state for state, _ in await road.calls() if state == "settled"]) == 1 + len(walks)
            assert await road.is_balanced()

    asyncio.run(story())


LIES = {
    "a nonce that is far ahead": ("eth_getTransactionCount", lambda *_: hex(50)),
    "a nonce that was used": ("eth_getTransactionCount", lambda *_: "0x0"),
    "a tip without bounds": ("eth_maxPriorityFeePerGas", lambda *_: hex(10**30)),
    "no money for gas": ("eth_getBalance", lambda *_: "0x0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_node_says_falsely_holds_payments_up_while_it_does_and_costs_no_more_than_the_policy_allows(
    tmp_path: Path, database: Database, vault: Vault, lie: str
) -> None:
    """The node of the engine alone: watch has another."""
    method, answer = LIES[lie]

    async def story(liar: LyingNode) -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.settle(3)
            road.bench.accounts = {road.network: EvmRail(road.network, liar.url, road.genesis, 2)}
            liar.lies[method] = answer
            await road.pay("ben", 6_000)
            await road.settle(3)
            liar.lies.clear()
            road.world.pass_by(61_000)
            await road.settle(5)
            await road.bench.accounts[road.network].close()
            assert set((await road.states()).values()) == {"settled"}
            assert (road.paid("ada"), road.paid("ben")) == (5_000, 6_000)
            assert all(call.max_fee <= 200 * GWEI and call.max_priority_fee <= 20 * GWEI
                       for _, call in await road.calls())

    with lying_node(vault.node.port) as liar:
        asyncio.run(story(liar))
