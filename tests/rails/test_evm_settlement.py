"""What a vault's batches became, read from a real node: paid, skipped, taken over, killed, undone. And what nobody
believes: other contracts' logs, tokens that say something else than the vault, histories that were final and changed.
"""

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.contracts import vault as parties
from tests.contracts.node import DEPLOYER, Contract, Node, Reverted, running_node
from tests.contracts.vault import MAXIMUM_ITEMS, OPERATOR, USD, Vault, account, founded
from tests.rails.lying_node import lying_node

from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.hot_vault import Batch, Executed, Killed, Log, Retried, Retry, VaultItem
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.settlement import (
    Dead,
    Differs,
    Execution,
    ItemFate,
    NotSeen,
    Paid,
    Skipped,
    TakenOver,
    Transfer,
    VaultEvent,
    Where,
    read_vault_logs,
    settle,
)
from strongroom.rails.evm.vault_history import FinalityBroken, VaultHistory
from strongroom.rails.evm.vault_sums import base_at
from strongroom.rails.port import RailError, Tip

NETWORK = "eip155:31337"
NEVER = 2**40
FINAL_DEPTH = 3
GAS = 16_000_000
FATES = 5
"""All but Differs."""
SEEDS = 50 if os.environ.get("STRONGROOM_FAULTS") == "full" else 2
_numbers = itertools.count(1)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class Scene:
    """A vault on a node, and a history of it from now on. Batches are made and called as the signer would."""

    def __init__(self, node: Node, vault: Vault) -> None:
        self.node = node
        self.vault = vault
        node.rpc("evm_mine")
        newest = node.rpc("eth_getBlockByNumber", "latest", False)
        genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
        self.rail = EvmRail(NETWORK, f"http://127.0.0.1:{node.port}", genesis, FINAL_DEPTH)
        begin = Tip(int(newest["number"], 16), newest["hash"])
        self.history = VaultHistory(self.rail, base_at(begin, [raw(vault.address)]))

    def batch(self, token: Contract, *items: tuple[str, int]) -> Batch:
        paid = tuple(VaultItem(raw(payee), amount) for payee, amount in items)
        salt = keccak256(b"settlement %d" % next(_numbers))
        return Batch(self.node.chain_id, raw(self.vault.address), raw(token.address), salt, paid)

    def pay(self, batch: Batch, kills: Sequence[bytes] = (), retries: Sequence[Retry] = ()) -> None:
        self.vault.contract.send_data(OPERATOR, batch.pay(kills, retries, NEVER), gas=GAS)

    def kill(self, *batches: Batch) -> None:
        self.vault.contract.send(OPERATOR, "kill", [each.name for each in batches])

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        self.node.rpc("anvil_reorg", depth, [])
        self.node.rpc("anvil_dropAllTransactions")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def scene(node: Node) -> Scene:
    vault = founded(node)
    vault.list(vault.usdt)
    vault.list(vault.hostile)
    return Scene(node, vault)


def play(scene: Scene, story: Callable[[], Awaitable[None]]) -> None:
    async def go() -> None:
        try:
            await story()
        finally:
            await scene.rail.close()

    asyncio.run(go())


def kinds(fates: Sequence[ItemFate]) -> list[type[ItemFate]]:
    return [type(each) for each in fates]


def names(fates: Sequence[ItemFate]) -> str:
    return " ".join(each.__name__ for each in kinds(fates))


def test_a_batch_goes_from_not_seen_to_paid_to_final(scene: Scene) -> None:
    a, b = account("a"), account("b")
    batch = scene.batch(scene.vault.usdc, (a, 5), (b, 7), (a, 5))

    async def story() -> None:
        await scene.history.advance()
        assert scene.history.fates(batch) == (NotSeen(),) * 3
        scene.pay(batch)
        progress = await scene.history.advance()
        assert (progress.read, progress.is_at_tip, progress.undone) == (1, True, ())
        tip = await scene.rail.tip()
        where = Where(tip.height, tip.block_hash, is_final=False)
        assert scene.history.fates(batch) == (Paid(5, where), Paid(7, where), Paid(5, where))
        scene.mine(FINAL_DEPTH - 2)
        await scene.history.advance()
        assert scene.history.fates(batch)[0] == Paid(5, where)
        scene.history.fold(0)
        assert scene.history.fates(batch)[0] == Paid(5, where)
        scene.mine()
        progress = await scene.history.advance()
        assert progress.final == tip
        assert scene.history.fates(batch)[0] == Paid(5, replace(where, is_final=True))
        scene.history.fold(FINAL_DEPTH)
        assert scene.history.fates(batch)[0] == Paid(5, replace(where, is_final=True))
        scene.history.fold(FINAL_DEPTH - 1)
        assert scene.history.fates(batch) == (None, None, None)
        assert scene.history.base.tip == tip

    play(scene, story)


def test_skips_retries_and_kills_are_told_apart(scene: Scene) -> None:
    """An attempt that skipped two, a second that took one of them over, and an older one that is dead."""
    good, listed, other = account("good"), account("listed"), account("other")
    scene.vault.usdc.send(DEPLOYER, "setBlacklisted", listed, True)
    scene.vault.usdc.send(DEPLOYER, "setBlacklisted", other, True)
    older = scene.batch(scene.vault.usdc, (good, 1), (listed, 2))
    first = scene.batch(scene.vault.usdc, (good, 1), (listed, 2), (other, 3))
    second = scene.batch(scene.vault.usdc, (listed, 2), (good, 9))

    async def story() -> None:
        scene.pay(first, kills=[older.name])
        await scene.history.advance()
        assert names(scene.history.fates(older)) == "Dead Dead"
        assert names(scene.history.fates(first)) == "Paid Skipped Skipped"
        scene.vault.usdc.send(DEPLOYER, "setBlacklisted", listed, False)
        scene.pay(second, retries=[Retry(first.name, 1)])
        await scene.history.advance()
        fates = scene.history.fates(first)
        assert names(fates) == "Paid TakenOver Skipped"
        assert isinstance(fates[1], TakenOver)
        assert fates[1].by == second.name
        assert names(scene.history.fates(second)) == "Paid Paid"
        scene.mine(FINAL_DEPTH)
        await scene.history.advance()
        assert all(each.where.is_final for each in scene.history.fates(first) if not isinstance(each, NotSeen))

    play(scene, story)


def test_a_token_that_takes_a_fee_settles_what_arrived(scene: Scene) -> None:
    """To the unit: the fee goes to the token's owner, who is also a payee here."""
    scene.vault.usdt.send(DEPLOYER, "setFee", 100, 10 * USD)
    batch = scene.batch(scene.vault.usdt, (account("a"), 1_000), (DEPLOYER, 500), (account("b"), 3))

    async def story() -> None:
        scene.pay(batch)
        await scene.history.advance()
        received = [each.received for each in scene.history.fates(batch) if isinstance(each, Paid)]
        assert received == [990, 495, 3]

    play(scene, story)


def test_a_full_batch_of_which_every_second_item_is_skipped(scene: Scene) -> None:
    payees = [account(f"payee {index}") for index in range(MAXIMUM_ITEMS)]
    for payee in payees[1::2]:
        parties.behave(scene.vault, payee, "ReturnsFalse")
    batch = scene.batch(scene.vault.hostile, *((payee, index + 1) for index, payee in enumerate(payees)))

    async def story() -> None:
        scene.pay(batch)
        while not (await scene.history.advance()).is_at_tip:
            pass
        fates = scene.history.fates(batch)
        assert kinds(fates) == [Paid, Skipped] * (MAXIMUM_ITEMS // 2)
        assert [each.received for each in fates if isinstance(each, Paid)] == list(range(1, MAXIMUM_ITEMS, 2))

    play(scene, story)


def test_a_reorg_undoes_what_was_not_final_and_the_batch_can_be_paid_again(scene: Scene) -> None:
    batch = scene.batch(scene.vault.usdc, (account("a"), 5))
    dead = scene.batch(scene.vault.usdc, (account("a"), 6))

    async def story() -> None:
        scene.mine(FINAL_DEPTH)
        scene.pay(batch, kills=[dead.name])
        await scene.history.advance()
        assert (names(scene.history.fates(batch)), names(scene.history.fates(dead))) == ("Paid", "Dead")
        gone = scene.history.newest
        scene.reorg(1)
        progress = await scene.history.advance()
        assert progress.undone == (gone,)
        assert (names(scene.history.fates(batch)), names(scene.history.fates(dead))) == ("NotSeen", "NotSeen")
        scene.pay(batch)
        await scene.history.advance()
        (fate,) = scene.history.fates(batch)
        assert isinstance(fate, Paid)
        assert fate.where.block_hash != gone.block_hash

    play(scene, story)


def test_a_reorg_that_kills_what_was_paid_and_pays_by_another_batch_is_told_as_it_is(scene: Scene) -> None:
    """The deepest case in which nothing is paid twice: the payment is undone, and its kill is what stays."""
    payee = account("a")
    first, second = scene.batch(scene.vault.usdc, (payee, 5)), scene.batch(scene.vault.usdc, (payee, 5))

    async def story() -> None:
        scene.mine(FINAL_DEPTH)
        scene.pay(first)
        await scene.history.advance()
        assert names(scene.history.fates(first)) == "Paid"
        scene.reorg(1)
        scene.pay(second, kills=[first.name])
        await scene.history.advance()
        assert (names(scene.history.fates(first)), names(scene.history.fates(second))) == ("Dead", "Paid")

    play(scene, story)


def test_a_reorg_below_what_was_final_stops_everything(scene: Scene) -> None:
    batch = scene.batch(scene.vault.usdc, (account("a"), 5))

    async def story() -> None:
        scene.pay(batch)
        scene.mine(FINAL_DEPTH - 1)
        await scene.history.advance()
        before = scene.history.fates(batch)
        assert isinstance(before[0], Paid)
        assert before[0].where.is_final
        scene.reorg(FINAL_DEPTH)
        for _ in range(2):
            with pytest.raises(FinalityBroken, match="isn't on the chain any more"):
                await scene.history.advance()
        assert scene.history.fates(batch) == before

    play(scene, story)


@pytest.mark.parametrize("growth", [0, 1, 2])
def test_a_reorg_in_the_middle_of_a_reading_makes_nothing_final_that_it_undid(scene: Scene, growth: int) -> None:
    """Between the look at what was read and the question for what is final, the chain changes, grows and is final."""
    batch = scene.batch(scene.vault.usdc, (account("a"), 5))

    async def story() -> None:
        with lying_node(scene.node.port) as provider:
            final = scene.node.rpc("eth_getBlockByNumber", "latest", False)
            is_due = False

            def shown(asked: list[Any], true: Any) -> Any:
                nonlocal final, is_due
                if asked[0] == "latest" and is_due:
                    is_due = False
                    scene.reorg(1)
                    scene.mine(growth)
                    true = final = scene.node.rpc("eth_getBlockByNumber", "latest", False)
                return final if asked[0] == "finalized" else true

            provider.lies["eth_getBlockByNumber"] = shown
            rail = EvmRail(NETWORK, provider.url, "0x", "finalized")
            history = VaultHistory(rail, base_at(scene.history.final, [raw(scene.vault.address)]))
            scene.pay(batch)
            await history.advance()
            assert names(history.fates(batch)) == "Paid"
            is_due = True
            await history.advance()
            (fate,) = history.fates(batch)
            assert isinstance(fate, NotSeen) or (isinstance(fate, Paid) and not fate.where.is_final)
            await history.advance()
            assert history.fates(batch) == (NotSeen(),)
            assert history.final.height == int(final["number"], 16)
            await rail.close()

    play(scene, story)


def test_events_of_other_contracts_are_nothing(scene: Scene) -> None:
    """The attacker deploys a second vault and a second token, and wants a batch of the first vault to count as paid.

    A vault of the attacker's own logs the very topics, with whatever it likes in them, in a block of its own.
    """
    other = founded(scene.node)
    wanted = scene.batch(scene.vault.usdc, (account("a"), 5))
    theirs = replace(wanted, vault=raw(other.address), token=raw(other.usdc.address))

    async def story() -> None:
        other.contract.send_data(OPERATOR, theirs.pay([wanted.name], [], NEVER), gas=GAS)
        await scene.history.advance()
        assert scene.history.fates(wanted) == (NotSeen(),)
        scene.pay(wanted)
        await scene.history.advance()
        assert names(scene.history.fates(wanted)) == "Paid"

    play(scene, story)


def test_a_vault_that_is_asked_for_its_own_events_shows_them(scene: Scene) -> None:
    """The control of the test before: with the other vault's address its events are read."""
    other = founded(scene.node)
    wanted = scene.batch(scene.vault.usdc, (account("a"), 5))
    theirs = replace(wanted, vault=raw(other.address), token=raw(other.usdc.address))

    async def story() -> None:
        history = VaultHistory(scene.rail, base_at(scene.history.final, [raw(other.address)]))
        other.contract.send_data(OPERATOR, theirs.pay([wanted.name], [], NEVER), gas=GAS)
        await history.advance()
        assert names(history.fates(wanted)) == "Dead"

    play(scene, story)


def test_a_reading_that_broke_off_loses_and_doubles_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [scene.batch(scene.vault.usdc, (account("a"), 5)) for _ in range(4)]
    monkeypatch.setattr("strongroom.rails.evm.vault_history.BLOCKS_MAXIMUM", 2)

    async def story() -> None:
        for each in batches:
            scene.pay(each)
        with lying_node(scene.node.port) as provider:
            provider.cut_each = 7
            rail = EvmRail(NETWORK, provider.url, "0x", FINAL_DEPTH)
            history = VaultHistory(rail, base_at(scene.history.final, [raw(scene.vault.address)]))
            broken_off = 0
            for _ in range(40):
                try:
                    if (await history.advance()).is_at_tip:
                        break
                except RailError:
                    broken_off += 1
            await rail.close()
        assert broken_off
        assert [names(history.fates(each)) for each in batches] == ["Paid"] * 4

    play(scene, story)


class RandomScene:
    """Anybody pays, kills, retries and refuses, and blocks come and are undone. Each payout has a payee of its own."""

    def __init__(self, scene: Scene, chance: Random) -> None:
        self.scene = scene
        self.chance = chance
        self.batches: list[Batch] = []
        self.payees: list[str] = []
        self.seen: Counter[str] = Counter()

    def pay(self) -> None:
        """To new payees, of whom some are refused; now and then it isn't sent."""
        new = [account(f"random {self.scene.vault.address} {len(self.payees) + at}") for at in range(3)]
        self.payees += new
        batch = self.scene.batch(self.scene.vault.usdc, *((payee, self.chance.randrange(1, 9)) for payee in new))
        self.batches.append(batch)
        for payee in new:
            if self.chance.random() < 0.4:
                self.scene.vault.usdc.send(DEPLOYER, "setBlacklisted", payee, True)
        if self.chance.random() < 0.7:
            self._try(batch)

    def again(self) -> None:
        if self.batches:
            self._try(self.chance.choice(self.batches[-6:]))

    def retry(self) -> None:
        skipped = [(batch, at) for batch in self.batches for at in range(3) if self.flags(batch)[1] >> at & 1]
        if skipped:
            old, at = self.chance.choice(skipped)
            item = old.items[at % len(old.items)]
            batch = self.scene.batch(self.scene.vault.usdc, ("0x" + item.payee.hex(), item.amount))
            self.batches.append(batch)
            self._try(batch, retries=[Retry(old.name, at)])

    def kill(self) -> None:
        """Mostly in vain, as it was executed."""
        for _ in self.batches[:3]:
            with contextlib.suppress(Reverted):
                self.scene.kill(self.chance.choice(self.batches))

    def refuse(self) -> None:
        for payee in self.chance.sample(self.payees, len(self.payees) // 4):
            self.scene.vault.usdc.send(DEPLOYER, "setBlacklisted", payee, self.chance.random() < 0.3)

    def mine(self) -> None:
        self.scene.mine()

    def reorg(self) -> None:
        self.scene.reorg(self.chance.randrange(1, FINAL_DEPTH))

    def flags(self, batch: Batch) -> tuple[int, int]:
        status, skipped = self.scene.vault.contract.read("fates", batch.name)
        return int(status), int(skipped)

    def check(self) -> None:
        """What was read is what the vault itself has in its storage, and what every payee has."""
        received: Counter[str] = Counter()
        for batch in self.batches:
            status, skipped = self.flags(batch)
            fates = self.scene.history.fates(batch)
            self.seen.update(each.__name__ for each in kinds(fates))
            assert {0: {NotSeen}, 2: {Dead}}.get(status, set()) in (set(), set(kinds(fates)))
            assert (status == 1) == (not {NotSeen, Dead} & set(kinds(fates)))
            assert Differs not in kinds(fates)
            assert sum(isinstance(each, Skipped) << at for at, each in enumerate(fates)) == skipped
            for item, fate in zip(batch.items, fates, strict=True):
                if isinstance(fate, Paid):
                    received["0x" + item.payee.hex()] += fate.received
        assert all(parties.balance(self.scene.vault.usdc, each) == received[each] for each in self.payees)

    def _try(self, batch: Batch, retries: Sequence[Retry] = ()) -> None:
        with contextlib.suppress(Reverted):
            self.scene.pay(batch, retries=retries)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_blocks_and_reorgs_are_read_as_the_vault_itself_has_them(scene: Scene, seed: int) -> None:
    chance = Random(seed)
    random = RandomScene(scene, chance)
    steps = [random.pay, random.again, random.retry, random.kill, random.refuse, random.mine, random.reorg]
    undone = 0

    async def story() -> None:
        nonlocal undone
        scene.mine(FINAL_DEPTH)
        for turn in range(200):
            for step in chance.choices(steps, (5, 1, 4, 1, 2, 1, 3), k=chance.randrange(1, 3)):
                step()
            while not (progress := await scene.history.advance()).is_at_tip:
                undone += len(progress.undone)
            undone += len(progress.undone)
            random.check()
            if turn > 30 and undone > 3 and len(random.seen) == FATES:
                return
        raise AssertionError(f"not everything happened: {random.seen}, {undone} undone")

    play(scene, story)


VAULT, TOKEN, SALT, A, B, OWNER = (bytes([each] * size) for each, size in (
    (1, 20), (2, 20), (3, 32), (4, 20), (5, 20), (6, 20)
))
BATCH = Batch(1, VAULT, TOKEN, SALT, (VaultItem(A, 10), VaultItem(B, 20), VaultItem(A, 30)))
WHERE = Where(7, "0x07", is_final=True)
LATER = Where(8, "0x08", is_final=False)


def executed(
    *transfers: tuple[bytes, int], paid: int = 60, skipped: Sequence[int] = (), token: bytes = TOKEN,
    moved: bytes = TOKEN, batch: bytes = BATCH.name,
) -> list[tuple[VaultEvent, Where]]:
    made = tuple(Transfer(moved, payee, amount) for payee, amount in transfers)
    return [(Execution(Executed(batch, token, paid, frozenset(skipped)), made), WHERE)]


ALL = ((A, 10), (B, 20), (A, 30))
ONE_SKIPPED = executed((A, 10), (A, 30), paid=40, skipped=[1])


ALIKE = [
    ([], "NotSeen NotSeen NotSeen"),
    (executed(*ALL), "Paid Paid Paid"),
    (ONE_SKIPPED, "Paid Skipped Paid"),
    (executed((A, 9), (OWNER, 1), (B, 20), (A, 30)), "Paid Paid Paid"),
    ([(Killed(BATCH.name), WHERE)], "Dead Dead Dead"),
    ([*ONE_SKIPPED, (Retried(BATCH.name, 1, SALT), LATER)], "Paid TakenOver Paid"),
]


@pytest.mark.parametrize(("found", "expected"), ALIKE)
def test_what_vault_and_token_say_alike_is_believed(found: list[tuple[VaultEvent, Where]], expected: str) -> None:
    assert names(settle(BATCH, found)) == expected


DIFFERENT = [
    executed(*ALL[:2]), executed(*ALL, (A, 1)), executed(*ALL[::-1][1:]), executed((A, 10), (B, 20), (B, 30)),
    executed((A, 11), (B, 20), (A, 30)), executed((A, 9), (B, 20), (A, 30)), executed((A, 9), (OWNER, 2), *ALL[1:]),
    executed((A, 9)), executed(), executed(*ALL, paid=59), executed(*ALL, token=A), executed(*ALL, moved=A),
    executed(*ALL, skipped=[3]), executed(*ALL, skipped=[1]), executed((A, 10), (A, 30), skipped=[1]),
    executed(*ALL) * 2, [*executed(*ALL), (Killed(BATCH.name), LATER)],
    [(Killed(BATCH.name), WHERE), *executed(*ALL)],
    [*executed(*ALL), (Retried(BATCH.name, 1, SALT), LATER)],
    [*ONE_SKIPPED, (Retried(BATCH.name, 1, SALT), LATER), (Retried(BATCH.name, 1, SALT), LATER)],
    [*executed(*ALL), (Retried(BATCH.name, 3, SALT), LATER)],
    executed(*ALL, batch=SALT),
]


@pytest.mark.parametrize("found", DIFFERENT)
def test_where_vault_and_token_do_not_say_alike_nobody_knows(found: list[tuple[VaultEvent, Where]]) -> None:
    assert names(settle(BATCH, found)) == "Differs Differs Differs"
    assert all(isinstance(each, Differs) and each.reason for each in settle(BATCH, found))


def word(value: int | bytes) -> bytes:
    return value.to_bytes(32) if isinstance(value, int) else value.rjust(32, b"\0")


def transfer(token: bytes, payer: bytes, payee: bytes, amount: int) -> Log:
    return Log(token, (keccak256(b"Transfer(address,address,uint256)"), word(payer), word(payee)), word(amount))


EXECUTED = Log(
    VAULT, (keccak256(b"Executed(bytes32,address,uint256,uint248)"), BATCH.name, word(TOKEN)), word(60) + word(0)
)
PAUSED = Log(VAULT, (keccak256(b"Paused(uint64)"),), word(1))


def test_only_transfers_out_of_the_vault_since_its_last_event_belong_to_a_batch() -> None:
    paid = [transfer(TOKEN, VAULT, payee, amount) for payee, amount in ALL]
    noise = [
        transfer(TOKEN, A, B, 3), Log(TOKEN, (keccak256(b"Approval(address,address,uint256)"),), b""),
        Log(TOKEN, paid[0].topics, b""), Log(A, EXECUTED.topics, EXECUTED.data), Log(A, (), b"x"),
    ]
    before = [transfer(TOKEN, VAULT, OWNER, 99), PAUSED]
    (execution,) = read_vault_logs(VAULT, [*before, paid[0], *noise, *paid[1:], EXECUTED, transfer(TOKEN, VAULT, A, 1)])
    assert names(settle(BATCH, [(execution, WHERE)])) == "Paid Paid Paid"
    (other,) = read_vault_logs(VAULT, [*paid[:1], PAUSED, *paid[1:], EXECUTED])
    assert names(settle(BATCH, [(other, WHERE)])) == "Differs Differs Differs"


def test_a_vault_that_logs_what_a_vault_does_not_is_none() -> None:
    with pytest.raises(RailError, match="another contract is at its address"):
        read_vault_logs(VAULT, [replace(EXECUTED, data=b"")])
