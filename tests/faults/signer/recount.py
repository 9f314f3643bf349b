"""What the files say, read without a line of the code under test: chains, marker, bytes that were signed, sums.

From guard's copy and from what was about to be signed it is counted again what may never be: a signature without its
spend at guard, two transactions of one payout that a chain could hold both, a window above its limit.
"""

import hashlib
import json
import struct
from base64 import b32decode, b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Key = tuple[str, str]


class BrokenError(Exception):
    """Something was seen that must never be."""


@dataclass
class Chain:
    """A file of frames, read as far as it is whole and chained, and further when it has grown."""

    file: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=lambda: [bytes(32)])
    end: int = 0

    def read(self, most: int | None = None) -> list[dict[str, Any]]:
        """What is new, up to `most` entries in all."""
        first = len(self.entries)
        with self.file.open("rb") as handle:
            handle.seek(self.end)
            raw = handle.read()
        at = 0
        while most is None or len(self.entries) < most:
            length = int.from_bytes(raw[at : at + 4])
            entry, head = raw[at + 4 : at + 4 + length], raw[at + 4 + length : at + 36 + length]
            made = hashlib.sha256(b"strongroom/journal/v1\0" + self.heads[-1] + entry).digest()
            if not length or head != made:
                break
            self.entries.append(json.loads(entry))
            self.heads.append(head)
            at += 36 + length
        self.end += at
        return self.entries[first:]


def marked(raw: bytes) -> tuple[int, bytes]:
    """Length and head of the journal in the newer whole slot of guard's marker."""
    slots = []
    for slot in (raw[:4_096], raw[4_096:]):
        body, check = slot[:192], slot[192:224]
        if hashlib.sha256(body).digest() == check:
            slots.append((int.from_bytes(body[:8]), int.from_bytes(body[8:16]), body[24:56]))
    return max(slots)[1:] if slots else (0, bytes(32))


def digest(raw: bytes) -> str:
    """Of a signed record, by the type in it."""
    return hashlib.sha256(json.loads(raw)["type"].encode() + b"\0" + raw).hexdigest()


def said(entry: Mapping[str, Any]) -> Iterator[Key]:
    """What an entry keeps that may have been acknowledged to the engine."""
    match entry["type"].split("/")[2]:
        case "destinations":
            yield from (("destination", digest(b64decode(row[0]))) for row in entry["destinations"])
        case "intents":
            yield from (("payout", row[2]) for row in entry["intents"])
        case "run":
            yield "run", entry["run"]
        case "request":
            yield "request", entry["request"]
        case "tombstone":
            yield "dead", entry["object"]
        case "control" if entry.get("action") in ("cancel", "decline"):
            yield "dead", entry["object"]
        case "change":
            yield "change", digest(b64decode(entry["raw"]))
        case "organisation":
            yield "organisation", json.loads(b64decode(entry["roster"]))["organisation"]
        case "spend":
            yield "signed", entry["transaction"]


@dataclass(frozen=True)
class Bytes:
    """A simulated transaction: outpoints, and outputs as (hash of the address, amount)."""

    id: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[bytes, int], ...]
    fee: int

    @classmethod
    def of(cls, raw: bytes) -> "Bytes":
        _, ins, outs = struct.unpack_from(">BHH", raw)
        middle = 5 + 62 * ins
        spent = list(struct.iter_unpack(">32sHQ20s", raw[5:middle]))
        made = tuple((hash20, amount) for amount, hash20 in struct.iter_unpack(">Q20s", raw[middle:]))
        fee = sum(each[2] for each in spent) - sum(amount for _, amount in made)
        name = hashlib.sha256(b"strongroom/sim-transaction/v1\0" + raw).hexdigest()
        if len(made) != outs:
            raise BrokenError("bytes were signed that are no transaction")
        return cls(name, tuple(f"{each[0].hex()}:{each[1]}" for each in spent), made, fee)


@dataclass(frozen=True)
class Limit:
    """`counts`: all, unattended or unattended_young; `column`: whose sum, as a column of an item's row, or none."""

    name: str
    counts: str
    column: int | None
    span_ms: int
    maximum: int


class Recount:
    """Of one shop: guard's copy, and what the signer was about to sign."""

    def __init__(self, copy: Path, marker: Path, signing: Path, limits: Iterable[Limit], fees: int) -> None:
        self.copy, self.marker, self.signing = Chain(copy), marker, signing
        self.limits, self.fees_maximum = tuple(limits), fees
        self.spends: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[tuple[int, bool]]] = {}
        """Transaction to the places in guard's copy where it was spent (True) and abandoned (False)."""
        self.rows: dict[str, list[str]] = {}
        self.kept: set[Key] = set()
        self.signed: dict[str, Bytes] = {}
        self.attempts: dict[str, list[str]] = {}
        self.signed_at = 0
        self.sums: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.fees: list[tuple[int, int]] = []

    def look(self) -> None:
        """Everything that is new. Raises: BrokenError."""
        self.read_copy()
        with self.signing.open("rb") as handle:
            handle.seek(self.signed_at)
            raw = handle.read()
        self.signed_at += len(raw)
        for line in raw.splitlines():
            document = json.loads(line)
            self.take_signing(bytes.fromhex(document["unsigned"]), bytes.fromhex(document["marker"]))

    def read_copy(self) -> None:
        """Guard's copy as far as its marker says that it counts."""
        length, head = marked(self.marker.read_bytes())
        first = len(self.copy.entries)
        if length < first:
            raise BrokenError(f"guard's copy went back from {first} entries to {length}")
        for place, entry in enumerate(self.copy.read(length), first):
            self.kept.update(said(entry))
            kind = entry["type"].split("/")[2]
            if kind == "spend":
                self.spends[entry["transaction"]] = entry
                self.events.setdefault(entry["transaction"], []).append((place, True))
                self.count(entry)
            elif kind == "abandoned":
                self.events[entry["transaction"]].append((place, False))
                self.forget(entry["transaction"])
        if (len(self.copy.entries), self.copy.heads[-1]) != (length, head):
            raise BrokenError(f"guard's copy doesn't hold the {length} entries of its marker")

    def forget(self, transaction: str) -> None:
        """A payout whose every attempt was abandoned may be decided anew, and otherwise."""
        for row in self.spends[transaction]["payouts"]:
            if not any(events[-1][1] for name, events in self.events.items() if row in self.spends[name]["payouts"]):
                self.rows.pop(row[0], None)

    def take_signing(self, unsigned: bytes, marker: bytes) -> None:
        made, length = Bytes.of(unsigned), marked(marker)[0]
        before = [is_spent for place, is_spent in self.events.get(made.id, ()) if place < length]
        if not before or not before[-1]:
            raise BrokenError(f"{made.id} was signed when guard hadn't its spend in its {length} entries")
        if made.id in self.signed:
            return
        self.signed[made.id] = made
        payouts = [row[0] for row in self.spends[made.id]["payouts"]]
        for payout, (hash20, amount) in zip(payouts, made.outputs, strict=False):
            row = self.rows.get(payout)
            if row is None:
                raise BrokenError(f"{made.id} was signed, and its spend was given up")
            if (address_hash(row[7]), int(row[5])) != (hash20, amount):
                raise BrokenError(f"{made.id} pays {payout} otherwise than its spend says")
        for payout in payouts:
            for earlier in self.attempts.get(payout, ()):
                if not self.excludes(made.id, earlier):
                    raise BrokenError(f"{payout}: {made.id} and {earlier} can both be on the chain")
            self.attempts.setdefault(payout, []).append(made.id)

    def excludes(self, one: str, other: str) -> bool:
        mine, theirs = self.with_ancestors(one), self.with_ancestors(other)
        return any(
            a != b and not set(self.signed[a].inputs).isdisjoint(self.signed[b].inputs) for a in mine for b in theirs
        )

    def with_ancestors(self, transaction: str) -> set[str]:
        found, waiting = {transaction}, [transaction]
        while waiting:
            for outpoint in self.signed[waiting.pop()].inputs:
                parent = outpoint.partition(":")[0]
                if parent in self.signed and parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found

    def count(self, entry: Mapping[str, Any]) -> None:
        """Every limit, over the window that ends with this spend. One that was abandoned counts too."""
        now = entry["clock"][0]
        for row in entry["items"]:
            self.rows.setdefault(row[0], row)
            if not row[12] and int(row[5]) > 25_000:
                raise BrokenError(f"{row[0]} of {row[5]} went out unattended")
            for limit in self.limits:
                counted = {"all": True, "unattended": not row[12], "unattended_young": not row[12] and bool(row[13])}
                if counted[limit.counts]:
                    whose = (limit.name, "" if limit.column is None else row[limit.column])
                    self.add(self.sums.setdefault(whose, []), now, int(row[5]), limit)
        self.add(self.fees, now, int(entry["fee_reference_minor"]), Limit("fees", "", None, DAY_MS, self.fees_maximum))

    @staticmethod
    def add(spent: list[tuple[int, int]], now: int, minor: int, limit: Limit) -> None:
        spent.append((now, minor))
        total = sum(value for at, value in spent if at > now - limit.span_ms)
        if total > limit.maximum:
            raise BrokenError(f"{limit.name}: {total} in a window of {limit.maximum}")

    def settle(self, chance: Any) -> dict[str, str]:
        """A chain that confirms signed transactions in a random order, as miners may; what each payout came to.

        `paid`, or `displaced` by a transaction of ours that pays it no more: then it may be built anew on that one.
        Raises: BrokenError if it is paid twice, or is neither.
        """
        spent: set[str] = set()
        on_chain: set[str] = set()
        waiting = list(self.signed)
        chance.shuffle(waiting)
        for _ in range(len(waiting)):  # until those have come too whose parents came later
            before = len(on_chain)
            for name in waiting:
                made = self.signed[name]
                has_parents = all(each.partition(":")[0] not in self.signed or each.partition(":")[0] in on_chain
                                  for each in made.inputs)
                if name not in on_chain and has_parents and spent.isdisjoint(made.inputs):
                    spent.update(made.inputs)
                    on_chain.add(name)
            if len(on_chain) == before:
                break
        ends: dict[str, str] = {}
        for payout, attempts in self.attempts.items():
            count = sum(attempt in on_chain for attempt in attempts)
            is_displaced = all(not self.can_follow(attempt, on_chain, spent) for attempt in attempts)
            if count > 1 or (not count and not is_displaced):
                raise BrokenError(f"{payout} was paid {count} times")
            ends[payout] = "paid" if count else "displaced"
        return ends

    def can_follow(self, transaction: str, on_chain: set[str], spent: set[str]) -> bool:
        """Whether the chain could still take it, with those of its ancestors that it lacks."""
        lacking = self.with_ancestors(transaction) - on_chain
        return all(spent.isdisjoint(self.signed[each].inputs) for each in lacking)


def address_hash(address: str) -> bytes:
    return b32decode(address[4:].upper())[:20]
