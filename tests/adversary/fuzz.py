"""A machine that owns engine, database, rail and link, and plays what honest parties signed against the signer.

Clients, people and officers are honest, and careless: they ask for many things, also twice, and change their minds.
The machine recombines, reorders, withholds, replays and mutates what they signed, ends signer and guard, restores
older journals, sets the clock, and cuts the link. After every step it counts, from signed bytes and its own notes
alone, what must hold of the signer (`Checks`). All goes by one seed: `python -m tests.adversary.fuzz SEED STEPS`.
"""

import json
import random
import sys
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.adversary.checks import Checks
from tests.adversary.siege import KilledError, Siege, fast_folder, remove
from tests.signer.world import (
    ADA,
    BEN,
    CLEO,
    DAN,
    DECLARE_KEY,
    DECLARER,
    EVE,
    ORGANISATION,
    OTTO,
    PAY_KEY,
    PAYER,
    PIA,
    TESS,
    AskRefused,
    Human,
    limit,
    payee,
    policy_document,
)

from strongroom.domain.document import Fields
from strongroom.domain.ids import BeneficiaryId, IdempotencyKey
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import inclusion_proof
from strongroom.protocol.negative import Action, InstructionError
from strongroom.protocol.request import Evidence, PersonEvidence
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.protocol.standing import POLICY_TYPE
from strongroom.signer.desk import ENGINE
from strongroom.signer.start import StartError

PEOPLE = (ADA, BEN, EVE, TESS, CLEO, PIA)
BACKUPS = 8
KEPT = 40
"""Of each kind of thing, so many are remembered; older ones are used less and less."""


def fuzz_policy(**changes: Any) -> dict[str, Any]:
    return policy_document(**{
        "tiers": [
            {"up_to_reference_minor": "5000", "approvals": 0, "groups": 0},
            {"up_to_reference_minor": "50000", "approvals": 1, "groups": 1},
            {"up_to_reference_minor": "500000", "approvals": 2, "groups": 2},
        ],
        "risk": {"above_reference_minor": "4000", "young_for_ms": 60_000},
        "limits": [
            limit("B", "organisation", "unattended", 40_000), limit("all", "organisation", "all", 900_000),
            limit("hour", "organisation", "all", 400_000, HOUR_MS), limit("payee", "destination", "all", 120_000),
            limit("K", "client", "unattended", 35_000, HOUR_MS),
        ],
        "fee_budget_reference_minor": "15000",
    } | changes)


@dataclass
class Payable:
    """What may be paid: the id, how the engine names it, its subject for approvals, and whom it pays."""

    payout: str
    item: dict[str, Any]
    subject: str
    address: str
    minor: int


@dataclass
class Machine:
    siege: Siege
    chance: random.Random
    checks: Checks
    records: list[DestinationRecord] = field(default_factory=list)
    payables: list[Payable] = field(default_factory=list)
    evidence: list[tuple[Ask, Evidence]] = field(default_factory=list)
    named_by: dict[str, str] = field(default_factory=dict)
    """Beneficiary to the person who declared it."""
    approvals: list[dict[str, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    coins: list[tuple[simulated.Input, int]] = field(default_factory=list)
    """Coins of the wallet that were on the chain or may come, each with the index of its key."""
    used: dict[str, list[list[tuple[simulated.Input, int]]]] = field(default_factory=dict)
    """Payout to the coins of its attempts."""
    backups: list[bytes] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    numbers: int = 0
    may_run_ahead: bool = False
    """Whether the clock may be set by days."""

    def step(self) -> None:
        self._calm_down()
        weights = dict(STEPS)
        act = self.chance.choices(list(weights), list(weights.values()))[0]
        try:
            act(self)
        except AskRefused as refusal:
            self.answers[refusal.rule] += 1
        except KilledError:
            self.revive()
        self.checks.after_step(self.siege)

    def _calm_down(self) -> None:
        """No trouble lasts for ever."""
        guard, chance = self.siege.guard, self.chance
        if chance.random() < 0.1:
            guard.is_reachable = True
        if chance.random() < 0.1 and self.siege.times.wall_ms < guard.now:
            self.siege.times.wall_ms = guard.now
        standing = guard.guard.log.current[ORGANISATION]
        if standing.frozen and chance.random() < 0.1:
            guard.try_instruct(Action.UNFREEZE, "organisation", CLEO, DAN)
        for name in sorted(standing.alarms):
            if chance.random() < 0.1:
                guard.try_instruct(Action.RESOLVE, name, CLEO)

    def pick(self, things: list[Any]) -> Any:
        """One of the newest, mostly."""
        return self.chance.choice(things[-KEPT:] if self.chance.random() < 0.9 else things)

    def name(self, kind: str) -> str:
        """A new idempotency key, or one that was there."""
        self.numbers += self.chance.random() < 0.95
        return f"{kind}-{self.numbers}"

    # What the machine does to the signer.

    def ask(self, ask: Ask, **body: Any) -> Any:
        frame = write_ask(ask, {"organisation": ORGANISATION, **body})
        self.frames.append(frame)
        return self.send(frame)

    def send(self, frame: bytes) -> Any:
        """Whatever comes back must be an answer; a signature is looked at. Raises: AskRefused, KilledError."""
        self.siege.guard.beat()
        self.checks.before_ask(self.siege)
        raw = self.siege.desk.answer(ENGINE, frame)
        answer = read_answer(raw)
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        said = json.loads(raw)["answer"]
        if isinstance(said, dict) and "signed" in said:
            self.answers["signed"] += 1
            self.checks.signed(self.siege, json.loads(frame), b64decode(said["signed"]))
            self._learn_coins(b64decode(said["signed"]))
        if isinstance(said, dict) and "receipt" in said:
            self.answers["receipt"] += 1
            self.checks.received_receipt(json.loads(b64decode(said["receipt"])))
        return answer

    def revive(self) -> None:
        """After the process ended: it starts from its disk, as often as it takes."""
        self.restore_from(self.siege.backup())

    def restore_from(self, journal: bytes) -> None:
        """A signer waits for guard before it begins."""
        self.siege.guard.is_reachable, self.siege.guard.kills = True, None
        self.siege.guard.loses_answer = False
        current = self.siege.backup()
        try:
            self.siege.restore(journal)
        except StartError:
            self.answers["refused to start"] += 1  # it ends in an entry that guard never had, and another came since
            self.siege.restore(current)
        self.checks.restarted(self.siege)

    def _learn_coins(self, raw: bytes) -> None:
        transaction, _ = simulated.parse_signed(raw)
        txid = simulated.transaction_id(simulated.encode_unsigned(transaction))
        ours = {self.siege.wallet.address(ORGANISATION, 0, index): index for index in range(self._change_next() + 1)}
        for place, output in enumerate(transaction.outputs):
            if output.address in ours:
                self.coins.append((simulated.Input(txid, place, output.amount, output.address), ours[output.address]))

    def _change_next(self) -> int:
        return int(self.siege.payments.change_next.get(simulated.NETWORK, 0))

    # What clients sign, and people.

    def _request(self, *asked: Any) -> ClientEvidence:
        """By a client whose clock is right."""
        return self.siege.request(*asked, age_ms=self.siege.times.wall_ms - self.siege.guard.now)

    def _by_person(self, person: Human, *asked: Any) -> PersonEvidence:
        return self.siege.person_request(person, *asked, age_ms=self.siege.times.wall_ms - self.siege.guard.now)

    def _person(self) -> Human | None:
        """Now and then it is a person who asks."""
        return self.chance.choice((OTTO, PIA)) if self.chance.random() < 0.2 else None

    def declare(self) -> None:
        key = self.name("beneficiary")
        address = payee(f"payee {self.chance.randrange(30)}")
        body = {"name": "Payee", "destination": {"network": simulated.NETWORK, "address": address}}
        path, person = "/v1/beneficiaries", self._person()
        evidence: Evidence = self._request(path, body, key, self.siege.keys.declarer, DECLARE_KEY)
        beneficiary = beneficiary_id(ORGANISATION, person.id if person else DECLARER, IdempotencyKey(key))
        if person:
            evidence = self._by_person(person, path, body, key)
            self.named_by[beneficiary] = person.id
        self.records.append(read_beneficiary(Fields(body), ORGANISATION, beneficiary))
        self._registers(Ask.DESTINATIONS, evidence)

    def next_version(self) -> None:
        before = self.pick(self.records)
        body = {
            "network": simulated.NETWORK, "address": payee(f"payee {self.chance.randrange(30)}"),
            "version": before.version + 1, "previous": destination_digest(before.encode()),
        }
        path = f"/v1/beneficiaries/{before.beneficiary}/destinations"
        key, person = self.name("next"), self.named_by.get(before.beneficiary)
        evidence: Evidence = self._request(path, body, key, self.siege.keys.declarer, DECLARE_KEY)
        if person:
            evidence = self._by_person(OTTO if person == OTTO.id else PIA, path, body, key)
        self.records.append(DestinationRecord(
            ORGANISATION, BeneficiaryId(before.beneficiary), before.name, before.destination_class, before.network,
            body["address"], before.version + 1, destination_digest(before.encode()),
        ))
        self._registers(Ask.DESTINATIONS, evidence)

    def intend(self) -> None:
        record, key, minor = self.pick(self.records), self.name("payout"), self._minor()
        body = self._wanted(record, minor)
        if self.chance.random() < 0.15:
            name, ahead_ms = self.chance.choice((("expires_at", HOUR_MS), ("not_before", 60_000)))
            body[name] = format_instant(Instant(self.siege.guard.now + ahead_ms))
        person = self._person()
        payout = payout_id(ORGANISATION, person.id if person else PAYER, IdempotencyKey(key))
        self._promises(payout, record, minor, person.id if person else "")
        self.payables.append(Payable(payout, {"payout": payout}, payout, record.address, minor))
        if person:
            self._registers(Ask.INTENTS, self._by_person(person, "/v1/payouts", body, key))
        else:
            self._registers(Ask.INTENTS, self._request("/v1/payouts", body, key, self.siege.keys.payer, PAY_KEY))

    def _promises(self, payout: str, record: DestinationRecord, minor: int, person: str = "") -> None:
        self.checks.promise(payout, record.address, minor)
        self.checks.by_people(payout, {person, self.named_by.get(record.beneficiary, "")} - {""})

    def seal(self) -> None:
        key = self.name("run")
        run = run_id(ORGANISATION, PAYER, IdempotencyKey(key))
        chosen = [(self.pick(self.records), self._minor()) for _ in range(self.chance.randint(1, 5))]
        items = [
            {"idempotency_key": self.name("payout"), **self._wanted(record, minor)} for record, minor in chosen
        ]
        leaves = [item_leaf(item, run, index) for index, item in enumerate(items)]
        nodes = {(level, at): digest for level, at, digest in Frontier().append([leaf_hash(leaf) for leaf in leaves])}
        total = sum(minor for _, minor in chosen) - (self.chance.random() < 0.1) * chosen[0][1] // 2
        seal = {"count": len(items), "root": run_root(leaves).hex(), "totals": {simulated.ASSET: str(max(1, total))}}
        for index, (leaf, item, (record, minor)) in enumerate(zip(leaves, items, chosen, strict=True)):
            proof = [[each.hex()] for each in inclusion_proof(index, len(leaves), nodes.__getitem__)]
            payout = payout_id(ORGANISATION, PAYER, IdempotencyKey(str(item["idempotency_key"])))
            self._promises(payout, record, minor)
            named = {"leaf": b64encode(leaf).decode(), "proof": proof, "run": run}
            self.payables.append(Payable(payout, named, run, record.address, minor))
        path = f"/v1/payout-runs/{run}/seal"
        self._registers(Ask.RUN, self._request(path, seal, "seal", self.siege.keys.payer, PAY_KEY))

    def _wanted(self, record: DestinationRecord, minor: int) -> dict[str, Any]:
        body = self.siege.payout_body(record, minor)
        if self.chance.random() < 0.3:
            body["external_id"] = f"trip-{self.chance.randrange(20)}"
        if self.payables and self.chance.random() < 0.15:
            body["replaces"] = self.pick(self.payables).payout
        return body

    def _minor(self) -> int:
        return self.chance.choice((600, 1_000, 2_500, 4_900, 20_000, 45_000, 200_000))

    def cancel(self) -> None:
        """By the client, with its request; the key of the payout is in the body."""
        name = f"payout-{self.chance.randint(1, self.numbers + 1)}"
        payout = payout_id(ORGANISATION, PAYER, IdempotencyKey(name))
        evidence = self._request(
            f"/v1/payouts/{payout}/cancel", {"idempotency_key": name}, f"c-{name}", self.siege.keys.payer, PAY_KEY
        )
        self._registers(Ask.CANCEL, evidence)

    def _registers(self, ask: Ask, evidence: Evidence) -> None:
        """Now or later, or never."""
        self.evidence.append((ask, evidence))
        if self.chance.random() < 0.8:
            self._show(ask, [evidence])

    def _show(self, ask: Ask, evidence: list[Evidence]) -> None:
        documents = [each.document() for each in evidence]
        if ask in (Ask.RUN, Ask.CANCEL):
            self.ask(ask, evidence=documents[0])
            return
        for row in self.ask(ask, evidence=documents):
            self.answers[row["refused"]["rule"] if "refused" in row else ask.value] += 1

    # What is done with it.

    def replay(self) -> None:
        ask = self.chance.choice((Ask.INTENTS, Ask.DESTINATIONS, Ask.RUN, Ask.CANCEL))
        known = [evidence for kind, evidence in self.evidence if kind is ask or self.chance.random() < 0.02]
        if known:
            self._show(ask, [self.pick(known) for _ in range(self.chance.randint(1, 4))])

    def mix_evidence(self) -> None:
        """Body of one request under another, or a flipped bit."""
        (ask, one), (_, other) = self.pick(self.evidence), self.pick(self.evidence)
        if isinstance(one, PersonEvidence):
            given = other.given if isinstance(other, PersonEvidence) else one.given
            flipped = replace(one, record=self._flipped(one.record))
            self._show(ask, [self.chance.choice((replace(one, given=given), flipped))])
        elif isinstance(other, ClientEvidence):
            parts = [one.base, one.signature, one.body]
            at = self.chance.randrange(3)
            parts[at] = self.chance.choice(([other.base, other.signature, other.body][at], self._flipped(parts[at])))
            self._show(ask, [ClientEvidence(*parts)])

    def _flipped(self, raw: bytes) -> bytes:
        at = self.chance.randrange(len(raw))
        return raw[:at] + bytes([raw[at] ^ 1 << self.chance.randrange(8)]) + raw[at + 1 :]

    def approve(self) -> None:
        subject = self.pick(self.payables).subject
        answer = self.ask(Ask.REQUEST, subject=subject)
        if "request" not in answer:
            return
        raw = b64decode(answer["request"])
        people = self.chance.sample(PEOPLE, self.chance.randint(0, 3))
        given = [assertion_document(each.asserts(raw, APPROVAL_REQUEST_TYPE)) for each in people]
        self.approvals.append({"subject": subject, "request": answer["request"], "assertions": given})

    def sign(self) -> None:
        payables = [self.pick(self.payables) for _ in range(self.chance.choice((1, 1, 1, 2, 3)))]
        if self.chance.random() < 0.5:
            signed = [each for each in self.payables if each.payout in self.used]
            payables[0] = self.pick(signed) if signed else payables[0]
        self._sign(payables, self.chance.choice(("pay", "pay", "pay", "bump")))

    def approve_and_sign(self) -> None:
        """As an honest engine does."""
        self._approve_and_sign(self._fresh())

    def _fresh(self) -> Payable:
        """One that the signer knows and that wasn't tried yet, if there is one."""
        payments = self.siege.payments
        known = [each for each in self.payables if each.subject in payments.intents or each.subject in payments.runs]
        payable: Payable = self.pick([each for each in known if each.payout not in self.used] or self.payables)
        return payable

    def _approve_and_sign(self, payable: Payable) -> None:
        answer = self.ask(Ask.REQUEST, subject=payable.subject)
        given = []
        if "request" in answer:
            raw = b64decode(answer["request"])
            people = self.chance.choice(((ADA, BEN), (PIA, BEN)))[: int(answer["approvals"])]
            assertions = [assertion_document(each.asserts(raw, APPROVAL_REQUEST_TYPE)) for each in people]
            given = [{"subject": payable.subject, "request": answer["request"], "assertions": assertions}]
            self.approvals += given
        self._sign([payable], "pay", given)

    def move_coins(self) -> None:
        """Without payouts: cancel of an attempt, consolidation, sweep."""
        self._sign([], self.chance.choice(("cancel", "cancel", "consolidate", "sweep")))

    def _sign(self, payables: list[Payable], operation: str, given: list[dict[str, Any]] | None = None) -> None:
        outputs = [self.checks.place_of(each.payout) or (each.address, each.minor) for each in payables]
        fee = self.chance.choice((200, 300, 500, 500, 900, 2_500, 60_000))
        chosen = self._coins(payables, sum(minor for _, minor in outputs) + fee + 600)
        raw = self._transaction(chosen, outputs, fee)
        if given is None:
            mine = [each for each in self.approvals if each["subject"] in {payable.subject for payable in payables}]
            others = self.chance.sample(self.approvals, min(2, len(self.approvals)))
            given = mine[-2:] if self.chance.random() < 0.8 else others
        for each in payables:
            self.used.setdefault(each.payout, []).append(chosen)
        self.ask(
            Ask.SIGN, operation=operation, network=simulated.NETWORK, transaction=b64encode(raw).decode(),
            paths=[{"generation": 0, "index": index} for _, index in chosen],
            items=[each.item for each in payables], approvals=given,
        )

    def _coins(self, payables: list[Payable], wanted: int) -> list[tuple[simulated.Input, int]]:
        """Of an earlier attempt, or others, and fresh ones until they are enough."""
        chosen: dict[str, tuple[simulated.Input, int]] = {}
        for payable in payables:
            attempts = self.used.get(payable.payout)
            if attempts and self.chance.random() < 0.8:
                for coin in self.chance.choice(attempts)[: self.chance.randint(1, 3)]:
                    chosen[str(coin[0])] = coin
        if self.coins and self.chance.random() < 0.5:
            coin = self.pick(self.coins)
            chosen[str(coin[0])] = coin
        while sum(coin.amount for coin, _ in chosen.values()) < wanted:
            made = self.siege.coin(wanted + self.chance.choice((0, 5_000, 80_000)))
            self.coins.append((made, 0))
            chosen[str(made)] = (made, 0)
        return list(chosen.values())

    def _transaction(self, coins: list[tuple[simulated.Input, int]], outputs: list[tuple[str, int]], fee: int) -> bytes:
        rest = sum(coin.amount for coin, _ in coins) - sum(minor for _, minor in outputs) - fee
        made = [simulated.Output(minor, address) for address, minor in outputs]
        made.append(simulated.Output(rest, self.siege.wallet.address(ORGANISATION, 0, self._change_next())))
        if self.chance.random() < 0.15:
            at = self.chance.randrange(len(made))
            made[at] = self.chance.choice((
                simulated.Output(made[at].amount + 1, made[at].address),
                simulated.Output(made[at].amount, payee("the machine")),
                simulated.Output(made[at].amount, self.siege.wallet.address(ORGANISATION, 1, 0)),
            ))
            self.chance.shuffle(made)
        return simulated.encode_unsigned(simulated.Transaction(tuple(coin for coin, _ in coins), tuple(made)))

    def repeat_frame(self) -> None:
        self.send(self.pick(self.frames))

    def mix_frame(self) -> None:
        """A frame with a field of another of its kind, or with a flipped bit."""
        raw = self.pick(self.frames)
        document = json.loads(raw)
        alike = [other for other in map(json.loads, self.frames[-KEPT:]) if other["type"] == document["type"]]
        if alike and self.chance.random() < 0.8:
            name = self.chance.choice(sorted(document.keys() - {"type"}))
            document[name] = self.pick(alike).get(name)
            self.send(encode(document))
        else:
            self.send(self._flipped(raw))

    def receipt(self) -> None:
        payable = self.pick(self.payables)
        self.ask(Ask.RECEIPT, object=self.chance.choice((payable.payout, payable.subject)))

    # What is done to the rest.

    def wait(self) -> None:
        self.siege.pass_by(self.chance.choice((10, 1_000, 6_000, 61_000, HOUR_MS // 4, HOUR_MS, DAY_MS // 3)))

    def set_clock(self) -> None:
        """A minute back; thirty days ahead or back, when little is left to do: what the signer's clock gained once
        it never gives back, and it believes no request any more.
        """
        times, now = self.siege.times, self.siege.guard.now
        days = self.chance.choice((-30, 30)) * DAY_MS if self.may_run_ahead else 0
        times.wall_ms = now + (days or -60_000)

    def restart(self) -> None:
        self.revive()

    def restore(self) -> None:
        self.backups = [*self.backups[-BACKUPS:], self.siege.backup()]
        self.restore_from(self.pick(self.backups))

    def restart_guard(self) -> None:
        self.siege.guard.restart()

    def trouble(self) -> None:
        """The next frame to guard, or its answer, is lost, or the signer ends there; or guard is away for a while."""
        guard = self.siege.guard
        match self.chance.randrange(4):
            case 0:
                guard.loses_answer = True
            case 1:
                guard.kills = self.chance.choice(("before", "after"))
            case 2:
                guard.is_reachable = not guard.is_reachable
            case _:
                guard.is_reachable = True

    def instruct(self) -> None:
        self._instruct(self.pick(self.payables), self._attempted())

    def instruct_in_time(self) -> None:
        """Between a decision and guard's cosignature."""
        payable, attempted = self._fresh(), self._attempted()
        self.siege.guard.before_spend = lambda: self._instruct(payable, attempted)
        try:
            for _ in range(3):
                try:
                    self._approve_and_sign(payable)
                except AskRefused as refusal:
                    self.answers[refusal.rule] += 1
        finally:
            self.siege.guard.before_spend = None

    def _attempted(self) -> set[str]:
        """Payouts of which the signer may have signed something, when the process ended in the middle."""
        return {payout for payout, attempts in self.siege.payments.attempts_of.items() if attempts}

    def _instruct(self, payable: Payable, attempted: set[str]) -> None:
        guard = self.siege.guard
        action, subject, people = self.chance.choice((
            (Action.FREEZE, "organisation", (CLEO,)), (Action.UNFREEZE, "organisation", (CLEO, DAN)),
            (Action.UNFREEZE, "organisation", (CLEO, DAN)), (Action.UNFREEZE, "organisation", (CLEO,)),
            (Action.CANCEL, payable.payout, (CLEO,)), (Action.DECLINE, payable.payout, (ADA,)),
            (Action.CANCEL, payable.payout, (CLEO,)), (Action.DECLINE, payable.payout, (ADA,)),
            (Action.CANCEL, payable.subject, (CLEO,)), (Action.SUSPEND, TESS.id, (CLEO,)),
        ))
        if guard.try_instruct(action, subject, *people):
            self.checks.instructed(action, subject, attempted)

    def alarm(self) -> None:
        with suppress(InstructionError):  # it stands already
            self.siege.guard.alarm(f"alarm-{self.siege.times.boot_ms}")

    def change_policy(self) -> None:
        """Two officers change limits; or one tries."""
        standing = self.siege.payments.standing
        factor = self.chance.choice((50, 100, 150))
        limits = [
            {**each, "maximum_reference_minor": str(int(each["maximum_reference_minor"]) * factor // 100)}
            for each in fuzz_policy()["limits"]
        ]
        raw = encode(fuzz_policy(version=standing.policy.version + 1, previous=standing.policy_hash, limits=limits))
        people: tuple[Human, ...] = self.chance.choice(((CLEO, DAN), (CLEO, DAN), (CLEO,), (CLEO, ADA)))
        given = [assertion_document(each.asserts(raw, POLICY_TYPE)) for each in people]
        self.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=given)


STEPS: dict[Callable[[Machine], None], int] = {
    Machine.declare: 4, Machine.next_version: 1, Machine.intend: 14, Machine.seal: 4, Machine.cancel: 2,
    Machine.replay: 5, Machine.mix_evidence: 3, Machine.approve: 5, Machine.sign: 18, Machine.approve_and_sign: 24,
    Machine.move_coins: 3, Machine.repeat_frame: 4, Machine.mix_frame: 5, Machine.receipt: 2, Machine.wait: 8,
    Machine.set_clock: 1, Machine.restart: 1, Machine.restore: 1, Machine.restart_guard: 1, Machine.trouble: 3,
    Machine.instruct: 3, Machine.instruct_in_time: 3, Machine.alarm: 1, Machine.change_policy: 1,
}


def play(seed: int, steps: int, folder: Path) -> Machine:
    """Raises: checks.BrokenError when something doesn't hold; any other error would have ended the signer."""
    siege = Siege(folder, fuzz_policy())
    machine = Machine(siege, random.Random(seed), Checks())
    for _ in range(6):
        machine.declare()
    siege.pass_by(120_000)
    for _ in range(4):
        with suppress(AskRefused):
            machine.intend()
    for number in range(steps):
        machine.may_run_ahead = number > steps * 0.95
        try:
            machine.step()
        except Exception as fault:
            fault.add_note(f"seed {seed}, step {number}")
            raise
    machine.checks.at_end(siege)
    return machine


def main() -> int:
    folder = fast_folder(Path.cwd())
    try:
        machine = play(int(sys.argv[1]), int(sys.argv[2]), folder)
    finally:
        remove(folder)
    print(dict(machine.answers.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
