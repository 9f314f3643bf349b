"""What an engine does, in random order: declares, asks, has people approve, pays, bumps, cancels, pays again, waits.

All that it asks is valid; what is refused is refused for a limit, a freeze, or because it came too late. One thing it
asks must never be granted: a payout again, with coins that exclude nothing.
"""

import json
import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.signer.points import GUARD
from tests.faults.signer.recount import BrokenError
from tests.faults.signer.shop import Nursery, Payout, Shop, policy
from tests.signer.world import ADA, BEN, CLEO, COOLING_MS, DAN, ORGANISATION, PAY_KEY, PAYER, AskRefused, roster

from strongroom.domain.ids import IdempotencyKey, OrganisationId
from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.identifier import payout_id, run_id
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import inclusion_proof
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import policy_hash
from strongroom.signer.desk import ADMIN, ENGINE

Coin = tuple[simulated.Input, int]
DESTINATIONS = 12


@dataclass
class Plan:
    """`raw` unsigned, its coins with the paths of their keys, and the index of its change."""

    raw: bytes
    payouts: list[Payout]
    coins: list[Coin]
    change: int
    body: dict[str, Any]


class Engine(Shop):
    """A shop, and what is known of its payouts."""

    def __init__(self, root: Path, name: str, nursery: Nursery, ports: Sequence[int], chance: random.Random,
                 link_port: int | None = None) -> None:
        super().__init__(root, name, nursery, ports, chance, link_port)
        self.records: list[Any] = []
        self.open: dict[str, Payout] = {}
        self.plans: dict[str, Plan] = {}
        """By transaction: what was signed, or may have been."""
        self.policies = [self.policy]
        self.approvals: dict[str, Any] = {}
        self.acts: dict[str, Callable[[], None]] = {
            "declare": self.declare, "ask": self.ask_for, "pay": self.pay, "request": self.request_approval,
            "freeze": self.freeze, "cancel": self.cancel, "run": self.run, "change": self.change,
            "let in": self.let_in, "pay while guard ends": self.pay_while_guard_ends, "bump": self.bump,
            "pay again": self.pay_again, "pay twice": self.pay_twice, "sign again": self.sign_again,
            "wait": self.wait, "stop": self.stop, "silence": self.silence,
        }

    def declare(self) -> None:
        record = self.beneficiary()
        self.records.append(record)
        if len(self.records) > DESTINATIONS:
            self.records.pop(0)

    def ask_for(self) -> None:
        if not self.records:
            self.declare()
            self.pass_by(COOLING_MS + 1)
        record = self.chance.choice(self.records)
        minor = self.chance.choice((1_000, 7_000, 15_000, 24_000, 31_000))
        key = f"payout-{next(self.numbers)}"
        payout = Payout(payout_id(ORGANISATION, PAYER, IdempotencyKey(key)), record.address, minor, key)
        self.open[payout.id] = payout  # the signer may have taken it even if it couldn't say so
        try:
            self.intent(record, minor, key)
        except AskRefused:
            del self.open[payout.id]
            raise

    def request_approval(self) -> None:
        self.ask_for()
        payout = list(self.open.values())[-1]
        self.approve([payout], anew=True)

    def approve(self, payouts: Sequence[Payout], *, anew: bool = False) -> list[Any]:
        """What people said to the signer's requests, one for each payout or run; now and then nobody is asked."""
        given: dict[str, Any] = {}
        for payout in payouts:
            subject = payout.run or payout.id
            if subject in given or (not anew and self.chance.random() < 0.1):
                continue
            if subject not in self.approvals or anew or self.chance.random() < 0.5:
                self.approvals.pop(subject, None)
                answer = self.ask(Ask.REQUEST, subject=subject)
                if not answer["approvals"]:
                    continue
                people = (ADA, BEN)[: answer["approvals"]]
                self.approvals[subject] = self.answered(subject, answer["request"], *people)
            given[subject] = self.approvals[subject]
        return list(given.values())

    def own_coins(self, total: int) -> list[Coin]:
        """One to three, of which one may be change of an earlier attempt."""
        count = self.chance.randint(1, 3)
        coins: list[Coin] = []
        if self.signatures and self.chance.random() < 0.3:
            coins.append(self.change_of(self.chance.choice(list(self.signatures))))
        for _ in range(count):
            index = self.chance.randrange(3)
            coins.append((self.coin(total // count + 5_000, index), index))
        return coins

    def change_of(self, name: str) -> Coin:
        made = simulated.parse_unsigned(self.plans[name].raw)
        last = len(made.outputs) - 1
        coin = simulated.Input(bytes.fromhex(name), last, made.outputs[last].amount, made.outputs[last].address)
        return coin, self.plans[name].change

    def pay(self) -> None:
        while len(self.open) < 2:
            self.ask_for()
        chosen = self.chance.sample(list(self.open.values()), min(len(self.open), self.chance.randint(1, 3)))
        approvals = self.approve(chosen)
        total = sum(each.minor for each in chosen)
        self.sign_payouts("pay", chosen, self.own_coins(total), self.chance.randint(300, 900), approvals)

    def sign_payouts(
        self, operation: str, payouts: list[Payout], coins: list[Coin], fee: int, approvals: Sequence[Any] = ()
    ) -> None:
        raw = self.plan([(each.address, each.minor) for each in payouts], coins, fee)
        body = self.signing(raw, operation, payouts, coins, approvals)
        name = simulated.transaction_id(raw).hex()
        # Kept before it is asked: it may be signed without our hearing of it.
        self.plans[name] = Plan(raw, payouts, coins, self.planned_change, body)
        self.ask(Ask.SIGN, **body)
        self.close_signed()

    def close_signed(self) -> None:
        """What was signed, or has a receipt, isn't open any more."""
        for name in self.signatures:
            for payout in self.plans[name].payouts if name in self.plans else ():
                self.open.pop(payout.id, None)
        for kind, name in self.acknowledged:
            if kind == "dead":
                self.open.pop(name, None)

    def chosen_attempt(self) -> Plan:
        """Of those that were signed and pay something. Raises: AskRefused if there is none."""
        names = [name for name in self.signatures if name in self.plans and self.plans[name].payouts]
        if not names:
            self.pay()
            names = [name for name in self.signatures if name in self.plans and self.plans[name].payouts]
        return self.plans[self.chance.choice(names)]

    def bump(self) -> None:
        plan = self.chosen_attempt()
        self.sign_payouts("bump", plan.payouts, plan.coins, self.chance.randint(900, 2_000))

    def pay_again(self) -> None:
        """The coins go back to change, and the payout is built anew on that change."""
        plan = self.chosen_attempt()
        self.sign_payouts("cancel", [], plan.coins, self.chance.randint(900, 1_500))
        cancel = simulated.transaction_id(list(self.plans.values())[-1].raw).hex()
        self.sign_payouts("pay", plan.payouts, [self.change_of(cancel)], self.chance.randint(300, 900))

    def pay_twice(self) -> None:
        """The classic mistake: other coins. Raises: BrokenError if it is signed."""
        plan = self.chosen_attempt()
        total = sum(each.minor for each in plan.payouts)
        coins = [(self.coin(total + 5_000), 0)]
        try:
            self.sign_payouts("pay", plan.payouts, coins, 500)
        except AskRefused:
            return
        raise BrokenError("a payout was signed again with coins that exclude nothing")

    def sign_again(self) -> None:
        """The same bytes: the same signature, which `note` compares. Raises: BrokenError if it is weighed again."""
        self.chosen_attempt()
        frame, _ = self.signatures[self.chance.choice(list(self.signatures))]
        try:
            self.send(ENGINE, frame)
        except AskRefused as fault:
            if fault.rule not in ("guard-agrees", "lease-fresh", "not-frozen"):
                raise BrokenError(f"what was signed once is refused: {fault}") from fault

    def cancel(self) -> None:
        payout = self.chance.choice(list(self.open.values())) if self.open else None
        if payout is None or payout.run:
            self.ask_for()
            payout = list(self.open.values())[-1]
        self.cancel_of(payout)

    def cancel_of(self, payout: Payout) -> None:
        """By its client; the receipt is the end of it."""
        path, key = f"/v1/payouts/{payout.id}/cancel", f"cancel-{next(self.numbers)}"
        evidence = self.request(path, {"idempotency_key": payout.key}, key, self.keys.payer, PAY_KEY)
        self.ask(Ask.CANCEL, evidence=evidence.document())
        self.close_signed()

    def run(self) -> None:
        records = [self.beneficiary() for _ in range(self.chance.randint(2, 3))]
        self.pass_by(COOLING_MS)
        key = f"run-{next(self.numbers)}"
        run = run_id(ORGANISATION, PAYER, IdempotencyKey(key))
        items = [{"idempotency_key": f"{key}-{index}", **self.payout_body(record, self.chance.randint(1_000, 9_000))}
                 for index, record in enumerate(records)]
        leaves = [item_leaf(item, run, index) for index, item in enumerate(items)]
        totals = {simulated.ASSET: str(sum(int(item["amount"]) for item in items))}
        seal = {"count": len(items), "root": run_root(leaves).hex(), "totals": totals}
        self.take_run(self.request(f"/v1/payout-runs/{run}/seal", seal, "seal", self.keys.payer, PAY_KEY))
        nodes = {(level, place): node for level, place, node in Frontier().append([leaf_hash(each) for each in leaves])}
        for index, (record, item) in enumerate(zip(records, items, strict=True)):
            proof: list[Any] = [[each.hex()] for each in inclusion_proof(index, len(leaves), nodes.__getitem__)]
            shown = {"leaf": b64encode(leaves[index]).decode(), "proof": proof, "run": run}
            name = payout_id(ORGANISATION, PAYER, IdempotencyKey(item["idempotency_key"]))
            self.open[name] = Payout(name, record.address, int(item["amount"]), item=shown, run=run)

    def freeze(self) -> None:
        """An officer's, at guard; now and then it stays, and what comes then is refused."""
        if not self.standing()["frozen"]:
            self.instruct(Action.FREEZE, "organisation", self.chance.choice((CLEO, DAN)))
            self.sync()
        if self.chance.random() < 0.8:
            self.unfreeze()

    def unfreeze(self) -> None:
        """By its quorum."""
        standing = self.standing()
        if standing["frozen"]:
            self.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=int(standing["freeze_epoch"]))
            self.sync()

    def standing(self) -> dict[str, Any]:
        standing: dict[str, Any] = self.ask(Ask.STATUS)["organisations"][ORGANISATION]
        return standing

    def change(self) -> None:
        """Of the policy, by its quorum, which comes into force after its delay."""
        now = self.standing()["policy"]
        known = next((each for each in self.policies if policy_hash(each) == now), None)
        if known is None:
            raise BrokenError("a policy is in force that nobody proposed")
        version = json.loads(known)["version"] + 1
        raw = encode(policy(version=version, previous=now))
        self.policies.append(raw)
        given = [assertion_document(each.asserts(raw, POLICY_TYPE)) for each in (CLEO, DAN)]
        self.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=given)
        self.pass_by(6_000)
        self.ask(Ask.STATUS)

    def stop(self) -> None:
        """An officer cancels at guard what wasn't decided yet; when the signer has heard of it, it is never signed."""
        self.ask_for()
        payout = list(self.open.values())[-1]
        self.instruct(Action.CANCEL, payout.id, self.chance.choice((CLEO, DAN)))
        self.sync()
        self.recount.look()
        if ("dead", payout.id) in self.recount.kept and payout.id not in self.recount.rows:
            self.acknowledged.setdefault(("dead", payout.id), None)
        if self.chance.random() < 0.5:
            self.sign_payouts("pay", [payout], self.own_coins(payout.minor), 500, self.approve([payout]))

    def silence(self) -> None:
        """Watch says nothing for a minute: then nothing is paid, and coins can still be saved."""
        plan = self.chosen_attempt()
        self.ask_for()
        payout = list(self.open.values())[-1]
        self.times.pass_by(61_000)
        self.shared.set(self.times.boot_ms, self.times.wall_ms)
        try:
            self.sign_payouts("pay", [payout], self.own_coins(payout.minor), 500)
        except AskRefused:
            self.sign_payouts("cancel", [], plan.coins, self.chance.randint(1_500, 2_500))
            self.beat()
            return
        raise BrokenError("something was paid though watch is silent")

    def let_in(self) -> None:
        name = OrganisationId("org_" + "".join(self.chance.choice("abcdefghijklmnop") for _ in range(26)))
        people = replace(roster(), organisation=name)
        documents = {"policy": encode(policy(organisation=name)), "roster": write_roster(people)}
        self.ask(Ask.ORGANISATION, ADMIN, **{key: b64encode(raw).decode() for key, raw in documents.items()})

    def pay_while_guard_ends(self) -> None:
        """Guard ends when the spend reaches it, so that the signer gives it up."""
        self.unfreeze()
        self.pass_by(90_000_000)  # every window is empty
        self.ask_for()
        payout = list(self.open.values())[-1]
        approvals = self.approve([payout], anew=True)
        self.sync()
        self.fuse.arm((GUARD, self.chance.choice(("compared", "entry appended", "entries synced", "marker written"))))
        self.sign_payouts("pay", [payout], self.own_coins(payout.minor), 500, approvals)

    def wait(self) -> None:
        self.pass_by(self.chance.choice((1, 500, 59_000, 600_000, 3_700_000)))


    def act(self, name: str) -> None:
        """Raises: AskRefused, EndedError."""
        self.acts[name]()
        self.close_signed()

    def finish(self, payout: Payout) -> None:
        """Paid; or if it was decided without our hearing of it, signed with the same bytes; or cancelled."""
        rules: list[str] = []
        self.recount.look()
        bodies = [plan.body for name, plan in self.plans.items() if payout in plan.payouts and self.is_spent(name)]
        for ask in (partial(self.pay_alone, payout), *(partial(self.ask, Ask.SIGN, **body) for body in bodies[-1:])):
            try:
                ask()
                self.pass_by(3_700_000)
                return
            except AskRefused as fault:
                rules.append(fault.rule)
        if payout.run or ("payout", payout.id) not in self.acknowledged:
            return  # of a run it may wait for ever, and what wasn't acknowledged needs no end
        try:
            self.cancel_of(payout)
        except AskRefused as fault:
            raise BrokenError(f"{payout.id} can't be brought to an end: {[*rules, fault.rule]}") from fault

    def is_spent(self, transaction: str) -> bool:
        events = self.recount.events.get(transaction)
        return events is not None and events[-1][1]

    def pay_alone(self, payout: Payout) -> None:
        approvals = self.approve([payout], anew=True)
        self.sign_payouts("pay", [payout], [(self.coin(payout.minor + 5_000), 0)], 300, approvals)

    def drain(self) -> None:
        """Everything that is open is paid or cancelled, and then ends once. Raises: BrokenError."""
        self.unfreeze()
        self.pass_by(90_000_000)
        for payout in list(self.open.values()):
            self.finish(payout)
        self.sync()
        self.look()
        ends = self.recount.settle(self.chance)
        for kind, name in self.acknowledged:
            is_dead = ("dead", name) in self.acknowledged
            if kind == "payout" and is_dead is (name in ends):
                raise BrokenError(f"{name} was acknowledged, and ended in {'two ways' if is_dead else 'no way'}")
