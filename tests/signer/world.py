"""A signer in this process, with everything real but the sockets: journal on a disk, keys, gate, and a guard to agree.

`World` is one deployment with an organisation of a few people, a client that pays, one that declares and a wallet on
the simulated chain. It makes what clients, people and the engine make, rightly, and lets a test make one thing wrong.
"""

import itertools
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID, Passkey

from strongroom.domain.document import Fields
from strongroom.domain.ids import ClientId, IdempotencyKey, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.formats import simulated
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol import guard_wire
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, PersonAssertion, assertion_document
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ByPeople, Control, write_control
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.genesis import FoundingOrganisation, Genesis, Mode
from strongroom.protocol.guard_wire import Lease, Reason, SyncAnswer
from strongroom.protocol.http_signature import SignedRequest, parse_signature, sign_request
from strongroom.protocol.identifier import beneficiary_id, payout_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, head_after
from strongroom.protocol.negative import Action, Negative
from strongroom.protocol.record_writer import write_genesis, write_negative, write_roster
from strongroom.protocol.request import INTENT_TYPE, Evidence, PersonEvidence
from strongroom.protocol.roster import (
    Credential,
    CredentialClass,
    Group,
    Person,
    Role,
    Roster,
    RosterClient,
    RosterKey,
    roster_hash,
)
from strongroom.protocol.signature_base import content_digest
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.protocol.standing import policy_hash
from strongroom.protocol.webauthn import RelyingParty
from strongroom.signer.book import Book
from strongroom.signer.clock import Clock
from strongroom.signer.desk import ADMIN, ENGINE, Desk
from strongroom.signer.guard_link import LinkError
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.notary import Notary
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.sign_simulated import SimulatedWallet
from strongroom.signer.wallets import open_wallets

START = 1_800_000_000_000
ORGANISATION = OrganisationId("org_" + "a" * 26)
PAYER, DECLARER = ClientId("cl_" + "p" * 26), ClientId("cl_" + "d" * 26)
PAY_KEY, DECLARE_KEY = KeyId("ak_" + "p" * 26), KeyId("ak_" + "d" * 26)
COOLING_MS = 5_000
MILLISECOND_NS = 1_000_000


def limit(name: str, scope: str, counts: str, maximum: int, span_ms: int = DAY_MS) -> dict[str, Any]:
    return {"name": name, "scope": scope, "counts": counts, "span_ms": span_ms, "maximum_reference_minor": str(maximum)}


def policy_document(**changes: Any) -> dict[str, Any]:
    """The sandbox's numbers; a base unit of the simulated coin is worth a cent."""
    return {
        "type": "strongroom/policy/v1", "organisation": ORGANISATION, "version": 1, "previous": None,
        "reference_currency": "USD",
        "assets": [
            {
                "asset": simulated.ASSET, "symbol": "SIM", "decimals": 8, "network": simulated.NETWORK,
                "maximum_minor": "1000000000000", "ceiling": {"units": "1", "reference_minor": "1"},
            }
        ],
        "tiers": [
            {"up_to_reference_minor": "25000", "approvals": 0, "groups": 0},
            {"up_to_reference_minor": "1000000", "approvals": 1, "groups": 1},
            {"up_to_reference_minor": "25000000", "approvals": 2, "groups": 2},
        ],
        "risk": {"above_reference_minor": "25000", "young_for_ms": 60_000},
        "limits": [
            limit("B", "organisation", "unattended", 10_000_000), limit("K", "client", "unattended", 10_000_000),
            limit("D", "organisation", "unattended_young", 10_000_000),
        ],
        "fee_budget_reference_minor": "1000000", "browser_release_reference_minor": "25000000",
        "cooling_off_ms": {"declared": COOLING_MS, "payee_verified": COOLING_MS, "allowlisted": COOLING_MS},
        "intent_maximum_age_ms": DAY_MS,
        "wallets": [
            {
                "network": simulated.NETWORK, "fee_asset": simulated.ASSET, "fee_maximum_minor": "50000",
                "fee_rate_maximum": "20000", "finality_blocks": 2, "treasury": None,
            }
        ],
        "governance": {"group": "officers", "delay_ms": 5_000},
    } | changes


@dataclass
class Human:
    """A person with one passkey, or more of them."""

    id: PersonId
    name: str
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    classes: tuple[CredentialClass, ...] = (CredentialClass.SOFTWARE,)

    def passkey(self, number: int = 0) -> Passkey:
        return Passkey(seed=int.from_bytes(self.id.encode()) % 10**30 + 7 + number)

    def person(self) -> Person:
        credentials = tuple(
            Credential(f"{self.id}{number}".encode(), self.passkey(number).public_key, kind)
            for number, kind in enumerate(self.classes)
        )
        return Person(self.id, self.name, self.roles, self.groups, credentials)

    def asserts(self, record: bytes, record_type: str, number: int = 0, **wrong: Any) -> PersonAssertion:
        assertion = self.passkey(number).asserts(record_hash(record_type, record), **wrong)
        return PersonAssertion(self.id, f"{self.id}{number}".encode(), assertion)


def human(letter: str, *roles: Role, groups: Sequence[str], classes: Sequence[CredentialClass] = ()) -> Human:
    kinds = tuple(classes) or (CredentialClass.SOFTWARE,)
    return Human(PersonId("pe_" + letter * 26), f"{letter.upper()} Example", roles, tuple(groups), kinds)


ADA = human("a", Role.APPROVER, groups=("treasury",), classes=(CredentialClass.SOFTWARE, CredentialClass.SOFTWARE))
BEN = human("b", Role.APPROVER, groups=("operations",))
CLEO = human("c", Role.OFFICER, groups=("officers",))
DAN = human("d", Role.OFFICER, groups=("officers",))
EVE = human("e", Role.APPROVER, groups=("treasury", "operations"))
TESS = human("t", Role.APPROVER, groups=("operations",), classes=(CredentialClass.TERMINAL,))
OTTO = human("o", Role.OPERATOR, groups=())
PIA = human("p", Role.OPERATOR, Role.APPROVER, groups=("treasury", "operations"))
PEOPLE = (ADA, BEN, CLEO, DAN, EVE, TESS, OTTO, PIA)


def roster(custodians: Sequence[PersonId] = (EVE.id,), version: int = 1, previous: str | None = None) -> Roster:
    world_keys = Keys()
    declares = RosterKey(DECLARE_KEY, bytes(world_keys.declarer.verify_key), (Permission.BENEFICIARIES_CREATE,))
    return Roster(
        ORGANISATION, version, previous, tuple(each.person() for each in PEOPLE),
        (Group("treasury", 1), Group("operations", 1), Group("officers", 2)),
        (
            RosterClient(
                PAYER,
                (RosterKey(PAY_KEY, bytes(world_keys.payer.verify_key),
                           (Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL)),),
                tuple(custodians),
            ),
            RosterClient(DECLARER, (declares,), ()),
        ),
    )


def production_roster(*terminals: Human) -> Roster:
    """The same people with browsers' passkeys instead of files, and these with terminals."""
    first, terminal = roster(), {each.id for each in terminals}
    return replace(first, people=tuple(
        replace(person, credentials=tuple(
            replace(each, credential_class=CredentialClass.TERMINAL if person.id in terminal else
                    CredentialClass.BROWSER) for each in person.credentials
        )) for person in first.people
    ))


@dataclass(frozen=True)
class Keys:
    """Keys of tests, from numbers."""

    payer: SigningKey = field(default_factory=lambda: SigningKey(b"\1" * 32))
    declarer: SigningKey = field(default_factory=lambda: SigningKey(b"\2" * 32))
    guard: SigningKey = field(default_factory=lambda: SigningKey(b"\3" * 32))
    checkpoint: SigningKey = field(default_factory=lambda: SigningKey(b"\4" * 32))


@dataclass
class Times:
    """The machine's two clocks, as a test sets them."""

    boot_ms: int = 1_000
    wall_ms: int = START

    def pass_by(self, ms: int) -> None:
        self.boot_ms += ms
        self.wall_ms += ms


class TestGuard:
    """Agrees as guard does, in memory: for tests of the signer alone. Guard's own process has its own tests."""

    __test__ = False

    def __init__(self, keys: Keys, times: Times, statement_key: bytes) -> None:
        self.keys, self.times, self.statement_key = keys, times, statement_key
        self.entries: list[bytes] = []
        self.control: list[bytes] = []
        self.lease = Lease.ALL
        self.said: Reason | None = None
        """Instead of agreeing to anything."""
        self.is_reachable = True
        self.before_spend: Any = None

    @property
    def head(self) -> Head:
        return Head(len(self.entries), head_after(EMPTY_HEAD, self.entries))

    @property
    def control_head(self) -> Head:
        return Head(len(self.control), head_after(EMPTY_HEAD, self.control))

    def exchange(self, frame: bytes) -> bytes:
        if not self.is_reachable:
            raise LinkError("cut off")
        sync = guard_wire.parse_sync(guard_wire.open_frame(self.statement_key, frame, guard_wire.SYNC_TYPE))
        if sync.wants_spend and self.before_spend is not None:
            self.before_spend()
            self.before_spend = None
        first = sync.journal.length - len(sync.entries)
        fits = first <= len(self.entries) and tuple(self.entries[first:]) == sync.entries[: len(self.entries) - first]
        applied = sync.control == self.control_head
        if fits and (applied or not sync.wants_spend):
            self.entries[first:] = sync.entries
        is_cosigned = self.head == sync.journal and (applied or not sync.wants_spend) and self.said is None
        reason = self.said or (Reason.COSIGNED if is_cosigned else Reason.BEHIND)
        answer = SyncAnswer(
            sync.nonce, is_cosigned, self.head, self.control_head, tuple(self.control[sync.control.length :]),
            self.lease, 120_000, Instant(self.times.wall_ms), reason,
        )
        raw = guard_wire.encode_sync_answer(answer)
        return guard_wire.sign_frame(self.keys.guard, raw, guard_wire.SYNC_ANSWER_TYPE)

    def instruct(self, action: Action, subject: str, *people: Human, epoch: int = 0, **said: Any) -> None:
        number = len(self.control).to_bytes(32).hex()
        expires = Instant(self.times.wall_ms + 60_000)
        negative = Negative(action, expires, epoch, subject, ORGANISATION, number, **said)
        record = write_negative(negative)
        given = ByPeople(record, tuple(each.asserts(record, negative.type) for each in people))
        self.control.append(write_control(Control(Instant(self.times.wall_ms), ORGANISATION, given)))

    def release(self, payout: str, attempts: Sequence[str], *people: Human) -> None:
        self.instruct(Action.RELEASE, payout, *people, attempts=tuple(attempts), reason="its coins are in the treasury")


class World:
    def __init__(
        self, folder: Path, policy: dict[str, Any] | None = None, made_roster: Roster | None = None,
        mode: Mode = Mode.SANDBOX, began: int | None = None, token: TokenKeys | None = None,
    ) -> None:
        began = START if began is None else began
        self.folder, self.keys, self.times = folder, Keys(), Times(wall_ms=began)
        self.numbers = itertools.count(1)
        self.store = KeyStore(Secret(b"\5" * 32))
        self.wallets = open_wallets(self.store, mode, token or TokenKeys())
        found = self.wallets(simulated.NETWORK)
        self.wallet: Any = SimulatedWallet(self.store) if found is None else found
        self.guard = TestGuard(self.keys, self.times, self.store.statement_public_key)
        self.policy = encode(policy or policy_document())
        self.roster = write_roster(made_roster or roster())
        self.genesis = write_genesis(Genesis(
            mode, Instant(began), bytes(self.keys.checkpoint.verify_key), self.store.statement_public_key,
            bytes(self.keys.guard.verify_key), RelyingParty(RELYING_PARTY_ID, frozenset({ORIGIN})),
            (FoundingOrganisation(ORGANISATION, policy_hash(self.policy), roster_hash(self.roster)),),
        ))
        self.coins: list[simulated.Input] = []
        folder.chmod(0o700)
        disk = FileDisk(str(folder), create=True)
        journal = Journal.load(disk)
        journal.settle(0, EMPTY_HEAD)
        start = Reading(Instant(began), Instant(began), Instant(began))
        journal.append(write_entry(Kind.GENESIS, start, {"genesis": b64encode(self.genesis).decode()}))
        journal.append(write_entry(Kind.ORGANISATION, start, {
            "policy": b64encode(self.policy).decode(), "roster": b64encode(self.roster).decode()}))
        journal.sync()
        self._open(journal)

    def _open(self, journal: Journal) -> None:
        self.journal = journal
        self.book = Book()
        for entry in journal.entries():
            self.book.apply(entry)
        clock = Clock(
            lambda: self.times.boot_ms * MILLISECOND_NS, lambda: self.times.wall_ms * MILLISECOND_NS, self.book.clock
        )
        random = lambda length: next(self.numbers).to_bytes(length)  # noqa: E731 a counter is random enough here
        self.notary = Notary(
            journal, self.book, clock, self.store.statement_sign, self.guard, random,
            lambda: self.times.boot_ms * MILLISECOND_NS,
        )
        self.desk = Desk(self.notary, self.wallets, random)

    def restart(self) -> None:
        """The process ends without a word, and starts again from its disk."""
        self.journal.close()
        journal = Journal.load(FileDisk(str(self.folder)))
        journal.settle(self.guard.head.length, self.guard.head.head)
        self._open(journal)

    @property
    def payments(self) -> Any:
        return self.book.organisations[ORGANISATION]

    def pass_by(self, ms: int) -> None:
        self.times.pass_by(ms)

    def ask(self, ask: Ask, channel: str = ENGINE, **body: JsonValue) -> Any:
        """The signer's answer. Raises: AskRefused."""
        answer = read_answer(self.desk.answer(channel, write_ask(ask, {"organisation": ORGANISATION, **body})))
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        return answer

    # What clients sign.

    def request(
        self, path: str, body: Any, key: str, signed_by: SigningKey, key_id: KeyId, deployment: str | None = None,
        age_ms: int = 0, query: str = "?", content_type: str = "application/json",
    ) -> ClientEvidence:
        raw = encode(body)
        request = SignedRequest(
            "POST", "127.0.0.1:8420", path, query, content_type, content_digest(raw), key, None, None
        )
        created_s = (self.times.wall_ms - age_ms) // 1_000
        signature_input, signature = sign_request(
            request, key_id, signed_by, deployment or self.book.deployment, created_s, 300
        )
        signed = SignedRequest(*(getattr(request, name) for name in (
            "method", "authority", "path", "query", "content_type", "content_digest", "idempotency_key",
        )), signature_input, signature)
        parsed = parse_signature(signed, deployment or self.book.deployment)
        return ClientEvidence(parsed.base, parsed.signature, raw)

    def beneficiary(
        self, name: str = "Payee", address: str | None = None, key: str | None = None,
        network: str = simulated.NETWORK,
    ) -> DestinationRecord:
        """Declared and registered here; it isn't cooled off yet."""
        key = key or f"beneficiary-{next(self.numbers)}"
        body = {"name": name, "destination": {"network": network, "address": address or payee(key)}}
        evidence = self.request("/v1/beneficiaries", body, key, self.keys.declarer, DECLARE_KEY)
        (row,) = self.ask(Ask.DESTINATIONS, evidence=[evidence.document()])
        beneficiary = beneficiary_id(ORGANISATION, DECLARER, IdempotencyKey(key))
        record = read_beneficiary(Fields(body), ORGANISATION, beneficiary)
        assert row == {"digest": destination_digest(record.encode())}, row
        return record

    def take(self, ask: Ask, evidence: Sequence[Evidence]) -> None:
        """Raises: AskRefused for the first that is refused."""
        for row in self.ask(ask, evidence=[each.document() for each in evidence]):
            if "refused" in row:
                raise AskRefused(row["refused"]["rule"], row["refused"]["reason"])

    def take_run(self, evidence: Evidence) -> None:
        self.ask(Ask.RUN, evidence=evidence.document())

    def next_version(self, before: DestinationRecord, address: str) -> DestinationRecord:
        """The version after `before`, declared and registered."""
        body = {
            "network": simulated.NETWORK, "address": address, "version": before.version + 1,
            "previous": destination_digest(before.encode()),
        }
        path = f"/v1/beneficiaries/{before.beneficiary}/destinations"
        self.take(Ask.DESTINATIONS, [self.request(path, body, "next", self.keys.declarer, DECLARE_KEY)])
        return replace(before, where=address, version=before.version + 1, previous=destination_digest(before.encode()))

    def bytes_of(self, text: Any) -> bytes:
        return b64decode(text)

    def cooled(self, **how: Any) -> DestinationRecord:
        record = self.beneficiary(**how)
        self.pass_by(COOLING_MS)
        return record

    def payout_body(self, to: DestinationRecord, minor: int, **changes: Any) -> dict[str, Any]:
        return {
            "beneficiary": to.beneficiary, "destination_digest": destination_digest(to.encode()),
            "asset": simulated.ASSET, "amount": str(minor), "external_id": f"trip-{next(self.numbers)}",
        } | changes

    def intent(self, to: DestinationRecord, minor: int, key: str | None = None, **changes: Any) -> str:
        """A payout asked for and registered; its id."""
        key = key or f"payout-{next(self.numbers)}"
        evidence = self.payout_evidence(self.payout_body(to, minor, **changes), key)
        (row,) = self.ask(Ask.INTENTS, evidence=[evidence.document()])
        if "refused" in row:
            raise AskRefused(row["refused"]["rule"], row["refused"]["reason"])
        assert row == {"payout": payout_id(ORGANISATION, PAYER, IdempotencyKey(key))}
        return str(row["payout"])

    def payout_evidence(self, body: dict[str, Any], key: str, **how: Any) -> ClientEvidence:
        return self.request("/v1/payouts", body, key, self.keys.payer, PAY_KEY, **how)

    # What people sign.

    def person_request(
        self, person: Human, path: str, body: Any, key: str, age_ms: int = 0, asserted_by: Human | None = None,
        wrong: dict[str, Any] | None = None,
    ) -> PersonEvidence:
        """What this person asks for at the station; `wrong` are other fields of the record."""
        record = encode({
            "body": body, "created_ms": self.times.wall_ms - age_ms, "deployment": self.book.deployment,
            "idempotency_key": key, "organisation": ORGANISATION, "path": path, "person": person.id,
            "type": INTENT_TYPE,
        } | (wrong or {}))
        return PersonEvidence(record, (asserted_by or person).asserts(record, INTENT_TYPE))

    def intent_of(self, person: Human, to: DestinationRecord, minor: int, key: str = "own", **how: Any) -> str:
        """A payout that this person asks for, registered; its id. Raises: AskRefused."""
        self.take(Ask.INTENTS, [self.person_request(person, "/v1/payouts", self.payout_body(to, minor), key, **how)])
        return payout_id(ORGANISATION, person.id, IdempotencyKey(key))

    def declared_by(self, person: Human, address: str = "", key: str = "own") -> DestinationRecord:
        """A destination that this person declares, registered."""
        body = {"name": "Payee", "destination": {"network": simulated.NETWORK, "address": address or payee(key)}}
        self.take(Ask.DESTINATIONS, [self.person_request(person, "/v1/beneficiaries", body, key)])
        beneficiary = beneficiary_id(ORGANISATION, person.id, IdempotencyKey(key))
        return read_beneficiary(Fields(body), ORGANISATION, beneficiary)

    def approved(self, subject: str, *people: Human) -> dict[str, JsonValue]:
        """The signer's own request for a payout or run, with the assertions of these people."""
        answer = self.ask(Ask.REQUEST, subject=subject)
        return self.answered(subject, answer["request"], *people)

    def answered(self, subject: str, request: str, *people: Human) -> dict[str, JsonValue]:
        raw = b64decode(request)
        given = [assertion_document(each.asserts(raw, APPROVAL_REQUEST_TYPE)) for each in people]
        return {"subject": subject, "request": request, "assertions": given}

    # What the engine builds.

    def coin(self, minor: int, index: int = 0) -> simulated.Input:
        """A coin of the organisation's wallet, as the chain would show it."""
        txid = record_hash("test coin", str(next(self.numbers)).encode())
        return simulated.Input(txid, 0, minor, self.wallet.address(ORGANISATION, 0, index))

    def transaction(
        self, outputs: Sequence[tuple[str, int]], *, fee: int = 500, coins: Sequence[simulated.Input] | None = None,
        change: int | None = None,
    ) -> tuple[bytes, list[simulated.Input]]:
        """An honest one: these outputs, the rest to the next change address."""
        total = sum(amount for _, amount in outputs)
        taken = list(coins) if coins is not None else [self.coin(total + fee + 10_000)]
        rest = sum(coin.amount for coin in taken) - total - fee if change is None else change
        next_index = self.payments.change_next.get(simulated.NETWORK, 0)
        made = [simulated.Output(amount, address) for address, amount in outputs]
        if rest:
            generation = self.payments.generation(simulated.NETWORK)
            made.append(simulated.Output(rest, self.wallet.address(ORGANISATION, generation, next_index)))
        return simulated.encode_unsigned(simulated.Transaction(tuple(taken), tuple(made))), taken

    def sign(
        self, payouts: Sequence[str], *, operation: str = "pay", raw: bytes | None = None,
        coins: Sequence[simulated.Input] | None = None, fee: int = 500,
        approvals: Sequence[dict[str, JsonValue]] = (), paths: Sequence[tuple[int, int]] | None = None,
        items: Sequence[dict[str, JsonValue]] | None = None,
    ) -> bytes:
        """Ask for a signature over an honest transaction, or over `raw`; the signed bytes. Raises: AskRefused."""
        if raw is None:
            outputs = [self.output(payout) for payout in payouts]
            raw, _ = self.transaction(outputs, coins=coins, fee=fee)
        inputs = paths if paths is not None else [(0, 0)] * max(1, len(simulated.parse_unsigned(raw).inputs))
        answer = self.ask(
            Ask.SIGN, operation=operation, network=simulated.NETWORK, transaction=b64encode(raw).decode(),
            paths=[{"generation": generation, "index": index} for generation, index in inputs],
            items=list(items) if items is not None else [{"payout": payout} for payout in payouts],
            approvals=list(approvals),
        )
        return b64decode(answer["signed"])

    def rotate(self, generation: int, answer: Any = None) -> None:
        """As the admin does. Raises: AskRefused."""
        frame = write_ask(
            Ask.ROTATE, {"organisation": ORGANISATION, "network": simulated.NETWORK, "generation": generation}
        )
        answered = read_answer((answer or self.desk.answer)(ADMIN, frame))
        if isinstance(answered, RefusedAnswer):
            raise AskRefused(answered.rule, answered.reason)
        assert answered == {"generation": generation}

    def called_back(self, coin: simulated.Input) -> str:
        """A signed `cancel` of what spends this coin; its id."""
        raw, _ = self.transaction([], coins=[coin])
        self.sign([], operation="cancel", raw=raw)
        return simulated.transaction_id(raw).hex()

    def attest(
        self, chain_transaction: str, spends: Sequence[str], *, depth: int = 2, age_ms: int = 0,
        network: str = simulated.NETWORK, key: SigningKey | None = None, deployment: str = "",
    ) -> bytes:
        """What guard says when its own node shows this; without a node, for tests of the signer alone."""
        at = Instant(self.times.wall_ms - age_ms)
        seen = guard_wire.Attestation(at, chain_transaction, depth, network, tuple(spends))
        raw = guard_wire.encode_attestation(seen, deployment or self.book.deployment)
        return guard_wire.sign_frame(key or self.keys.guard, raw, guard_wire.ATTESTATION_TYPE)

    def attested(self, chain_transaction: str, **how: Any) -> bytes:
        """Guard has seen a chain transaction final that was signed here."""
        return self.attest(chain_transaction, self.payments.attempts[chain_transaction].inputs, **how)

    def void(self, payout: str, *frames: bytes) -> Any:
        """The signer's void proof. Raises: AskRefused."""
        return self.ask(Ask.VOID, object=payout, attestations=[[b64encode(each).decode()] for each in frames])

    def output(self, payout: str) -> tuple[str, int]:
        paid = self.payments.paid.get(payout)
        if paid is not None:
            return paid.address, paid.amount
        intent = self.payments.intents[payout].intent
        return self.payments.destinations[intent.destination_digest].record.address, intent.amount.minor


class AskRefused(Exception):
    """The signer said no."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


def payee(name: str) -> str:
    """An address of somebody who isn't us."""
    return simulated.simulated_address(b"\2" + record_hash("test payee", name.encode()))


