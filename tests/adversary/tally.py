"""What raw entries and raw blocks say, read without a line of the code under test.

Guard's copy and control log are hash chains that only grow (I6); a change of roster or policy comes into force when a
quorum wanted it, every member was told (I5), its delay is over and nobody vetoed it; the signer's slow clock is never
ahead of true time, so no window opens early (I3); what stands in a block and spends the wallet's coins was journaled
at guard first (I4), and of what is one debt at most one payment is in the chain (I1). `Checks` tells what was promised.
"""

import json
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.adversary.rail import Rail, read
from tests.adversary.siege import Siege
from tests.adversary.takings import unsigned
from tests.faults.signer.recount import Bytes, Chain, address_hash, digest, marked
from tests.signer.world import START

BOOT_MS = 1_000
"""When genesis was written."""
STARTS = ("unfreeze", "resolve", "recover", "release")
Group = tuple[str, ...]


class BrokenError(Exception):
    """The machine saw what must never be."""


@dataclass
class Change:
    entry: dict[str, Any]
    raw: bytes
    noticed_ms: int | None = None


@dataclass
class Tally:
    siege: Siege
    policy: bytes = b""
    roster: bytes = b""
    spends: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Transaction to its entry, unless it was given up."""
    forgotten: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Those of journals that were lost."""
    rows: dict[str, list[str]] = field(default_factory=dict)
    """Payout to how it was decided first."""
    change: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Transaction to the generation and index of its first change."""
    next_change: tuple[int, int] = (0, 0)
    pending: dict[str, Change] = field(default_factory=dict)
    wanted: dict[str, set[str]] = field(default_factory=dict)
    """Change to who asserted it."""
    vetoed: set[str] = field(default_factory=set)
    promised: dict[str, set[tuple[bytes, int]]] = field(default_factory=dict)
    groups: dict[str, set[Group]] = field(default_factory=dict)
    """Payout to the debts of which it is one payment."""
    never: set[str] = field(default_factory=set)
    """What the signer said in writing that is never paid."""
    applied: set[str] = field(default_factory=set)
    """Records by people that counted."""
    applied_before: set[str] = field(default_factory=set)
    """In journals that were lost; a control log that wasn't gives them once more."""
    stolen: set[str] = field(default_factory=set)
    seen: list[tuple[str, list[str]]] = field(default_factory=list)
    """Hash of each block, and the payouts that it pays."""
    paid: Counter[Group] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.copy, self.control = self._chains()

    def _chains(self) -> tuple[Chain, Chain]:
        store = self.siege.guard.store
        return Chain(store / "journal"), Chain(store / "control")

    # Guard's copy.

    def read(self) -> None:
        length, head = marked(self.siege.guard.marker.read_bytes())
        if length < len(self.copy.entries):
            raise BrokenError(f"guard's copy went back from {len(self.copy.entries)} entries to {length}")
        for entry in self.copy.read(length):
            self._take(entry)
        if (len(self.copy.entries), self.copy.heads[-1]) != (length, head):
            raise BrokenError(f"guard's copy doesn't hold the {length} entries that it said")
        self.control.read()

    def read_again(self) -> None:
        """From the beginning: nothing that was there is otherwise now."""
        for before, now in zip((self.copy, self.control), self._chains(), strict=True):
            now.read(len(before.entries))
            if now.heads != before.heads:
                raise BrokenError(f"{before.file.name} isn't what it was")

    def lose(self) -> None:
        """What follows is another copy, of the journal that was left."""
        self.forgotten |= self.spends
        self.applied_before |= self.applied
        self.applied.clear()
        for each in (self.spends, self.rows, self.change, self.pending, self.vetoed):
            each.clear()
        self.next_change = (0, 0)
        self.copy, self.control = self._chains()

    def _take(self, entry: dict[str, Any]) -> None:
        if entry["clock"][0] > START + self.siege.times.boot_ms - BOOT_MS:
            raise BrokenError("the clock of windows and delays is ahead of true time")
        match entry["type"].split("/")[2]:
            case "organisation" | "recovered":
                self.policy, self.roster = b64decode(entry["policy"]), b64decode(entry["roster"])
            case "change":
                raw = b64decode(entry["raw"])
                if digest(raw) in self.vetoed:
                    raise BrokenError(f"{digest(raw)} waits again in spite of a veto")
                self.pending[digest(raw)] = Change(entry, raw)
            case "noticed":
                self._noticed(entry)
            case "ended":
                self._ended(entry)
            case "control" if "action" in entry:
                if entry["action"] in STARTS and entry["record_id"] in self.applied:
                    raise BrokenError(f"what people told guard once counts again: {entry['action']}")
                self.applied.add(entry["record_id"])
                if entry["action"] == "veto":
                    self.vetoed.add(entry["object"])
            case "rotated":
                self.next_change = (self.next_change[0] + 1, 0)
            case "spend":
                self._spend(entry)
            case "abandoned":
                self.spends.pop(entry["transaction"])

    def _noticed(self, entry: dict[str, Any]) -> None:
        self.pending[entry["change"]].noticed_ms = entry["clock"][0]
        lines = (self.siege.guard.store / "notices.jsonl").read_text().splitlines()
        told = {said["person"] for said in map(json.loads, lines) if said["change"] == entry["change"]}
        missing = {each["id"] for each in json.loads(self.roster)["people"]} - told
        if missing:
            raise BrokenError(f"{missing} were never told of the change {entry['change']}")

    def _ended(self, entry: dict[str, Any]) -> None:
        name = entry["change"]
        change = self.pending.pop(name)
        if not entry["is_in_force"]:
            return
        people, policy = json.loads(self.roster)["people"], json.loads(self.policy)
        governs = {each["id"] for each in people if "officers" in each["groups"]}
        if len(self.wanted.get(name, set()) & governs) < 2:
            raise BrokenError(f"{name} came into force without a quorum")
        if name in self.vetoed:
            raise BrokenError(f"{name} came into force in spite of a veto")
        delay_ms = policy["governance"]["delay_ms"]
        if change.noticed_ms is None or entry["clock"][0] - change.noticed_ms < delay_ms:
            raise BrokenError(f"{name} came into force before its time")
        if change.entry["document"] == "policy":
            self.policy = change.raw
        else:
            self.roster = change.raw

    def _spend(self, entry: dict[str, Any]) -> None:
        name = entry["transaction"]
        self.spends[name] = entry
        self.rows |= {row[0]: row for row in entry["items"]}
        self.change[name] = self.next_change
        self.next_change = (self.next_change[0], entry["change_next"])

    def keys(self) -> set[str]:
        """Of clients, and of operators: who may ask by the roster in force."""
        roster = json.loads(self.roster)
        clients = {key["id"] for each in roster["clients"] for key in each["keys"] if "payouts:create" in key["scopes"]}
        return clients | {each["id"] for each in roster["people"] if "operator" in each["roles"]}

    # The chain.

    def look(self, rail: Rail) -> None:
        """What the blocks pay now; some may have gone back."""
        while self.seen and (
            len(self.seen) > len(rail.blocks) or rail.blocks[len(self.seen) - 1].raw["hash"] != self.seen[-1][0]
        ):
            self._count(self.seen.pop()[1], -1)
        for block in rail.blocks[len(self.seen) :]:
            raws = [bytes.fromhex(each) for each in block.raw["transactions"]]
            payouts = [payout for raw in raws for payout in self._pays(raw)]
            self.seen.append((block.raw["hash"], payouts))
            self._count(payouts, 1)

    def _count(self, payouts: list[str], by: int) -> None:
        for group in (each for payout in payouts for each in self.groups[payout]):
            self.paid[group] += by
            if self.paid[group] > 1:
                raise BrokenError(f"the chain holds {self.paid[group]} payments of {group}")

    def _pays(self, raw: bytes) -> list[str]:
        name, made = read(raw)[1], Bytes.of(unsigned(raw))
        if name in self.stolen:
            return []
        entry = self.spends.get(name) or self.forgotten.get(name)
        if entry is None:
            raise BrokenError(f"{name} is in a block, and guard never had it")
        payouts = [row[0] for row in entry["payouts"]]
        for payout, output in zip(payouts, made.outputs, strict=False):
            if output not in self.promised.get(payout, ()):
                raise BrokenError(f"the chain pays {payout} otherwise than it was asked for")
            if payout in self.never:
                raise BrokenError(f"{payout} was paid, which the signer said would never be")
        return payouts


def hashed(address: str, minor: int) -> tuple[bytes, int]:
    return address_hash(address), minor
