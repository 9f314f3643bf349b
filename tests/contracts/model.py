"""What the vault should do, in Python, from docs/vault.md: each call changes the model or names its error."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.contracts.vault import MAXIMUM_ITEMS, Batch

NONE, EXECUTED, KILLED = range(3)


@dataclass
class Bucket:
    capacity: int = 0
    refill: int = 0
    maximum: int = 0
    gas: int = 0
    spent: int = 0
    updated: int = 0

    def spent_at(self, now: int) -> int:
        return max(0, self.spent - (now - self.updated) * self.refill)


@dataclass
class Fate:
    status: int = NONE
    skipped: set[int] = field(default_factory=set)


@dataclass
class Token:
    """As the test tokens are: what they hold, whom they refuse, and whether they are stopped."""

    holder: str
    checks_payee: bool
    held: int
    refused: set[str] = field(default_factory=set)
    is_stopped: bool = False
    got: dict[str, int] = field(default_factory=dict)

    def transfer(self, payee: str, amount: int) -> bool:
        is_refused = self.holder in self.refused or (self.checks_payee and payee in self.refused)
        if self.is_stopped or is_refused or self.held < amount:
            return False
        self.held -= amount
        self.got[payee] = self.got.get(payee, 0) + amount
        return True


class Refused(Exception):
    """The call reverts with this error."""


@dataclass
class Model:
    """Calls raise Refused and change nothing, or change the model."""

    owner: str
    operator: str
    guardian: str
    tokens: dict[str, Token]
    buckets: dict[str, Bucket] = field(default_factory=dict)
    fates: dict[bytes, Fate] = field(default_factory=dict)
    is_paused: bool = False
    epoch: int = 0

    def fate(self, batch_id: bytes) -> Fate:
        return self.fates.setdefault(batch_id, Fate())

    def pay(
        self, sender: str, now: int, batch_id: bytes, kills: Sequence[bytes], retries: Sequence[tuple[bytes, int]],
        deadline: int, batch: Batch,
    ) -> None:
        self._only(sender, self.operator)
        if self.is_paused:
            raise Refused("VaultPaused")
        if now > deadline:
            raise Refused("DeadlinePassed")
        self._check_kills(kills)
        self._check_retries(retries, set(kills))
        if self.fate(batch_id).status != NONE or batch_id in kills:
            raise Refused("AlreadyDecided")
        spent = self._charged(now, batch)
        paying = copy.deepcopy(self.tokens[batch.token])
        skipped = {
            index for index, item in enumerate(batch.items) if not paying.transfer(item.payee, item.amount)
        }
        if len(skipped) == len(batch.items):
            raise Refused("NothingPaid")
        for each in kills:
            self.fate(each).status = KILLED
        for each, index in retries:
            self.fate(each).skipped.discard(index)
        bucket = self.buckets[batch.token]
        bucket.spent, bucket.updated = spent, now
        self.tokens[batch.token] = paying
        self.fates[batch_id] = Fate(EXECUTED, skipped)

    def kill(self, sender: str, batch_ids: Sequence[bytes]) -> None:
        self._only(sender, self.operator, self.owner)
        self._check_kills(batch_ids)
        for each in batch_ids:
            self.fate(each).status = KILLED

    def sweep(self, sender: str, token_address: str, keep: int) -> None:
        self._only(sender, self.operator, self.owner)
        token = self.tokens[token_address]
        if token.held <= keep:
            raise Refused("NothingAbove")
        if not token.transfer(self.owner, token.held - keep):
            raise Refused("TransferFailed")

    def withdraw(self, sender: str, token_address: str, to: str, value: int) -> None:
        self._only(sender, self.owner)
        if not self.tokens[token_address].transfer(to, value):
            raise Refused("TransferFailed")

    def pause(self, sender: str) -> None:
        self._only(sender, self.guardian, self.operator, self.owner)
        self.is_paused = True

    def pause_by_message(self, guardian: str, epoch: int) -> None:
        if (guardian, epoch) != (self.guardian, self.epoch):
            raise Refused("WrongSignature")
        self.is_paused = True

    def unpause(self, sender: str) -> None:
        self._only(sender, self.owner)
        if not self.is_paused:
            raise Refused("VaultNotPaused")
        self.is_paused = False
        self.epoch += 1

    def rotate(self, sender: str, operator: str, guardian: str) -> None:
        self._only(sender, self.owner)
        if len({self.owner, operator, guardian}) < 3:
            raise Refused("WrongParties")
        self.operator, self.guardian = operator, guardian

    def set_limit(self, sender: str, now: int, token: str, capacity: int, refill: int, maximum: int, gas: int) -> None:
        self._only(sender, self.owner)
        if (gas == 0 and (capacity, refill, maximum) != (0, 0, 0)) or (gas and not 0 < maximum <= capacity):
            raise Refused("WrongLimit")
        before = self.buckets.get(token, Bucket())
        self.buckets[token] = Bucket(capacity, refill, maximum, gas, before.spent_at(now), now)

    def _only(self, sender: str, *parties: str) -> None:
        if sender not in parties:
            raise Refused("NotAllowed")

    def _check_kills(self, batch_ids: Sequence[bytes]) -> None:
        if any(self.fate(each).status == EXECUTED for each in batch_ids):
            raise Refused("KillExecuted")

    def _check_retries(self, retries: Sequence[tuple[bytes, int]], killed: set[bytes]) -> None:
        if len(set(retries)) < len(retries):
            raise Refused("NotSkipped")
        for batch_id, index in retries:
            if batch_id in killed or index not in self.fate(batch_id).skipped:
                raise Refused("NotSkipped")

    def _charged(self, now: int, batch: Batch) -> int:
        bucket = self.buckets.get(batch.token, Bucket())
        if bucket.gas == 0:
            raise Refused("NotListed")
        if not 0 < len(batch.items) <= MAXIMUM_ITEMS:
            raise Refused("WrongCount")
        if any(item.amount > bucket.maximum for item in batch.items):
            raise Refused("OverMaximum")
        spent = bucket.spent_at(now) + batch.total
        if spent > bucket.capacity:
            raise Refused("OverLimit")
        return spent
