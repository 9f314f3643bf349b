"""Whether a payout that was asked for is taken, what people it needs, and what it waits for.

The API's estimate of what the signer will say, from the API's own record: it keeps a client from waiting for
what can never be, and money from being promised twice. It protects nothing against a hostile API; the signer
decides again, by its own journal and clock.

A payout is *counted*, that is reserved in the ledger and added to the windows, when nothing but time stands
in its way. One that waits for room, money or people's leave is recorded and not counted.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.destination import Destination
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import ClientId, KeyId, is_person
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.money import Amount
from strongroom.domain.payout import Hold, HoldReason
from strongroom.domain.policy import Counts, Limit, LimitScope, Policy, Tier
from strongroom.domain.velocity import Windows
from strongroom.domain.velocity_wait import fits_at

FUNDS_RETRY_MS: Final = 60_000
"""When it is worth asking again for money that isn't there; nobody knows when it comes."""

COUNTED_HOLDS: Final = frozenset({HoldReason.COOLING, HoldReason.NOT_BEFORE})

ON_HOLD_CODE: Final[dict[HoldReason, Code]] = {
    HoldReason.FREEZE: Code.FROZEN,
    HoldReason.COOLING: Code.BENEFICIARY_COOLING,
    HoldReason.LIMIT_WINDOW: Code.LIMIT_WINDOW,
    HoldReason.FUNDS: Code.INSUFFICIENT_FUNDS,
}


class Subject(NamedTuple):
    """One payout as the policy sees it.

    `payable_from` is when the destination named may be paid: its cooling-off, or the wait for an earlier
    version. `run_total_reference_minor` is the worth of the whole run, None for a single payout, and
    `worth_of_unsealed_run` before the seal is there.
    """

    client: ClientId
    key: KeyId
    amount: Amount
    destination: Destination
    payable_from: Instant
    not_before: Instant | None = None
    run_total_reference_minor: int | None = None


class Funds(NamedTuple):
    """What the wallet of the asset still has, reservations taken off; base units."""

    available_minor: int
    frozen: bool


class Admitted(NamedTuple):
    """Taken: `hold` is None when nothing stands in the way but people's approvals."""

    reference_minor: int
    tier: Tier
    hold: Hold | None
    counted: bool
    meets: tuple[tuple[Limit, Hashable], ...]
    """The limits that count it, each with the key of its window."""
    limit: str | None = None
    """The name of the limit that made it wait."""


@dataclass(frozen=True, slots=True)
class _Full:
    """A limit that has no room now; `retry_at` None when it never will."""

    name: str
    retry_at: Instant | None


def refuse_amount(policy: Policy, amount: Amount, network: str | None) -> Refusal | None:
    """What the policy never pays, whoever asks. `network` is the destination's, None when it isn't known."""
    rule = policy.assets.get(amount.asset)
    if rule is None:
        return Refusal(Code.ASSET_UNKNOWN, f"the policy has no asset {amount.asset}", "asset")
    if network is not None and rule.network != network:
        detail = f"{rule.symbol} is paid on {rule.network}, and this destination is on {network}"
        return Refusal(Code.NETWORK_MISMATCH, detail, "asset")
    if amount.minor > rule.maximum_minor:
        detail = f"is above {rule.maximum_minor} base units, the most that one payout of {rule.symbol} may be"
        return Refusal(Code.AMOUNT_OUT_OF_RANGE, detail, "amount")
    return None


def admit(
    policy: Policy, subject: Subject, funds: Funds, windows: Windows, now: Instant
) -> Admitted | Refusal:
    """Decide about one payout. Nothing is counted yet: `count` does that once it is sure to be recorded.

    Order: what can never be, then freeze, cooling, limits, funds, and the client's own `not_before`.
    """
    refusal = refuse_amount(policy, subject.amount, subject.destination.network)
    if refusal is not None:
        return refusal
    reference_minor = policy.assets[subject.amount.asset].reference_minor(subject.amount.minor)
    worth = max(reference_minor, subject.run_total_reference_minor or 0)
    ceiling = policy.tiers[-1].up_to_reference_minor
    if worth > ceiling:
        detail = f"is worth {worth} minor units of {policy.reference_currency}; the policy allows {ceiling} at most"
        return Refusal(Code.LIMIT_EXCEEDED, detail, "amount")
    tier, full = _tier(policy, subject, reference_minor, windows, now)
    meets = limits_met(policy, subject, tier, now)
    if full is None:
        full = _full_limit(meets, reference_minor, windows, now)
    hold = _first_hold(subject, funds, full, now)
    enough = full is None and not funds.frozen and funds.available_minor >= subject.amount.minor
    counted = enough and (hold is None or hold.reason in COUNTED_HOLDS)
    return Admitted(reference_minor, tier, hold, counted, meets, full.name if full is not None else None)


def worth_of_unsealed_run(policy: Policy) -> int:
    """What a run is taken to be worth before its seal says so: enough to need people, where the policy
    ever asks any."""
    return min(policy.tiers[0].up_to_reference_minor + 1, policy.tiers[-1].up_to_reference_minor)


def count(subject: Subject, admitted: Admitted, windows: Windows, at: Instant) -> None:
    """Add an admitted payout to every window that it belongs to, if it counts at all."""
    if admitted.counted:
        _add(subject, admitted, windows, at, admitted.reference_minor)


def take_back(subject: Subject, admitted: Admitted, windows: Windows, at: Instant) -> None:
    """Undo a `count` of this same instant, for something that is not recorded after all."""
    if admitted.counted:
        _add(subject, admitted, windows, at, -admitted.reference_minor)


def limits_met(
    policy: Policy, subject: Subject, tier: Tier, now: Instant
) -> tuple[tuple[Limit, Hashable], ...]:
    """The limits that count this payout, each with the key of its window."""
    attended = tier.approvals > 0
    return tuple(
        (limit, (limit.name, _scope_key(limit.scope, subject)))
        for limit in policy.limits
        if _counts(limit.counts, policy, subject, attended, now)
    )


def refusal_of_hold(hold: Hold, now: Instant) -> Refusal | None:
    """What a client hears that doesn't want to wait; None for its own `not_before`."""
    if hold.reason is HoldReason.NOT_BEFORE:
        return None
    retry_after_ms = max(0, hold.retry_at - now) if hold.retry_at is not None else None
    code = ON_HOLD_CODE.get(hold.reason, Code.HELD)
    detail = f"it would be held ({hold.reason}), and on_hold asks to refuse instead"
    return Refusal(code, detail, None, retry_after_ms)


def is_young(policy: Policy, destination: Destination, now: Instant) -> bool:
    return now - destination.created_at < policy.young_for_ms


def _tier(
    policy: Policy, subject: Subject, reference_minor: int, windows: Windows, now: Instant
) -> tuple[Tier, _Full | None]:
    """By the largest of the amount, the run's total, and a day's sum to the same destination; risk raises it. What a
    person asks for, or named, needs somebody.

    A day's sum above the last tier is a full limit: the payout may go when the window has moved on.
    """
    tiers = policy.tiers
    key = _destination_key(subject)
    summed = reference_minor + windows.used(key, DAY_MS, now)
    worth = max(summed, subject.run_total_reference_minor or 0)
    ceiling = tiers[-1].up_to_reference_minor
    if worth > ceiling:
        retry_at = fits_at(windows, key, DAY_MS, reference_minor, ceiling, now)
        return tiers[-1], _Full("the last tier, to one destination in a day", retry_at)
    index = next(index for index, tier in enumerate(tiers) if worth <= tier.up_to_reference_minor)
    if reference_minor > policy.risk_above_reference_minor and is_young(policy, subject.destination, now):
        index = min(index + 1, len(tiers) - 1)
    tier = tiers[index]
    if is_person(subject.client) or is_person(subject.destination.declared_by):
        tier = replace(tier, approvals=max(1, tier.approvals), groups=max(1, tier.groups))
    return tier, None


def _full_limit(
    meets: tuple[tuple[Limit, Hashable], ...], reference_minor: int, windows: Windows, now: Instant
) -> _Full | None:
    """The limit that keeps it waiting longest."""
    longest: _Full | None = None
    for limit, key in meets:
        at = fits_at(windows, key, limit.span_ms, reference_minor, limit.maximum_reference_minor, now)
        if at is None:
            return _Full(limit.name, None)
        if at > now and (longest is None or longest.retry_at is None or at > longest.retry_at):
            longest = _Full(limit.name, at)
    return longest


def _first_hold(subject: Subject, funds: Funds, full: _Full | None, now: Instant) -> Hold | None:
    if funds.frozen:
        return Hold(HoldReason.FREEZE, None)
    if subject.payable_from > now:
        return Hold(HoldReason.COOLING, subject.payable_from)
    if full is not None:
        return Hold(HoldReason.LIMIT_WINDOW, full.retry_at)
    if funds.available_minor < subject.amount.minor:
        return Hold(HoldReason.FUNDS, Instant(now + FUNDS_RETRY_MS))
    if subject.not_before is not None and subject.not_before > now:
        return Hold(HoldReason.NOT_BEFORE, subject.not_before)
    return None


def _add(subject: Subject, admitted: Admitted, windows: Windows, at: Instant, value: int) -> None:
    windows.add(_destination_key(subject), DAY_MS, value, at)
    for limit, key in admitted.meets:
        windows.add(key, limit.span_ms, value, at)


def _counts(counts: Counts, policy: Policy, subject: Subject, attended: bool, now: Instant) -> bool:
    if counts is Counts.ALL:
        return True
    if counts is Counts.ATTENDED:
        return attended
    if counts is Counts.UNATTENDED:
        return not attended
    declared = subject.destination.destination_class is DestinationClass.DECLARED
    return not attended and (declared or is_young(policy, subject.destination, now))


def _scope_key(scope: LimitScope, subject: Subject) -> Hashable:
    if scope is LimitScope.ORGANISATION:
        return None
    if scope is LimitScope.CLIENT:
        return subject.client
    if scope is LimitScope.KEY:
        return subject.key
    if scope is LimitScope.DESTINATION:
        return _destination_key(subject)
    return subject.amount.asset


def _destination_key(subject: Subject) -> Hashable:
    """Where the money ends up, whichever beneficiary it goes under."""
    return subject.destination.network, subject.destination.address
