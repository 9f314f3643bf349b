"""What a vault skipped is paid by a later batch, once; and who lies about what a vault did makes nobody paid twice.

The attacker has watch's words of the chain (the database, or all its nodes) and wants a payee paid again: says of an
item that was paid that it was skipped, or killed, or that its call failed. The bound is 0, held twice: the signer signs
no batch that doesn't cover the earlier ones, and the vault executes none that covers them wrongly. Taken out, each of
the two pays twice.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Database
from tests.contracts import patches
from tests.contracts.vault import Vault
from tests.engine.vault_road import VaultRoad, open_vault_road, vault_on_node
from tests.signer.world import DAN

from strongroom.engine import plan_vault
from strongroom.engine.plan_vault import Cover
from strongroom.protocol.negative import Action
from strongroom.signer import gate


@pytest.fixture(scope="module")
def founded_vault() -> Iterator[Vault]:
    with vault_on_node() as vault:
        yield vault


@pytest.fixture
def vault(founded_vault: Vault) -> Iterator[Vault]:
    snapshot = founded_vault.node.snapshot()
    yield founded_vault
    founded_vault.node.revert(snapshot)


async def pay_with_one_skipped(road: VaultRoad) -> None:
    """Ada is paid, and ben is refused by the token after it was asked."""
    await road.pay("ada", 5_000)
    await road.pay("ben", 6_000)
    await road.go()
    road.node.rpc("anvil_dropAllTransactions")  # the next block would be the batch's
    road.blacklist("ben")
    await road.go()
    road.world.pass_by(5_000)
    await road.settle(3)


def test_a_skipped_payout_keeps_its_money_and_is_paid_when_its_token_lets_it(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await pay_with_one_skipped(road)
            assert await road.states() == {"ada": "settled", "ben": "held:rail:skipped_by_token"}
            assert await road.account("payouts") == (5_000, 6_000)  # paid, and reserved
            road.world.pass_by(60_000)
            await road.settle(2)
            assert await road.states() == {"ada": "settled", "ben": "held:screening:payee_refused_by_token"}
            road.blacklist("ben", is_on=False)
            road.world.pass_by(60_000)
            await road.settle(4)
            assert set((await road.states()).values()) == {"settled"}
            assert (road.paid("ada"), road.paid("ben")) == (5_000, 6_000)
            (_, first), (_, second) = await road.calls()
            assert [(each.batch, each.index) for each in second.retries] == [(first.batch.name, 1)]
            assert await road.is_balanced()

    asyncio.run(story())


def test_what_is_cancelled_after_it_was_skipped_is_void_by_guards_word_of_the_skip(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await pay_with_one_skipped(road)
            await road.cancel("ben")
            road.blacklist("ben", is_on=False)
            road.world.pass_by(60_000)
            await road.settle(3)
            assert await road.states() == {"ada": "settled", "ben": "failed:void"}
            assert await road.account("payouts") == (5_000, 0)
            assert road.paid("ben") == 0
            assert await road.is_balanced()

    asyncio.run(story())


def test_a_batch_that_reverts_again_and_again_is_given_up_and_killed_by_the_one_that_pays(
    tmp_path: Path, database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason isn't one that can be asked for before: here too little gas."""
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await road.pay("ada", 5_000)
            await road.pay("ben", 6_000)
            with monkeypatch.context() as patch:
                patch.setattr(plan_vault, "gas_for", lambda *_: 40_000)
                await road.settle(5)
            assert set((await road.states()).values()) == {"held:rail:vault_reverts"}
            assert [state for state, _ in await road.fees()] == ["reverted"] * 3
            road.world.pass_by(60_000)
            await road.settle(4)
            assert set((await road.states()).values()) == {"settled"}
            calls = [call for _, call in await road.calls()]
            assert calls[3].kills == (calls[0].batch.name,)
            assert (road.paid("ada"), road.paid("ben")) == (5_000, 6_000)
            assert await road.is_balanced()

    asyncio.run(story())


# What is taken back after it was signed.


def test_a_batch_of_which_all_was_taken_back_is_killed_at_its_nonce_and_is_void_by_guards_word(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            ada, ben = await road.pay("ada", 5_000), await road.pay("ben", 6_000)
            await road.go()
            road.world.guard.instruct(Action.CANCEL, ada, DAN)
            road.world.desk.idle()
            road.world.pass_by(2_000)
            await road.go()
            assert len(await road.calls()) == 1  # ben is owed
            road.world.guard.instruct(Action.CANCEL, ben, DAN)
            road.world.desk.idle()
            road.world.pass_by(2_000)
            await road.settle(4)
            (_, paying), (_, killing) = await road.calls()
            assert (killing.nonce, killing.items, killing.kills) == (paying.nonce, (), (paying.batch.name,))
            assert set((await road.states()).values()) == {"held:rail:batch_killed"}
            road.world.pass_by(60_000)
            await road.settle(2)
            assert set((await road.states()).values()) == {"failed:void"}
            assert await road.account("payouts") == (0, 0)
            assert (road.paid("ada"), road.paid("ben")) == (0, 0)
            assert [state for state, _ in await road.fees()] == ["dropped", "settled"]
            assert await road.is_balanced()

    asyncio.run(story())


# Lies.


async def say_skipped(road: VaultRoad) -> None:
    ((_, call),) = await road.calls()
    road.lies[call.batch.name.hex(), 0] = ("skipped", True)


async def say_dead(road: VaultRoad) -> None:
    ((_, call),) = await road.calls()
    road.lies[call.batch.name.hex(), 0] = ("dead", True)


async def say_reverted(road: VaultRoad) -> None:
    ((_, call),) = await road.calls()
    (name,) = await road.fetch("SELECT chain_transaction FROM strongroom.attempts")
    road.lies[call.batch.name.hex(), 0] = ("unseen", False)
    road.lies_of_calls[name[0]] = ("reverted", False)


LIES: dict[str, tuple[Callable[[VaultRoad], Any], str]] = {
    "skipped": (say_skipped, "retries need no flag"), "dead": (say_dead, "executed can be killed"),
    "reverted": (say_reverted, "no status"),
}


async def told(road: VaultRoad, lie: str) -> None:
    """Ada is paid, and it is said that she wasn't, for as long as the engine tries."""
    await road.pay("ada", 5_000)
    await road.go()
    road.is_lying = True
    await LIES[lie][0](road)
    for _ in range(2):
        await road.settle(3)
        road.world.pass_by(60_000)
    await road.settle(1)


@pytest.mark.parametrize("lie", LIES)
def test_who_lies_about_what_the_vault_did_costs_gas_and_pays_nobody_twice(
    tmp_path: Path, database: Database, vault: Vault, lie: str
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await told(road, lie)
            assert road.paid("ada") == 5_000
            assert len(await road.calls()) > 1  # it was tried
            road.is_lying = False
            await road.settle(4)
            assert await road.states() == {"ada": "settled"}
            assert road.transfers("ada") == [5_000]

    asyncio.run(story())


@pytest.mark.parametrize("lie", LIES)
def test_without_the_vaults_rule_such_a_lie_pays_twice(
    tmp_path: Path, database: Database, tmp_path_factory: pytest.TempPathFactory, worker_id: str, lie: str
) -> None:
    base = tmp_path_factory.getbasetemp()
    copies = patches.compiled(base if worker_id == "master" else base.parent)

    async def story(vault: Vault) -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            await told(road, lie)
            assert road.transfers("ada")[:2] == [5_000, 5_000]

    with vault_on_node(copies[LIES[lie][1]]) as vault:
        asyncio.run(story(vault))


@pytest.mark.parametrize("is_patched", [False, True])
def test_an_engine_that_covers_nothing_is_refused_by_the_signer_and_by_nobody_else(
    tmp_path: Path, database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch, is_patched: bool
) -> None:
    """A new salt makes a new batch, which the vault pays as it pays any: it is the signer who knows better."""
    salts = iter(range(1, 100))

    def loose(*_: object) -> Cover:
        return Cover()

    def salted(raw: bytes) -> Any:
        return plan_vault.hashlib.new("sha256", raw + bytes([next(salts)]))

    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            monkeypatch.setattr(plan_vault, "cover_of", loose)
            monkeypatch.setattr(plan_vault, "hashlib", type("Salted", (), {"sha256": staticmethod(salted),
                                                                          "new": plan_vault.hashlib.new}))
            if is_patched:
                monkeypatch.setattr(gate, "excludes", lambda *_: True)
            await told(road, "skipped")
            assert (len(road.transfers("ada")) > 1) is is_patched
            if not is_patched:
                assert await road.states() == {"ada": "held:screening:payout-once"}

    asyncio.run(story())
