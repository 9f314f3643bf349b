"""What must hold after every step of the machine, counted from signed bytes and from what honest parties said.

Of two transactions that pay one payout a chain takes at most one (I1); what was taken back is never signed, and what
the signer says in writing is true of all that it ever signed (I2); no window's sum is above its limit (I3); what was
signed is in guard's copy before it came out, and the book is what the journal says (I4). What a person asked for or
named was approved by another; while all is frozen one sweep or cancel is signed for each word of an officer; change
goes to the newest generation of keys; and what was asked for before both lost some is never signed again. Time is the
machine's true time, whatever the clocks say. What raw entries and blocks say is in `Tally`.
"""

import json
from base64 import b64decode
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, NoReturn

from tests.adversary.policy import TREASURY
from tests.adversary.rail import Rail, read
from tests.adversary.siege import Siege
from tests.adversary.tally import BrokenError, Tally, hashed
from tests.adversary.till import coins_of
from tests.signer.world import CLEO, DAN, ORGANISATION, PEOPLE

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS
from strongroom.domain.velocity import Windows
from strongroom.formats import simulated
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.negative import STARTS, Action, Negative
from strongroom.protocol.roster import Role
from strongroom.signer.book import Book

REPLAY_EVERY: Final = 100
SAVES: Final = ("cancel", "sweep")


@dataclass(frozen=True, slots=True)
class Promise:
    """What an honest party asked for, in the client generation `era`; `people` asked for it or named its payee."""

    address: str
    minor: int
    maker: str
    external_id: str
    replaces: str
    era: int
    people: frozenset[str]

    @property
    def place(self) -> tuple[str, int]:
        return self.address, self.minor


@dataclass(frozen=True, slots=True)
class Spent:
    at: int
    minor: int
    address: str
    is_unattended: bool


class Checks:
    def __init__(self, siege: Siege) -> None:
        self.tally = Tally(siege)
        self.promised: dict[str, set[Promise]] = {}
        self.first_run: dict[str, str] = {}
        """Payout to the run as whose item it was signed first."""
        self.signed_of: dict[str, list[str]] = {}
        """Payout to the transactions that pay it."""
        self.places: dict[str, tuple[str, int]] = {}
        self.transactions: dict[str, simulated.Transaction] = {}
        self.operations: dict[str, str] = {}
        self.taken_back: set[str] = set()
        self.attempted: set[str] = set()
        self.over: set[str] = set()
        """Payouts of which the signer said in writing that they are never paid."""
        self.releases: dict[str, set[str]] = {}
        """Payout to the attempts of which a quorum released it."""
        self.words: list[int] = []
        """Until when each word of an officer holds that was given since the last freeze or unfreeze."""
        self.by_word: set[str] = set()
        self.sweeps: list[tuple[int, str]] = []
        self.revoked: set[str] = set()
        self.spent: deque[Spent] = deque()
        self.fees: dict[bool, deque[tuple[int, int]]] = {False: deque(), True: deque()}
        """Of sweeps, and of all else."""
        self.was_frozen = False
        self.had_alarm = False
        self.era = 0
        self.steps = 0

    @property
    def stolen(self) -> set[str]:
        return self.tally.stolen

    def broken(self, what: str) -> NoReturn:
        raise BrokenError(what)

    # What honest parties said.

    def promise(self, payout: str, promised: Promise) -> None:
        self.promised.setdefault(payout, set()).add(promised)
        self.tally.promised.setdefault(payout, set()).add(hashed(promised.address, promised.minor))

    def place_of(self, payout: str) -> tuple[str, int] | None:
        """Where it was paid first."""
        return self.places.get(payout)

    def instructed(self, action: Action, subject: str, attempted: set[str], siege: Siege) -> None:
        """Kept at guard: from now on it binds, but for what may have been signed before, `attempted`."""
        match action:
            case Action.CANCEL | Action.DECLINE:
                self.taken_back.add(subject)
                self.attempted |= attempted
            case Action.FREEZE | Action.UNFREEZE:
                self.words.clear()
                self.by_word.clear()
            case Action.RECOVER:
                self.words.append(siege.guard.last_expires)
            case Action.VETO if subject in siege.payments.standing.pending:
                self.tally.read()
                self.tally.vetoed.add(subject)

    def told_again(self, said: Negative) -> None:
        """Guard kept it again. What the signer found void, as it came too late by its faster clock, never counted."""
        self.tally.read()
        if said.action in STARTS and said.record_id in self.tally.applied | self.tally.applied_before:
            raise BrokenError(f"what people told guard once counts again: {said.action.value}")

    def wanted(self, change: str, people: set[str]) -> None:
        self.tally.wanted.setdefault(change, set()).update(people)

    def released(self, payout: str, attempts: Iterable[str], people: set[str]) -> None:
        """Guard kept it."""
        if not people >= {CLEO.id, DAN.id}:
            raise BrokenError(f"{people} released {payout}")
        self.releases[payout] = set(attempts)

    def attested(self, name: str, rail: Rail) -> None:
        if not rail.is_final(name):
            raise BrokenError(f"guard says that {name} is final, and it isn't")

    def received_receipt(self, siege: Siege, receipt: dict[str, Any], rail: Rail) -> None:
        subject = receipt["object"]
        if "void" in receipt:
            self._check_void(subject, rail)
        else:
            if self.signed_of.get(subject):
                raise BrokenError(f"a receipt says that {subject} was never signed")
            counted = sum(first == subject for first in self.first_run.values())
            if receipt.get("signed_items", 0) < counted:
                raise BrokenError(f"{counted} items of {subject} were signed, and its receipt says fewer")
            self.taken_back.add(subject)
        self.over.add(subject)
        self.tally.never.add(subject)

    def _check_void(self, payout: str, rail: Rail) -> None:
        """All that was ever signed for it is impossible, by what is final; and people know, where that is no cancel."""
        for name in self.signed_of.get(payout, ()):
            spends = [(each, coin) for each in self._needed(name) for coin in coins_of(self.transactions[each])]
            by = {rail.spent[coin] for each, coin in spends if rail.spent.get(coin, each) != each}
            final = {each for each in by if rail.is_final(each)}
            if not final:
                raise BrokenError(f"{payout} is void by the signer, and the chain could still take {name}")
            plain = [each for each in final if each not in self.stolen and self.operations[each] != "sweep"]
            if not plain and payout not in self.over and not set(self.signed_of[payout]) <= self.releases.get(
                payout, set()
            ):
                raise BrokenError(f"{payout} is void by {sorted(final)}, and no quorum released it")

    # What the signer did.

    def before_ask(self, siege: Siege) -> None:
        standing = siege.guard.guard.log.current.get(ORGANISATION)
        self.was_frozen = standing is not None and "organisation" in standing.frozen
        self.had_alarm = standing is not None and bool(standing.alarms)

    def signed(self, siege: Siege, asked: dict[str, Any], raw: bytes) -> None:
        transaction, witnesses = simulated.parse_signed(raw)
        simulated.verify_witnesses(transaction, witnesses)
        name, operation = read(raw)[1], asked["operation"]
        self.tally.read()
        if name not in self.tally.spends:
            raise BrokenError(f"{name} came out before guard had it")
        if self.had_alarm and operation not in SAVES:
            raise BrokenError(f"{name} was signed while an alarm stands")
        payouts = [self._payout(siege, item) for item in asked["items"]]
        self._check_outputs(siege, transaction, payouts, name, operation)
        is_new = name not in self.transactions
        self.transactions[name] = transaction
        self._check_frozen(siege, name, operation, is_new=is_new)
        self._check_asked(payouts)
        if not is_new:
            return
        self.operations[name] = operation
        for payout, output in zip(payouts, transaction.outputs, strict=False):
            self._check_once(payout, name, (output.address, output.amount))
        new = [payout for payout in payouts if len(self.signed_of[payout]) == 1]
        for payout, item in zip(payouts, asked["items"], strict=True):
            if payout in new:
                self._check_alive(payout, str(item.get("run", "")))
                self._check_approved(payout, str(item.get("run", "")) or payout, asked["approvals"])
        self._count(siege, new, transaction, operation, is_unattended=not asked["approvals"])

    def _payout(self, siege: Siege, item: dict[str, Any]) -> str:
        if "payout" in item:
            return str(item["payout"])
        leaf = json.loads(b64decode(item["leaf"]))
        (client,) = {each.client for run, each in siege.payments.runs.items() if run == item["run"]}
        return payout_id(ORGANISATION, client, IdempotencyKey(leaf["idempotency_key"]))

    def _check_frozen(self, siege: Siege, name: str, operation: str, *, is_new: bool) -> None:
        """While all is frozen, and for a second sweep in a day, an officer's word is needed, one for each."""
        now = siege.times.boot_ms
        needs_word = self.was_frozen or "organisation" in siege.guard.guard.log.current[ORGANISATION].frozen
        if operation == "sweep" and is_new:
            self.sweeps = [each for each in self.sweeps if each[0] > now - DAY_MS]
            needs_word |= any(not self._exclude_each_other(earlier, name) for _, earlier in self.sweeps)
            self.sweeps.append((now, name))
        if not needs_word:
            return
        if operation not in SAVES:
            raise BrokenError(f"{name} was signed while the organisation is frozen")
        self.by_word.add(name)
        if len(self.by_word) > len(self.words) or max(self.words) <= siege.guard.now:
            raise BrokenError(f"{sorted(self.by_word)} were signed by {len(self.words)} words of officers")

    def _check_outputs(
        self, siege: Siege, transaction: simulated.Transaction, payouts: list[str], name: str, operation: str
    ) -> None:
        """As many payees as payouts, each as promised, and the rest to the newest keys, or swept."""
        for payout, output in zip(payouts, transaction.outputs, strict=False):
            if (output.address, output.amount) not in {each.place for each in self.promised.get(payout, ())}:
                raise BrokenError(f"{payout} pays {output.amount} to {output.address}, which nobody asked for")
        if len(transaction.outputs) < len(payouts):
            raise BrokenError("a payout has no output")
        rest = [output.address for output in transaction.outputs[len(payouts) :]]
        generation, first = self.tally.change[name]
        ours = [siege.wallet.address(ORGANISATION, generation, first + place) for place in range(len(rest))]
        if rest != ([TREASURY] if operation == "sweep" else ours):
            raise BrokenError(f"{name}: what is neither a payee nor the newest change gets something")

    def _check_asked(self, payouts: list[str]) -> None:
        """By somebody who may, for this era's clients, as the journal's own row says it."""
        keys = self.tally.keys() - self.revoked
        for payout in payouts:
            row = self.tally.rows[payout]
            if not any(each.era == self.era for each in self._promises(payout)):
                raise BrokenError(f"{payout} was signed, which nobody asked for since some was lost")
            if payout in self.over:
                raise BrokenError(f"{payout} was signed, which the signer said would never be paid")
            if row[2] not in keys:
                raise BrokenError(f"{payout} was signed, and {row[2]} may not ask any more")
            era = str(self.era)
            groups = {(payout,), ("debt", era, row[1], row[7], row[8])}
            if row[9]:
                pair = ("pair", payout, row[9])
                groups |= {pair, ("instead", era, row[1], row[9])}
                self.tally.groups.setdefault(row[9], {(row[9],)}).add(pair)
            self.tally.groups.setdefault(payout, set()).update(groups)

    def _promises(self, payout: str) -> list[Promise]:
        """Those that it is, by the journal's own row."""
        row = self.tally.rows[payout]
        wanted = (row[7], int(row[5]), row[1], row[8], row[9])
        return [each for each in self.promised[payout] if wanted == (
            each.address, each.minor, each.maker, each.external_id, each.replaces
        )]

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
        makers = {person for each in self._promises(payout) for person in each.people}
        if makers and not said & {each.id for each in PEOPLE if Role.APPROVER in each.roles} - makers:
            raise BrokenError(f"{payout}, which {sorted(makers)} asked for or named, was approved by nobody else")

    def _check_alive(self, payout: str, run: str) -> None:
        if not {payout, run}.isdisjoint(self.taken_back) and payout not in self.attempted:
            raise BrokenError(f"{payout} was taken back, and signed")
        self.first_run[payout] = run

    def _count(
        self, siege: Siege, new: list[str], transaction: simulated.Transaction, operation: str, *, is_unattended: bool
    ) -> None:
        now, policy, fees = siege.times.boot_ms, json.loads(self.tally.policy), self.fees[operation == "sweep"]
        self.spent += [Spent(now, self.places[each][1], self.places[each][0], is_unattended) for each in new]
        fees.append((now, simulated.fee(transaction)))
        while self.spent and self.spent[0].at <= now - DAY_MS:
            self.spent.popleft()
        while fees and fees[0][0] <= now - DAY_MS:
            fees.popleft()
        maxima = {
            each["name"]: (each["span_ms"], int(each["maximum_reference_minor"])) for each in policy["limits"]
        }
        for name, (span_ms, maximum) in maxima.items():
            recent = [each for each in self.spent if each.at > now - span_ms]
            if name in ("B", "K"):
                recent = [each for each in recent if each.is_unattended]
            addresses = {self.places[each][0] for each in new} if name == "payee" else {""}
            for address in addresses:
                total = sum(each.minor for each in recent if address in ("", each.address))
                if new and total > maximum:
                    raise BrokenError(f"{total} went out under {name}, which is {maximum}")
        budget = "sweep_fee_budget_reference_minor" if operation == "sweep" else "fee_budget_reference_minor"
        if sum(fee for _, fee in fees) > int(policy[budget]):
            raise BrokenError("more fees than their budget")

    # What is there.

    def restarted(self, siege: Siege) -> None:
        self._check_replay(siege)

    def lost(self, siege: Siege) -> None:
        """Both have lost some. Fees of before are lost as well: those that save money aren't stopped for a day."""
        self.era += 1
        self._check_replay(siege)
        self.tally.lose()
        for each in (self.words, self.sweeps, self.by_word, *self.fees.values()):
            each.clear()

    def after_step(self, siege: Siege, rail: Rail) -> None:
        self.steps += 1
        self.tally.read()
        self.tally.look(rail)
        if self.steps % REPLAY_EVERY == 0:
            self._check_replay(siege)
            self.tally.read_again()
        guard = siege.guard
        if guard.is_reachable and not guard.loses_answer and guard.kills is None:
            guard.beat()
            for _ in range(2):  # a change comes into force after guard was heard, and is told at the next word
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
        now = siege.notary.reading().at_least
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
