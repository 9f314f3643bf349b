"""What watch knows of a chain is what a count of all its blocks says, though it keeps only the last of them.

The attacker writes into the database: it hides an address, shows it again, or would have reading begin too late. What
it gets is that all is read again, or nothing.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.formats.coin_formats import Moved
from strongroom.protocol.genesis import Genesis, Mode, deployment_id
from strongroom.protocol.record_writer import write_genesis
from strongroom.protocol.webauthn import RelyingParty
from strongroom.rails.port import Block, ChainTransaction, ChainTransactionId, Tip
from strongroom.watch.chain_base import BaseFile
from strongroom.watch.chain_view import REORG_MAXIMUM, ChainView
from strongroom.watch.config import ConfigError
from strongroom.watch.main import founded

A, B = OrganisationId("org_a"), OrganisationId("org_b")
OWNERS = {"a0": A, "a1": A, "b0": B}
FOUNDED = Instant(0)
Told = dict[str, tuple[int, dict[str, int], list[tuple[int, int]]]]
"""Balance, spends and incomes by owner."""


class Reader:
    """Of a chain whose transactions are JSON."""

    def read_signed(self, raw: bytes) -> Moved:
        read = json.loads(raw)
        return Moved(hashlib.sha256(raw).hexdigest(), tuple(read["spends"]), tuple(map(tuple, read["pays"])))


@dataclass
class Chain:
    """A node's best chain, whole; `asked` are the heights that were read from it."""

    founded_at: int = 0
    knows_addresses: bool = False
    blocks: list[list[bytes]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    salt: int = 0

    def mine(self, *transactions: bytes) -> None:
        self.blocks.append([f"{self.salt}".encode(), *transactions])

    def leave(self, depth: int) -> None:
        del self.blocks[-depth:]
        self.salt += 1

    def hash_at(self, height: int) -> str:
        digest = hashlib.sha256()
        for each in self.blocks[: height + 1]:
            digest.update(b"|".join(each))
        return digest.hexdigest()

    async def tip(self) -> Tip:
        return Tip(len(self.blocks) - 1, self.hash_at(len(self.blocks) - 1))

    async def block(self, height: int) -> Block | None:
        if height >= len(self.blocks):
            return None
        self.asked.append(height)
        transactions = tuple(ChainTransaction(ChainTransactionId(""), raw) for raw in self.blocks[height][1:])
        return Block(height, self.hash_at(height), self.hash_at(height - 1) if height else "", transactions)

    async def height_before(self, at: Instant) -> int:
        return self.founded_at

    async def may_touch(self, addresses: Sequence[str], first: int, last: int) -> bool:
        if not self.knows_addresses:
            return True
        moves = [Reader().read_signed(raw) for block in self.blocks[first : last + 1] for raw in block[1:]]
        return any(address in addresses for moved in moves for address, _ in moved.pays)


def pay(spends: Sequence[str], *pays: tuple[str, int]) -> bytes:
    return json.dumps({"spends": list(spends), "pays": pays}).encode()


def coin(raw: bytes, index: int = 0) -> str:
    return f"{hashlib.sha256(raw).hexdigest()}:{index}"


def view_of(chain: Any, file: BaseFile | None = None) -> ChainView:
    reader: Any = Reader()
    return ChainView(chain, reader, FOUNDED, file)


def read(view: ChainView, owners: dict[str, OrganisationId]) -> Told:
    async def go() -> None:
        for _ in range(100):
            if await view.advance(owners):
                return
        raise AssertionError("the tip isn't reached")

    asyncio.run(go())
    return {owner: (each.balance, each.spends, each.incomes) for owner, each in view.holdings().items()}


def counted(chain: Chain, owners: dict[str, OrganisationId]) -> Told:
    """By all blocks, from the first on, in the plainest way."""
    coins: dict[str, tuple[OrganisationId, int]] = {}
    found: dict[str, tuple[dict[str, int], list[tuple[int, int]]]] = {owner: ({}, []) for owner in owners.values()}
    for height, block in enumerate(chain.blocks):
        for raw in block[1:]:
            moved = Reader().read_signed(raw)
            spent = [coins.pop(each) for each in moved.spends if each in coins]
            for owner in {each for each, _ in spent}:
                left = sum(minor for each, minor in spent if each == owner)
                left -= sum(minor for address, minor in moved.pays if owners.get(address) == owner)
                found[owner][0][moved.identifier] = left
            for index, (address, minor) in enumerate(moved.pays):
                if address in owners:
                    coins[f"{moved.identifier}:{index}"] = owners[address], minor
                    if owners[address] not in {each for each, _ in spent}:
                        found[owners[address]][1].append((height, minor))
    return {
        owner: (sum(minor for each, minor in coins.values() if each == owner), *rest) for owner, rest in found.items()
    }


class Traffic:
    """Blocks with what strangers pay, what wallets spend, and reorgs that take some of it back."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.chain, self.random, self.made = chain, random.Random(seed), 0

    def block(self) -> None:
        coins = [
            coin(raw, index) for block in self.chain.blocks for raw in block[1:]
            for index in range(len(json.loads(raw)["pays"]))
        ]
        gone = {each for block in self.chain.blocks for raw in block[1:] for each in json.loads(raw)["spends"]}
        free = [each for each in coins if each not in gone]
        self.made += 1
        if self.random.random() < 0.5:
            return self.chain.mine()
        pays = [(self.random.choice(["a0", "a1", "b0", "x"]), self.random.randint(1, 9)) for _ in range(2)]
        spends = self.random.sample(free, min(len(free), 2)) if self.random.random() < 0.5 else []
        return self.chain.mine(pay([*spends, f"{self.made:064}:0"], *pays))


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_a_count_of_all_blocks_says_whatever_reorgs_there_are(seed: int, tmp_path: Path) -> None:
    chain = Chain()
    traffic, view = Traffic(chain, seed), view_of(chain)
    for _ in range(REORG_MAXIMUM + 20):
        traffic.block()
    for round_number in range(12):
        for _ in range(traffic.random.randint(1, 8)):
            traffic.block()
        assert read(view, OWNERS) == counted(chain, OWNERS)
        depth = REORG_MAXIMUM + 9 if round_number == 7 else traffic.random.randint(0, 9)
        if depth:
            chain.leave(depth)
            for _ in range(depth + 1):
                traffic.block()


def test_what_it_keeps_doesnt_grow_with_the_chain() -> None:
    chain = Chain()
    view = view_of(chain)
    paid = pay(["0" * 64 + ":0"], ("a0", 5))
    chain.mine(paid)
    for _ in range(10 * REORG_MAXIMUM):
        chain.mine()
    assert read(view, OWNERS)[A] == (5, {}, [(0, 5)])
    assert len(view._blocks) == REORG_MAXIMUM
    assert len(view._ours) == 1


def test_it_reads_from_before_the_founding_on_and_no_further_back() -> None:
    chain = Chain(founded_at=1_000)
    for _ in range(1_200):
        chain.mine()
    read(view_of(chain), OWNERS)
    assert min(chain.asked) == 1_000 - REORG_MAXIMUM


@pytest.mark.parametrize("knows", [True, False])
def test_an_address_that_is_new_and_had_something_before_is_counted_from_the_beginning(knows: bool) -> None:
    """What came to it went again: no coin is left that would tell of it."""
    chain = Chain(knows_addresses=knows)
    came = pay(["0" * 64 + ":0"], ("late", 7))
    chain.mine(came)
    chain.mine(pay([coin(came)], ("x", 6)))
    for _ in range(2 * REORG_MAXIMUM):
        chain.mine()
    view = view_of(chain)
    read(view, OWNERS)
    after = OWNERS | {"late": A}
    assert read(view, after) == counted(chain, after)
    assert len(read(view, after)[A][1]) == 1


def test_an_address_that_had_nothing_costs_no_second_reading_where_the_node_knows() -> None:
    chain = Chain(knows_addresses=True)
    for _ in range(2 * REORG_MAXIMUM):
        chain.mine()
    view = view_of(chain)
    read(view, OWNERS)
    chain.asked.clear()
    chain.mine(pay(["0" * 64 + ":0"], ("new", 3)))
    after = OWNERS | {"new": A}
    assert read(view, after) == counted(chain, after)
    assert min(chain.asked) >= len(chain.blocks) - 2


def test_who_hides_an_address_for_a_while_hides_nothing_of_its_past() -> None:
    chain = Chain(knows_addresses=True)
    came = pay(["0" * 64 + ":0"], ("a0", 7))
    chain.mine(came)
    for _ in range(2 * REORG_MAXIMUM):
        chain.mine()
    view = view_of(chain)
    assert read(view, OWNERS)[A][0] == 7
    hidden = {address: owner for address, owner in OWNERS.items() if address != "a0"}
    assert read(view, hidden)[A][0] == 0
    chain.mine(pay([coin(came)], ("x", 6)))
    assert read(view, hidden)[A][1] == {}
    assert read(view, OWNERS) == counted(chain, OWNERS)
    assert read(view, OWNERS | {"a1": B}) == counted(chain, OWNERS | {"a1": B})


def test_a_watch_that_is_started_again_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    chain = Chain(knows_addresses=True)
    traffic = Traffic(chain, 3)
    for _ in range(4 * REORG_MAXIMUM):
        traffic.block()
    read(view_of(chain, BaseFile(tmp_path, "sim:x")), OWNERS)
    chain.asked.clear()
    for _ in range(5):
        traffic.block()
    assert read(view_of(chain, BaseFile(tmp_path, "sim:x")), OWNERS) == counted(chain, OWNERS)
    assert min(chain.asked) >= len(chain.blocks) - REORG_MAXIMUM - BaseFile.SAVED_EVERY_BLOCKS - 7
    assert read(view_of(chain, BaseFile(tmp_path, "sim:x")), {"a0": A}) == counted(chain, {"a0": A})


@pytest.mark.parametrize("spoil", ["another chain", "half of it", "of another version"])
def test_a_file_that_isnt_of_this_chain_or_cant_be_read_is_not_gone_on_from(spoil: str, tmp_path: Path) -> None:
    chain = Chain()
    traffic = Traffic(chain, 4)
    for _ in range(3 * REORG_MAXIMUM):
        traffic.block()
    read(view_of(chain, BaseFile(tmp_path, "sim:x")), OWNERS)
    (file,) = tmp_path.iterdir()
    if spoil == "another chain":
        chain.leave(2 * REORG_MAXIMUM + 99)
        for _ in range(3 * REORG_MAXIMUM):
            traffic.block()
    else:
        text = file.read_text()
        file.write_text(text[: len(text) // 2] if spoil == "half of it" else text.replace("holdings", "balances"))
    assert read(view_of(chain, BaseFile(tmp_path, "sim:x")), OWNERS) == counted(chain, OWNERS)


class Database:
    """One whose row of the deployment says this."""

    def __init__(self, genesis: bytes) -> None:
        self._genesis = genesis

    async def fetchval(self, _: str) -> bytes:
        return self._genesis


def test_when_the_deployment_was_founded_is_believed_by_its_hash_alone() -> None:
    """Who writes into the database would have reading begin behind a theft."""
    key = bytes(32)
    station = RelyingParty("localhost", frozenset({"http://station.localhost:1"}))
    true, late = (
        write_genesis(Genesis(Mode.SANDBOX, Instant(at), key, key, key, station, ())) for at in (1_000, 9_000_000)
    )
    honest: Any = Database(true)
    altered: Any = Database(late)
    assert asyncio.run(founded(honest, deployment_id(true))) == Instant(1_000)
    with pytest.raises(ConfigError, match="genesis record isn't that of"):
        asyncio.run(founded(altered, deployment_id(true)))
