"""The rules of the signer's gate as tables: for each tag, what is taken and what is refused by it.

A case gets a world in which everything is right, and does one thing: rightly, or wrong in the one way that its name
says. That a wrong one is refused by the tag under which it stands, and by no other, is the test.
"""

from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nacl.signing import SigningKey
from tests.rules import children, freeing
from tests.signer.world import (
    ADA,
    BEN,
    CLEO,
    COOLING_MS,
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
    Keys,
    World,
    limit,
    payee,
    policy_document,
    production_roster,
)

from strongroom.domain.ids import IdempotencyKey, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import POLICY_TYPE
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.genesis import FoundingOrganisation, Mode
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.identifier import run_id
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import inclusion_proof
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.request import INTENT_TYPE
from strongroom.protocol.roster import ROSTER_TYPE, Group, Person, Roster, RosterClient, RosterKey, roster_hash
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.signer.desk import ADMIN
from strongroom.signer.rules import Rule

STRANGER = SigningKey(b"\7" * 32)
SMALL, MIDDLE, LARGE = 20_000, 900_000, 20_000_000
"""Base units, each worth a cent: for nobody, for one person, for two people of two groups."""
OLD_MS = 60_000
"""After this a destination isn't young any more."""

Act = Callable[[World], object]


def small(world: World, **how: Any) -> str:
    return world.intent(world.cooled(), SMALL, **how)


def old(world: World, minor: int) -> str:
    record = world.cooled()
    world.pass_by(OLD_MS)
    return world.intent(record, minor)


def pay_small(world: World) -> None:
    world.sign([small(world)])


def pay_middle(world: World, *people: Human) -> None:
    payout = old(world, MIDDLE)
    world.sign([payout], approvals=[world.approved(payout, *(people or (ADA,)))])


def pay_large(world: World, *people: Human) -> None:
    payout = old(world, LARGE)
    world.sign([payout], approvals=[world.approved(payout, *people)])


# Guard, freezes, and what is asked.


def alarmed(what: str = "pay", *, elsewhere: bool = False) -> Act:
    """Watch has raised an alarm, in this organisation or in another one."""

    def act(world: World) -> None:
        payout, coin, organisation = small(world), world.coin(50_000), ORGANISATION
        if elsewhere:
            organisation = OrganisationId("org_" + "z" * 26)
            asked_in(world, organisation, replace(world.payments.standing.roster, organisation=organisation))
        if what == "cancel":
            world.sign([payout], coins=[coin], raw=world.transaction([world.output(payout)], coins=[coin])[0])
        world.book.organisations[organisation].standing.alarms.add("deficit")
        if what == "cancel":
            world.sign([], operation="cancel", raw=world.transaction([], coins=[coin])[0])
        else:
            world.sign([payout])

    return act


def lease_is(lease: Lease, operation: str = "pay") -> Act:
    def act(world: World) -> None:
        payout = small(world)
        if operation == "cancel":
            coin = world.coin(50_000)
            world.sign([payout], coins=[coin], raw=world.transaction([world.output(payout)], coins=[coin])[0])
            world.guard.lease = lease
            world.sign([], operation="cancel", raw=world.transaction([], coins=[coin])[0])
            return
        world.guard.lease = lease
        world.sign([payout])

    return act


def frozen(scope: str, *, unfrozen: bool = False) -> Act:
    def act(world: World) -> None:
        payout = small(world)
        intent = world.payments.intents[payout].intent
        scoped = scope.format(client=PAYER, beneficiary=intent.beneficiary, asset=simulated.ASSET)
        world.guard.instruct(Action.FREEZE, scoped, CLEO)
        if unfrozen:
            world.guard.instruct(Action.UNFREEZE, scoped, CLEO, DAN, epoch=1)
        world.sign([payout])

    return act


def guard_cut_off(world: World) -> None:
    payout = small(world)
    world.sign([small(world)])
    world.guard.is_reachable = False
    world.sign([payout])


def frozen_between_decision_and_cosignature(world: World) -> None:
    payout = small(world)
    world.guard.before_spend = lambda: world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.sign([payout])


def unknown_organisation(world: World) -> None:
    world.ask(Ask.ADDRESSES, organisation="org_" + "z" * 26, network=simulated.NETWORK, first=0, generation=0, count=1)


def raw_ask(**changes: Any) -> Act:
    def act(world: World) -> None:
        payout = small(world)
        raw, _ = world.transaction([world.output(payout)])
        body: dict[str, Any] = {
            "operation": "pay",
            "network": simulated.NETWORK,
            "transaction": b64encode(raw).decode(),
            "paths": [{"generation": 0, "index": 0}],
            "items": [{"payout": payout}],
            "approvals": [],
        } | changes
        world.ask(Ask.SIGN, **body)

    return act


WORD = (Action.RECOVER, f"network:{simulated.NETWORK}")


def sweep_coins(world: World, *coins: simulated.Input, fee: int = 500, to: str = "") -> bytes:
    taken = coins or (world.coin(50_500),)
    outputs = [(to or TREASURY, sum(coin.amount for coin in taken) - fee)]
    raw, _ = world.transaction(outputs, coins=taken, change=0)
    return world.sign([], operation="sweep", raw=raw)


def cancel_one(world: World) -> None:
    raw, _ = world.transaction([], coins=[world.coin(60_000)], fee=900)
    world.sign([], operation="cancel", raw=raw)


def cancel_of_before(world: World) -> None:
    """It was signed before the freeze; the word is for one that wasn't."""
    raw, _ = world.transaction([], coins=[world.coin(60_000)], fee=900)
    world.sign([], operation="cancel", raw=raw)
    while_frozen(lambda frozen: frozen.sign([], operation="cancel", raw=raw), WORD)(world)


def while_frozen(act: Act, *words: tuple[Any, ...], scope: str = "organisation", wait_ms: int = 0) -> Act:
    """After a freeze, and what an officer then says."""

    def frozen_first(world: World) -> None:
        world.guard.instruct(Action.FREEZE, scope, CLEO)
        for action, subject, *people in words:
            world.guard.instruct(action, subject, *(people or (CLEO,)), epoch=1)
        world.desk.idle()
        world.pass_by(wait_ms)
        act(world)

    return frozen_first


def sweep_again(world: World) -> None:
    """The same bytes: the answer was lost, or the engine ended."""
    coin = world.coin(50_500)
    assert sweep_coins(world, coin) == sweep_coins(world, coin)
    world.restart()
    sweep_coins(world, coin)


def sweep_with_a_word_that_was_lost(world: World) -> None:
    """Guard refused that sweep, so that it was never signed, and the word is still good."""
    world.guard.before_spend = lambda: world.guard.instruct(Action.REVOKE, PAY_KEY, CLEO)
    with suppress(AskRefused):
        sweep_coins(world)
    assert world.payments.attempts == {}
    sweep_coins(world)


def sweep_twice(world: World) -> None:
    for _ in range(2):
        sweep_coins(world)


def word_before_the_freeze(*, late: bool) -> Act:
    """Given and heard before it; or signed before it, and given to guard after it."""

    def act(world: World) -> None:
        if late:
            world.guard.instruct(Action.FREEZE, "organisation", CLEO)
        world.guard.instruct(*WORD, CLEO)
        world.desk.idle()
        if not late:
            world.guard.instruct(Action.FREEZE, "organisation", CLEO)
        sweep_coins(world)

    return act


def sweep_by_a_word_of_the_clock_that_was_ahead(world: World) -> None:
    """It hasn't expired by the slow clock."""
    world.times.wall_ms += 60_000
    sweep_coins(world)


def swept_before(act: Act, wait_ms: int = 0) -> Act:
    def sweep_first(world: World) -> None:
        sweep_coins(world)
        world.pass_by(wait_ms)
        act(world)

    return sweep_first


def sweep_in_place(*, of_all: bool, again: bool = False) -> Act:
    """A sweep, a second in its place with a coin more, and a third that excludes the second only, or both."""

    def act(world: World) -> None:
        first, second = world.coin(60_000), world.coin(60_000)
        sweep_coins(world, first)
        sweep_coins(world, first, second, fee=900)
        sweep_coins(world, *([first] if of_all else []), second, fee=1_300)
        if again:
            sweep_coins(world, first)

    return act


def sweep_by_a_word(world: World) -> None:
    world.guard.instruct(*WORD, CLEO)
    sweep_coins(world)


def fees_and_a_sweep(world: World) -> None:
    """The budget of the others is spent."""
    fees(2, 500)(world)
    sweep_coins(world)


# What clients sign.


def request(**how: Any) -> Act:
    """A payout asked for in a way that isn't right, or is."""

    def act(world: World) -> None:
        record = world.cooled()
        wrong = {"deployment": None, "age_ms": 0, "signed_by": world.keys.payer, "key_id": PAY_KEY} | how
        path = wrong.pop("path", "/v1/payouts")
        evidence = world.request(path, world.payout_body(record, SMALL), "k", **wrong)
        world.take(Ask.INTENTS, [evidence])

    return act


def body_changed_after_signing(world: World) -> None:
    evidence = world.payout_evidence(world.payout_body(world.cooled(), SMALL), "k")
    world.take(
        Ask.INTENTS, [type(evidence)(evidence.base, evidence.signature, evidence.body.replace(b"trip", b"TRIP"))]
    )


def by_the_declaring_key(world: World) -> None:
    body = world.payout_body(world.cooled(), SMALL)
    world.take(Ask.INTENTS, [world.request("/v1/payouts", body, "k", world.keys.declarer, DECLARE_KEY)])


def key_revoked_after_the_request(world: World) -> None:
    payout = small(world)
    world.guard.instruct(Action.REVOKE, PAY_KEY, CLEO)
    world.sign([payout])


def never_asked_for(world: World) -> None:
    payout = small(world)
    raw, _ = world.transaction([world.output(payout)])
    world.sign(["po_" + "z" * 26], raw=raw)


def the_same_request_again(world: World) -> None:
    body = world.payout_body(world.cooled(), SMALL)
    for _ in range(2):
        world.take(Ask.INTENTS, [world.payout_evidence(body, "k")])
        world.pass_by(1_000)


def another_request_under_its_key(world: World) -> None:
    record = world.cooled()
    for minor in (SMALL, SMALL + 1):
        world.take(Ask.INTENTS, [world.payout_evidence(world.payout_body(record, minor, external_id="x"), "k")])


def instructed(action: Action, *people: Human) -> Act:
    def act(world: World) -> None:
        payout = small(world)
        world.guard.instruct(action, payout, *people)
        world.sign([payout])

    return act


def with_time(name: str, offset_ms: int, wait_ms: int = 0) -> Act:
    def act(world: World) -> None:
        record = world.cooled()
        payout = world.intent(record, SMALL, **{name: format_instant(Instant(world.times.wall_ms + offset_ms))})
        world.pass_by(wait_ms)
        world.sign([payout])

    return act


def clock_set(ahead_ms: int, act: Act) -> Act:
    """Somebody sets the wall clock after the request; what passed at least and at most then differ."""

    def set_first(world: World) -> None:
        intent = world.intent

        def asked_and_set(*asked: Any, **how: Any) -> str:
            payout = intent(*asked, **how)
            world.times.wall_ms += ahead_ms
            return payout

        world.intent = asked_and_set  # type: ignore[method-assign] # between request and payment
        act(world)

    return set_first


def clock_was_ahead(act: Act, *, guard_differs_ms: int = 0) -> Act:
    """The wall was a month ahead while everything was made ready; then it is set right, and guard is heard."""

    def set_back(world: World) -> None:
        record = world.cooled()
        world.cooled = lambda: record  # type: ignore[method-assign] # it was declared before
        world.guard.times = replace(world.times, wall_ms=world.times.wall_ms + guard_differs_ms)
        world.times.wall_ms += 30 * DAY_MS
        world.notary.reading()
        world.times.wall_ms -= 30 * DAY_MS
        world.desk.idle()
        act(world)

    return set_back


def asked_while_the_clock_was_ahead(world: World) -> None:
    """The wall was a month ahead when people were asked: their request would expire a month too late."""
    payout = old(world, MIDDLE)
    world.guard.times = replace(world.times)
    world.times.wall_ms += 30 * DAY_MS
    approved = world.approved(payout, ADA)
    world.times.wall_ms -= 30 * DAY_MS
    world.sign([payout], approvals=[approved])


def old_by_the_larger_clock(world: World) -> None:
    """A day has passed, and the wall clock, which was stopped, says that none has."""
    evidence = world.payout_evidence(world.payout_body(world.cooled(), SMALL), "k")
    world.times.boot_ms += DAY_MS + 60_000
    world.take(Ask.INTENTS, [evidence])


def run_cancelled(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    run.pay(0)
    world.guard.instruct(Action.CANCEL, run.id, CLEO)
    run.pay(1)


def two_of_one_debt(replaced: bool, dead: bool) -> Act:
    def act(world: World) -> None:
        record = world.cooled()
        first = world.intent(record, SMALL, external_id="trip")
        if dead:
            world.guard.instruct(Action.CANCEL, first, CLEO)
            world.sign([world.intent(record, 1_000)])
        world.intent(record, SMALL, external_id="trip", **({"replaces": first} if replaced else {}))

    return act


def successors(*, dead: bool, count: int) -> Act:
    """Of one payout, each to another destination, so that no external id is owed twice to one place."""

    def act(world: World) -> None:
        records = [world.cooled() for _ in range(count + 1)]
        first = world.intent(records[0], 1_000, external_id="trip")
        if dead:
            world.guard.instruct(Action.CANCEL, first, CLEO)
        world.sign([world.intent(records[0], 1_000)] if dead else [first])
        for record in records[1:]:
            world.sign([world.intent(record, 1_000, external_id="trip", replaces=first)])

    return act


def successors_at_once(world: World) -> None:
    records = [world.cooled() for _ in range(3)]
    first = world.intent(records[0], 1_000)
    world.guard.instruct(Action.CANCEL, first, CLEO)
    world.sign([world.intent(records[0], 1_000)])
    world.take(Ask.INTENTS, [
        world.payout_evidence(world.payout_body(record, 1_000, replaces=first), f"successor-{number}")
        for number, record in enumerate(records[1:])
    ])


# What people ask for.


def person_asks(person: Human = OTTO, **how: Any) -> Act:
    """A payout that a person asks for in a way that isn't right, or is."""

    def act(world: World) -> None:
        world.intent_of(person, world.cooled(), SMALL, **how)

    return act


def with_anothers_key(world: World) -> None:
    evidence = world.person_request(OTTO, "/v1/payouts", world.payout_body(world.cooled(), SMALL), "own")
    given = replace(PIA.asserts(evidence.record, INTENT_TYPE), person=OTTO.id)
    world.take(Ask.INTENTS, [replace(evidence, given=given)])


def record_changed_after_signing(world: World) -> None:
    evidence = world.person_request(OTTO, "/v1/payouts", world.payout_body(world.cooled(), SMALL), "own")
    world.take(Ask.INTENTS, [replace(evidence, record=evidence.record.replace(b'"20000"', b'"20001"'))])


def signed_as_an_approval(world: World) -> None:
    """Somebody made the person say yes to these bytes, and not ask for what they say."""
    evidence = world.person_request(OTTO, "/v1/payouts", world.payout_body(world.cooled(), SMALL), "own")
    given = OTTO.asserts(evidence.record, APPROVAL_REQUEST_TYPE)
    world.take(Ask.INTENTS, [replace(evidence, given=given)])


def suspended_person(*, after: bool) -> Act:
    def act(world: World) -> None:
        record = world.cooled()
        payout = world.intent_of(OTTO, record, SMALL) if after else ""
        given = [world.approved(payout, ADA)] if after else []
        world.guard.instruct(Action.SUSPEND, OTTO.id, CLEO)
        world.desk.idle()
        world.sign([payout or world.intent_of(OTTO, record, SMALL)], approvals=given)

    return act


def person_asks_again(*minors: int) -> Act:
    """Under one key, at another time."""

    def act(world: World) -> None:
        record = world.cooled()
        for minor in minors:
            body = world.payout_body(record, minor, external_id="x")
            world.take(Ask.INTENTS, [world.person_request(OTTO, "/v1/payouts", body, "own")])
            world.pass_by(1_000)

    return act


def person_rehearses(world: World) -> None:
    body = world.payout_body(world.cooled(), SMALL)
    world.take(Ask.INTENTS, [world.person_request(OTTO, "/v1/payouts/preview", body, "own")])


def person_cancels(world: World) -> None:
    """People have a record of their own for that."""
    payout = world.intent_of(OTTO, world.cooled(), SMALL)
    path = f"/v1/payouts/{payout}/cancel"
    world.take(Ask.INTENTS, [world.person_request(OTTO, path, {"idempotency_key": "own"}, "cancel")])


def made_by(maker: Human | None, *people: Human, declarer: Human | None = None, asked: bool = True) -> Act:
    """A payout of a person's or a client's, to where a person or a client named; its tier needs nobody."""

    def act(world: World) -> None:
        record = world.declared_by(declarer) if declarer else world.beneficiary()
        world.pass_by(OLD_MS)
        payout = world.intent_of(maker, record, SMALL) if maker else world.intent(record, SMALL)
        world.sign([payout], approvals=[world.approved(payout, *people)] if asked else [])

    return act


def next_by(person: Human, declarer: Human | None) -> Act:
    """This person makes the next version of what `declarer` declared, or a client."""

    def act(world: World) -> None:
        record = world.declared_by(declarer) if declarer else world.beneficiary()
        body = {"network": simulated.NETWORK, "address": payee("moved"), "version": 2,
                "previous": destination_digest(record.encode())}
        path = f"/v1/beneficiaries/{record.beneficiary}/destinations"
        world.take(Ask.DESTINATIONS, [world.person_request(person, path, body, "next")])

    return act


def run_by_person(*people: Human, declarer: Human | None = None) -> Act:
    """A run of OTTO's, or a client's to where `declarer` named; it is worth nobody's approval."""

    def act(world: World) -> None:
        record = world.declared_by(declarer) if declarer else None
        run = Run(world, [5_000, 6_000], record=record, person=None if declarer else OTTO).sealed()
        request = world.ask(Ask.REQUEST, subject=run.id, needs_people=True).get("request")
        run.pay(0, 1, given=[world.answered(run.id, request, *people)] if people else [])

    return act


def run_made_and_approved(world: World) -> None:
    run = Run(world, [5_000, 6_000], person=PIA).sealed()
    run.pay(0, people=(PIA,))


def persons_limit(count: int, *others: Human) -> Act:
    """So many payouts of 20,000 by OTTO, and one by each of the others, under 100,000 a day for each client."""

    def act(world: World) -> None:
        for number, person in enumerate([OTTO] * count + list(others)):
            payout = world.intent_of(person, world.cooled(), SMALL, key=f"own-{number}")
            world.sign([payout], approvals=[world.approved(payout, ADA)])

    return act


# Never twice.


def again(*, shares: bool, operation: str = "pay", drops: bool = False) -> Act:
    """A second attempt at payouts that were signed, with a coin of the first or with others."""

    def act(world: World) -> None:
        payouts = [small(world), small(world)]
        coin = world.coin(100_000)
        world.sign(payouts, coins=[coin])
        second = payouts[:1] if drops else payouts
        world.sign(second, operation=operation, coins=[coin if shares else world.coin(100_000)], fee=900)

    return act


def excluded_only_in_part(world: World) -> None:
    """Two attempts that exclude each other; a third must exclude both, and excludes the second alone."""
    payout = small(world)
    first, second = world.coin(60_000), world.coin(60_000)
    world.sign([payout], coins=[first])
    world.sign([payout], coins=[first, second], fee=900)
    world.sign([payout], coins=[second], fee=1_300)


def on_another_coin_of_one_parent(world: World) -> None:
    """Both attempts spend change of one chain transaction, and not the same."""
    payout, first = small(world), world.payments.change_next.get(simulated.NETWORK, 0)
    halves = [(world.wallet.address(ORGANISATION, 0, first + place), 60_000) for place in range(2)]
    raw, _ = world.transaction(halves, coins=[world.coin(120_500)], change=0)
    world.sign([], operation="consolidate", raw=raw)
    for place, (address, minor) in enumerate(halves):
        coin = simulated.Input(simulated.transaction_id(raw), place, minor, address)
        world.sign([payout], coins=[coin], paths=[(0, first + place)])


def rebuilt_on_a_cancel(world: World) -> None:
    """The coin of the first attempt goes back to change; the second attempt spends that change."""
    payout = small(world)
    coin = world.coin(60_000)
    world.sign([payout], coins=[coin])
    raw, _ = world.transaction([], coins=[coin], fee=900)
    world.sign([], operation="cancel", raw=raw)
    change = simulated.parse_unsigned(raw).outputs[0]
    index = world.payments.change_next[simulated.NETWORK] - 1
    made = simulated.Input(simulated.transaction_id(raw), 0, change.amount, change.address)
    world.sign([payout], coins=[made], paths=[(0, index)])


def twice_in_one(world: World) -> None:
    payout = small(world)
    raw, _ = world.transaction([world.output(payout), world.output(payout)])
    world.sign([payout, payout], raw=raw)


# Runs.


class Run:
    """A sealed run, and its items with their proofs."""

    def __init__(
        self, world: World, minors: list[int], *, totals: int | None = None, record: Any = None, key: str = "run",
        person: Human | None = None, **changes: Any,
    ) -> None:
        self.world, self.person = world, person
        self.records = [record or world.beneficiary() for _ in minors]
        world.pass_by(COOLING_MS + OLD_MS)
        self.id = run_id(ORGANISATION, person.id if person else PAYER, IdempotencyKey(key))
        self.items = [
            {"idempotency_key": f"item-{index}", **world.payout_body(record, minor, **changes)}
            for index, (record, minor) in enumerate(zip(self.records, minors, strict=True))
        ]
        self.leaves = [item_leaf(item, self.id, index) for index, item in enumerate(self.items)]
        self.outputs = [(record.address, minor) for record, minor in zip(self.records, minors, strict=True)]
        self.seal = {
            "count": len(minors),
            "root": run_root(self.leaves).hex(),
            "totals": {simulated.ASSET: str(totals or sum(minors))},
        }
        completed = Frontier().append([leaf_hash(leaf) for leaf in self.leaves])
        self._nodes = {(level, position): digest for level, position, digest in completed}

    def sealed(self) -> "Run":
        path, world = f"/v1/payout-runs/{self.id}/seal", self.world
        if self.person is None:
            world.take_run(world.request(path, self.seal, "seal", world.keys.payer, PAY_KEY))
        else:
            world.take_run(world.person_request(self.person, path, self.seal, "seal"))
        return self

    def whole_call(self) -> None:
        body = {"items": self.items, "seal": self.seal}
        self.world.take_run(self.world.request("/v1/payout-runs", body, "run", self.world.keys.payer, PAY_KEY))

    def item(self, index: int, leaf: bytes | None = None) -> dict[str, JsonValue]:
        proof = inclusion_proof(index, len(self.leaves), self._nodes.__getitem__)
        return {
            "leaf": b64encode(leaf or self.leaves[index]).decode(),
            "proof": [[each.hex()] for each in proof],
            "run": self.id,
        }

    def pay(
        self, *indexes: int, people: tuple[Human, ...] = (), items: list[Any] | None = None, given: Any = (),
    ) -> bytes:
        self.last = raw = self.world.transaction([self.outputs[index] for index in indexes])[0]
        given = [self.world.approved(self.id, *people)] if people else given
        return self.world.sign([], raw=raw, items=items or [self.item(index) for index in indexes], approvals=given)


def run_in_slices(world: World) -> None:
    run = Run(world, [5_000, 6_000, 7_000]).sealed()
    run.pay(0, 2)
    run.pay(1)


def run_in_one_call(world: World) -> None:
    run = Run(world, [5_000, 6_000])
    run.whole_call()
    run.pay(0, 1)


def item_at_another_place(world: World) -> None:
    run = Run(world, [5_000, 5_000]).sealed()
    run.pay(0, items=[{**run.item(1), "leaf": run.item(0)["leaf"]}])


def proof_not_hex(world: World) -> None:
    run = Run(world, [5_000, 5_000]).sealed()
    run.pay(0, items=[{**run.item(0), "proof": [["zz"]]}])


def item_of_another_amount(world: World) -> None:
    run = Run(world, [5_000, 5_000]).sealed()
    leaf = item_leaf({**run.items[0], "amount": "9000"}, run.id, 0)
    run.pay(0, items=[run.item(0, leaf)])


def more_than_sealed(world: World) -> None:
    """The client's totals say less than its items: the tier would be that of the totals."""
    run = Run(world, [5_000, 6_000], totals=5_500).sealed()
    run.pay(0)
    run.pay(1)


def signed_before(instruct: Callable[[World, Any], None], *, run_key: str = "run") -> Act:
    """An item was signed; another run names its payout for somebody else, and would sign it again."""

    def act(world: World) -> None:
        first = Run(world, [5_000]).sealed()
        first.pay(0)
        other = Run(world, [5_000], key="other")
        coin = simulated.parse_unsigned(first.last).inputs[0]
        instruct(world, first.records[0])
        raw, _ = world.transaction(first.outputs, coins=[coin], fee=900)
        world.sign([], operation="bump", raw=raw, items=[other.sealed().item(0)])

    return act


def freeze_its_payee(world: World, record: Any) -> None:
    world.guard.instruct(Action.FREEZE, f"beneficiary:{record.beneficiary}", CLEO)


def run_of_much(*people: Human) -> Act:
    """Each item is small; the run is worth enough to need two people of two groups."""

    def act(world: World) -> None:
        run = Run(world, [24_000] * 50).sealed()
        run.pay(0, 1, 2, people=people)

    return act


# Destinations.


def still_cooling(world: World) -> None:
    record = world.beneficiary()
    payout = world.intent(record, SMALL)
    world.pass_by(COOLING_MS - 1)
    world.sign([payout])


def never_declared(world: World) -> None:
    body = world.payout_body(world.cooled(), SMALL, destination_digest="ab" * 32)
    world.take(Ask.INTENTS, [world.payout_evidence(body, "k")])


def hung_on_another_beneficiary(world: World) -> None:
    mine, theirs = world.cooled(), world.cooled()
    body = world.payout_body(mine, SMALL, beneficiary=theirs.beneficiary)
    world.take(Ask.INTENTS, [world.payout_evidence(body, "k")])


def to_version(*, asked: int, opened: bool, wait_ms: int) -> Act:
    """Version 2 was declared; a payout to `asked`, while one to version 1 is open or not."""

    def act(world: World) -> None:
        first = world.cooled()
        if opened:
            world.intent(first, 1_000)
        second = world.next_version(first, payee("moved"))
        world.pass_by(wait_ms)
        world.sign([world.intent(first if asked == 1 else second, SMALL)])

    return act


# People.


def approved_before(change: Callable[[World, str], None]) -> Act:
    """Approved rightly, and then something came in between."""

    def act(world: World) -> None:
        payout = old(world, MIDDLE)
        approved = world.approved(payout, ADA)
        change(world, payout)
        world.sign([payout], approvals=[approved])

    return act


def cancelled_while_signing(world: World) -> None:
    """The instruction comes after the decision: that spend ends, and no later one is made."""
    payout = world.intent(world.cooled(), 1_000)
    world.guard.before_spend = lambda: world.guard.instruct(Action.CANCEL, payout, CLEO)
    with suppress(AskRefused):
        world.sign([payout])
    world.sign([payout])


def refrozen(world: World, _: str) -> None:
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    world.guard.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=1)


def approvals_of_another(world: World) -> None:
    one, other = old(world, MIDDLE), old(world, MIDDLE)
    world.approved(other, ADA)
    world.sign([other], approvals=[{**world.approved(one, ADA), "subject": other}])


def signed_wrong(**wrong: Any) -> Act:
    def act(world: World) -> None:
        payout = old(world, MIDDLE)
        given = world.approved(payout)
        raw = world.bytes_of(given["request"])
        given["assertions"] = [assertion_document(ADA.asserts(raw, APPROVAL_REQUEST_TYPE, **wrong))]
        world.sign([payout], approvals=[given])

    return act


def with_a_bad_one(minor: int, *people: Human) -> Act:
    """Approved by these, and BEN's assertion, which stands before theirs, is over other bytes."""

    def act(world: World) -> None:
        payout = old(world, minor)
        given = world.approved(payout, *people)
        bad = assertion_document(BEN.asserts(b"other bytes", APPROVAL_REQUEST_TYPE))
        given["assertions"] = [bad, *given["assertions"]]  # type: ignore[misc] # it is a list
        world.sign([payout], approvals=[given])

    return act


def two_keys_of_one_person(world: World) -> None:
    payout = old(world, LARGE)
    given = world.approved(payout)
    raw = world.bytes_of(given["request"])
    given["assertions"] = [assertion_document(ADA.asserts(raw, APPROVAL_REQUEST_TYPE, number)) for number in range(2)]
    world.sign([payout], approvals=[given])


def suspended(world: World) -> None:
    payout = old(world, MIDDLE)
    approved = world.approved(payout, ADA)
    world.guard.instruct(Action.SUSPEND, ADA.id, CLEO)
    world.sign([payout], approvals=[approved])


def many_by_browsers(count: int, *people: Human) -> Act:
    """Each needs two people; together they are above what browsers release in a day."""

    def act(world: World) -> None:
        for _ in range(count):
            pay_large(world, *people)

    return act


# Limits.


def amount(minor: int, **changes: Any) -> Act:
    def act(world: World) -> None:
        payout = old(world, minor)
        given = [world.approved(payout, ADA, BEN)] if minor > 25_000 else []
        world.sign([payout], approvals=given)

    return act


def forty_to_one_address(people: tuple[Human, ...]) -> Act:
    """Structured below the tier for nobody: the day's sum to the address counts."""

    def act(world: World) -> None:
        records = [world.beneficiary(address=payee("one")) for _ in range(2)]
        world.pass_by(OLD_MS)
        world.sign([world.intent(records[0], SMALL)])
        payout = world.intent(records[1], SMALL)
        world.sign([payout], approvals=[world.approved(payout, *people)] if people else [])

    return act


def spent(count: int, *, pause_ms: int = 0) -> Act:
    """So many payouts of 20,000 under a limit of 100,000 a day."""

    def act(world: World) -> None:
        for _ in range(count):
            pay_small(world)
            world.pass_by(pause_ms)

    return act


def fees(count: int, fee: int) -> Act:
    def act(world: World) -> None:
        for _ in range(count):
            payout = small(world)
            raw, _ = world.transaction([world.output(payout)], coins=[world.coin(SMALL + fee + 600)], fee=fee)
            world.sign([payout], raw=raw)

    return act


# Bytes.


def bytes_with(outputs: Callable[[World, str], list[tuple[str, int]]] | None = None, **how: Any) -> Act:
    """An honest transaction, changed in one place."""

    def act(world: World) -> None:
        payout = small(world)
        made = outputs(world, payout) if outputs else [world.output(payout)]
        coins = [make(world) for make in how["coins"]] if "coins" in how else None
        raw, _ = world.transaction(made, coins=coins, fee=how.get("fee", 500), change=how.get("change"))
        world.sign([payout], raw=how["raw"](raw) if "raw" in how else raw, paths=how.get("paths"))

    return act


def change_to(index: int, generation: int = 0, count: int = 1) -> Act:
    def act(world: World) -> None:
        payout = small(world)
        address = world.wallet.address(ORGANISATION, generation, index)
        outputs = [world.output(payout)] + [
            (world.wallet.address(ORGANISATION, generation, index + place) if count > 1 else address, 5_000)
            for place in range(count)
        ]
        raw, _ = world.transaction(outputs, coins=[world.coin(SMALL + 5_000 * count + 500)], change=0)
        world.sign([payout], raw=raw)

    return act


def rotated(act: Act, times: int = 1) -> Act:
    """Change went to the first generation once; then to others."""

    def rotate_first(world: World) -> None:
        pay_small(world)
        for generation in range(1, times + 1):
            world.rotate(generation)
            world.restart()
        act(world)

    return rotate_first


def consolidate_old_coins(world: World) -> None:
    """Of two former generations, to the current one."""
    old = [replace(world.coin(30_000), address=world.wallet.address(ORGANISATION, each, 5)) for each in range(2)]
    raw, _ = world.transaction([], coins=old)
    world.sign([], operation="consolidate", raw=raw, paths=[(0, 5), (1, 5)])
    assert simulated.parse_unsigned(raw).outputs[0].address == world.wallet.address(ORGANISATION, 2, 0)


def bumped_after_a_rotation(world: World) -> None:
    """A payment on its way, of coins of the generation before, gets a higher fee."""
    payout, coin = small(world), world.coin(60_000)
    world.sign([payout], coins=[coin])
    world.rotate(1)
    world.sign([payout], operation="bump", coins=[coin], fee=900)


def rotate_to(*generations: int) -> Act:
    def act(world: World) -> None:
        for generation in generations:
            world.rotate(generation)

    return act


def foreign(world: World) -> tuple[str, int]:
    return payee("attacker"), 5_000


def sweep(to: str) -> Act:
    def act(world: World) -> None:
        raw, _ = world.transaction([(to, 50_000)], coins=[world.coin(50_500)], change=0)
        world.sign([], operation="sweep", raw=raw)

    return act


# Changes.


def changed(*people: Human, version: int = 2, wait_ms: int = 5_000, vetoed: bool = False) -> Act:
    """A roster that takes TESS out; then TESS tries to approve."""

    def act(world: World) -> None:
        new = roster_without_tess(world, version)
        given = [assertion_document(each.asserts(new, ROSTER_TYPE)) for each in people]
        world.ask(Ask.CHANGE, document="roster", raw=b64encode(new).decode(), assertions=given)

    return act


def in_production(*people: Human, terminals: tuple[Human, ...], **changes: Any) -> Act:
    """These people want a policy, or else a roster with these changes; `terminals` sign on what shows what it signs."""

    def act(world: World) -> None:
        folder = world.folder / "production"
        folder.mkdir()
        strict = World(folder, made_roster=production_roster(*terminals), mode=Mode.PRODUCTION)
        standing = strict.payments.standing
        follows = {"version": 2, "previous": standing.roster_hash}
        raw = write_roster(replace(standing.roster, **follows | changes)) if changes else encode(
            policy_document(version=2, previous=standing.policy_hash))
        record_type = ROSTER_TYPE if changes else POLICY_TYPE
        given = [assertion_document(each.asserts(raw, record_type)) for each in people]
        document = "roster" if changes else "policy"
        strict.ask(Ask.CHANGE, document=document, raw=b64encode(raw).decode(), assertions=given)

    return act


def roster_changed(make: Callable[[Roster], dict[str, Any]]) -> Act:
    """Two officers want the roster to be changed in this way."""

    def act(world: World) -> None:
        propose_roster(world, **make(world.payments.standing.roster))

    return act


def propose_roster(world: World, **changes: Any) -> None:
    standing = world.payments.standing
    new = write_roster(replace(
        standing.roster, version=standing.roster.version + 1, previous=standing.roster_hash, **changes
    ))
    given = [assertion_document(each.asserts(new, ROSTER_TYPE)) for each in (CLEO, DAN)]
    world.ask(Ask.CHANGE, document="roster", raw=b64encode(new).decode(), assertions=given)


def with_clients(change: Callable[[RosterClient], RosterClient | None]) -> Callable[[Roster], dict[str, Any]]:
    def make(roster: Roster) -> dict[str, Any]:
        return {"clients": tuple(new for each in roster.clients if (new := change(each)) is not None)}

    return make


def without_payer(client: RosterClient) -> RosterClient | None:
    return None if client.id == PAYER else client


def payers_key_is_the_declarers(client: RosterClient) -> RosterClient | None:
    """After the payer left: what was its key would speak for the other."""
    return replace(client, keys=(*client.keys, payers_key(name=KeyId("ak_" + "q" * 26))))


def payers_key(name: KeyId = PAY_KEY) -> RosterKey:
    return RosterKey(name, bytes(Keys().payer.verify_key), (Permission.PAYOUTS_CREATE,))


def key_of_one_who_left(world: World) -> None:
    propose_roster(world, **with_clients(without_payer)(world.payments.standing.roster))
    world.pass_by(5_000)
    world.desk.idle()
    assert [each.id for each in world.payments.standing.roster.clients] == [DECLARER]
    propose_roster(world, **with_clients(payers_key_is_the_declarers)(world.payments.standing.roster))


def name_for_another_key(client: RosterClient) -> RosterClient | None:
    return replace(client, keys=tuple(replace(key, public_key=bytes(31) + bytes([place]))
                                      for place, key in enumerate(client.keys, len(client.custodians))))


def without_officers(roster: Roster) -> dict[str, Any]:
    people = tuple(replace(each, groups=tuple(set(each.groups) - {"officers"})) for each in roster.people)
    return {"people": people, "groups": tuple(each for each in roster.groups if each.name != "officers")}


def officers_without_keys(roster: Roster) -> dict[str, Any]:
    people = tuple(replace(each, credentials=()) if each.id == DAN.id else each for each in roster.people)
    return {"people": people}


def roster_too_long(world: World) -> None:
    """People in so many groups of such long names that a roster of them is longer than an entry may be."""
    names = tuple(f"{number:0250}" for number in range(20))

    def make(roster: Roster) -> dict[str, Any]:
        letters = [first + second for first in "abcdefghijklm" for second in "abcdefghijklm"]
        crowd = tuple(Person(PersonId("pe_" + each * 13), "Somebody", (), names, ()) for each in letters)
        return {"people": roster.people + crowd, "groups": roster.groups + tuple(Group(name, 1) for name in names)}

    roster_changed(make)(world)


def vetoed_while_told(world: World) -> None:
    """The veto is there when guard is asked whether all were told."""
    digest = roster_hash(roster_without_tess(world))
    exchange, steps = world.guard.exchange, [
        lambda: world.guard.instruct(Action.FREEZE, "client:cl_" + "z" * 26, CLEO),
        lambda: world.guard.instruct(Action.VETO, digest, ADA),
    ]

    def meddled(frame: bytes) -> bytes:
        if steps:
            steps.pop(0)()
        return exchange(frame)

    world.guard.exchange = meddled  # type: ignore[method-assign] # between two frames of one agreement
    changed(CLEO, DAN)(world)


def vetoed_and_shown_again(world: World) -> None:
    """By an engine that kept what officers asserted."""
    changed(CLEO, DAN)(world)
    world.guard.instruct(Action.VETO, roster_hash(roster_without_tess(world)), ADA)
    world.desk.idle()
    changed(CLEO, DAN)(world)


def let_in_otherwise(world: World) -> None:
    """Genesis names the hashes of an organisation that isn't here yet."""
    named = FoundingOrganisation(OrganisationId("org_" + "b" * 26), "ab" * 32, "cd" * 32)
    world.book.standings.genesis = replace(world.book.genesis, organisations=(named,))
    let_in(world, named.organisation, replace(world.payments.standing.roster, organisation=named.organisation))


def let_in_with_browsers(world: World) -> None:
    folder = world.folder / "production"
    folder.mkdir()
    strict = World(folder, made_roster=production_roster(DAN), mode=Mode.PRODUCTION)
    organisation = OrganisationId("org_" + "b" * 26)
    roster = replace(production_roster(TESS), organisation=organisation)
    let_in(strict, organisation, roster)


def let_in(world: World, organisation: OrganisationId, roster: Roster) -> None:
    answer = asked_in(world, organisation, roster)
    assert isinstance(answer, RefusedAnswer)
    raise AskRefused(answer.rule, answer.reason)


def asked_in(world: World, organisation: OrganisationId, roster: Roster) -> JsonValue | RefusedAnswer:
    """What the signer's admin hears who lets an organisation in."""
    documents = {"policy": encode(policy_document(organisation=organisation)), "roster": write_roster(roster)}
    frame = write_ask(Ask.ORGANISATION, {name: b64encode(raw).decode() for name, raw in documents.items()})
    return read_answer(world.desk.answer(ADMIN, frame))


def roster_without_tess(world: World, version: int = 2) -> bytes:
    before = world.payments.standing.roster
    people = tuple(each for each in before.people if each.id != TESS.id)
    return write_roster(Roster(
        ORGANISATION, version, world.payments.standing.roster_hash, people, before.groups, before.clients
    ))


EACH: dict[str, Any] = {"limits": [limit("K", "client", "all", 100_000)]}
TIGHT: dict[str, Any] = {"limits": [limit("B", "organisation", "unattended", 100_000)]}
TREASURY = payee("treasury")
SWEEPING: dict[str, Any] = {
    "wallets": [{**policy_document()["wallets"][0], "treasury": TREASURY}], "sweep_fee_budget_reference_minor": "3000",
}
CAPPED: dict[str, Any] = {"browser_release_reference_minor": "30000000"}
FEW_FEES: dict[str, Any] = {"fee_budget_reference_minor": "1000"}
POOR: dict[str, Any] = {
    "assets": [{**policy_document()["assets"][0], "maximum_minor": "21000"}],
}

# tag: (cases that are taken, cases that are refused by it). A case is (name, act), or with changes of the policy.
RULES: dict[Rule, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
    Rule.LEASE_FRESH: (
        [
            ("lease for all", lease_is(Lease.ALL)), ("a cancel while recovering", lease_is(Lease.RECOVER, "cancel")),
            ("a cancel while watch alarms", alarmed("cancel")),
            ("a payment while watch alarms elsewhere", alarmed(elsewhere=True)),
        ],
        [
            ("no lease", lease_is(Lease.NONE)),
            ("a payment while recovering", lease_is(Lease.RECOVER)),
            ("a payment while watch alarms", alarmed()),
            ("a cancel without a lease", lease_is(Lease.NONE, "cancel")),
        ],
    ),
    Rule.NOT_FROZEN: (
        [
            ("another client is frozen", frozen("client:cl_" + "z" * 26)),
            ("unfrozen", frozen("organisation", unfrozen=True)),
            ("a sweep by an officer's word", while_frozen(sweep_coins, WORD), SWEEPING),
            ("a sweep of a frozen network by it", while_frozen(sweep_coins, WORD, scope=WORD[1]), SWEEPING),
            ("the same sweep again by it", while_frozen(sweep_again, WORD), SWEEPING),
            ("a sweep by a word that wasn't used", while_frozen(sweep_with_a_word_that_was_lost, WORD), SWEEPING),
            ("a cancel by an officer's word", while_frozen(cancel_one, WORD)),
        ],
        [
            ("a sweep without a word", while_frozen(sweep_coins), SWEEPING),
            ("a sweep of a frozen network", while_frozen(sweep_coins, scope=WORD[1]), SWEEPING),
            ("a cancel without a word", while_frozen(cancel_one)),
            ("a payment by a word", while_frozen(pay_small, WORD)),
            ("a child of what goes to whom was frozen", children.payee_frozen),
            ("a second sweep by one word", while_frozen(sweep_twice, WORD), SWEEPING),
            ("one that was signed before, by a word for another", cancel_of_before),
            ("by a word that has expired", while_frozen(sweep_coins, WORD, wait_ms=60_000), SWEEPING),
            ("by a word that has expired by the larger clock",
             while_frozen(sweep_by_a_word_of_the_clock_that_was_ahead, WORD), SWEEPING),
            ("by a word of before the freeze", word_before_the_freeze(late=False), SWEEPING),
            ("by a word that was signed before the freeze", word_before_the_freeze(late=True), SWEEPING),
            ("by a word for another network", while_frozen(sweep_coins, (WORD[0], "network:bitcoin")), SWEEPING),
            ("by an approver's word", while_frozen(sweep_coins, (*WORD, ADA)), SWEEPING),
            ("whom it was signed for, if shown as another's", signed_before(freeze_its_payee)),
        ] + [
            (scope, frozen(scope))
            for scope in (
                "organisation",
                "client:{client}",
                "beneficiary:{beneficiary}",
                "asset:{asset}",
                "network:sim:sandbox",
            )
        ],
    ),
    Rule.GUARD_AGREES: (
        [("guard answers", pay_small)],
        [
            ("guard is cut off", guard_cut_off),
            ("a freeze comes after the decision", frozen_between_decision_and_cosignature),
        ],
    ),
    Rule.ORGANISATION_KNOWN: ([("ours", pay_small)], [("another", unknown_organisation)]),
    Rule.OPERATION_KNOWN: (
        [("pay", raw_ask())],
        [
            ("an unknown operation", raw_ask(operation="approve")),
            ("nobody to pay", raw_ask(items=[])),
            ("a cancel that pays", raw_ask(operation="cancel")),
            ("a child that names nobody", children.nameless),
            ("an unknown field", raw_ask(message="00")),
            ("a raw hash", raw_ask(transaction=None)),
            ("a proof that isn't hex", proof_not_hex),
            ("more than an entry of the journal takes", roster_too_long),
        ],
    ),
    Rule.INTENT_SIGNED: (
        [
            ("as the SDK does", request()), ("a person's record", person_asks()),
            ("a person's declaration", lambda world: world.declared_by(OTTO)),
        ],
        [
            ("by another person", person_asks(asserted_by=PIA)),
            ("by a person with another's key", with_anothers_key),
            ("by a person for another organisation", person_asks(wrong={"organisation": "org_" + "b" * 26})),
            ("by a person for another deployment", person_asks(wrong={"deployment": "0" * 16})),
            ("by a person on a rehearsal's path", person_rehearses),
            ("a person's record that isn't whole", person_asks(wrong={"created_ms": None})),
            ("a person's record of more than it should say", person_asks(wrong={"memo": "x"})),
            ("a person's record without a body", person_asks(wrong={"body": "{}"})),
            ("a person's record that was changed", record_changed_after_signing),
            ("a person's yes to its bytes as another record", signed_as_an_approval),
            ("a person's cancel", person_cancels),
            ("for another deployment", request(deployment="0" * 16)),
            ("on a rehearsal's path", request(path="/v1/payouts/preview")),
            ("with a query", request(query="?x=1")),
            ("with a query in its path", request(path="/v1/payouts?x=1")),
            ("with another content type", request(content_type="text/plain")),
            ("by another key", request(signed_by=STRANGER)),
            ("the body changed", body_changed_after_signing),
            ("never asked for", never_asked_for),
        ],
    ),
    Rule.INTENT_SCOPE: (
        [("a key that may pay", request()), ("an operator", person_asks())],
        [
            ("a person without the role", person_asks(CLEO)), ("a suspended person", suspended_person(after=False)),
            ("a person suspended after asking", suspended_person(after=True)),
            ("a key that only declares", by_the_declaring_key),
            ("a key that is revoked", key_revoked_after_the_request),
        ],
    ),
    Rule.INTENT_YOUNG: (
        [
            ("a day less a minute", request(age_ms=DAY_MS - 60_000)),
            ("after a month ahead, when guard and wall agree", clock_was_ahead(request())),
            ("a person's, a day less a minute", person_asks(age_ms=DAY_MS - 60_000)),
        ],
        [
            ("after a month ahead, when they don't", clock_was_ahead(request(), guard_differs_ms=60_001)),
            ("a day old, after a month ahead", clock_was_ahead(request(age_ms=DAY_MS))),
            ("a person's of more than a day", person_asks(age_ms=DAY_MS + 60_000)),
            ("a person's from the future", person_asks(age_ms=-120_000)),
            ("more than a day", request(age_ms=DAY_MS + 60_000)),
            ("more than a day by the larger clock", old_by_the_larger_clock),
            ("from the future", request(age_ms=-120_000)),
        ],
    ),
    Rule.INTENT_FIRST: (
        [("the same again", the_same_request_again), ("a person's again", person_asks_again(SMALL, SMALL))],
        [
            ("another under its key", another_request_under_its_key),
            ("a person's with another body", person_asks_again(SMALL, SMALL + 1)),
        ],
    ),
    Rule.INTENT_ALIVE: (
        [
            ("nobody took it back", pay_small),
            ("its time has come", with_time("not_before", 5_000, 5_000)),
            ("not expired yet", with_time("expires_at", 60_000)),
        ],
        [
            ("cancelled by an officer", instructed(Action.CANCEL, CLEO)),
            ("cancelled between decision and cosignature", cancelled_while_signing),
            ("declined", instructed(Action.DECLINE, ADA)),
            ("expired", with_time("expires_at", 5_000, 5_000)),
            ("before its time", with_time("not_before", 5_000)),
            ("before its time, with the clock set ahead", clock_set(60_000, with_time("not_before", 5_000))),
            ("expired by the clock that was set ahead", clock_set(60_000, with_time("expires_at", 5_000))),
            ("an item of a run that was cancelled", run_cancelled),
            ("a child of what is void", children.void),
            *freeing.ALIVE,
        ],
    ),
    Rule.DEBT_ONCE: (
        [
            ("in place of a dead one", two_of_one_debt(True, True)),
            ("in place of a dead one, elsewhere", successors(dead=True, count=1)),
            *freeing.DEBTS[0],
        ],
        [
            ("twice", two_of_one_debt(False, False)),
            ("of a dead one, not saying so", two_of_one_debt(False, True)),
            ("in place of a living one", two_of_one_debt(True, False)),
            ("in place of a signed one, elsewhere", successors(dead=False, count=1)),
            ("a second successor", successors(dead=True, count=2)),
            ("two successors at once", successors_at_once),
            *freeing.DEBTS[1],
        ],
    ),
    Rule.PAYOUT_ONCE: (
        [
            ("with a shared coin", again(shares=True)),
            ("a higher fee", again(shares=True, operation="bump")),
            ("on the change of a cancel", rebuilt_on_a_cancel),
            ("built on a child, and on its parent's successor", children.built_on_a_child(mined=True)),
        ],
        [
            ("with other coins", again(shares=False)),
            ("a bump with other coins", again(shares=False, operation="bump")),
            ("a bump that drops a payout", again(shares=True, operation="bump", drops=True)),
            ("excludes only the last attempt", excluded_only_in_part),
            ("with another coin of one parent", on_another_coin_of_one_parent),
            ("twice in one", twice_in_one),
            ("built on a child, and beside its parent's successor", children.built_on_a_child(mined=False)),
        ],
    ),
    Rule.CHILD_PARENT: (children.TAKEN, children.REFUSED),
    Rule.PAYOUT_VOID: freeing.VOID,
    Rule.PAYOUT_RELEASED: freeing.RELEASED,
    Rule.SWEEP_ONCE: (
        [
            ("in place of all that may be on their way", sweep_in_place(of_all=True), SWEEPING),
            ("the same again", sweep_in_place(of_all=True, again=True), SWEEPING),
            ("a day later", swept_before(sweep_coins, DAY_MS), SWEEPING),
            ("by an officer's word", swept_before(sweep_by_a_word), SWEEPING),
        ],
        [
            ("another", swept_before(sweep_coins), SWEEPING),
            ("another, a millisecond too early", swept_before(sweep_coins, DAY_MS - 1), SWEEPING),
            ("in place of the last one only", sweep_in_place(of_all=False), SWEEPING),
        ],
    ),
    Rule.RUN_ITEM: (
        [("in slices", run_in_slices), ("in one call", run_in_one_call)],
        [("at another place", item_at_another_place), ("of another amount", item_of_another_amount)],
    ),
    Rule.DESTINATION_KNOWN: (
        [("declared", pay_small), ("a person's own next version", next_by(OTTO, OTTO))],
        [
            ("a person's next version of a client's", next_by(OTTO, None)),
            ("a person's next version of another's", next_by(PIA, OTTO)),
            ("never declared", never_declared), ("hung on another beneficiary", hung_on_another_beneficiary)],
    ),
    Rule.DESTINATION_COOLED: ([("cooled off", pay_small)], [("a millisecond too early", still_cooling)]),
    Rule.DESTINATION_CURRENT: (
        [
            ("the new one", to_version(asked=2, opened=False, wait_ms=COOLING_MS)),
            ("the old one while the new one cools", to_version(asked=1, opened=False, wait_ms=0)),
        ],
        [
            ("the old one, later", to_version(asked=1, opened=False, wait_ms=COOLING_MS)),
            ("the new one while the old one is open", to_version(asked=2, opened=True, wait_ms=COOLING_MS)),
        ],
    ),
    Rule.APPROVAL_REQUESTED: (
        [
            ("the live request", pay_middle),
            ("the day's second payout to one address, approved", forty_to_one_address((ADA,))),
            ("a person's", made_by(OTTO, ADA)), ("to where a person named", made_by(None, ADA, declarer=OTTO)),
            ("a person's run", run_by_person(ADA)),
            ("a run to where a person named", run_by_person(ADA, declarer=OTTO)),
        ],
        [
            ("a person's, by nobody, whatever its tier", made_by(OTTO, asked=False)),
            ("to where a person named, by nobody", made_by(None, declarer=OTTO, asked=False)),
            ("a person's run, by nobody", run_by_person()),
            ("a run to where a person named, by nobody", run_by_person(declarer=OTTO)),
            ("nobody was asked", lambda world: world.sign([old(world, MIDDLE)])),
            ("the day's second payout to one address", forty_to_one_address(())),
            ("another payout's", approvals_of_another),
            ("an earlier ticket", approved_before(lambda world, payout: world.ask(Ask.REQUEST, subject=payout))),
            ("before a freeze", approved_before(refrozen)),
            ("asked while the clock was ahead", asked_while_the_clock_was_ahead),
        ],
    ),
    Rule.APPROVAL_ALIVE: (
        [("just in time", approved_before(lambda world, _: world.pass_by(DAY_MS - 120_000)))],
        [("a day later", approved_before(lambda world, _: world.pass_by(DAY_MS)))],
    ),
    Rule.APPROVAL_SIGNED: (
        [
            ("as a passkey does", signed_wrong()),
            ("beside one that doesn't hold", with_a_bad_one(MIDDLE, ADA)),
            ("two beside one that doesn't hold", with_a_bad_one(LARGE, ADA, TESS)),
        ],
        [
            ("one of the two that are needed", with_a_bad_one(LARGE, ADA)),
            ("the person wasn't verified", signed_wrong(flags=1)),
            ("for another domain", signed_wrong(relying_party_id="x")),
            ("by a page elsewhere", signed_wrong(client_data={"origin": "https://evil.example"})),
            ("in a frame", signed_wrong(client_data={"crossOrigin": True})),
        ],
    ),
    Rule.APPROVAL_INDEPENDENT: (
        [
            ("an approver", pay_middle),
            ("of a person's, another who could ask", made_by(OTTO, PIA)), ("beside its maker", made_by(PIA, PIA, ADA)),
            ("beside a custodian of the client", lambda world: pay_middle(world, EVE, ADA)),
            ("beside an officer who isn't an approver", lambda world: pay_middle(world, CLEO, ADA)),
        ],
        [
            ("its maker", made_by(PIA, PIA)), ("who named the destination", made_by(OTTO, PIA, declarer=PIA)),
            ("who named where a client pays", made_by(None, PIA, declarer=PIA)),
            ("who made it and named the destination", made_by(PIA, PIA, declarer=PIA)),
            ("the maker of a run", run_made_and_approved),
            ("a custodian of the client", lambda world: pay_middle(world, EVE)),
            ("an officer who isn't an approver", lambda world: pay_middle(world, CLEO)),
            ("suspended", suspended),
        ],
    ),
    Rule.APPROVAL_ENOUGH: (
        [("two of two groups", lambda world: pay_large(world, ADA, BEN)), ("a run by two", run_of_much(ADA, BEN))],
        [
            ("one of two", lambda world: pay_large(world, ADA)),
            ("two of one group", lambda world: pay_large(world, BEN, TESS)),
            ("two keys of one person", two_keys_of_one_person),
            ("nobody", lambda world: approve_with_nobody(world)), ("nobody, of a person's", made_by(OTTO)),
            ("a run by one", run_of_much(ADA)),
        ],
    ),
    Rule.APPROVAL_TERMINAL: (
        [("with a terminal", many_by_browsers(2, ADA, TESS), CAPPED), ("once", many_by_browsers(1, ADA, BEN), CAPPED)],
        [("browsers alone", many_by_browsers(2, ADA, BEN), CAPPED)],
    ),
    Rule.LIMIT_AMOUNT: (
        [("at the most", amount(21_000), POOR)],
        [("a unit more", amount(21_001), POOR)],
    ),
    Rule.LIMIT_TIER: ([("in the last tier", amount(25_000_000))], [("above it", amount(25_000_001))]),
    Rule.LIMIT_WINDOW: (
        [
            ("just full", spent(5), TIGHT), ("a day later", spent(6, pause_ms=DAY_MS // 4), TIGHT),
            ("a person at a client's limit", persons_limit(5), EACH),
            ("another person besides", persons_limit(5, PIA), EACH),
        ],
        [
            ("one too many", spent(6), TIGHT), ("more than was sealed", more_than_sealed),
            ("a person above a client's limit", persons_limit(6), EACH),
        ],
    ),
    Rule.LIMIT_FEES: (
        [
            ("within the budget", fees(2, 500), FEW_FEES),
            ("a sweep when the others' is spent", fees_and_a_sweep, SWEEPING | FEW_FEES),
        ],
        [
            ("dripping", fees(3, 500), FEW_FEES),
            ("dripping by children of one parent", children.dripping, {"fee_budget_reference_minor": "15000"}),
            ("a sweep above its own", lambda world: sweep_coins(world, fee=3_001), SWEEPING),
            ("a sweep that has none", sweep_coins, {"wallets": SWEEPING["wallets"]}),
        ],
    ),
    Rule.BYTES_READ: (
        [("as it should be", bytes_with())],
        [
            ("a byte too many", bytes_with(raw=lambda raw: raw + b"\0", paths=[(0, 0)])),
            ("cut off", bytes_with(raw=lambda raw: raw[:-1], paths=[(0, 0)])),
            ("another network", raw_ask(network="eip155:31337")),
        ],
    ),
    Rule.BYTES_INPUTS: (
        [("coins of ours", bytes_with())],
        [
            ("a stranger's coin", bytes_with(coins=[lambda world: stranger_coin(world)])),
            ("another key's path", bytes_with(paths=[(0, 1)])),
            ("a path too many", bytes_with(paths=[(0, 0), (0, 0)])),
        ],
    ),
    Rule.BYTES_OUTPUTS: (
        [("what was asked for", bytes_with()), ("a sweep to the treasury", sweep(TREASURY), SWEEPING)],
        [
            ("a unit more", bytes_with(lambda world, payout: [(world.output(payout)[0], SMALL + 1)])),
            ("a unit less", bytes_with(lambda world, payout: [(world.output(payout)[0], SMALL - 1)])),
            ("to somebody else", bytes_with(lambda world, payout: [(payee("attacker"), SMALL)])),
            ("dust that was asked for", lambda world: world.sign([world.intent(world.cooled(), 545)])),
            ("a sweep elsewhere", sweep(payee("attacker")), SWEEPING),
            ("a sweep that no policy has", sweep(TREASURY), {"sweep_fee_budget_reference_minor": "3000"}),
        ],
    ),
    Rule.BYTES_CHANGE: (
        [
            ("to the next address", bytes_with()),
            ("in four outputs", change_to(0, count=4)),
            ("to the new generation", rotated(change_to(0, generation=1))),
            ("old coins, to the new generation", rotated(consolidate_old_coins, 2)),
            ("a higher fee after a rotation", bumped_after_a_rotation),
            ("rotated twice, and asked again", rotate_to(1, 1, 2, 2)),
        ],
        [
            ("to a stranger", bytes_with(lambda world, payout: [world.output(payout), foreign(world)])),
            ("a child that pays somebody", children.that_pays),
            ("a child that pays what its parent pays", children.that_pays_again),
            ("to a far index", change_to(50)),
            ("to another generation", change_to(0, generation=1)),
            ("to the generation before", rotated(change_to(1))),
            ("further on in the new generation", rotated(change_to(1, generation=1))),
            ("a generation left out", rotate_to(1, 3)),
            ("back to the generation before", rotate_to(1, 2, 1)),
            ("in five outputs", change_to(0, count=5)),
            ("dust", bytes_with(change=545, coins=[lambda world: world.coin(SMALL + 1_045)])),
        ],
    ),
    Rule.BYTES_FEE: (
        [("at the ceiling", bytes_with(fee=3_000)), *children.FEE_TAKEN],
        [
            *children.FEE_REFUSED,
            ("above the rate", bytes_with(fee=40_000)),
            ("a thousand times too much", bytes_with(fee=500_000)),
            ("less than nothing", bytes_with(coins=[lambda world: world.coin(SMALL - 1)], change=0)),
        ],
    ),
    Rule.CHANGE_QUORUM: (
        [("two officers", changed(CLEO, DAN))],
        [
            ("one officer", changed(CLEO)),
            ("two approvers", changed(ADA, BEN)),
            ("one officer twice", changed(CLEO, CLEO)),
            ("a version left out", changed(CLEO, DAN, version=3)),
            ("a key of one who left", key_of_one_who_left),
            ("a key's name for another key", roster_changed(with_clients(name_for_another_key))),
            ("nobody could change it back", roster_changed(without_officers)),
            ("nobody could sign to change it back", roster_changed(officers_without_keys)),
            ("vetoed while its members were told", vetoed_while_told),
            ("vetoed, and shown again", vetoed_and_shown_again),
            ("an organisation other than genesis names", let_in_otherwise),
        ],
    ),
    Rule.CHANGE_TERMINAL: (
        [
            ("two officers, one with a terminal", in_production(CLEO, DAN, terminals=(DAN,))),
            ("a roster that keeps one", in_production(
                CLEO, DAN, terminals=(DAN,), people=production_roster(CLEO).people)),
            ("browsers in a sandbox", changed(CLEO, DAN)),
        ],
        [
            ("an organisation that has none", let_in_with_browsers),
            ("browsers alone", in_production(CLEO, DAN, terminals=(TESS,))),
            ("a terminal of another group", in_production(CLEO, DAN, TESS, terminals=(TESS,))),
            ("a roster by browsers alone", in_production(
                CLEO, DAN, terminals=(), people=production_roster(DAN).people)),
            ("a roster in which nobody could again", in_production(
                CLEO, DAN, terminals=(DAN,), people=production_roster(TESS).people)),
        ],
    ),
}


def stranger_coin(world: World) -> simulated.Input:
    coin = world.coin(50_000)
    return simulated.Input(coin.txid, 0, coin.amount, payee("stranger"))


def approve_with_nobody(world: World) -> None:
    payout = old(world, MIDDLE)
    world.sign([payout], approvals=[world.approved(payout)])
