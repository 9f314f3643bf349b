"""Attacks, each with what its attacker has and wants and the bound that `the most that each can take` sets.

An attack gets a `Thief`: a signer, everything that the honest parties signed, and what the attacker has besides. It
tries all that it can think of; refusals are nothing to it. `python -m tests.adversary.attacks NAME FOLDER` runs one
and prints its loss in base units: that is how a control with a rule taken out is run, in a process of its own.
"""

import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from tests.adversary.build import Patch
from tests.adversary.siege import RealGuard, Siege
from tests.adversary.till import Till, received
from tests.rules.cases import COOLING_MS, OLD_MS, Run
from tests.signer.world import (
    ADA,
    BEN,
    CLEO,
    DECLARE_KEY,
    DECLARER,
    EVE,
    ORGANISATION,
    PAY_KEY,
    PIA,
    AskRefused,
    Human,
    limit,
    payee,
    policy_document,
)

import strongroom
from strongroom.domain.document import Fields
from strongroom.domain.ids import IdempotencyKey, KeyId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol import guard_wire
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ByPeople, Control, write_control
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.guard_wire import Lease, Reason, SyncAnswer
from strongroom.protocol.identifier import beneficiary_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, head_after
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.run_tree import item_leaf
from strongroom.protocol.signer_wire import Ask

OWN = tuple(payee(f"the attacker's {number}") for number in range(8))
TREASURY = payee("treasury")
B, K, D, F, S = 100_000, 80_000, 50_000, 5_000, 3_000
"""The budgets of a day, in base units, each of which is worth a minor unit of the reference currency."""
SMALL, MIDDLE, LARGE = 20_000, 900_000, 20_000_000
STRANGER = SigningKey(b"\7" * 32)
ADDRESSES = 64
"""Of the wallet, that count as ours."""


def budgets(**changes: int) -> dict[str, Any]:
    scopes = {
        "B": ("organisation", "unattended"), "K": ("client", "unattended"), "D": ("organisation", "unattended_young"),
    }
    maxima = {"B": B, "K": K, "D": D} | changes
    return policy_document(
        limits=[limit(name, *scopes[name], maximum) for name, maximum in maxima.items()],
        fee_budget_reference_minor=str(F), sweep_fee_budget_reference_minor=str(S),
    )


def sweeping() -> dict[str, Any]:
    policy = budgets(B=10**9, K=10**9, D=10**9)
    wallets = [{**policy["wallets"][0], "treasury": TREASURY}]
    return policy | {"wallets": wallets}


@dataclass
class Thief:
    """`promised` is what honest clients asked for, by address."""

    siege: Siege
    till: Till = field(default_factory=Till)
    promised: dict[str, int] = field(default_factory=dict)

    # What honest parties do.

    def promise(self, minor: int, **how: Any) -> str:
        """A payout that a client asked for, to somebody who has been paid for long."""
        record = self.siege.cooled()
        self.siege.pass_by(OLD_MS)
        self.promised[record.address] = self.promised.get(record.address, 0) + minor
        return self.siege.intent(record, minor, **how)

    # What the thief does.

    def sign(self, payouts: Sequence[str] = (), **how: Any) -> None:
        """`payouts` may hold the empty name of one that was refused before."""
        if "raw" not in how and "" in payouts:
            return
        with suppress(AskRefused):
            self.till.take(self.siege.sign(payouts, **how))

    def steals(self, payouts: Sequence[str], outputs: list[tuple[str, int]], **how: Any) -> None:
        """Asks for a transaction with these outputs, as a payment of these payouts."""
        raw, _ = self.siege.transaction(outputs, change=how.pop("change", None), coins=how.pop("coins", None))
        self.sign(payouts, raw=raw, **how)

    def declares(self, address: str, key: SigningKey, key_id: KeyId, name: str, **wrong: Any) -> DestinationRecord:
        """A destination, whether the signer takes it or not, and a day's wait."""
        body = {"name": "Me", "destination": {"network": simulated.NETWORK, "address": address}}
        evidence = self.siege.request("/v1/beneficiaries", body, name, key, key_id)
        if "signature" in wrong:
            evidence = ClientEvidence(evidence.base, wrong["signature"], evidence.body)
        self.siege.ask(Ask.DESTINATIONS, evidence=[evidence.document()])
        beneficiary = beneficiary_id(ORGANISATION, DECLARER, IdempotencyKey(name))
        return read_beneficiary(Fields(body), ORGANISATION, beneficiary)

    def asks(self, record: DestinationRecord, minor: int, **changes: Any) -> str:
        """A payout with the client's key; its id, or that of nothing if it is refused."""
        try:
            return self.siege.intent(record, minor, **changes)
        except AskRefused:
            return ""

    # What it comes to.

    @property
    def ours(self) -> set[str]:
        return {self.siege.wallet.address(ORGANISATION, 0, index) for index in range(ADDRESSES)}

    def to_own(self) -> int:
        return max(
            sum(minor for address, minor in received(world, ()).items() if address in OWN)
            for world in self.till.worlds()
        )

    def beyond_promises(self) -> int:
        return self.till.loss(self.ours, self.promised)

    def elsewhere(self) -> int:
        """All that left, as if nothing of it had been wanted."""
        return self.till.loss(self.ours, {})


# A client's keys.


def payout_key_to_own_address(thief: Thief) -> int:
    """The attacker has a client's payout key and the engine's socket, wants money at its own address; the bound is 0.

    It declares with the key that may only pay, names a digest that nobody declared, and hangs it on others' ids.
    """
    keys = thief.siege.keys
    honest = thief.siege.cooled()
    record = thief.declares(OWN[0], keys.payer, PAY_KEY, "mine")
    known = [each for each in thief.siege.payments.destinations.values() if each.record.address == OWN[0]]
    thief.siege.pass_by(DAY_MS)
    for named in [record, *(each.record for each in known)]:
        payout = thief.asks(named, SMALL)
        thief.steals([payout], [(OWN[0], SMALL)])
        hung = thief.asks(named, SMALL, beneficiary=honest.beneficiary)
        thief.steals([hung], [(OWN[0], SMALL)])
    run = Run(thief.siege, [SMALL], record=record).sealed()
    run.outputs = [(OWN[0], SMALL)]
    with suppress(AskRefused):
        thief.till.take(run.pay(0))
    return thief.to_own()


def payout_key_elsewhere(thief: Thief) -> int:
    """The attacker has a client's payout key, wants to empty the wallet to destinations that exist; the bound is
    min(K, B) in a day, until the key is revoked.
    """
    records = [thief.siege.beneficiary() for _ in range(12)]
    thief.siege.pass_by(COOLING_MS + OLD_MS)
    for record in records[:6]:
        thief.sign([thief.asks(record, SMALL)])
    waiting = [thief.asks(record, SMALL) for record in records[6:]]
    for payout in waiting:
        thief.sign([payout])
    thief.siege.guard.instruct(Action.REVOKE, PAY_KEY, CLEO)
    for _ in range(2):
        thief.siege.pass_by(DAY_MS)
        for payout in waiting:
            thief.sign([payout])
    return thief.elsewhere()


def both_keys_to_own_addresses(thief: Thief) -> int:
    """The attacker has a client's payout key and another's declare key, wants money at its own addresses; the bound
    is min(K, B, D) in a day, after cooling-off. It waits until its addresses are no longer young.
    """
    records = [
        thief.declares(address, thief.siege.keys.declarer, DECLARE_KEY, f"mine-{number}")
        for number, address in enumerate(OWN)
    ]
    thief.siege.pass_by(DAY_MS)
    for record in records:
        thief.sign([thief.asks(record, 10_000)])
    return thief.to_own()


def both_keys_before_cooling_off(thief: Thief) -> int:
    """The attacker has both keys, wants its money at once; the bound is 0 until its address has cooled off."""
    record = thief.declares(OWN[0], thief.siege.keys.declarer, DECLARE_KEY, "mine")
    payout = thief.asks(record, SMALL)
    for _ in range(4):
        thief.siege.times.wall_ms += 30 * DAY_MS  # it can set the clock as well
        thief.sign([payout])
        thief.siege.times.wall_ms -= 30 * DAY_MS
        thief.siege.pass_by(COOLING_MS // 4 - 1)
    return thief.to_own()


# The API's host, the database, the engine's socket.


def all_but_keys_to_own_address(thief: Thief) -> int:
    """The attacker has API, database and engine, so all evidence and the signer's socket, and wants money at its own
    address or payees paid twice; the bound is 0.
    """
    payout, run, approved = _honest_evidence(thief)
    siege, address = thief.siege, thief.siege.output(payout)[0]
    for outputs in (
        [(OWN[0], SMALL)], [(address, SMALL), (OWN[0], 5_000)], [(OWN[0], 5_000), (address, SMALL)],
        [(address, SMALL - 1_000), (OWN[0], 1_000)], [(address, SMALL + 1)], [(address, SMALL), (address, SMALL)],
    ):
        thief.steals([payout], outputs)
        thief.steals([payout], outputs, operation="bump")
        thief.steals([payout], outputs, coins=[siege.coin(10**6)], change=0)
    for operation in ("sweep", "cancel", "consolidate"):
        thief.steals([], [(OWN[1], 50_000)], operation=operation, change=0, coins=[siege.coin(50_500)])
    _forged(thief)
    leaf = item_leaf({**run.items[1], "amount": str(SMALL)}, run.id, 1)
    thief.steals([], [(run.outputs[1][0], SMALL)], items=[run.item(1, leaf)])
    for _ in range(3):  # each time with other coins
        thief.sign([payout])
        thief.steals([], run.outputs, items=[run.item(index) for index in range(2)])
        thief.sign([approved[0]], approvals=[approved[1]])
    other = thief.siege.intent(siege.cooled(), LARGE)
    siege.ask(Ask.REQUEST, subject=other)
    thief.sign([other], approvals=[{**approved[1], "subject": other}])
    return thief.beyond_promises()


def _honest_evidence(thief: Thief) -> tuple[str, Run, tuple[str, Any]]:
    payout = thief.promise(SMALL)
    run = Run(thief.siege, [7_000, 8_000]).sealed()
    for address, minor in run.outputs:
        thief.promised[address] = minor
    large = thief.promise(LARGE)
    return payout, run, (large, thief.siege.approved(large, ADA, BEN))


def _forged(thief: Thief) -> None:
    """Requests that nobody signed: a destination and a payout to it."""
    siege, stranger = thief.siege, SigningKey(b"\x0b" * 32)
    record = thief.declares(OWN[2], stranger, DECLARE_KEY, "forged")
    siege.pass_by(DAY_MS)
    evidence = siege.request("/v1/payouts", siege.payout_body(record, SMALL), "forged", stranger, PAY_KEY)
    row = siege.ask(Ask.INTENTS, evidence=[evidence.document()])[0]
    thief.steals([row.get("payout", "")], [(OWN[2], SMALL)])


def engine_burns_fees(thief: Thief) -> int:
    """The attacker has the engine's socket and a miner, wants fees; the bound is F in a day, whatever is signed."""
    payout = thief.promise(SMALL)
    coin = thief.siege.coin(10**6)
    for fee in range(1_000, 60_000, 3_000):
        thief.sign([payout], coins=[coin], fee=fee)
        for operation in ("consolidate", "cancel", "sweep"):
            raw, _ = thief.siege.transaction([], coins=[thief.siege.coin(10**6)], fee=fee)
            thief.sign(operation=operation, raw=raw)
    for _ in range(20):
        raw, _ = thief.siege.transaction([], fee=900)
        thief.sign(operation="consolidate", raw=raw)
    return thief.till.fees()


def everything_and_a_payout_key(thief: Thief) -> int:
    """The attacker has API, database, engine and a client's payout key, wants all that there is and the fees; the
    bound is F + min(K, B) in a day.
    """
    records = [thief.siege.beneficiary() for _ in range(6)]
    thief.siege.pass_by(COOLING_MS + OLD_MS)
    for record in records:
        thief.sign([thief.asks(record, SMALL)])
    burnt = engine_burns_fees(thief)
    return thief.beyond_promises() + burnt


def engine_pays_what_was_cancelled(thief: Thief) -> int:
    """The attacker has the engine's socket and can time it, wants a payout paid that an officer cancels; 0."""
    payouts = [thief.siege.intent(thief.siege.cooled(), 1_000) for _ in range(3)]
    siege = thief.siege
    siege.guard.before_spend = lambda: siege.guard.instruct(Action.CANCEL, payouts[0], CLEO)
    thief.sign([payouts[0]])  # the cancel comes between decision and cosignature
    thief.sign([payouts[0]])
    siege.guard.instruct(Action.DECLINE, payouts[1], ADA)
    thief.sign([payouts[1]])
    siege.guard.instruct(Action.CANCEL, payouts[2], CLEO)
    siege.restart()
    thief.sign([payouts[2]])
    return thief.elsewhere()


def a_payout_is_called_failed(thief: Thief) -> int:
    """The attacker has engine, database and nodes, and calls a payout failed that may still be mined; wants its debt to
    be paid twice; 0.

    The client believes the record and asks again in its place, as it should.
    """
    siege, record = thief.siege, thief.siege.cooled()
    siege.pass_by(OLD_MS)
    thief.promised[record.address] = SMALL // 2
    payout = siege.intent(record, SMALL // 2, external_id="trip")
    coin, other = siege.coin(60_000), siege.coin(60_000)
    raw, _ = siege.transaction([siege.output(payout)], coins=[coin])
    thief.sign([payout], raw=raw)
    attempt = simulated.transaction_id(raw).hex()
    cancels = []
    for each in (coin, other):
        cancel, _ = siege.transaction([], coins=[each])
        thief.sign(operation="cancel", raw=cancel)
        cancels.append(simulated.transaction_id(cancel).hex())
    siege.guard.try_instruct(Action.RELEASE, payout, CLEO, attempts=(attempt,), reason="it failed, I say")
    siege.desk.idle()
    taken = [f"{coin.txid.hex()}:0"]
    for frame in (
        siege.attest(attempt, taken), siege.attest(cancels[0], taken, depth=1), siege.attest("f" * 64, taken),
        siege.attest(cancels[0], taken, key=STRANGER), siege.attest(cancels[0], taken, age_ms=DAY_MS),
        siege.attest(cancels[0], taken, deployment="0" * 16), siege.attest(cancels[1], [f"{other.txid.hex()}:0"]),
    ):
        with suppress(AskRefused):
            siege.void(payout, frame)
    with suppress(AskRefused):
        thief.sign([siege.intent(record, SMALL // 2, external_id="trip", replaces=payout)], coins=[siege.coin(60_000)])
    return thief.till.loss(thief.ours, thief.promised)


def engine_pays_while_frozen(thief: Thief) -> int:
    """The attacker has the engine's socket, wants a payout paid after an officer's freeze; the bound is 0."""
    payouts = [thief.promise(1_000) for _ in range(4)]
    siege = thief.siege
    siege.guard.before_spend = lambda: siege.guard.instruct(Action.FREEZE, "organisation", CLEO)
    for payout in payouts:
        thief.sign([payout])
        siege.restart()
    siege.pass_by(DAY_MS)
    thief.sign([payouts[0]])
    return thief.elsewhere()


def engine_sweeps_for_the_fees(thief: Thief) -> int:
    """The attacker has the engine's socket and a miner, wants fees by sweeping to the treasury; the bound is S in a
    day, however often it sweeps, and what it burns there takes nothing from F.
    """
    coin = thief.siege.coin(10**6)
    for fee in range(500, 4_000, 500):
        _sweep(thief, [coin], fee)
        _sweep(thief, [thief.siege.coin(10**6)], fee)
    for _ in range(8):
        _sweep(thief, [thief.siege.coin(10**6)], 500)
    burnt = thief.till.fees()
    for _ in range(2):
        thief.siege.sign([thief.promise(1_000)], fee=F // 2)
    return burnt


def engine_recovers_while_frozen(thief: Thief) -> int:
    """The attacker has the engine's socket and a miner, wants money or fees after an officer's freeze; the bound is the
    fee of what an officer lets through for each word, once, and to the treasury.
    """
    siege, word = thief.siege, (Action.RECOVER, f"network:{simulated.NETWORK}", CLEO)
    thief.sign([thief.promise(1_000)], coins=[early := siege.coin(10**6)], fee=500)
    thief.till.signed.clear()
    siege.guard.instruct(*word)  # before the freeze, which takes it back
    siege.guard.instruct(Action.FREEZE, "organisation", CLEO)

    def tries_all() -> None:
        _sweep(thief, [siege.coin(10**6)], 500, OWN[0])
        for _ in range(2):
            _sweep(thief, [siege.coin(10**6)], 500)
            for operation, coin in (("cancel", early), ("cancel", siege.coin(10**6)), ("consolidate", early)):
                raw, _ = siege.transaction([], coins=[coin], fee=501)
                thief.sign(operation=operation, raw=raw)
            thief.sign([thief.promise(1_000)])

    tries_all()
    siege.guard.instruct(*word)
    tries_all()
    siege.restart()
    tries_all()
    return thief.to_own() + thief.till.fees()


def _sweep(thief: Thief, coins: list[simulated.Input], fee: int, to: str = TREASURY) -> None:
    outputs = [(to, sum(coin.amount for coin in coins) - fee)]
    thief.steals([], outputs, coins=coins, change=0, operation="sweep")


def signer_restored_from_yesterday(thief: Thief) -> int:
    """The attacker has the engine's socket and restores the signer's disk, wants payees paid twice; the bound is 0."""
    oldest = thief.siege.backup()
    payouts = [thief.promise(SMALL) for _ in range(2)]
    outputs = [thief.siege.output(payout) for payout in payouts]
    before = thief.siege.backup()
    for payout in payouts:
        thief.sign([payout])
    for raw in (before, oldest, thief.siege.backup()[:-1], before):
        thief.siege.restore(raw)
        for payout, output in zip(payouts, outputs, strict=True):
            thief.steals([payout], [output])
    return thief.beyond_promises()


# People.


def approver_alone(thief: Thief) -> int:
    """The attacker is one approver with two keys and the engine's socket, wants a payout released that needs two
    people; the bound is 0.
    """
    record = thief.siege.cooled()
    thief.siege.pass_by(OLD_MS)
    payout = thief.siege.intent(record, LARGE)
    given = thief.siege.approved(payout)
    raw = thief.siege.bytes_of(given["request"])
    for numbers in ((0,), (0, 0), (0, 1)):
        given["assertions"] = [
            assertion_document(ADA.asserts(raw, APPROVAL_REQUEST_TYPE, number)) for number in numbers
        ]
        thief.sign([payout], approvals=[given])
        thief.sign([payout], approvals=[given, given])
    forged = assertion_document(BEN.asserts(raw + b" ", APPROVAL_REQUEST_TYPE))
    given["assertions"].append(forged)
    thief.sign([payout], approvals=[given])
    return thief.elsewhere()


def officer_alone(thief: Thief) -> int:
    """The attacker is one officer with the engine's socket, wants a policy that needs nobody; the bound is 0."""
    siege = thief.siege
    record = siege.cooled()
    siege.pass_by(OLD_MS)
    payout = siege.intent(record, LARGE)
    standing = siege.payments.standing
    open_to_all = encode(policy_document(
        version=2, previous=standing.policy_hash,
        tiers=[{"up_to_reference_minor": "25000000", "approvals": 0, "groups": 0}],
        limits=[limit("B", "organisation", "unattended", 10**9)],
    ))
    for people in ((CLEO,), (CLEO, CLEO), (CLEO, ADA)):
        given = [assertion_document(each.asserts(open_to_all, POLICY_TYPE)) for each in people]
        with suppress(AskRefused):
            siege.ask(Ask.CHANGE, document="policy", raw=b64encode(open_to_all).decode(), assertions=given)
    siege.pass_by(DAY_MS)
    thief.sign([payout])
    return thief.elsewhere()


def custodian_with_the_keys(thief: Thief) -> int:
    """The attacker has a client's payout key and is an approver who is its custodian; the bound is min(K, B), as if
    there were no approver.
    """
    records = [thief.siege.beneficiary() for _ in range(6)]
    thief.siege.pass_by(COOLING_MS + OLD_MS)
    for record in records:
        payout = thief.asks(record, MIDDLE)
        with suppress(AskRefused):
            thief.sign([payout], approvals=[thief.siege.approved(payout, EVE)])
        thief.sign([thief.asks(record, SMALL)])
    return thief.elsewhere()


def operator_alone(thief: Thief) -> int:
    """The attacker is one person who may ask and approve, with the engine's socket, wants money at its own address;
    the bound is 0, however little a payout is worth.
    """
    siege = thief.siege
    record = siege.declared_by(PIA, OWN[0])
    siege.pass_by(COOLING_MS + OLD_MS)
    run = Run(siege, [SMALL], record=record, person=PIA).sealed()
    for subject, pay in (
        (siege.intent_of(PIA, record, SMALL), lambda payout, given: siege.sign([payout], approvals=given)),
        (run.id, lambda _, given: run.pay(0, given=given)),
    ):
        for people in ((), (PIA,), (PIA, PIA)):
            with suppress(AskRefused, KeyError):  # no request is made if nobody is needed
                given = [siege.approved(subject, *people)] if people else []
                thief.till.take(pay(subject, given))
        with suppress(AskRefused):
            thief.till.take(pay(subject, []))
    return thief.to_own()


# Guard's host.


class Liar:
    """Has guard's key, and says yes to everything. `control` is what it says is in its control log."""

    def __init__(self, guard: RealGuard) -> None:
        self.guard = guard
        self.control = list(guard.guard.log._chain.entries())
        self.heard = list(guard.heard)
        self.is_replaying = False
        self.control_length: int | None = None
        self.journal: Head | None = None

    def beat(self) -> None: ...

    def exchange(self, frame: bytes) -> bytes:
        sync = guard_wire.parse_sync(frame[64:])
        if self.is_replaying:
            return self.heard[-1]
        length = len(self.control) if self.control_length is None else self.control_length
        said = Head(length, head_after(EMPTY_HEAD, self.control[:length]))
        journal = self.journal or sync.journal
        answer = SyncAnswer(
            sync.nonce, journal == sync.journal, journal, said, tuple(self.control[sync.control.length : length]),
            Lease.ALL, guard_wire.LEASE_MAXIMUM_MS, Instant(self.guard.times.wall_ms), Reason.COSIGNED,
        )
        raw = guard_wire.encode_sync_answer(answer)
        return guard_wire.sign_frame(self.guard.keys.guard, raw, guard_wire.SYNC_ANSWER_TYPE)

    def instructs(self, action: Action, *people: Human, epoch: int) -> None:
        number = len(self.control).to_bytes(32).hex()
        now = self.guard.times.wall_ms
        record = write_negative(Negative(action, Instant(now + 60_000), epoch, "organisation", ORGANISATION, number))
        given = ByPeople(record, tuple(each.asserts(record, NEGATIVE_TYPE) for each in people))
        self.control.append(write_control(Control(Instant(now), ORGANISATION, given)))


def guards_host_undoes_a_freeze(thief: Thief) -> int:
    """The attacker has guard's host and key and the engine's socket, wants to pay in spite of a freeze that the
    signer has heard of; the bound is 0.
    """
    siege = thief.siege
    payout = thief.promise(1_000)
    siege.guard.instruct(Action.FREEZE, "organisation", CLEO)
    siege.desk.idle()
    liar = _taken_over(siege)
    for people in ((), (CLEO,), (CLEO, CLEO), (CLEO, ADA)):
        liar.instructs(Action.UNFREEZE, *people, epoch=1)
        thief.sign([payout])
    for length in range(len(liar.control) + 1):  # a log that was rolled back, or cut
        liar.control_length = length
        thief.sign([payout])
    liar.control_length, liar.is_replaying = None, True
    thief.sign([payout])
    liar.is_replaying = False
    liar.control = liar.control[1:]  # a log that never had the freeze
    thief.sign([payout])
    return thief.elsewhere()


def guards_host_hides_the_journal(thief: Thief) -> int:
    """The attacker has guard's host and key and the engine's socket, wants payees paid twice; the bound is 0. It lets
    the signer start as if guard had never heard of the payments.
    """
    siege = thief.siege
    short = siege.guard.head
    payouts = [thief.promise(SMALL) for _ in range(2)]
    for payout in payouts:
        thief.sign([payout])
    liar = _taken_over(siege)
    liar.journal = short
    siege.restart()
    liar.journal = None
    for payout in payouts:
        thief.sign([payout])
    return thief.beyond_promises()


def _taken_over(siege: Siege) -> Liar:
    liar = Liar(siege.guard)
    siege.guard = siege.notary._guard._link = liar  # type: ignore[assignment] # the same wire
    return liar


@dataclass(frozen=True)
class Case:
    """`controls` are what is taken out, each by itself: with it the loss is above the bound."""

    act: Callable[[Thief], int]
    bound: int
    policy: dict[str, Any]
    controls: dict[str, tuple[Patch, ...]]


GATE, BOOK, DUE, NOTARY = "signer/gate.py", "signer/book.py", "signer/due.py", "signer/notary.py"
FREEZE_OUT = Patch(GATE, "payments.standing.freezes(scopes), _on_its_way", "None, _on_its_way")
SWEEP_OUT = Patch(
    GATE, "if len(rest) != 1 or rule.treasury is None or rest[0][0] != rule.treasury:", "if False:"
)
REQUESTS = "signer/requests.py"
LIMITS_OUT = Patch(GATE, "+ new > limit.maximum_reference_minor", "+ new > 10**30")
ONCE_OUT = Patch(GATE, "if not excludes(payments, transaction, attempt, payout):", "if False:")
QUORUM_OUT = Patch("protocol/standing.py", "len(people & members) >= group.threshold", "len(people) >= 1")

CASES = {
    each.act.__name__: each
    for each in (
        Case(payout_key_to_own_address, 0, budgets(), {
            "any key may do anything": (
                Patch("protocol/standing.py", "each.id == key and scope in each.scopes", "each.id == key"),
            ),
        }),
        Case(payout_key_elsewhere, min(K, B), budgets(D=10**9), {
            "no limits": (LIMITS_OUT,),
            "no revocation": (Patch("protocol/standing.py", " and key not in self.revoked:", ":"),),
        }),
        Case(both_keys_to_own_addresses, min(K, B, D), budgets(), {
            "declared counts as old": (
                Patch(GATE, "is_young or record.destination_class is DestinationClass.DECLARED", "is_young"),
            ),
        }),
        Case(both_keys_before_cooling_off, 0, budgets(), {
            "no cooling-off": (
                Patch(DUE, "if clock.at_least - known.seen < cooling_ms:", "if False:"),
                Patch(BOOK, "if now - version.seen >= cooling_ms and not is_held_back:", "if not is_held_back:"),
            ),
            "the clock that runs ahead": (
                Patch(DUE, "if clock.at_least - known.seen < cooling_ms:", "if clock.wall - known.seen < cooling_ms:"),
                Patch(DUE, "current = payments.in_force(known.record.beneficiary, clock.at_least)",
                      "current = payments.in_force(known.record.beneficiary, clock.wall)"),
            ),
        }),
        Case(all_but_keys_to_own_address, 0, budgets(B=10**9, K=10**9, D=10**9), {
            "outputs aren't compared": (Patch(GATE, " or output != (place[1], due.minor):", ":"),),
            "change goes anywhere": (
                Patch(GATE, "if address != wallet.address(asked.organisation, generation, "
                      "change_next + place_in_rest):", "if False:"),
            ),
            "attempts needn't exclude each other": (ONCE_OUT,),
            "a sweep goes anywhere": (SWEEP_OUT,),
            "requests needn't be signed": (Patch("protocol/request.py", "    evidence.verify(found[1])\n", ""),),
            "items needn't be in the run": (
                Patch(DUE, "        verify_inclusion(leaf_hash(item.leaf), intent.run_index or 0, run.seal.count, "
                      "item.proof, run.seal.root)\n", ""),
                Patch(GATE, "if payments.run_spent.get((run, asset), 0) + minor > ", "if False and minor > "),
            ),
            "approvals are of any request": (
                Patch("signer/approvals.py", "if record_hash(APPROVAL_REQUEST_TYPE, given.request).hex() != "
                      "ticket.request_hash:", "if False:"),
            ),
        }),
        Case(engine_burns_fees, F, budgets(), {
            "no budget for fees": (
                Patch(GATE, "+ fee_minor > budget:", "+ fee_minor > 10**30:"),
            ),
            "fees aren't counted": (
                Patch(BOOK, "    payments.windows.add(SWEEP_FEES if is_sweep else FEES, DAY_MS, fee_minor, "
                      "clock.at_least)\n", ""),
            ),
        }),
        Case(everything_and_a_payout_key, F + min(K, B), budgets(D=10**9), {"no limits": (LIMITS_OUT,)}),
        Case(engine_pays_what_was_cancelled, 0, budgets(), {
            "tombstones aren't asked for": (
                Patch(DUE, "if intent.id in payments.dead or not (payments.dead.isdisjoint(new) and "
                      "payments.taken_back.isdisjoint(new)):", "if False:"),
            ),
            "a cancel is forgotten while an attempt stands": (
                Patch(BOOK, "        payments.taken_back.add(subject)\n", "        pass\n"),
            ),
        }),
        Case(a_payout_is_called_failed, 0, budgets(), {
            "what is replaced may live": (
                Patch(DUE, "if replaces is not None and replaces not in payments.dead:", "if False:"),
            ),
            "any depth is final": (Patch(REQUESTS, "seen.depth < wallet.finality_blocks", "seen.depth < 1"),),
            "an attestation never ages": (
                Patch(REQUESTS, " or clock.at_most - seen.at > ATTESTATION_LIFE_MS:", ":"),
            ),
            "anything final excludes": (
                Patch(REQUESTS, " and excludes(payments, each, attempt, payout)]", "]"),
            ),
            "people aren't asked": (
                Patch(REQUESTS, "if not is_plain and payments.standing.released.get(payout) != sorted(attempts):",
                      "if False:"),
            ),
            "one officer is a quorum": (QUORUM_OUT,),
        }),
        Case(engine_pays_while_frozen, 0, budgets(), {
            "freezes aren't asked for": (FREEZE_OUT,),
        }),
        Case(engine_sweeps_for_the_fees, S, sweeping(), {
            "no budget for fees": (Patch(GATE, "+ fee_minor > budget:", "+ fee_minor > 10**30:"),),
            "sweeps need no end, and their fees aren't counted": (
                Patch(GATE, "_on_its_way(payments, asked, transaction, clock)\n", "None\n"),
                Patch(BOOK, "SWEEP_FEES if is_sweep else FEES, DAY_MS, fee_minor,", "FEES, DAY_MS, 0,"),
            ),
        }),
        Case(engine_recovers_while_frozen, 500, sweeping(), {
            "freezes aren't asked for": (FREEZE_OUT,),
            "an officer's word isn't used up": (
                Patch(BOOK, "replace(payments.words[attempt.network], used_by=attempt.transaction)",
                      "payments.words[attempt.network]"),
            ),
            "a freeze takes no word back": (Patch(BOOK, "        payments.words.clear()\n", "        pass\n"),),
            "a sweep goes anywhere": (SWEEP_OUT,),
        }),
        Case(signer_restored_from_yesterday, 0, budgets(), {
            "it starts from any journal, compares nothing with guard, and needs no lease": (
                Patch(GATE, "if lease is Lease.NONE or (", "if ("),
                Patch("journal/journal.py", "if guard_length > self.length:", "if False:"),
                Patch("journal/journal.py", "if self.head_at(guard_length) != guard_head:", "if False:"),
                Patch(NOTARY, "if answer.is_cosigned and answer.journal == self.head and "
                      "answer.control == self.book.control:", "if True:"),
            ),
        }),
        Case(approver_alone, 0, budgets(B=10**9, K=10**9, D=10**9), {
            "credentials are counted, not people": (
                Patch("signer/approvals.py", "if one.person not in people or ", "if True or "),
                Patch("signer/approvals.py", "            people[one.person] = one\n",
                      "            people[PersonId(str(len(people)))] = one\n"),
                Patch("signer/approvals.py", "sum(place(person, set()) for person in people) >= tier.groups", "True"),
            ),
        }),
        Case(officer_alone, 0, budgets(), {"no quorum for a change": (QUORUM_OUT,)}),
        Case(custodian_with_the_keys, min(K, B), budgets(D=10**9), {
            "custodians approve": (Patch("signer/approvals.py", "each.person not in barred and ", ""),),
        }),
        Case(operator_alone, 0, budgets(), {
            "the maker approves": (
                Patch("signer/approvals.py", "people = {PersonId(each) for each in makers if is_person(each)}",
                      "people: set[PersonId] = set()"),
            ),
            "people need nobody": (
                Patch(GATE, "is_person(due.intent.client) or is_person(known.declared_by)", "False"),
            ),
        }),
        Case(guards_host_undoes_a_freeze, 0, budgets(), {
            "no quorum for an unfreeze": (QUORUM_OUT,),
        }),
        Case(guards_host_hides_the_journal, 0, budgets(), {"attempts needn't exclude each other": (ONCE_OUT,)}),
    )
}


def lost(name: str, folder: Path) -> int:
    """In base units, by the package that is loaded."""
    case = CASES[name]
    return case.act(Thief(Siege(folder, case.policy)))


def main() -> int:
    name, folder, source = sys.argv[1:]
    if not Path(strongroom.__file__).is_relative_to(source):
        raise SystemExit("another package than the patched one was loaded")
    print(lost(name, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
