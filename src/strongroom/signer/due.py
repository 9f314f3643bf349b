"""What is to be paid, as the client asked for it: one payout, or an item of a sealed run with its proof.

Takes the engine's word for nothing: a payout was journaled when its signed request was verified, and an item must
stand in the tree that its client sealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import MakerKey, PayoutId
from strongroom.domain.permissions import Permission
from strongroom.protocol.entry import Reading
from strongroom.protocol.intent import PayoutIntent, read_run_item
from strongroom.protocol.merkle import MerkleError, leaf_hash, verify_inclusion
from strongroom.signer.book import KnownDestination, Paid, Payments
from strongroom.signer.rules import Rule, refuse

_NO_TOTALS: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Item:
    """What the engine names: a payout's id, or a run with a leaf of its tree and the leaf's proof."""

    payout: str = ""
    run: str = ""
    leaf: bytes = b""
    proof: tuple[bytes, ...] = ()


class Due(NamedTuple):
    """One payout that is to be signed. `before` is how it was signed first, if it was; then only that counts.

    `subject` is what people approve: the payout, or its whole run, of which `totals` are the sealed sums.
    """

    intent: PayoutIntent
    key: MakerKey
    subject: str
    destination: KnownDestination | None
    before: Paid | None
    totals: Mapping[str, int] = _NO_TOTALS

    @property
    def payout(self) -> PayoutId:
        return self.intent.id

    @property
    def asset(self) -> str:
        return self.intent.amount.asset if self.before is None else self.before.asset

    @property
    def minor(self) -> int:
        return self.intent.amount.minor if self.before is None else self.before.amount

    @property
    def place(self) -> tuple[str, str]:
        """Network and address: where the money goes. What was signed once goes there for ever."""
        if self.before is not None:
            return self.before.network, self.before.address
        if self.destination is None:
            return "", ""
        return self.destination.record.network, self.destination.record.address

    @property
    def scopes(self) -> frozenset[str]:
        """What a freeze could name to stop it."""
        whose = self.intent if self.before is None else self.before
        return frozenset({f"asset:{self.asset}", f"client:{whose.client}", f"beneficiary:{whose.beneficiary}"})


def due_now(payments: Payments, item: Item, clock: Reading) -> Due:
    """Raises: Refused if nobody asked for it, or it isn't alive any more."""
    found = asked_for(payments, item)
    intent = found.intent
    keys = {found.key} if found.before is None else {found.key, found.before.key}
    if not all(payments.standing.may_ask(key, Permission.PAYOUTS_CREATE, clock.at_least) for key in keys):
        refuse(Rule.INTENT_SCOPE, f"{intent.id}: who asked for it may not pay any more")
    new = () if found.before is not None else (intent.id, found.subject)
    if intent.id in payments.dead or not (payments.dead.isdisjoint(new) and payments.taken_back.isdisjoint(new)):
        refuse(Rule.INTENT_ALIVE, f"{intent.id} was cancelled or declined, or is void")
    if found.before is not None:
        return found
    if intent.expires_at is not None and intent.expires_at <= clock.at_most:
        refuse(Rule.INTENT_ALIVE, f"{intent.id} has expired")
    if intent.not_before is not None and intent.not_before > clock.at_least:
        refuse(Rule.INTENT_ALIVE, f"{intent.id} isn't wanted before its time")
    return found


def asked_for(payments: Payments, item: Item) -> Due:
    """Alive or not. Raises: Refused if nobody asked for it."""
    return _run_item(payments, item) if item.run else _single(payments, item.payout)


def check_debt(payments: Payments, intent: PayoutIntent, destination: KnownDestination) -> None:
    """An external id is paid once by a client to a destination; again only in place of one that is dead.

    What is replaced is dead wherever it would have been paid, and has one successor.
    """
    record = destination.record
    replaces = intent.replaces
    if replaces is not None and replaces not in payments.dead:
        refuse(Rule.DEBT_ONCE, f"{intent.id}: {replaces}, which it replaces, may still be paid")
    if replaces is not None and payments.replaced.get((intent.client, replaces), intent.id) != intent.id:
        refuse(Rule.DEBT_ONCE, f"{intent.id}: another payout stands in the place of {replaces} already")
    owed = payments.debts.get((intent.client, record.network, record.address, intent.external_id))
    if owed not in (None, intent.id) and owed != replaces:
        refuse(Rule.DEBT_ONCE, f"{intent.id}: {owed} owes {intent.external_id!r} already")


def debts_of(intent: PayoutIntent, destination: KnownDestination) -> list[tuple[str, ...]]:
    """What two payouts that come at once may not have in common: a debt, or what they replace."""
    record = destination.record
    debts: list[tuple[str, ...]] = [(intent.client, record.network, record.address, intent.external_id)]
    return debts if intent.replaces is None else [*debts, (intent.client, intent.replaces)]


def check_destination(payments: Payments, due: Due, clock: Reading) -> KnownDestination:
    """It is the version in force, and has cooled off. Raises: Refused."""
    known = due.destination
    if known is None or known.record.beneficiary != due.intent.beneficiary:
        refuse(Rule.DESTINATION_KNOWN, f"{due.payout}: its destination isn't one of its beneficiary's")
    cooling_ms = payments.standing.policy.cooling_off_ms[known.record.destination_class]
    if clock.at_least - known.seen < cooling_ms:
        refuse(Rule.DESTINATION_COOLED, f"{due.payout}: its destination is still cooling off")
    current = payments.in_force(known.record.beneficiary, clock.at_least)
    if current is not known:
        refuse(Rule.DESTINATION_CURRENT, f"{due.payout}: another version of its destination is in force")
    return known


def _single(payments: Payments, payout: str) -> Due:
    known = payments.intents.get(payout)
    if known is None:
        refuse(Rule.INTENT_SIGNED, f"no signed request for {payout!r} was seen here")
    destination = payments.destinations.get(known.intent.destination_digest)
    return Due(known.intent, known.key, known.intent.id, destination, payments.paid.get(known.intent.id))


def _run_item(payments: Payments, item: Item) -> Due:
    run = payments.runs.get(item.run)
    if run is None:
        refuse(Rule.INTENT_SIGNED, f"no sealed run {item.run!r} was seen here")
    try:
        intent = read_run_item(item.leaf, payments.standing.organisation, run.client)
        verify_inclusion(leaf_hash(item.leaf), intent.run_index or 0, run.seal.count, item.proof, run.seal.root)
    except (DocumentError, MerkleError) as fault:
        refuse(Rule.RUN_ITEM, f"an item of {item.run} doesn't stand in its tree: {fault}")
    if intent.run != item.run:
        refuse(Rule.RUN_ITEM, f"the item says that it is of {intent.run}")
    single = payments.intents.get(intent.id)
    if single is not None:
        refuse(Rule.INTENT_FIRST, f"{intent.id} was asked for by a request of its own first")
    destination = payments.destinations.get(intent.destination_digest)
    return Due(intent, run.key, item.run, destination, payments.paid.get(intent.id), run.seal.totals)
