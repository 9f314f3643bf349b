"""A random play on a real vault: an honest signer, an engine that sends what it likes, and everybody else meddling.

The signer knows nothing of the chain. It signs a payout again only in an attempt that covers every earlier one: by a
kill; by a retry; or by a retry of an attempt that covered it already. The engine chooses which, in which order what was
signed is sent, and how often. What came of it is read from the vault's log and the tokens' balances.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.contracts.model import EXECUTED, NONE, Fate, Model, Refused, Token
from tests.contracts.node import DEPLOYER, Contract, Receipt, Reverted
from tests.contracts.vault import (
    CAPACITY,
    FUNDED,
    GAS_PER_ITEM,
    GUARDIAN,
    GUARDIAN_KEY,
    MAXIMUM,
    OPERATOR,
    OWNER,
    STRANGER,
    USD,
    Batch,
    Item,
    Vault,
    account,
    address_of,
    balance,
    key,
    pause_digest,
    signature,
)

PAYOUTS = 20
TIGHT = (4_000 * USD, USD // 10, MAXIMUM, GAS_PER_ITEM)
"""Two batches empty it."""
OPERATORS = (OPERATOR, account("operator 2"))
GUARDIAN_KEYS = (GUARDIAN_KEY, key("guardian 2"))
PARTIES = (*OPERATORS, *(address_of(each) for each in GUARDIAN_KEYS), OWNER, STRANGER)


@dataclass(frozen=True)
class Payout:
    """A debt to one payee, whom nobody else pays."""

    number: int
    token: str

    @property
    def item(self) -> Item:
        return Item(account(f"payee {self.number}"), (137 * self.number % 9 + 1) * 100 * USD)


@dataclass(frozen=True, eq=False)
class Attempt:
    """What the signer signed, with whichever deadline."""

    batch: Batch
    payouts: Sequence[Payout]
    kills: Sequence["Attempt"]
    retries: Sequence[tuple["Attempt", int]]

    def covers(self, earlier: "Attempt", payout: Payout) -> bool:
        """If this is executed, that one won't pay the payout, nor has it."""
        return earlier in self.kills or any(
            retried.payouts[index] == payout and (retried is earlier or retried.covers(earlier, payout))
            for retried, index in self.retries
        )


@dataclass
class Seen:
    """What the chain says by itself."""

    charged: list[tuple[int, str, int]] = field(default_factory=list)
    """Time, token, and the sum of a batch."""
    limits: list[tuple[int, str, int, int]] = field(default_factory=list)
    """Time, token, capacity and refill."""
    executed: dict[bytes, int] = field(default_factory=dict)
    """With the flags of what was skipped."""
    killed: set[bytes] = field(default_factory=set)
    taken_over: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)


class Play:
    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.contracts: Mapping[str, Contract] = {each.address: each for each in (vault.usdc, vault.usdt)}
        self.model = Model(OWNER, OPERATOR, GUARDIAN, {
            vault.usdc.address: Token(vault.address, True, FUNDED),
            vault.usdt.address: Token(vault.address, False, FUNDED),
        })
        self.payouts = [Payout(number, list(self.contracts)[number % 5 == 4]) for number in range(PAYOUTS)]
        self.attempts: list[Attempt] = []
        self._ids: dict[Attempt, bytes] = {}
        self.messages: list[tuple[str, int, tuple[int, bytes, bytes]]] = []
        self.seen = Seen()
        self.now = vault.node.now
        for token in self.contracts:
            self.set_limit(OWNER, token, TIGHT)

    def sign(self, chance: Random) -> None:
        """A new attempt of some payouts of one token, mostly of such as were skipped, rarely of such as were paid."""
        token = self.vault.usdc.address if chance.random() < 0.8 else self.vault.usdt.address
        got = self.model.tokens[token].got
        skipped = {
            each.payouts[index] for each in self.attempts for index in self.fate(each).skipped
        }
        payouts = tuple(
            each for each in self.payouts if each.token == token
            and chance.random() < (0.03 if each.item.payee in got else 0.8 if each in skipped else 0.3)
        )
        if payouts:
            kills, retries = self._cover(payouts, chance)
            batch = Batch(token, [each.item for each in payouts], salt=len(self.attempts).to_bytes(32))
            self.attempts.append(Attempt(batch, payouts, kills, retries))

    def _cover(
        self, payouts: Sequence[Payout], chance: Random
    ) -> tuple[Sequence[Attempt], Sequence[tuple[Attempt, int]]]:
        """What the signer demands, in the way that the engine chooses: mostly what the chain will take."""
        kills: list[Attempt] = []
        retries: list[tuple[Attempt, int]] = []
        retrying = {
            each: (self.fate(each).status == EXECUTED) == (chance.random() < 0.95) for each in self.attempts
        }
        for payout in payouts:
            retried: list[Attempt] = []
            for earlier in reversed([each for each in self.attempts if payout in each.payouts]):
                if earlier in kills or any(each.covers(earlier, payout) for each in retried):
                    continue
                if retrying[earlier]:
                    retried.append(earlier)
                    retries.append((earlier, earlier.payouts.index(payout)))
                else:
                    kills.append(earlier)
        return tuple(kills), tuple(retries)

    def id(self, attempt: Attempt) -> bytes:
        if attempt not in self._ids:
            self._ids[attempt] = self.vault.id(attempt.batch)
        return self._ids[attempt]

    def fate(self, attempt: Attempt) -> Fate:
        return self.model.fate(self.id(attempt))

    def send(self, chance: Random) -> None:
        """Some attempt, mostly one of the newest, mostly by the operator and in time."""
        if not self.attempts:
            return
        hopeful = [each for each in self.attempts if self.fate(each).status == NONE][-5:]
        attempt = chance.choice(hopeful if hopeful and chance.random() < 0.7 else self.attempts)
        sender = self.model.operator if chance.random() < 0.95 else chance.choice(PARTIES)
        deadline = self.now + (100 if chance.random() < 0.95 else -1)
        ids = [self.id(each) for each in attempt.kills]
        retries = [(self.id(each), index) for each, index in attempt.retries]
        receipt = self._both(
            lambda now: self.model.pay(
                sender, now, self.id(attempt), ids, retries, deadline, attempt.batch
            ),
            sender, self.vault.call_data(
                attempt.batch, [each.batch for each in attempt.kills],
                [(each.batch, index) for each, index in attempt.retries], deadline,
            ),
        )
        if receipt is not None:
            self.seen.charged.append((self.now, attempt.batch.token, attempt.batch.total))

    def kill(self, chance: Random) -> None:
        sender = chance.choice((self.model.operator, OWNER, *PARTIES))
        ids = [self.id(each) for each in chance.sample(self.attempts, min(len(self.attempts), chance.choice((1, 2))))]
        self._call(lambda now: self.model.kill(sender, ids), sender, "kill", ids)

    def wait(self, chance: Random) -> None:
        self.now += chance.choice((60, 6_000, 20_000, 40_000))

    def refuse(self, chance: Random) -> None:
        """A token's issuer refuses payees, or the vault, or stops all; or lets them again."""
        token = self.vault.usdc.address if chance.random() < 0.9 else self.vault.usdt.address
        model, contract = self.model.tokens[token], self.contracts[token]
        if chance.random() < 0.1:
            model.is_stopped = not model.is_stopped
            self._as_issuer(contract, "setPaused", model.is_stopped)
        else:
            payees = [each.item.payee for each in self.payouts if each.token == token and chance.random() < 0.3]
            for who in [self.vault.address] if chance.random() < 0.05 else payees:
                model.refused ^= {who}
                name = "setBlacklisted" if contract is self.vault.usdc else "setBlackListed"
                self._as_issuer(contract, name, who, who in model.refused)

    def recover(self, chance: Random) -> None:
        """All is well again: nobody is refused, nothing stopped or paused, and both tokens have their limits."""
        for token, contract in self.contracts.items():
            model = self.model.tokens[token]
            name = "setBlacklisted" if contract is self.vault.usdc else "setBlackListed"
            for who in sorted(model.refused):
                self._as_issuer(contract, name, who, False)
            if model.is_stopped:
                self._as_issuer(contract, "setPaused", False)
            model.refused, model.is_stopped = set(), False
            self.set_limit(OWNER, token, TIGHT)
        if self.model.is_paused:
            self._call(lambda now: self.model.unpause(OWNER), OWNER, "unpause")

    def pause(self, chance: Random) -> None:
        """By a message, new or old, or by a party; or the owner's end of it, or somebody's try."""
        match 3 if self.model.is_paused and chance.random() < 0.6 else chance.randrange(4):
            case 0:
                private, epoch = chance.choice(GUARDIAN_KEYS), self.model.epoch
                digest = pause_digest(self.vault.node.chain_id, self.vault.address, epoch)
                self.messages.append((address_of(private), epoch, signature(private, digest)))
                self._bring(self.messages[-1])
            case 1 if self.messages:
                self._bring(chance.choice(self.messages))
            case 2:
                sender = chance.choice(PARTIES)
                self._call(lambda now: self.model.pause(sender), sender, "pause")
            case _:
                sender = chance.choice((OWNER, OWNER, chance.choice(PARTIES)))
                self._call(lambda now: self.model.unpause(sender), sender, "unpause")

    def _bring(self, message: tuple[str, int, tuple[int, bytes, bytes]]) -> None:
        signer, epoch, parts = message
        self._call(lambda now: self.model.pause_by_message(signer, epoch), STRANGER, "pauseBySignature", *parts)

    def rotate(self, chance: Random) -> None:
        sender = chance.choice((OWNER, chance.choice(PARTIES)))
        parties = (chance.choice(OPERATORS), address_of(chance.choice(GUARDIAN_KEYS)))
        if chance.random() < 0.1:
            parties = (chance.choice(PARTIES), chance.choice(PARTIES))
        self._call(lambda now: self.model.rotate(sender, *parties), sender, "rotate", *parties)

    def limit(self, chance: Random) -> None:
        sender = chance.choice((OWNER, OWNER, chance.choice(PARTIES)))
        limit = chance.choice((
            TIGHT, TIGHT, (2_000 * USD, USD, MAXIMUM, GAS_PER_ITEM), (5_000 * USD, 0, MAXIMUM // 2, GAS_PER_ITEM),
            (0, 0, 0, 0), (0, 0, 0, 0), (CAPACITY, USD, 0, GAS_PER_ITEM), (MAXIMUM, USD, CAPACITY, GAS_PER_ITEM),
        ))
        self.set_limit(sender, chance.choice(list(self.contracts)), limit)

    def set_limit(self, sender: str, token: str, limit: Sequence[int]) -> None:
        capacity, refill, maximum, gas = limit
        receipt = self._call(
            lambda now: self.model.set_limit(sender, now, token, capacity, refill, maximum, gas), sender, "setLimit",
            token, *limit,
        )
        if receipt is not None:
            self.seen.limits.append((self.now, token, capacity, refill))

    def move(self, chance: Random) -> None:
        """A sweep, a withdrawal, or a refill from the treasury."""
        token = chance.choice(list(self.contracts))
        sender = chance.choice((OWNER, self.model.operator, chance.choice(PARTIES)))
        value = chance.choice((0, CAPACITY // 10, FUNDED // 3, FUNDED))
        match chance.randrange(3):
            case 0:
                self._call(lambda now: self.model.sweep(sender, token, value), sender, "sweep", token, value)
            case 1:
                self._call(
                    lambda now: self.model.withdraw(sender, token, STRANGER, value), sender, "withdraw", token,
                    STRANGER, value,
                )
            case _:
                self.model.tokens[token].held += CAPACITY
                self._as_issuer(self.contracts[token], "mint", self.vault.address, CAPACITY)

    def met(self) -> Mapping[str, int]:
        """How often what happened, so that a play in which nothing did is seen."""
        skipped = sum(flags.bit_count() for flags in self.seen.executed.values())
        return {
            **self.seen.refusals, "executed": len(self.seen.executed), "killed": len(self.seen.killed),
            "skipped": skipped, "taken over": len(self.seen.taken_over),
        }

    def _as_issuer(self, contract: Contract, name: str, *arguments: object) -> None:
        self.now += 1
        self.vault.node.next_block_at(self.now)
        contract.send(DEPLOYER, name, *arguments)

    def _call(self, told: Callable[[int], None], sender: str, name: str, *arguments: object) -> Receipt | None:
        return self._both(told, sender, self.vault.contract.data(name, *arguments))

    def _both(self, told: Callable[[int], None], sender: str, data: bytes) -> Receipt | None:
        """The same to the model and to the vault, which must say the same. What came of it; None if it was refused."""
        self.now += 1
        self.vault.node.next_block_at(self.now)
        receipt, expected, found = None, "", ""
        try:
            told(self.now)
        except Refused as refused:
            expected = str(refused)
        try:
            receipt = self.vault.contract.send_data(sender, data)
            self._read(receipt)
        except Reverted as reverted:
            found = reverted.name
        assert found == expected or self.vault.is_patched
        self.seen.refusals[found] += 1
        return receipt

    def _read(self, receipt: Receipt) -> None:
        for log in receipt.named("Killed"):
            self.seen.killed.add(log["batch"])
        for log in receipt.named("Retried"):
            assert (log["batch"], log["index"]) not in self.seen.taken_over
            self.seen.taken_over[log["batch"], log["index"]] = log["by"]
        for log in receipt.named("Executed"):
            assert log["batch"] not in self.seen.executed
            self.seen.executed[log["batch"]] = log["skipped"]


STEPS: Mapping[str, Callable[[Play, Random], None]] = {
    "sign": Play.sign, "send": Play.send, "kill": Play.kill, "wait": Play.wait, "refuse": Play.refuse,
    "recover": Play.recover, "pause": Play.pause, "rotate": Play.rotate, "limit": Play.limit, "move": Play.move,
}
WEIGHTS = (12, 20, 1, 4, 4, 4, 2, 1, 3, 1)


def check_that_nothing_was_paid_twice(play: Play) -> None:
    for payout in play.payouts:
        got = balance(play.contracts[payout.token], payout.item.payee)
        assert got in (0, payout.item.amount), f"payout {payout.number} got {got} of {payout.item.amount}"


def check_that_what_was_killed_was_never_executed(play: Play) -> None:
    assert play.seen.killed.isdisjoint(play.seen.executed)


def check_that_what_was_skipped_was_paid_by_a_retry_only(play: Play) -> None:
    """Every executed attempt of a payout but the last has its flag taken over, in turn by the next."""
    for payout in play.payouts:
        executed = [
            (play.id(each), each.payouts.index(payout)) for each in play.attempts
            if payout in each.payouts and play.id(each) in play.seen.executed
        ]
        order = list(play.seen.executed)
        executed.sort(key=lambda each: order.index(each[0]))
        for (batch_id, index), (later, _) in itertools.pairwise(executed):
            assert play.seen.executed[batch_id] >> index & 1
            assert play.seen.taken_over.get((batch_id, index)) == later


def check_that_no_window_passed_the_bucket(play: Play) -> None:
    """From each charge to each later one: no more than the capacity at the end, and what drained between."""
    for token in play.contracts:
        limits = [each for each in play.seen.limits if each[1] == token]
        charges = [(time, total) for time, of, total in play.seen.charged if of == token]
        for first, (begin, _) in enumerate(charges):
            for last in range(first, len(charges)):
                end = charges[last][0]
                capacity = [capacity for time, _, capacity, _ in limits if time <= end][-1]
                total = sum(amount for _, amount in charges[first : last + 1])
                assert total <= capacity + drained(limits, begin, end)


def drained(limits: Sequence[tuple[int, str, int, int]], begin: int, end: int) -> int:
    """What a bucket forgets at most between two times, by the refills that were set."""
    ends = [time for time, *_ in limits[1:]] + [end]
    return sum(
        refill * max(0, min(until, end) - max(time, begin))
        for (time, _, _, refill), until in zip(limits, ends, strict=True)
    )


def check_that_the_money_adds_up(play: Play) -> None:
    """What is held, what payees, owner and others got: all that was ever put in."""
    for token, contract in play.contracts.items():
        model = play.model.tokens[token]
        assert play.vault.held(contract) == model.held
        for holder, got in model.got.items():
            assert balance(contract, holder) == got
        paid = sum(total for _, of, total in play.seen.charged if of == token)
        assert sum(model.got.get(each.item.payee, 0) for each in play.payouts) <= paid


def check_that_the_vault_is_as_the_model(play: Play) -> None:
    read, model = play.vault.contract.read, play.model
    assert (read("operator"), read("guardian"), read("paused"), read("epoch")) == (
        model.operator, model.guardian, model.is_paused, model.epoch,
    )
    for attempt in play.attempts:
        fate = play.fate(attempt)
        assert play.vault.fate(attempt.batch) == (fate.status, sum(1 << index for index in fate.skipped))
    for token, bucket in model.buckets.items():
        assert read("limits", token) == (
            bucket.capacity, bucket.spent, bucket.updated, bucket.refill, bucket.maximum, bucket.gas,
        )


CHECKS = (
    check_that_nothing_was_paid_twice, check_that_what_was_killed_was_never_executed,
    check_that_what_was_skipped_was_paid_by_a_retry_only, check_that_no_window_passed_the_bucket,
    check_that_the_money_adds_up, check_that_the_vault_is_as_the_model,
)
