"""SIGKILL of every process and of the Bitcoin node while payouts in BTC, USDC and USDT are fed, among reorgs, skipped
payees, reverts, replaced chain transactions, lying nodes and dust: each acknowledged payout ends exactly once on chain.

Counted by `tools/recount.py` from raw blocks and logs. 300 kills under STRONGROOM_FAULTS=full. The EVM node is ended by
SIGTERM: anvil writes down what it knows when it is asked to end, and every five seconds. Killed, it forgets blocks that
were final, which no chain of many nodes does.
"""

import os
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext

import pytest
from tests.adversary.attacks import ONCE_OUT
from tests.adversary.build import Patch
from tests.adversary.ground import ground
from tests.faults.misfortunes import Misfortunes
from tests.faults.real_chains import VICTIMS, Feed, RealChains
from tests.sandbox.box import Box, box

from strongroom.sandbox.bitcoin import SATOSHI, WALLET

pytestmark = pytest.mark.sandbox

FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
KILLS = int(os.environ.get("STRONGROOM_KILLS", "300" if FULL else "9"))
SEED = int(os.environ.get("STRONGROOM_SEED", "20261130"))
CONTROL_KILLS = 9
FORGOTTEN = 3
"""Of each asset."""
WITHIN_S = 400
BY_DESIGN = ("unpaused.", "deficit.", "finality.")
"""Alarms that an officer resolves: each unpause, money that a reorg deeper than finality took or a node denied.

Besides these, where watch was told a nonce too many, a use of the account that nobody here signed for.
"""


def harm(world: RealChains, misfortunes: Misfortunes, chance: random.Random, count: int = KILLS) -> int:
    """Until enough was killed; how often it was."""
    kills, victims, befalls = 0, [*VICTIMS], [*misfortunes.known]
    chance.shuffle(victims)
    chance.shuffle(befalls)
    while kills < count:
        if befalls:
            misfortunes.befall(befalls.pop())
        elif FULL and chance.random() < 0.6:
            misfortunes.befall_any()
        kills += world.end(victims[kills] if kills < len(victims) else chance.choice(VICTIMS))
        misfortunes.pass_by()
        world.hurry()
        time.sleep(chance.uniform(0, 1 if FULL else 0.4))
    return kills


def happen_all(world: RealChains, misfortunes: Misfortunes) -> None:
    """What chance left out: so nothing here is a matter of luck."""
    deadline = time.monotonic() + WITHIN_S
    while left := misfortunes.left():
        assert time.monotonic() < deadline, f"{left}\n{world.logs()}"
        misfortunes.befall(left[0])
        misfortunes.pass_by()
        world.hurry()
        time.sleep(0.5)


def come_to_rest(
    world: RealChains, feed: Feed, misfortunes: Misfortunes, forgotten: Collection[str] = frozenset()
) -> None:
    """Everything passes, and what was asked for is acknowledged and settled, but for what the record forgot."""
    feed.stop.set()
    deadline, quiet = time.monotonic() + WITHIN_S, 0
    while quiet < 3:
        assert time.monotonic() < deadline, f"{world.unsettled()[:5]}\n{world.logs()}"
        misfortunes.pass_by(all_of_them=True)
        world.hurry(forgotten)
        unsettled = [each for each in world.unsettled() if each.partition(" ")[0] not in forgotten]
        is_quiet = misfortunes.is_calm and not feed.is_alive() and world.is_there() and not unsettled
        quiet = quiet + 1 if is_quiet else 0
        time.sleep(0.5)


@contextmanager
def feeding(world: RealChains) -> Iterator[Feed]:
    feed = Feed(world, 0.2)
    try:
        feed.start()
        yield feed
    finally:
        feed.stop.set()
        world.close()


@pytest.mark.faults
def test_whatever_is_killed_and_befalls_both_chains_each_payout_that_was_acknowledged_is_paid_once() -> None:
    print(f"{KILLS} kills from seed {SEED}")
    began = time.monotonic()
    chance = random.Random(SEED)
    with box() as made:
        started = made.up("--rails", "bitcoin,evm")
        assert started.returncode == 0, started.stderr
        world = RealChains(made)
        with feeding(world) as feed:
            misfortunes = Misfortunes(world, feed, chance)
            assert world.settles_something()
            kills = harm(world, misfortunes, chance)
            print(f"killed until {time.monotonic() - began:.0f} s: {misfortunes}, {world.tally()}")
            if FULL:
                happen_all(world, misfortunes)
            come_to_rest(world, feed, misfortunes)
            print(f"at rest after {time.monotonic() - began:.0f} s")
            look(world, feed, misfortunes, kills)


def look(world: RealChains, feed: Feed, misfortunes: Misfortunes, kills: int) -> None:
    payees = list(feed.acknowledged.values())
    print(f"{kills} kills, {len(payees)} payouts, {misfortunes}, {world.tally()}")
    assert {row["id"] for row in world.query("SELECT id FROM strongroom.payouts")} == feed.acknowledged.keys()
    counted = world.recount(payees)
    assert counted.returncode == 0, counted.stdout + counted.stderr + world.logs()
    deadline = time.monotonic() + 60
    while unequal := world.unequal():
        assert time.monotonic() < deadline, f"{unequal}\n{world.logs()}"
        misfortunes.pass_by()
        world.mine()
        time.sleep(1)
    assert world.is_log_verified()
    accounts = world.query("SELECT address FROM strongroom.wallet_addresses WHERE network LIKE 'eip155:%'")
    named = tuple(f"unknown-spend.{each['address'].removeprefix('0x').lower()}." for each in accounts)
    lied_about = named if misfortunes.lied_of_nonces else ()
    assert {each for each in misfortunes.alarms if not each.startswith((*BY_DESIGN, *lied_about))} == set()
    if FULL:
        assert misfortunes.left() == []
        assert all(world.tally().values())
    doubled = next(each for each in payees if each.symbol == "BTC")  # a control: one who got it twice is found
    world.miner.call("sendtoaddress", doubled.address, f"{doubled.minor / SATOSHI:.8f}", wallet=WALLET)
    world.miner.mine()
    counted = world.recount(payees)
    assert counted.returncode == 1
    assert f"({doubled.name}): is paid, and got {doubled.minor} besides" in counted.stdout


@pytest.mark.faults
@pytest.mark.skipif(not FULL, reason="under STRONGROOM_FAULTS=full")
@pytest.mark.parametrize("patches", [(), (ONCE_OUT,)], ids=["as it is", "attempts needn't exclude each other"])
def test_what_the_record_forgets_is_paid_again_on_both_chains_only_by_a_signer_without_its_rule(
    patches: tuple[Patch, ...],
) -> None:
    """The same story, in which somebody who owns the record has it forget who was paid by what: the engine plans such a
    payout again. The recount finds who got it twice, and the rule that is taken out is all that is in the way.
    """
    chance = random.Random(SEED)
    with ground("bitcoin", "evm") as made, (
        made.patched(("signer",), patches) if patches else nullcontext()
    ), made.supervised():
        world = RealChains(Box(made.data, made.ports.base))
        with feeding(world) as feed:
            misfortunes = Misfortunes(world, feed, chance)
            assert world.settles_something()
            harm(world, misfortunes, chance, CONTROL_KILLS)
            forgotten = world.forget(FORGOTTEN)
            come_to_rest(world, feed, misfortunes, forgotten)
            payees = list(feed.acknowledged.values())
            counted = world.recount(payees)
            print(counted.stdout)
            twice = {each.symbol for each in payees if f"({each.name}): is paid, and got {each.minor} besides" in (
                counted.stdout)}
            assert counted.returncode == len(patches)
            assert twice == ({"BTC", "USDC", "USDT"} if patches else set())
