"""What a policy may say and had better not: opinions for the people who write one. The signer has none of them.

Each warning names the field, says what can happen, and compares with the numbers of this same policy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from strongroom.advice.bound import (
    YOUNG,
    Most,
    Reach,
    browsers,
    engine_fees,
    payable_assets,
    unattended,
    unattended_up_to,
)
from strongroom.advice.sums import span_text, sum_text
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.domain.policy import Counts, LimitScope, Policy

PARTS_OF_B: Final = 10
"""What one address gets without people, and what fees may cost, is unwise above this part of B."""
COOLING_OFF_WISE_MS: Final = HOUR_MS
DELAY_WISE_MS: Final = DAY_MS
INTENT_AGE_WISE_MS: Final = 7 * DAY_MS
WORTH_MAXIMUM: Final = 10**9
"""Minor units of a reference currency that one whole unit of an asset is hardly worth."""
FINALITY_WISE_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Warned:
    field: str
    reason: str


def warnings(policy: Policy) -> list[Warned]:
    """In the order of the document's fields."""
    return [each for look in _LOOKS for each in look(policy)]


def _versions(policy: Policy) -> Iterator[Warned]:
    if (policy.version == 1) != (policy.previous is None):
        yield Warned("previous", "is null in version 1, and the hash of the version before in all others")


def _assets(policy: Policy) -> Iterator[Warned]:
    payable = {rule.asset for rule in payable_assets(policy)}
    for at, rule in enumerate(policy.assets.values()):
        if rule.asset not in payable:
            yield Warned(f"assets[{at}].network", f"no wallet is on {rule.network}: {rule.symbol} is never paid")
        whole = 10**rule.decimals * rule.ceiling_reference_minor
        if whole < rule.ceiling_units or whole > WORTH_MAXIMUM * rule.ceiling_units:
            worth = sum_text(rule.reference_minor(10**rule.decimals), policy.reference_currency)
            yield Warned(
                f"assets[{at}].ceiling",
                f"one whole {rule.symbol} counts as {worth} {policy.reference_currency}, far from the usual: "
                "are units and decimals right?",
            )


def _tiers(policy: Policy) -> Iterator[Warned]:
    up_to, all_of_it = unattended_up_to(policy), _b(policy).reference_minor
    if up_to == policy.tiers[-1].up_to_reference_minor:
        yield Warned("tiers", "no sum ever needs a person")
    elif all_of_it is not None and up_to * PARTS_OF_B > all_of_it:
        yield Warned(
            "tiers", f"one address gets {_money(policy, up_to)} a day without people, of {_money(policy, all_of_it)} "
            "for all: a stolen key needs few addresses"
        )


def _risk(policy: Policy) -> Iterator[Warned]:
    up_to, above = unattended_up_to(policy), policy.risk_above_reference_minor
    tiers = policy.tiers
    if len(tiers) == 1 or above >= tiers[-2].up_to_reference_minor:
        yield Warned("risk.above_reference_minor", "raises no tier: only the last one is above it")
    elif above < up_to:
        yield Warned(
            "risk.above_reference_minor",
            f"weighs each payout for itself: a young destination still gets {_money(policy, up_to)} a day without "
            "people, in small pieces",
        )
    declared_ms = policy.cooling_off_ms[DestinationClass.DECLARED]
    if policy.young_for_ms <= declared_ms:
        yield Warned("risk.young_for_ms", "has passed when cooling-off ends: no declared destination is ever young")


def _limits(policy: Policy) -> Iterator[Warned]:
    both, all_of_it = unattended(policy, Reach(young_only=True, keys=1)), _b(policy)
    if all_of_it.reference_minor is None:
        yield Warned("limits", "none adds up what goes out without people (B): a stolen key takes all that there is")
    if unattended_up_to(policy) == 0:
        return
    counted = [limit for limit in policy.limits if limit.counts in YOUNG]
    scopes = {limit.scope for limit in counted}
    if not any(limit.counts is Counts.UNATTENDED_YOUNG for limit in counted):
        yield Warned("limits", "none is for declared or young destinations (D)")
    elif both.reference_minor is not None and both.reference_minor == all_of_it.reference_minor:
        yield Warned(
            "limits", f"D holds back nothing: with both keys of a client all {_money(policy, both.reference_minor)} a "
            "day may go to addresses that a thief declared"
        )
    if LimitScope.CLIENT not in scopes:
        yield Warned("limits", "none is of a client (K): one client may spend what all share")
    if LimitScope.KEY not in scopes:
        yield Warned("limits", "none is of a key: one stolen key may spend all of its client's")
    if all(limit.span_ms != HOUR_MS for limit in counted):
        yield Warned("limits", "none is of an hour: a day's budget can be gone before anybody looks")


def _fees(policy: Policy) -> Iterator[Warned]:
    budget, all_of_it = policy.fee_budget_reference_minor, _b(policy).reference_minor
    if engine_fees(policy).reference_minor and all_of_it and budget * PARTS_OF_B > all_of_it:
        yield Warned(
            "fee_budget_reference_minor",
            f"{_money(policy, budget)} a day are much beside the {_money(policy, all_of_it)} that need no people",
        )


def _browsers(policy: Policy) -> Iterator[Warned]:
    last, browser = policy.tiers[-1], policy.browser_release_reference_minor
    if last.approvals and browsers(policy, None).reference_minor and browser >= last.up_to_reference_minor:
        yield Warned(
            "browser_release_reference_minor",
            f"isn't below the last tier ({_money(policy, last.up_to_reference_minor)}): browsers alone release even "
            "the largest payout",
        )


def _times(policy: Policy) -> Iterator[Warned]:
    for each in DestinationClass:
        cooling_ms = policy.cooling_off_ms[each]
        if cooling_ms < COOLING_OFF_WISE_MS:
            length = span_text(cooling_ms)
            yield Warned(f"cooling_off_ms.{each}", f"is {length}: nobody notices a false destination in that time")
    if policy.intent_maximum_age_ms > INTENT_AGE_WISE_MS:
        age = span_text(policy.intent_maximum_age_ms)
        yield Warned("intent_maximum_age_ms", f"a request that somebody withheld is still good after {age}")
    if policy.governance.delay_ms < DELAY_WISE_MS:
        delay = span_text(policy.governance.delay_ms)
        yield Warned("governance.delay_ms", f"leaves {delay} to veto a change of policy or roster")


def _wallets(policy: Policy) -> Iterator[Warned]:
    for at, wallet in enumerate(policy.wallets.values()):
        field, rule = f"wallets[{at}]", policy.assets[wallet.fee_asset]
        if all(each.network != wallet.network for each in policy.assets.values()):
            yield Warned(f"{field}.network", f"no asset is paid on {wallet.network}")
        if rule.network != wallet.network:
            yield Warned(f"{field}.fee_asset", f"{rule.symbol} is on {rule.network}, and pays no fees here")
        if wallet.finality_blocks < FINALITY_WISE_BLOCKS:
            yield Warned(f"{field}.finality_blocks", "is 1: an ordinary reorg takes back what was called settled")
        if wallet.treasury is None:
            yield Warned(f"{field}.treasury", "is null: what the hot wallet holds can't be swept to safety")
        elif policy.sweep_fee_budget_reference_minor == 0:
            yield Warned("sweep_fee_budget_reference_minor", "is missing: sweeps may cost nothing, so there are none")
        if rule.reference_minor(wallet.fee_maximum_minor) > policy.fee_budget_reference_minor:
            yield Warned(f"{field}.fee_maximum_minor", "is more than the fee budget of a day")


def _b(policy: Policy) -> Most:
    """All that may go out without people in a day."""
    return unattended(policy, Reach(young_only=False, keys=1))


def _money(policy: Policy, minor: int) -> str:
    return f"{sum_text(minor, policy.reference_currency)} {policy.reference_currency}"


_LOOKS: Final[tuple[Callable[[Policy], Iterator[Warned]], ...]] = (
    _versions, _assets, _tiers, _risk, _limits, _fees, _browsers, _times, _wallets,
)
