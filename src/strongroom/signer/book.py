"""What the journal says, in memory: the only state that the gate decides by.

Made by applying entries in their order, at the start and as they are written, by the same code: what the signer
remembers is what it wrote down, and nothing else. Nothing is verified here: that was done before an entry was
written, and the journal's chain says that it is the one. What was spent is added up under every way of counting at
once, so that a changed limit never clears it.
"""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import (
    BeneficiaryId,
    ClientId,
    DestinationDigest,
    KeyId,
    Maker,
    MakerKey,
    OrganisationId,
    PayoutId,
)
from strongroom.domain.instant import DAY_MS, HOUR_MS, INSTANT_MAXIMUM, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.policy import Counts, LimitScope
from strongroom.domain.velocity import Windows
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.destination_record import DestinationRecord, destination_digest, parse_destination_record
from strongroom.protocol.entry import Kind, Reading, read_entry
from strongroom.protocol.genesis import Genesis
from strongroom.protocol.intent import PayoutIntent
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import Action, Instruction
from strongroom.protocol.run_tree import Seal
from strongroom.protocol.standing import Standing
from strongroom.protocol.standings import KINDS, Standings
from strongroom.signer.clock import Start

INTENT_WIDTH: Final = 12
PAID_WIDTH: Final = 14
_YES: Final = "yes"
SPANS: Final = (HOUR_MS, DAY_MS)
FEES: Final = "fees"
SWEEP: Final = "sweep"
SWEEP_FEES: Final = "fees of sweeps"
BROWSER: Final = "released by browsers"

_SCOPES: Final = LimitScope.ORGANISATION, LimitScope.CLIENT, LimitScope.KEY, LimitScope.DESTINATION, LimitScope.ASSET
KINDS_OF: Final = {
    Counts.ALL: (Counts.ATTENDED, Counts.UNATTENDED, Counts.UNATTENDED_YOUNG), Counts.ATTENDED: (Counts.ATTENDED,),
    Counts.UNATTENDED: (Counts.UNATTENDED, Counts.UNATTENDED_YOUNG),
    Counts.UNATTENDED_YOUNG: (Counts.UNATTENDED_YOUNG,),
}
"""What a limit counts, of the three kinds of payouts: each payout is of one, and has one window in each scope."""


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """`seen` is when its evidence was verified here, by the clock that never runs ahead."""

    record: DestinationRecord
    digest: DestinationDigest
    declared_by: Maker
    seen: Instant


class KnownIntent(NamedTuple):
    """The first request for a payout, and the key that signed it; `digest` is of its method, path and content."""

    digest: str
    key: MakerKey
    intent: PayoutIntent


@dataclass(frozen=True, slots=True)
class KnownRun:
    digest: str
    client: Maker
    key: MakerKey
    seal: Seal


@dataclass(frozen=True, slots=True)
class Ticket:
    """The live approval request of a payout or run."""

    request_hash: str
    expires: Instant
    freeze_epoch: int
    policy_hash: str
    roster_hash: str


class Paid(NamedTuple):
    """One payout as it was signed first; how it counted then is how it counts for ever."""

    payout: PayoutId
    client: Maker
    key: MakerKey
    beneficiary: BeneficiaryId
    asset: str
    amount: int
    network: str
    address: str
    external_id: str
    replaces: str
    run: str
    reference_minor: int
    is_attended: bool
    is_young: bool

    def row(self) -> list[JsonValue]:
        return [
            self.payout, self.client, self.key, self.beneficiary, self.asset, str(self.amount), self.network,
            self.address, self.external_id, self.replaces, self.run, str(self.reference_minor),
            _YES if self.is_attended else "", _YES if self.is_young else "",
        ]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One chain transaction that was, or may have been, signed. `inputs` are outpoints, `TRANSACTION:INDEX`;
    `weight` is fee and size, and empty of what was signed before they were written down."""

    transaction: str
    operation: str
    network: str
    payouts: tuple[PayoutId, ...]
    inputs: tuple[str, ...]
    weight: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """An officer's, that one sweep or cancel may be signed; `used_by` is the chain transaction that was."""

    expires: Instant
    used_by: str = ""


@dataclass(slots=True)
class Payments:
    """All that was asked, approved and signed for one organisation."""

    standing: Standing
    destinations: dict[str, KnownDestination] = field(default_factory=dict)
    versions: dict[str, list[KnownDestination]] = field(default_factory=dict)
    intents: dict[str, KnownIntent] = field(default_factory=dict)
    runs: dict[str, KnownRun] = field(default_factory=dict)
    open_on: dict[str, set[str]] = field(default_factory=dict)
    """Destination digest to the payouts on it that are neither signed nor dead."""
    debts: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    """Client, network, address and external id, to the payout that owes it."""
    replaced: dict[tuple[str, str], str] = field(default_factory=dict)
    """Client and dead payout, to the one payout that stands in its place."""
    dead: set[str] = field(default_factory=set)
    """Payouts and runs of which nothing will be signed any more: cancelled, declined, expired, or void."""
    taken_back: set[str] = field(default_factory=set)
    """What was cancelled or declined when an attempt stood already, or may have before some was lost; of what wasn't
    signed here nothing will be."""
    void: dict[str, list[list[str]]] = field(default_factory=dict)
    """Signed payouts that are dead, to each attempt and the final chain transaction that excludes it."""
    tickets: dict[str, Ticket] = field(default_factory=dict)
    paid: dict[str, Paid] = field(default_factory=dict)
    run_spent: dict[tuple[str, str], int] = field(default_factory=dict)
    """Run and asset to the base units that were signed of it: never above what its client sealed."""
    attempts: dict[str, Attempt] = field(default_factory=dict)
    attempts_of: dict[str, list[str]] = field(default_factory=dict)
    spenders: dict[str, list[str]] = field(default_factory=dict)
    """Outpoint to the transactions that spend it."""
    change_next: dict[str, int] = field(default_factory=dict)
    """Network to the index of the next change address."""
    former: dict[str, list[int]] = field(default_factory=dict)
    """Network to how far change went in each generation of keys before the current one."""
    words: dict[str, Word] = field(default_factory=dict)
    """Network to the last word of an officer since the last freeze or unfreeze."""
    sweeps: dict[str, list[tuple[str, Instant]]] = field(default_factory=dict)
    """Network to its sweeps, and when they were decided."""
    windows: Windows = field(default_factory=Windows)
    lost: Reading | None = None
    """When some of the journal was lost: for a day all budgets are spent, and what was asked for before is void."""

    def used(self, scope: LimitScope, counts: Counts, key: Hashable, span_ms: int, now: Instant) -> int:
        """What a limit like this has counted of the key."""
        return sum([self.windows.used((scope, kind, key), span_ms, now) for kind in KINDS_OF[counts]])

    def lose(self, clock: Reading) -> None:
        """Whether what was asked for was paid isn't known any more, nor when later destinations were."""
        self.lost = clock
        for asked in (self.intents, self.runs, self.open_on):
            asked.clear()
        for beneficiary, versions in self.versions.items():
            self.versions[beneficiary] = [replace(each, seen=clock.at_least) for each in versions]
            self.destinations.update((each.digest, each) for each in self.versions[beneficiary])

    def generation(self, network: str) -> int:
        """Of the keys that change goes to; those of the generations before can be spent, and get nothing more."""
        return len(self.former.get(network, ()))

    def in_force(self, beneficiary: str, now: Instant) -> KnownDestination | None:
        """The newest version that has cooled off and that no open payout on an older one holds back."""
        current: KnownDestination | None = None
        is_held_back = False
        for version in self.versions.get(beneficiary, ()):
            cooling_ms = self.standing.policy.cooling_off_ms[version.record.destination_class]
            if now - version.seen >= cooling_ms and not is_held_back:
                current = version
            is_held_back = is_held_back or bool(self.open_on.get(version.digest))
        return current


class Book:
    """Everything; `genesis` is there after the first entry. What guard makes of the journal too is in `standings`."""

    def __init__(self) -> None:
        self.standings = Standings()
        self.organisations: dict[OrganisationId, Payments] = {}
        self.clock = Reading(Instant(0), Instant(0), Instant(0))
        self.started = Start(self.clock, Instant(0))

    @property
    def genesis(self) -> Genesis:
        if self.standings.genesis is None:
            raise InvariantError("the journal doesn't begin with genesis")
        return self.standings.genesis

    @property
    def deployment(self) -> str:
        return self.standings.deployment

    @property
    def control(self) -> Head:
        return self.standings.control

    def apply(self, raw: bytes) -> None:
        """Raises: InvariantError for an entry that this program doesn't write."""
        try:
            kind, self.clock, fields = read_entry(raw)
            if kind in KINDS:
                self._stand(kind, fields)
            else:
                _APPLY[kind](self, fields, self.clock)
            fields.close()
        except (DocumentError, KeyError, ValueError) as fault:
            raise InvariantError(f"an entry of the journal can't be applied: {fault}") from fault

    def _stand(self, kind: Kind, fields: Fields) -> None:
        """What the entry changes in standings, and what follows from it for payments."""
        if kind is Kind.GENESIS:
            self.started = Start(self.clock, self.clock.wall)
        if (applied := self.standings.apply(kind, self.clock, fields)) is None:
            return
        standing, instruction = applied
        payments = self.organisations.setdefault(standing.organisation, Payments(standing))
        if kind is Kind.RECOVERED:
            payments.lose(self.clock)
        match instruction:
            case Instruction(Action.CANCEL | Action.DECLINE, subject):
                _take_back(payments, subject)
            case Instruction(Action.FREEZE | Action.UNFREEZE):
                payments.words.clear()
            case Instruction(Action.RECOVER, scope):
                payments.words[scope.removeprefix("network:")] = Word(instruction.expires)

    def payments(self, fields: Fields) -> Payments:
        return self.organisations[OrganisationId(fields.text("organisation"))]


def sums_of(items: Iterable[Paid]) -> dict[tuple[LimitScope, Counts], dict[Hashable, int]]:
    """What these payouts add to the windows of each scope, by kind of payout."""
    sums: dict[tuple[LimitScope, Counts], dict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
    for paid in items:
        kind = Counts.UNATTENDED_YOUNG if paid.is_young else Counts.UNATTENDED
        kind = Counts.ATTENDED if paid.is_attended else kind
        keys = None, paid.client, paid.key, (paid.network, paid.address), paid.asset
        for scope, key in zip(_SCOPES, keys, strict=True):
            sums[scope, kind][key] += paid.reference_minor
    return sums


def _resumed(book: Book, fields: Fields, clock: Reading) -> None:
    book.started = Start(clock, Instant(fields.integer("guard_ms", 0, INSTANT_MAXIMUM)))


def _corrected(book: Book, fields: Fields, clock: Reading) -> None:
    """Expiries that were set by the clock that was ahead would come too late: those requests have no ticket now."""
    _resumed(book, fields, clock)
    for payments in book.organisations.values():
        payments.tickets.clear()


def _destinations(book: Book, fields: Fields, clock: Reading) -> None:
    payments = book.payments(fields)
    for each in fields.rows("destinations", 2):
        raw = b64decode(each[0])
        record = parse_destination_record(raw)
        known = KnownDestination(record, destination_digest(raw), ClientId(each[1]), clock.at_least)
        payments.destinations[known.digest] = known
        payments.versions.setdefault(record.beneficiary, []).append(known)


def _intents(book: Book, fields: Fields, _: Reading) -> None:
    payments = book.payments(fields)
    for row in fields.rows("intents", INTENT_WIDTH):
        known = _read_intent(row)
        intent = known.intent
        payments.intents[intent.id] = known
        if intent.id not in payments.dead:
            payments.open_on.setdefault(intent.destination_digest, set()).add(intent.id)
        _replace(payments, intent.client, intent.replaces, intent.id)
        record = payments.destinations[intent.destination_digest].record
        payments.debts[intent.client, record.network, record.address, intent.external_id] = intent.id


def _run(book: Book, fields: Fields, _: Reading) -> None:
    payments = book.payments(fields)
    totals = fields.inner("totals")
    seal = Seal(
        fields.integer("count", 1, 2**31), {name: int(totals.text(name)) for name in totals.names()},
        bytes.fromhex(fields.text("root")),
    )
    payments.runs[fields.text("run")] = KnownRun(
        fields.text("digest"), ClientId(fields.text("client")), KeyId(fields.text("key")), seal
    )
    payments.dead.update(payments.taken_back & payments.runs.keys())


def _request(book: Book, fields: Fields, _: Reading) -> None:
    payments = book.payments(fields)
    payments.tickets[fields.text("subject")] = Ticket(
        fields.text("request"), Instant(fields.integer("expires", 0, 2**53)), fields.integer("freeze_epoch", 0, 2**31),
        fields.text("policy"), fields.text("roster"),
    )


def _spend(book: Book, fields: Fields, clock: Reading) -> None:
    payments = book.payments(fields)
    items = [_read_paid(row) for row in fields.rows("items", PAID_WIDTH)]
    attempt = Attempt(
        fields.text("transaction"), fields.text("operation"), fields.text("network"),
        tuple(PayoutId(row[0]) for row in fields.rows("payouts", 1)), tuple(row[0] for row in fields.rows("inputs", 1)),
        tuple(int(cell) for row in (fields.rows("weight", 2) if fields.has("weight") else ()) for cell in row),
    )
    payments.attempts[attempt.transaction] = attempt
    for payout in attempt.payouts:
        payments.attempts_of.setdefault(payout, []).append(attempt.transaction)
    for outpoint in attempt.inputs:
        payments.spenders.setdefault(outpoint, []).append(attempt.transaction)
    is_sweep = attempt.operation == SWEEP
    if is_sweep:
        payments.sweeps.setdefault(attempt.network, []).append((attempt.transaction, clock.at_least))
    if fields.flag("uses_word"):
        payments.words[attempt.network] = replace(payments.words[attempt.network], used_by=attempt.transaction)
    payments.change_next[attempt.network] = fields.integer("change_next", 0, 2**31)
    for paid in items:
        payments.paid[paid.payout] = paid
        if paid.run:
            payments.run_spent[paid.run, paid.asset] = payments.run_spent.get((paid.run, paid.asset), 0) + paid.amount
        payments.debts[paid.client, paid.network, paid.address, paid.external_id] = paid.payout
        _replace(payments, paid.client, paid.replaces, paid.payout)
        known = payments.intents.get(paid.payout)
        if known is not None:
            payments.open_on[known.intent.destination_digest].discard(paid.payout)
    for (scope, kind), sums in sums_of(items).items():
        for key, value in sums.items():
            for span_ms in SPANS:
                payments.windows.add((scope, kind, key), span_ms, value, clock.at_least)
    fee_minor = int(fields.text("fee_reference_minor"))
    payments.windows.add(SWEEP_FEES if is_sweep else FEES, DAY_MS, fee_minor, clock.at_least)
    payments.windows.add(BROWSER, DAY_MS, int(fields.text("browser_reference_minor")), clock.at_least)


def _abandoned(book: Book, fields: Fields, _: Reading) -> None:
    """It was never signed, so it binds no payout. What it counted stays counted: a lost budget is the safe side."""
    payments = book.payments(fields)
    attempt = payments.attempts.pop(fields.text("transaction"))
    word = payments.words.get(attempt.network)
    if word is not None and word.used_by == attempt.transaction:
        payments.words[attempt.network] = replace(word, used_by="")
    for payout in attempt.payouts:
        payments.attempts_of[payout].remove(attempt.transaction)
        if not payments.attempts_of[payout]:
            paid = payments.paid.pop(payout)
            if paid.run:
                payments.run_spent[paid.run, paid.asset] -= paid.amount
            known = payments.intents.get(payout)
            if known is not None and payout not in payments.taken_back:
                payments.open_on[known.intent.destination_digest].add(payout)
    for outpoint in attempt.inputs:
        payments.spenders[outpoint].remove(attempt.transaction)


def _rotated(book: Book, fields: Fields, _: Reading) -> None:
    payments, network = book.payments(fields), fields.text("network")
    payments.former.setdefault(network, []).append(payments.change_next.pop(network, 0))


def _tombstone(book: Book, fields: Fields, _: Reading) -> None:
    _bury(book.payments(fields), fields.text("object"))


def _void(book: Book, fields: Fields, _: Reading) -> None:
    payments, payout = book.payments(fields), fields.text("object")
    payments.void[payout] = fields.rows("void", 2)
    fields.rows("attestations", 1)
    payments.dead.add(payout)


def _bury(payments: Payments, subject: str) -> None:
    payments.dead.add(subject)
    known = payments.intents.get(subject)
    if known is not None:
        # One that was dead when it came never stood there.
        payments.open_on.get(known.intent.destination_digest, set()).discard(subject)


def _take_back(payments: Payments, subject: str) -> None:
    is_unknown = payments.lost is not None and subject not in payments.intents and subject not in payments.runs
    if is_unknown or payments.attempts_of.get(subject):
        payments.taken_back.add(subject)
    else:
        _bury(payments, subject)


def _replace(payments: Payments, client: str, replaced: str | None, payout: str) -> None:
    if replaced:
        payments.replaced[client, replaced] = payout


def intent_row(digest: str, key: MakerKey, intent: PayoutIntent) -> list[JsonValue]:
    times = ("" if each is None else str(each) for each in (intent.not_before, intent.expires_at))
    return [
        digest, key, intent.id, intent.client, intent.beneficiary, intent.destination_digest, intent.amount.asset,
        str(intent.amount.minor), intent.external_id, intent.replaces or "", *times,
    ]


def _read_intent(row: list[str]) -> KnownIntent:
    digest, key, payout, client, beneficiary, destination, asset, amount, external_id, replaces, *times = row
    not_before, expires = (Instant(int(each)) if each else None for each in times)
    intent = PayoutIntent(
        PayoutId(payout), ClientId(client), BeneficiaryId(beneficiary), DestinationDigest(destination),
        Amount(int(amount), AssetId(asset)), external_id, not_before, expires, PayoutId(replaces) if replaces else None,
    )
    return KnownIntent(digest, KeyId(key), intent)


def _read_paid(row: list[str]) -> Paid:
    (
        payout, client, key, beneficiary, asset, amount, network, address, external_id, replaces, run, reference,
        attended, young,
    ) = row
    return Paid(
        PayoutId(payout), ClientId(client), KeyId(key), BeneficiaryId(beneficiary), asset, int(amount), network,
        address, external_id, replaces, run, int(reference), attended == _YES, young == _YES,
    )


_APPLY: Final[dict[Kind, Callable[[Book, Fields, Reading], None]]] = {
    Kind.RESUMED: _resumed, Kind.CORRECTED: _corrected, Kind.DESTINATIONS: _destinations, Kind.INTENTS: _intents,
    Kind.RUN: _run, Kind.REQUEST: _request, Kind.SPEND: _spend, Kind.ABANDONED: _abandoned, Kind.TOMBSTONE: _tombstone,
    Kind.VOID: _void, Kind.ROTATED: _rotated,
}
