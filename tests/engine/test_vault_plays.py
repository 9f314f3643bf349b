"""Random plays against payouts by a vault: the chain reorganises, forgets, gets dear; the vault is paused; payees are
refused and let in again; people take payouts back; the engine is killed. Nobody is ever paid twice; and when all is
well again, each payout is settled and was paid, or has ended and was not.

A few short plays; long ones, and many, under STRONGROOM_FAULTS=full.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.contracts.node import NodeError, Reverted
from tests.contracts.vault import OWNER, Vault
from tests.engine.kills import Killed, Points
from tests.engine.vault_road import VaultRoad, open_vault_road, vault_on_node
from tests.signer.test_sign_evm import GWEI
from tests.signer.world import DAN

from strongroom.engine.pipeline import advance
from strongroom.protocol.negative import Action

IS_FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
PLAYS = range(40 if IS_FULL else 2)
ACTS = 60 if IS_FULL else 20
ROUNDS_MAXIMUM = 40


@pytest.fixture(scope="module")
def founded_vault() -> Iterator[Vault]:
    with vault_on_node() as vault:
        yield vault


@pytest.fixture
def vault(founded_vault: Vault) -> Iterator[Vault]:
    snapshot = founded_vault.node.snapshot()
    yield founded_vault
    founded_vault.node.revert(snapshot)
    founded_vault.node.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
    founded_vault.node.rpc("evm_mine")


class Play:
    def __init__(self, road: VaultRoad, seed: int) -> None:
        self.road = road
        self.chance = random.Random(seed)
        self.points = Points()
        self.amounts: dict[str, tuple[int, bool]] = {}
        """Of each payee what it is owed, and whether in USDT."""
        self.refused: set[str] = set()
        self.taken_back: set[str] = set()

    async def act(self) -> str:
        acts = {
            self.engine: 8, self.pay: 4, self.mine: 4, self.wait: 3, self.kill: 3, self.refuse: 2, self.pause: 2,
            self.reorg: 2, self.dearer: 2, self.let_in: 1, self.forget: 1, self.take_back: 1,
        }
        (act,) = self.chance.choices(list(acts), list(acts.values()))
        await act()
        self.check()
        return act.__name__

    def check(self) -> None:
        """At any moment: nobody has more than it is owed, and nobody has anything for two payouts."""
        for name, (minor, is_tether) in self.amounts.items():
            vault = self.road.vault
            assert self.road.paid(name, vault.usdt if is_tether else vault.usdc) in (0, minor), name

    async def pay(self) -> None:
        name, is_tether = f"payee{len(self.amounts)}", self.chance.random() < 0.3
        minor = self.chance.randint(1, 50_000)
        asset = self.road.asset_of(self.road.vault.usdt) if is_tether else self.road.asset
        await self.road.pay(name, minor, asset=asset)
        self.amounts[name] = minor, is_tether

    async def engine(self) -> None:
        """And watch."""
        for _ in range(self.chance.randint(1, 4)):
            await advance(self.road.bench)
            await self.road.look()

    async def kill(self) -> None:
        """At any of its next points."""
        self.points.arm(self.chance.randint(1, 40))
        try:
            await self.engine()
        except Killed:
            await self.road.crash_engine()
        self.points.arm(0)

    async def mine(self) -> None:
        self.road.mine(self.chance.randint(1, 2))

    async def wait(self) -> None:
        self.road.world.pass_by(self.chance.choice((6_000, 61_000)))
        self.road.world.desk.idle()

    async def reorg(self) -> None:
        """One block, which isn't final yet."""
        if self.chance.random() < 0.5:
            self.road.mine()
        self.road.node.rpc("anvil_reorg", 1, [])

    async def forget(self) -> None:
        self.road.node.rpc("anvil_dropAllTransactions")

    async def dearer(self) -> None:
        self.road.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(self.chance.choice((0, 1, 20, 90)) * GWEI))
        self.road.mine()

    async def pause(self) -> None:
        """Before what waits for a block is in one."""
        await self.forget()
        self.owner("unpause" if self.road.vault.paused() else "pause")

    async def refuse(self) -> None:
        names = [name for name, (_, is_tether) in self.amounts.items() if not is_tether]
        if names:
            name = self.chance.choice(names)
            await self.forget()
            self.free_gas()
            self.road.blacklist(name)
            self.refused.add(name)

    async def let_in(self) -> None:
        self.free_gas()
        for name in sorted(self.refused):
            self.road.blacklist(name, is_on=False)
        self.refused.clear()

    async def take_back(self) -> None:
        names = sorted(set(self.amounts) - self.taken_back)
        if names:
            name = self.chance.choice(names)
            self.road.world.guard.instruct(Action.CANCEL, self.road.payouts[name], DAN)
            self.road.world.desk.idle()
            self.taken_back.add(name)

    def owner(self, act: str) -> None:
        self.free_gas()
        with contextlib.suppress(Reverted, NodeError):
            self.road.vault.contract.send(OWNER, act)

    def free_gas(self) -> None:
        """For what isn't the engine's."""
        self.road.node.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
        self.road.mine()

    async def heal(self) -> None:
        """All is well again, and time passes until everything has an end."""
        if self.road.vault.paused():
            self.owner("unpause")
        self.refused = {name for name, (_, is_tether) in self.amounts.items() if not is_tether}  # a reorg may have
        await self.let_in()
        self.free_gas()
        for _ in range(ROUNDS_MAXIMUM):
            for _ in range(3):
                await self.road.go()
                self.road.mine()
                self.check()
            self.road.world.pass_by(61_000)
            self.road.world.desk.idle()
            states = {each.split(":")[0] for each in (await self.road.states()).values()}
            if states <= {"settled", "failed", "cancelled"}:
                return
        raise AssertionError(f"not all have come to an end: {await self.road.states()}")

    async def check_ends(self) -> None:
        states = await self.road.states()
        for name, (minor, is_tether) in self.amounts.items():
            token = self.road.vault.usdt if is_tether else self.road.vault.usdc
            ended = states[name].split(":")[0]
            assert (ended == "settled") == (self.road.paid(name, token) == minor), (name, states[name])
            assert ended == "settled" or name in self.taken_back, (name, states[name])
        assert await self.road.account("payouts") == (sum(
            minor for name, (minor, is_tether) in self.amounts.items()
            if not is_tether and states[name].startswith("settled")), 0)
        assert await self.road.is_balanced()


@pytest.mark.parametrize("seed", PLAYS)
def test_whatever_happens_nobody_is_paid_twice_and_all_is_settled_or_ended(
    tmp_path: Path, database: Database, vault: Vault, seed: int
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            play = Play(road, seed)
            road.wrap = play.points.wrap
            await road.crash_engine()
            for _ in range(3):
                await play.pay()
            done = [await play.act() for _ in range(ACTS)]
            print(seed, " ".join(done))
            await play.heal()
            await play.check_ends()

    asyncio.run(story())
