"""Payouts end to end, as a table: each line of `payouts.txt` is a story, and its last column is what is expected."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.engine.road import OPENING, Road, open_road
from tests.rails.chain import running_chain
from tests.signer.world import ADA, BEN, CLEO, DAN, EVE, ORGANISATION, PAY_KEY, Human, limit, payee

from strongroom.domain.instant import Instant
from strongroom.domain.timestamp import format_instant
from strongroom.engine.pipeline import advance
from strongroom.engine.screening import ListScreen
from strongroom.formats import simulated
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.negative import Action

TABLE = Path(__file__).with_name("payouts.txt")
PEOPLE: dict[str, Human] = {"ADA": ADA, "BEN": BEN, "CLEO": CLEO, "DAN": DAN, "EVE": EVE}
BEFORE_ALL = ("limit", "list")


def stories() -> list[tuple[str, list[list[str]], list[list[str]]]]:
    found = []
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            name, steps, expected = (column.strip() for column in line.split("|"))
            found.append((name, _words(steps), _words(expected)))
    return found


def _words(column: str) -> list[list[str]]:
    return [each.split() for each in column.split(";")]


class Story:
    def __init__(self, road: Road, folder: Path) -> None:
        self.road, self.folder = road, folder
        self.asked: Counter[str] = Counter()

    async def do(self, verb: str, *words: str) -> None:
        await getattr(self, f"do_{verb}")(*words)

    async def do_pay(self, name: str, minor: str, within_ms: str = "") -> None:
        expires = {"expires_at": format_instant(Instant(self.road.now() + int(within_ms)))} if within_ms else {}
        await self.road.pay(name, int(minor), **expires)
        self.asked[name] += 1

    async def do_run(self, name: str, count: str, minor: str, within_ms: str = "") -> None:
        expires = {"expires_at": format_instant(Instant(self.road.now() + int(within_ms)))} if within_ms else {}
        await self.road.begin_run(name, int(count), int(minor), **expires)
        self.asked.update(f"{name}.{index}" for index in range(int(count)))

    async def do_seal(self, name: str) -> None:
        await self.road.seal_run(name)

    async def do_cancel(self, name: str) -> None:
        await self.road.cancel(name)

    async def do_approve(self, name: str, *people: str) -> None:
        await self.road.approve(name, *(PEOPLE[each] for each in people))

    async def do_go(self) -> None:
        await self.road.go()

    async def do_wait(self, ms: str) -> None:
        self.road.world.pass_by(int(ms))

    async def do_mine(self, blocks: str) -> None:
        self.road.chain.mine(int(blocks))

    async def do_dust(self, minor: str) -> None:
        self.road.chain.fund(self.road.world.wallet.address(ORGANISATION, 0, 3), int(minor))

    async def do_steal(self, minor: str, name: str = "") -> None:
        coin = await self.road.coin_of(name) if name else self.road.spare_coin()
        self.road.steal(int(minor), *coin)

    async def do_lose(self, count: str) -> None:
        self.road.chain.fault("lose_broadcast", count=int(count))

    async def do_late(self, blocks: str) -> None:
        self.road.chain.fault("late", blocks=int(blocks))

    async def do_dear(self, rate: str, count: str) -> None:
        self.road.chain.fault("dear", minor_per_1000_bytes=int(rate), count=int(count))

    async def do_cut(self, call: str, count: str) -> None:
        self.road.chain.fault("cut_answer", call=call, count=int(count))

    async def do_skip(self, name: str) -> None:
        self.road.chain.fault("skip", txid=await self.road.chain_transaction_of(name))

    async def do_lie(self, name: str, mode: str) -> None:
        self.road.chain.fault("lie", txid=await self.road.chain_transaction_of(name), mode=mode)

    async def do_reorg(self, depth: str) -> None:
        self.road.chain.fault("reorg", depth=int(depth))

    async def do_freeze(self, scope: str) -> None:
        self._instruct(Action.FREEZE, await self._scope(scope), CLEO)

    async def do_unfreeze(self, scope: str) -> None:
        epoch = self.road.world.payments.standing.freeze_epoch
        self._instruct(Action.UNFREEZE, await self._scope(scope), CLEO, DAN, epoch=epoch)

    async def do_bury(self, name: str) -> None:
        self._instruct(Action.CANCEL, self.road.payouts[name], CLEO)

    async def do_release(self, name: str, *people: str) -> None:
        attempts = [await self.road.chain_transaction_of(name)]
        self.road.world.guard.release(self.road.payouts[name], attempts, *(PEOPLE[each] for each in people))
        self.road.world.desk.idle()

    async def do_replace(self, name: str, minor: str) -> None:
        """Asked for again in its place, to the same payee; what it is called has a 2 behind it."""
        before, debt = self.road.payouts[name], self.road.keys[name]
        await self.road.pay(f"{name}2", int(minor), to=name, replaces=before, external_id=debt)

    async def do_falsify(self, name: str) -> None:
        """Who owns the database writes that it failed, and frees its money."""
        payout = self.road.payouts[name]
        await self.road.owner.execute("UPDATE strongroom.payouts SET state = 'failed' WHERE id = $1", payout)
        await self.road.owner.execute("SELECT strongroom.engine_finish($1, 'void_pending', 1)", [payout])

    async def do_slander(self, name: str) -> None:
        """Watch reports falsely that another chain transaction, which is final, excludes it."""
        other = self.road.chain.call("GET", "/blocks/2")["transactions"] or self.road.chain.call("GET", "/blocks/1")[
            "transactions"]
        unsigned = simulated.encode_unsigned(simulated.parse_signed(bytes.fromhex(other[0]))[0])
        await self.road.owner.execute(
            "INSERT INTO strongroom.chain_reports (chain_transaction, status, depth, conflicts_with, created_at) "
            "VALUES ($1, 'conflicted', 0, $2, 1)",
            await self.road.chain_transaction_of(name), simulated.transaction_id(unsigned).hex(),
        )
        await advance(self.road.bench)

    async def _scope(self, scope: str) -> str:
        """A payee's name stands for its beneficiary."""
        return scope if scope == "organisation" else f"beneficiary:{(await self.road.declare(scope)).beneficiary}"

    async def do_revoke(self) -> None:
        self._instruct(Action.REVOKE, PAY_KEY, CLEO)

    async def do_lease(self, name: str) -> None:
        self.road.world.guard.lease = Lease(name)

    async def do_guard(self, how: str) -> None:
        self.road.world.guard.is_reachable = how == "on"

    async def do_crash(self) -> None:
        await self.road.crash_engine()

    async def do_restart(self) -> None:
        self.road.world.restart()

    async def do_rotate(self, when: str = "now") -> None:
        """Now, or `planned`: when the engine has planned, and before the signer hears what."""
        world = self.road.world
        generation = world.payments.generation(simulated.NETWORK) + 1
        if when == "now":
            world.rotate(generation)
            return
        desk, answer = world.desk, world.desk.answer

        def rotated_first(channel: str, frame: bytes) -> bytes:
            if b"strongroom/ask/sign/v1" in frame and world.payments.generation(simulated.NETWORK) < generation:
                world.rotate(generation, answer)
            return answer(channel, frame)

        desk.answer = rotated_first  # type: ignore[method-assign]  # in between

    async def do_limit(self, _: str) -> None:
        """Was done when the world was made."""

    async def do_list(self, name: str) -> None:
        file = self.folder / "list.txt"
        file.write_text(f"{payee(name)}  # {name} isn't to be paid\n")
        self.road.bench.screen = ListScreen(file)

    def _instruct(self, action: Action, subject: str, *people: Human, epoch: int = 0) -> None:
        self.road.world.guard.instruct(action, subject, *people, epoch=epoch)
        self.road.world.desk.idle()

    async def check(self, what: str, *words: str) -> None:
        road = self.road
        if what in ("whole", "torn"):
            assert await road.is_whole() is (what == "whole")
        elif what == "got":
            assert len(road.received().get(words[0], [])) == int(words[1])
        elif what == "alarm":
            assert any(each.startswith(words[0]) for each in await road.alarm_names())
        elif what == "suspense":
            minor = int(words[0])
            assert await road.account("suspense") == (-minor, minor)
        elif what == "receipts":
            rows = await road.fetch("SELECT object FROM strongroom.receipts WHERE object LIKE 'po_%'")
            assert len(rows) == int(words[0])
        elif what == "wallet":
            assert (await road.account("wallet:hot"))[0] == int(words[0])
        else:
            assert (await road.states())[what] == words[0]


@pytest.mark.parametrize(("name", "steps", "expected"), stories(), ids=lambda each: each if type(each) is str else "")
def test_story(
    tmp_path: Path, database: Database, name: str, steps: list[list[str]], expected: list[list[str]]
) -> None:
    limits = [int(words[1]) for words in steps if words[0] == "limit"]
    policy = {"limits": [limit("B", "organisation", "unattended", limits[0])]} if limits else {}

    async def go() -> None:
        with running_chain(tmp_path) as chain:
            async with open_road(tmp_path, database, chain, **policy) as road:
                story = Story(road, tmp_path)
                for words in steps:
                    await story.do(*words)
                for words in expected:
                    await story.check(*words)
                await _check_always(story, expected)

    asyncio.run(go())


async def _check_always(story: Story, expected: list[list[str]]) -> None:
    """What holds at the end of every story."""
    road = story.road
    got = {payee: len(amounts) for payee, amounts in road.received().items()}
    assert all(count <= story.asked[payee] for payee, count in got.items()), got
    rows = await road.fetch(
        "SELECT id FROM strongroom.payouts WHERE state IN ('settled', 'cancelled', 'expired', 'declined', 'failed') "
        "AND strongroom.engine_posting(id) IS NOT NULL"
    )
    assert not rows, "money is still reserved for what has ended"
    named = [words[1] for words in expected if words[0] == "alarm"]
    assert all(any(each.startswith(name) for name in named) for each in await road.alarm_names())
    assert sum(amount for _, amount in await _sides(road)) == 0
    assert (await road.account("wallet:hot"))[0] <= 2 * OPENING


async def _sides(road: Road) -> list[tuple[str, int]]:
    """Debits less credits of every account: a closed system's come to nothing."""
    rows = await road.fetch("SELECT account, debits_posted - credits_posted AS minor FROM strongroom.ledger_accounts")
    return [(row["account"], int(row["minor"])) for row in rows]
