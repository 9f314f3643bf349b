"""What must hold after every step of the machine, counted from signed bytes and from what honest parties said.

Of the six invariants of the drills these are the signer's: of two transactions that pay one payout a chain takes at
most one (I1); what was taken back is never signed (I2); no window's sum is above its limit (I3); what was signed is
in guard's copy before it came out, and the book is what the journal says (I4). And what a person asked for or named was
approved by another. Time is the machine's true time,
whatever the clocks say.
"""

import json
from base64 import b64decode
from collections import deque
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from tests.adversary.siege import Siege
from tests.adversary.till import coins_of
from tests.signer.world import ORGANISATION, PAYER, PEOPLE

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS
from strongroom.domain.velocity import Windows
from strongroom.formats import simulated
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.negative import Action
from strongroom.protocol.roster import Role
from strongroom.signer.book import Book

REPLAY_EVERY: Final = 100


class BrokenError(Exception):
    """The machine saw what must never be."""


@dataclass(frozen=True, slots=True)
class Spent:
    at: int
    minor: int
    address: str
    is_unattended: bool


class Checks:
    def __init__(self) -> None:
        self.promised: dict[str, set[tuple[str, int]]] = {}
        self.first_run: dict[str, str] = {}
        """Payout to the run as whose item it was signed first."""
        self.signed_of: dict[str, list[str]] = {}
        """Payout to the transactions that pay it."""
        self.places: dict[str, tuple[str, int]] = {}
        self.transactions: dict[str, simulated.Transaction] = {}
        self.people_of: dict[str, set[str]] = {}
        """Payout to the people who asked for it, or named its destination."""
        self.taken_back: set[str] = set()
        self.attempted: set[str] = set()
        self.spent: deque[Spent] = deque()
        self.fees: deque[tuple[int, int]] = deque()
        self.at_guard: set[str] = set()
        self.guard_read = 0
        self.was_frozen = False
        self.steps = 0

    # What honest parties said.

    def promise(self, payout: str, address: str, minor: int) -> None:
        self.promised.setdefault(payout, set()).add((address, minor))

    def by_people(self, payout: str, people: set[str]) -> None:
        self.people_of.setdefault(payout, set()).update(people)

    def place_of(self, payout: str) -> tuple[str, int] | None:
        """Where it was paid first."""
        return self.places.get(payout)

    def instructed(self, action: Action, subject: str, attempted: set[str]) -> None:
        """Kept at guard: from now on it binds, but for what may have been signed before, `attempted`."""
        if action in (Action.CANCEL, Action.DECLINE):
            self.taken_back.add(subject)
            self.attempted |= attempted

    def received_receipt(self, receipt: dict[str, Any]) -> None:
        subject = receipt["object"]
        if self.signed_of.get(subject):
            raise BrokenError(f"a receipt says that {subject} was never signed")
        counted = sum(first == subject for first in self.first_run.values())
        if receipt.get("signed_items", 0) < counted:
            raise BrokenError(f"{counted} items of {subject} were signed, and its receipt says fewer")
        self.taken_back.add(subject)

    # What the signer did.

    def before_ask(self, siege: Siege) -> None:
        self.was_frozen = "organisation" in siege.guard.guard.log.current[ORGANISATION].frozen

    def signed(self, siege: Siege, asked: dict[str, Any], raw: bytes) -> None:
        transaction, witnesses = simulated.parse_signed(raw)
        simulated.verify_witnesses(transaction, witnesses)
        name = simulated.transaction_id(simulated.encode_unsigned(transaction)).hex()
        self._check_at_guard(siege, name)
        if self.was_frozen or siege.guard.guard.log.current[ORGANISATION].frozen:
            raise BrokenError(f"{name} was signed while the organisation is frozen")
        payouts = [self._payout(item) for item in asked["items"]]
        self._check_outputs(siege, transaction, payouts)
        if name in self.transactions:
            return
        self.transactions[name] = transaction
        for payout, output in zip(payouts, transaction.outputs, strict=False):
            self._check_once(payout, name, (output.address, output.amount))
        new = [payout for payout in payouts if len(self.signed_of[payout]) == 1]
        for payout, item in zip(payouts, asked["items"], strict=True):
            if payout in new:
                self._check_alive(payout, str(item.get("run", "")))
                self._check_approved(payout, str(item.get("run", "")) or payout, asked["approvals"])
        self._count(siege, new, transaction, is_unattended=not asked["approvals"])

    def _payout(self, item: dict[str, Any]) -> str:
        if "payout" in item:
            return str(item["payout"])
        leaf = json.loads(b64decode(item["leaf"]))
        return payout_id(ORGANISATION, PAYER, IdempotencyKey(leaf["idempotency_key"]))

    def _check_at_guard(self, siege: Siege, name: str) -> None:
        entries = siege.guard.guard.witness._journal.entries(self.guard_read)
        for kind, _, found in map(read_entry, entries):
            self.guard_read += 1
            if kind is Kind.SPEND:
                self.at_guard.add(found.text("transaction"))
            elif kind is Kind.ABANDONED:
                self.at_guard.discard(found.text("transaction"))
        if name not in self.at_guard:
            raise BrokenError(f"{name} came out before guard had it")

    def _check_outputs(self, siege: Siege, transaction: simulated.Transaction, payouts: list[str]) -> None:
        """As many payees as payouts, each as promised, and the rest to ourselves."""
        for payout, output in zip(payouts, transaction.outputs, strict=False):
            if (output.address, output.amount) not in self.promised.get(payout, ()):
                raise BrokenError(f"{payout} pays {output.amount} to {output.address}, which nobody asked for")
        if len(transaction.outputs) < len(payouts):
            raise BrokenError("a payout has no output")
        change = siege.payments.change_next.get(simulated.NETWORK, 0)
        ours = {siege.wallet.address(ORGANISATION, 0, index) for index in range(change)}
        if any(output.address not in ours for output in transaction.outputs[len(payouts) :]):
            raise BrokenError("what is neither a payee nor change gets something")

    def _check_once(self, payout: str, name: str, place: tuple[str, int]) -> None:
        if self.places.setdefault(payout, place) != place:
            raise BrokenError(f"{payout} was signed for two places")
        for earlier in self.signed_of.setdefault(payout, []):
            if not self._exclude_each_other(earlier, name):
                raise BrokenError(f"{earlier} and {name} both pay {payout}, and a chain could hold both")
        self.signed_of[payout].append(name)

    def _exclude_each_other(self, one: str, other: str) -> bool:
        """Whether all that the two need on the chain spends a coin twice."""
        spenders: dict[tuple[str, int], str] = {}
        for name in self._needed(one) | self._needed(other):
            for coin in coins_of(self.transactions[name]):
                if spenders.setdefault(coin, name) != name:
                    return True
        return False

    def _needed(self, name: str) -> set[str]:
        needed, waiting = {name}, [name]
        while waiting:
            for parent, _ in coins_of(self.transactions[waiting.pop()]):
                if parent in self.transactions and parent not in needed:
                    needed.add(parent)
                    waiting.append(parent)
        return needed

    def _check_approved(self, payout: str, subject: str, approvals: list[dict[str, Any]]) -> None:
        said = {each["person"] for given in approvals if given["subject"] == subject for each in given["assertions"]}
        makers = self.people_of.get(payout, set())
        if makers and not said & {each.id for each in PEOPLE if Role.APPROVER in each.roles} - makers:
            raise BrokenError(f"{payout}, which {sorted(makers)} asked for or named, was approved by nobody else")

    def _check_alive(self, payout: str, run: str) -> None:
        if not {payout, run}.isdisjoint(self.taken_back) and payout not in self.attempted:
            raise BrokenError(f"{payout} was taken back, and signed")
        self.first_run[payout] = run

    def _count(
        self, siege: Siege, new: list[str], transaction: simulated.Transaction, *, is_unattended: bool
    ) -> None:
        now, policy = siege.times.boot_ms, siege.payments.standing.policy
        self.spent += [Spent(now, self.places[each][1], self.places[each][0], is_unattended) for each in new]
        self.fees.append((now, simulated.fee(transaction)))
        while self.spent and self.spent[0].at <= now - DAY_MS:
            self.spent.popleft()
        while self.fees and self.fees[0][0] <= now - DAY_MS:
            self.fees.popleft()
        maxima = {(each.name): (each.span_ms, each.maximum_reference_minor) for each in policy.limits}
        for name, (span_ms, maximum) in maxima.items():
            recent = [each for each in self.spent if each.at > now - span_ms]
            if name in ("B", "K"):
                recent = [each for each in recent if each.is_unattended]
            addresses = {self.places[each][0] for each in new} if name == "payee" else {""}
            for address in addresses:
                total = sum(each.minor for each in recent if address in ("", each.address))
                if new and total > maximum:
                    raise BrokenError(f"{total} went out under {name}, which is {maximum}")
        if sum(fee for _, fee in self.fees) > policy.fee_budget_reference_minor:
            raise BrokenError("more fees than their budget")

    # What is there.

    def restarted(self, siege: Siege) -> None:
        self._check_replay(siege)

    def after_step(self, siege: Siege) -> None:
        self.steps += 1
        if self.steps % REPLAY_EVERY == 0:
            self._check_replay(siege)
        guard = siege.guard
        if guard.is_reachable and not guard.loses_answer and guard.kills is None:
            guard.beat()
            siege.desk.idle()
            if guard.guard.witness.lease() is Lease.ALL and guard.head != siege.notary.head:
                raise BrokenError("signer and guard don't come together")

    def at_end(self, siege: Siege) -> None:
        guard = siege.guard
        guard.is_reachable, guard.loses_answer, guard.kills, guard.before_spend = True, False, None, None
        siege.restart()
        self._check_replay(siege)

    def _check_replay(self, siege: Siege) -> None:
        book = Book()
        for entry in siege.journal.entries():
            book.apply(entry)
        now = siege.book.clock.at_least
        if plain(book.organisations, now) != plain(siege.book.organisations, now) or book.control != siege.book.control:
            raise BrokenError("the book isn't what the journal says")


def plain(value: Any, now: Any) -> Any:
    """A value that can be compared: windows by what they count now, everything else field by field."""
    if isinstance(value, Windows):
        return {key: used for key, window in value._windows.items() if (used := window.used(now))}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name), now) for each in fields(value)}
    if isinstance(value, dict):
        return {key: plain(each, now) for key, each in value.items() if each not in ([], set())}
    if isinstance(value, list | tuple):
        return [plain(each, now) for each in value]
    return value
