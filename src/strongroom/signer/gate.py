"""The gate: every signature of a payment key passes `decide`, and nothing else makes one.

The rules are asked in one order (`rules.Rule`); each refuses by its tag. `decide` changes nothing: it returns the
entry that must be in the journal, synced and cosigned by guard, before the signature is made. What was signed before
is taken from the book and never weighed again: it pays the same address the same amount, in an attempt that excludes
all earlier ones. Statements of the signer (requests, receipts) don't pass here: they move nothing.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import OrganisationId, is_person
from strongroom.domain.instant import DAY_MS
from strongroom.domain.money import AssetId
from strongroom.domain.policy import Counts, LimitScope, Policy, Tier, WalletRule
from strongroom.formats.coins import ChainTransaction, CoinsError
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.entry import Reading
from strongroom.protocol.guard_wire import RECOVERS, Lease
from strongroom.signer.approvals import Given, Weighed, check_approvals
from strongroom.signer.attempts import excludes, parent_of
from strongroom.signer.book import FEES, KINDS_OF, SWEEP_FEES, Attempt, Book, Paid, Payments, sums_of
from strongroom.signer.cover_evm import check_batch
from strongroom.signer.due import Due, Item, check_debt, check_destination, debts_of, due_now
from strongroom.signer.rules import Rule, refuse
from strongroom.signer.wallets import Wallet, Wallets, wallet_on

CHANGE_OUTPUTS_MAXIMUM: Final = 4
ITEMS_MAXIMUM: Final = 2_000


class Operation(StrEnum):
    PAY = "pay"
    BUMP = "bump"
    """The same payouts with a higher fee."""
    CANCEL = "cancel"
    """Inputs of an earlier attempt, back to change."""
    CHILD = "child"
    """Change of a payment back to change, for a fee that pays for both; it names the payouts of that payment."""
    CONSOLIDATE = "consolidate"
    """Own coins to change."""
    SWEEP = "sweep"
    """Everything to the one treasury address of the policy."""


_NAMES: Final = frozenset({Operation.PAY, Operation.BUMP, Operation.CHILD})
"""These name payouts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the engine wants signed. `paths` say which key each input is of: (generation, index)."""

    organisation: OrganisationId
    operation: Operation
    network: str
    transaction: bytes
    paths: tuple[tuple[int, int], ...]
    items: tuple[Item, ...]
    approvals: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """It may be signed once `entry` is journaled and cosigned; no entry if the same bytes were decided before."""

    transaction: ChainTransaction
    entry: dict[str, JsonValue] | None


def decide(book: Book, asked: Asked, lease: Lease, clock: Reading, wallets: Wallets) -> Decision:
    """Whether this may be signed. Raises: Refused with the first rule that doesn't hold."""
    payments, rule = _enter(book, asked, lease, clock)
    wallet = wallet_on(wallets, asked.network)
    transaction = _read(wallet, asked.transaction)
    dues = [due_now(payments, item, clock) for item in asked.items]
    by_word = _check_frozen(payments, asked, transaction, dues, clock)
    _check_inputs(asked, rule, transaction, wallet)
    parent = parent_of(payments, transaction, dues) if asked.operation is Operation.CHILD else None
    dues = dues if parent is None else []
    before = payments.attempts.get(transaction.identifier)
    if before is not None:
        if {each.payout for each in dues} != set(before.payouts) or before.operation != asked.operation:
            refuse(Rule.PAYOUT_ONCE, f"{transaction.identifier} was signed for other payouts")
        return Decision(transaction, None)
    _check_once(payments, asked, transaction, dues)
    weighed = weigh(payments, [each for each in dues if each.before is None], clock)
    party = book.genesis.relying_party
    browser_minor = check_approvals(payments, asked.approvals, weighed, party, clock)
    paid = [_paid(payments.standing.policy, each, clock) for each in weighed]
    fee_minor = _check_limits(payments, paid, rule, transaction, clock, asked.operation)
    change_next = _check_outputs(payments, asked, rule, transaction, dues, wallet)
    _check_fee(rule, transaction, parent)
    entry: dict[str, JsonValue] = {
        "browser_reference_minor": str(browser_minor), "change_next": change_next,
        "fee_reference_minor": str(fee_minor), "inputs": [[each] for each in transaction.spends],
        "items": [each.row() for each in paid], "network": asked.network, "operation": asked.operation.value,
        "organisation": asked.organisation, "payouts": [[each.payout] for each in dues], "uses_word": by_word,
        "transaction": transaction.identifier, "weight": [[str(transaction.fee), str(transaction.size)]],
    }
    return Decision(transaction, entry)


def _enter(book: Book, asked: Asked, lease: Lease, clock: Reading) -> tuple[Payments, WalletRule]:
    payments = book.organisations.get(asked.organisation)
    if payments is None:
        refuse(Rule.ORGANISATION_KNOWN, f"{asked.organisation} isn't known")
    alarms = payments.standing.alarms
    if lease is Lease.NONE or ((alarms or lease is Lease.RECOVER) and asked.operation not in RECOVERS):
        refuse(Rule.LEASE_FRESH, f"guard's lease is {lease.value}; alarms: {', '.join(sorted(alarms)) or 'none'}")
    lost = payments.lost
    if lost is not None and clock.at_least - lost.at_least < DAY_MS and asked.operation not in RECOVERS:
        refuse(Rule.LIMIT_WINDOW, "some of the journal was lost: all budgets count as spent for a day")
    if len(asked.items) not in (range(1, ITEMS_MAXIMUM + 1) if asked.operation in _NAMES else (0,)):
        refuse(Rule.OPERATION_KNOWN, f"{asked.operation.value} can't have {len(asked.items)} items")
    wallet = payments.standing.policy.wallets.get(asked.network)
    if wallet is None:
        refuse(Rule.BYTES_READ, f"the policy has no wallet on {asked.network}")
    return payments, wallet


def _read(wallet: Wallet, raw: bytes) -> ChainTransaction:
    try:
        return wallet.read(raw)
    except CoinsError as fault:
        refuse(Rule.BYTES_READ, str(fault))


def _check_frozen(
    payments: Payments, asked: Asked, transaction: ChainTransaction, dues: Sequence[Due], clock: Reading
) -> bool:
    """Whether it goes by an officer's word and uses it up, as it couldn't go without. Raises: Refused."""
    scopes = frozenset({f"network:{asked.network}"}).union(*(each.scopes for each in dues))
    frozen, swept = payments.standing.freezes(scopes), _on_its_way(payments, asked, transaction, clock)
    word, is_known = payments.words.get(asked.network), transaction.identifier in payments.attempts
    may_recover = asked.operation in RECOVERS and word is not None and (
        word.expires > clock.at_most and word.used_by == (transaction.identifier if is_known else "")
    )
    if frozen is not None and not may_recover:
        refuse(Rule.NOT_FROZEN, f"{frozen} is frozen")
    if swept is not None and not may_recover:
        refuse(Rule.SWEEP_ONCE, f"{swept} was swept within a day, and the chain could hold both")
    return frozen is not None or swept is not None


def _on_its_way(payments: Payments, asked: Asked, transaction: ChainTransaction, clock: Reading) -> str | None:
    """A sweep of the last day that the chain could hold besides this new one: nobody believed says what arrived."""
    if asked.operation is not Operation.SWEEP or transaction.identifier in payments.attempts:
        return None
    for earlier, at in payments.sweeps.get(asked.network, ()):
        attempt = payments.attempts.get(earlier)
        if attempt is not None and clock.at_least - at < DAY_MS and not excludes(payments, transaction, attempt):
            return earlier
    return None


def _check_once(payments: Payments, asked: Asked, transaction: ChainTransaction, dues: Sequence[Due]) -> None:
    payouts = {each.payout for each in dues}
    if len(payouts) != len(dues):
        refuse(Rule.PAYOUT_ONCE, "a payout stands in the request twice")
    is_vaults = transaction.vault is not None  # whose batches exclude each other by payout, where coins do as a whole
    check_batch(payments, transaction, [each.payout for each in dues])
    pairs = {(each if is_vaults else "", name) for each in payouts for name in payments.attempts_of.get(each, ())}
    for payout, earlier in pairs:
        attempt = payments.attempts[earlier]
        if not excludes(payments, transaction, attempt, payout):
            refuse(Rule.PAYOUT_ONCE, f"the chain could hold this and {earlier}, which pays the same")
        if asked.operation is Operation.BUMP and set(attempt.payouts) != payouts:
            refuse(Rule.PAYOUT_ONCE, f"{earlier} doesn't pay the same payouts")
    if asked.operation is Operation.BUMP and any(each.before is None for each in dues):
        refuse(Rule.PAYOUT_ONCE, "what was never signed can't be bumped")


def weigh(payments: Payments, dues: Sequence[Due], clock: Reading) -> list[Weighed]:
    """Worth and tier of each: by the largest of amount, run, and the day's sum to one address. Risk raises it, and a
    person who asked for it or named its destination."""
    policy, tiers = payments.standing.policy, payments.standing.policy.tiers
    weighed: list[Weighed] = []
    to_place: dict[Hashable, int] = {}
    debts: set[tuple[str, ...]] = set()
    for due in dues:
        known = check_destination(payments, due, clock)
        check_debt(payments, due.intent, known)
        place = (known.record.network, known.record.address)
        if not debts.isdisjoint(owed := debts_of(due.intent, known)):
            refuse(Rule.DEBT_ONCE, f"{due.intent.external_id!r} stands in the request twice")
        debts.update(owed)
        reference_minor = _reference_minor(policy, due, known.record.network)
        to_place[place] = to_place.get(place, 0) + reference_minor
        spent = payments.used(LimitScope.DESTINATION, Counts.ALL, place, DAY_MS, clock.at_least)
        worth = max(spent + to_place[place], _totals_reference_minor(payments, due.subject, due.totals))
        index = next((at for at, tier in enumerate(tiers) if worth <= tier.up_to_reference_minor), None)
        if index is None:
            refuse(Rule.LIMIT_TIER, f"{due.payout}: {worth} {policy.reference_currency} minor are above the last tier")
        is_young = clock.at_least - known.seen < policy.young_for_ms
        if is_young and reference_minor > policy.risk_above_reference_minor:
            index = min(index + 1, len(tiers) - 1)
        is_persons = is_person(due.intent.client) or is_person(known.declared_by)
        tier = with_people(tiers[index]) if is_persons else tiers[index]
        weighed.append(Weighed(due, known, reference_minor, tier))
    return weighed


def with_people(tier: Tier) -> Tier:
    """One approver at least: nobody pays alone what he asked for, or where he named."""
    return replace(tier, approvals=max(1, tier.approvals), groups=max(1, tier.groups))


def tier_of_run(payments: Payments, run: str) -> Tier:
    """What a run's sealed totals ask for; an item may ask for more. Raises: Refused above the last tier."""
    worth = _totals_reference_minor(payments, run, payments.runs[run].seal.totals)
    tier = next((each for each in payments.standing.policy.tiers if worth <= each.up_to_reference_minor), None)
    if tier is None:
        refuse(Rule.LIMIT_TIER, f"{run}: {worth} is above the last tier")
    return with_people(tier) if is_person(payments.runs[run].client) else tier


def _reference_minor(policy: Policy, due: Due, network: str) -> int:
    amount = due.intent.amount
    rule = policy.assets.get(amount.asset)
    if rule is None or rule.network != network or amount.minor > rule.maximum_minor:
        refuse(Rule.LIMIT_AMOUNT, f"{due.payout}: the policy doesn't pay {amount.minor} of {amount.asset} on {network}")
    return rule.reference_minor(amount.minor)


def _totals_reference_minor(payments: Payments, subject: str, totals: Mapping[str, int]) -> int:
    """What all of a run is worth at the most; 0 for a payout of its own."""
    rules = payments.standing.policy.assets
    if not totals.keys() <= rules.keys():
        refuse(Rule.LIMIT_AMOUNT, f"{subject}: the policy doesn't know all assets of the run")
    return sum(rules[AssetId(asset)].reference_minor(minor) for asset, minor in totals.items())


def _paid(policy: Policy, weighed: Weighed, clock: Reading) -> Paid:
    """How it will count. A declared destination counts as a young one."""
    due, record, intent = weighed.due, weighed.destination.record, weighed.due.intent
    is_young = clock.at_least - weighed.destination.seen < policy.young_for_ms
    return Paid(
        intent.id, intent.client, due.key, intent.beneficiary, intent.amount.asset, intent.amount.minor, record.network,
        record.address, intent.external_id, intent.replaces or "", due.subject if due.totals else "",
        weighed.reference_minor, weighed.tier.approvals > 0,
        is_young or record.destination_class is DestinationClass.DECLARED,
    )


def _check_limits(
    payments: Payments, paid: list[Paid], wallet: WalletRule, transaction: ChainTransaction, clock: Reading,
    operation: Operation,
) -> int:
    """The worth of the fee. Raises: Refused if a limit has no room for all of it."""
    policy, windows, now = payments.standing.policy, payments.windows, clock.at_least
    sums = sums_of(paid)
    for limit in policy.limits:
        added: Counter[Hashable] = Counter()
        for kind in KINDS_OF[limit.counts]:
            added.update(sums[limit.scope, kind])
        for key, new in added.items():
            if payments.used(limit.scope, limit.counts, key, limit.span_ms, now) + new > limit.maximum_reference_minor:
                refuse(Rule.LIMIT_WINDOW, f"{limit.name}: there is no room for {new} more now")
    for (run, asset), minor in _of_runs(paid).items():
        if payments.run_spent.get((run, asset), 0) + minor > payments.runs[run].seal.totals.get(asset, 0):
            refuse(Rule.LIMIT_WINDOW, f"{run}: more of {asset} than its client sealed")
    rule = policy.assets[wallet.fee_asset]
    fee_minor = rule.reference_minor(max(0, transaction.fee))
    fees, budget = FEES, policy.fee_budget_reference_minor
    if operation is Operation.SWEEP:
        fees, budget = SWEEP_FEES, policy.sweep_fee_budget_reference_minor
    if windows.used(fees, DAY_MS, now) + fee_minor > budget:
        refuse(Rule.LIMIT_FEES, f"the day's budget for fees has no room for {fee_minor}")
    return fee_minor


def _of_runs(paid: Sequence[Paid]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for each in paid:
        if each.run:
            sums[each.run, each.asset] = sums.get((each.run, each.asset), 0) + each.amount
    return sums


def _check_inputs(asked: Asked, rule: WalletRule, transaction: ChainTransaction, wallet: Wallet) -> None:
    if transaction.vault != rule.vault:
        refuse(Rule.BYTES_INPUTS, f"{transaction.vault} isn't the vault of the policy, {rule.vault}")
    if len(asked.paths) != len(transaction.inputs):
        refuse(Rule.BYTES_INPUTS, f"{len(asked.paths)} paths don't fit {len(transaction.inputs)} inputs")
    for coin, path in zip(transaction.inputs, asked.paths, strict=True):
        if coin.address != wallet.address(asked.organisation, *path):
            refuse(Rule.BYTES_INPUTS, f"{coin.outpoint} isn't a coin of this organisation's wallet")


def _check_outputs(
    payments: Payments, asked: Asked, rule: WalletRule, transaction: ChainTransaction, dues: Sequence[Due],
    wallet: Wallet,
) -> int:
    """Items first and in their order, then change; the index that change goes on from."""
    change_next, generation = payments.change_next.get(asked.network, 0), payments.generation(asked.network)
    for due, output in zip(dues, transaction.outputs, strict=False):
        place = due.place
        if place[0] != asked.network or due.asset != transaction.asset or output != (place[1], due.minor):
            refuse(Rule.BYTES_OUTPUTS, f"the output for {due.payout} isn't what its client signed")
        if output[1] < transaction.dust_minor:
            refuse(Rule.BYTES_OUTPUTS, f"{due.payout} is dust, which no node relays: all with it would be stuck")
    rest = transaction.outputs[len(dues) :]
    if len(transaction.outputs) < len(dues):
        refuse(Rule.BYTES_OUTPUTS, "an item has no output")
    if asked.operation is Operation.SWEEP:
        if len(rest) != 1 or rule.treasury is None or rest[0][0] != rule.treasury:
            refuse(Rule.BYTES_OUTPUTS, "a sweep pays the policy's treasury, and nothing else")
        return change_next
    most = CHANGE_OUTPUTS_MAXIMUM if transaction.vault is None else 0
    if len(rest) > most:
        refuse(Rule.BYTES_CHANGE, f"{len(rest)} outputs aren't items, and {most} may be change")
    for place_in_rest, (address, amount) in enumerate(rest):
        if address != wallet.address(asked.organisation, generation, change_next + place_in_rest):
            refuse(Rule.BYTES_CHANGE, f"{address} isn't the next address for change")
        if amount < transaction.dust_minor:
            refuse(Rule.BYTES_CHANGE, f"change of {amount} is dust")
    return change_next + len(rest)


def _check_fee(rule: WalletRule, transaction: ChainTransaction, parent: Attempt | None) -> None:
    """Of a child and its parent together, as whoever mines them gets both."""
    before, size = parent.weight if parent is not None else (0, 0)
    fee, size = before + transaction.fee, size + transaction.size
    if not before <= fee <= rule.fee_maximum_minor:
        refuse(Rule.BYTES_FEE, f"a fee of {fee} isn't from {before} to {rule.fee_maximum_minor}")
    if fee * 1_000 > rule.fee_rate_maximum * size:
        refuse(Rule.BYTES_FEE, f"a fee of {fee} for {size} bytes is above the rate of the policy")
