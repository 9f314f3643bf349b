"""What a new policy says otherwise than the old one, field by field, and which way it goes.

*Looser*: more may be paid, sooner, or by fewer people. *Tighter*: the reverse. *Look*: neither can be said, so
somebody has to look. Assets, limits and wallets are told apart by their names; tiers are compared by what a sum needs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from strongroom.advice.sums import asset_text, people_text, span_text, sum_text
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.policy import AssetRule, Counts, Limit, LimitScope, Policy, Tier, WalletRule


class Way(StrEnum):
    LOOSER = "looser"
    TIGHTER = "tighter"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Change:
    """`before` and `after` in words; None where there is nothing."""

    field: str
    before: str | None
    after: str | None
    way: Way


_COUNTED: Final[Mapping[Counts, frozenset[str]]] = {
    Counts.ALL: frozenset({"attended", "old", "young"}), Counts.ATTENDED: frozenset({"attended"}),
    Counts.UNATTENDED: frozenset({"old", "young"}), Counts.UNATTENDED_YOUNG: frozenset({"young"}),
}
_WIDER: Final[Mapping[LimitScope, frozenset[LimitScope]]] = {
    LimitScope.ORGANISATION: frozenset(LimitScope) - {LimitScope.ORGANISATION},
    LimitScope.CLIENT: frozenset({LimitScope.KEY}),
    LimitScope.KEY: frozenset(), LimitScope.DESTINATION: frozenset(), LimitScope.ASSET: frozenset(),
}
"""The scopes that add up over a part of what this one adds up over."""

_Name = TypeVar("_Name", bound=str)
_Rule = TypeVar("_Rule")


def differences(old: Policy, new: Policy) -> list[Change]:
    """In the order of the document's fields. Version and the version before aren't compared: they follow a rule."""
    return [
        *_look("organisation", old.organisation, new.organisation),
        *_look("reference_currency", old.reference_currency, new.reference_currency),
        *_assets(old, new),
        *_tiers(old, new),
        *_more_is_looser("risk.above_reference_minor", old.risk_above_reference_minor, new.risk_above_reference_minor,
                         _money(old), _money(new)),
        *_more_is_tighter("risk.young_for_ms", old.young_for_ms, new.young_for_ms, span_text),
        *_limits(old, new),
        *_more_is_looser("fee_budget_reference_minor", old.fee_budget_reference_minor, new.fee_budget_reference_minor,
                         _money(old), _money(new)),
        *_more_is_looser("sweep_fee_budget_reference_minor", old.sweep_fee_budget_reference_minor,
                         new.sweep_fee_budget_reference_minor, _money(old), _money(new)),
        *_more_is_looser("browser_release_reference_minor", old.browser_release_reference_minor,
                         new.browser_release_reference_minor, _money(old), _money(new)),
        *(change for each in DestinationClass for change in _more_is_tighter(
            f"cooling_off_ms.{each}", old.cooling_off_ms[each], new.cooling_off_ms[each], span_text)),
        *_more_is_looser("intent_maximum_age_ms", old.intent_maximum_age_ms, new.intent_maximum_age_ms, span_text,
                         span_text),
        *_wallets(old, new),
        *_look("governance.group", old.governance.group, new.governance.group),
        *_more_is_tighter("governance.delay_ms", old.governance.delay_ms, new.governance.delay_ms, span_text),
    ]


def _assets(old: Policy, new: Policy) -> Iterator[Change]:
    for asset, before, after in _pairs(old.assets, new.assets):
        field = f"assets[{asset}]"
        if before is None or after is None:
            symbols = [rule.symbol if rule else None for rule in (before, after)]
            yield _came_or_went(field, symbols[0], symbols[1], Way.LOOSER)
            continue
        for name in ("symbol", "decimals", "network"):
            yield from _look(f"{field}.{name}", str(getattr(before, name)), str(getattr(after, name)))
        yield from _more_is_looser(
            f"{field}.maximum_minor", before.maximum_minor, after.maximum_minor, _units(before), _units(after)
        )
        yield from _ceiling(f"{field}.ceiling", before, after, old, new)


def _ceiling(field: str, before: AssetRule, after: AssetRule, old: Policy, new: Policy) -> Iterator[Change]:
    """An asset that counts for less passes every limit more easily."""
    was = before.ceiling_reference_minor * after.ceiling_units
    is_now = after.ceiling_reference_minor * before.ceiling_units
    texts = [
        f"{_units(rule)(rule.ceiling_units)} is at most {_money(policy)(rule.ceiling_reference_minor)}"
        for rule, policy in ((before, old), (after, new))
    ]
    if was != is_now:
        yield Change(field, texts[0], texts[1], Way.LOOSER if is_now < was else Way.TIGHTER)


def _tiers(old: Policy, new: Policy) -> Iterator[Change]:
    """For each range of sums in which it differs: what it needed, and what it needs now."""
    edges = sorted({tier.up_to_reference_minor for policy in (old, new) for tier in policy.tiers})
    below = 0
    runs: list[tuple[int, int, Tier | None, Tier | None]] = []
    for edge in edges:
        before, after = _tier(old, edge), _tier(new, edge)
        if runs and _needs(runs[-1][2]) == _needs(before) and _needs(runs[-1][3]) == _needs(after):
            runs[-1] = (runs[-1][0], edge, before, after)
        else:
            runs.append((below, edge, before, after))
        below = edge
    for low, high, before, after in runs:
        was, is_now = _needs(before), _needs(after)
        if was == is_now:
            continue
        money = _money(new)
        field = f"tiers: up to {money(high)}" if low == 0 else f"tiers: above {money(low)} to {money(high)}"
        looser = after is not None and (before is None or (is_now[0] <= was[0] and is_now[1] <= was[1]))
        tighter = after is None or (before is not None and is_now[0] >= was[0] and is_now[1] >= was[1])
        way = Way.LOOSER if looser else Way.TIGHTER if tighter else Way.LOOK
        yield Change(field, _asks(before), _asks(after), way)


def _tier(policy: Policy, worth: int) -> Tier | None:
    return next((tier for tier in policy.tiers if worth <= tier.up_to_reference_minor), None)


def _needs(tier: Tier | None) -> tuple[int, int]:
    return (-1, -1) if tier is None else (tier.approvals, tier.groups)


def _asks(tier: Tier | None) -> str:
    return "refused" if tier is None else people_text(tier.approvals, tier.groups)


def _limits(old: Policy, new: Policy) -> Iterator[Change]:
    before_by_name, after_by_name = ({limit.name: limit for limit in policy.limits} for policy in (old, new))
    for name, before, after in _pairs(before_by_name, after_by_name):
        texts = [_limit_text(policy, limit) if limit else None for policy, limit in ((old, before), (new, after))]
        field = f"limits[{name}]"
        if before is None or after is None:
            yield _came_or_went(field, texts[0], texts[1], Way.TIGHTER)
        elif before != after:
            yield Change(field, texts[0], texts[1], _way_of_limit(before, after))


def _way_of_limit(before: Limit, after: Limit) -> Way:
    """By all four of its fields: it is looser only if none of them makes it tighter."""
    found = (
        _way(after.maximum_reference_minor - before.maximum_reference_minor),
        _way(before.span_ms - after.span_ms),
        _way_of_sets(_COUNTED[before.counts], _COUNTED[after.counts]),
        _way_of_scope(before.scope, after.scope),
    )
    ways = {way for way in found if way is not None}
    return ways.pop() if len(ways) == 1 else Way.LOOK


def _way(more: int) -> Way | None:
    return None if more == 0 else Way.LOOSER if more > 0 else Way.TIGHTER


def _way_of_sets(before: frozenset[str], after: frozenset[str]) -> Way | None:
    if before == after:
        return None
    return Way.LOOSER if after < before else Way.TIGHTER if after > before else Way.LOOK


def _way_of_scope(before: LimitScope, after: LimitScope) -> Way | None:
    if before is after:
        return None
    return Way.LOOSER if after in _WIDER[before] else Way.TIGHTER if before in _WIDER[after] else Way.LOOK


def _limit_text(policy: Policy, limit: Limit) -> str:
    over = {LimitScope.ORGANISATION: "in all"}.get(limit.scope, f"for each {limit.scope}")
    counts = {
        Counts.ALL: "payouts", Counts.UNATTENDED: "payouts without people", Counts.ATTENDED: "payouts with people",
        Counts.UNATTENDED_YOUNG: "payouts without people to declared or young destinations",
    }[limit.counts]
    return f"{_money(policy)(limit.maximum_reference_minor)} of {counts} in {span_text(limit.span_ms)}, {over}"


def _wallets(old: Policy, new: Policy) -> Iterator[Change]:
    for network, before, after in _pairs(old.wallets, new.wallets):
        field = f"wallets[{network}]"
        if before is None or after is None:
            yield _came_or_went(field, _fees(old, before), _fees(new, after), Way.LOOSER)
            continue
        yield from _look(f"{field}.fee_asset", before.fee_asset, after.fee_asset)
        texts = (_units(old.assets[before.fee_asset]), _units(new.assets[after.fee_asset]))
        yield from _more_is_looser(
            f"{field}.fee_maximum_minor", before.fee_maximum_minor, after.fee_maximum_minor, *texts
        )
        yield from _more_is_looser(f"{field}.fee_rate_maximum", before.fee_rate_maximum, after.fee_rate_maximum, *texts)
        yield from _more_is_tighter(f"{field}.finality_blocks", before.finality_blocks, after.finality_blocks, str)
        yield from _look(f"{field}.treasury", before.treasury or "no sweeps", after.treasury or "no sweeps")


def _fees(policy: Policy, wallet: WalletRule | None) -> str | None:
    if wallet is None:
        return None
    return f"fees up to {_units(policy.assets[wallet.fee_asset])(wallet.fee_maximum_minor)} a chain transaction"


def _pairs(
    old: Mapping[_Name, _Rule], new: Mapping[_Name, _Rule]
) -> Iterator[tuple[_Name, _Rule | None, _Rule | None]]:
    for name in {**old, **new}:
        yield name, old.get(name), new.get(name)


def _came_or_went(field: str, before: str | None, after: str | None, came: Way) -> Change:
    went = Way.TIGHTER if came is Way.LOOSER else Way.LOOSER
    return Change(field, before, after, came if before is None else went)


def _look(field: str, before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield Change(field, before, after, Way.LOOK)


def _more_is_looser(
    field: str, before: int, after: int, text_before: Callable[[int], str], text_after: Callable[[int], str]
) -> Iterator[Change]:
    if before != after:
        yield Change(field, text_before(before), text_after(after), Way.LOOSER if after > before else Way.TIGHTER)


def _more_is_tighter(field: str, before: int, after: int, text: Callable[[int], str]) -> Iterator[Change]:
    if before != after:
        yield Change(field, text(before), text(after), Way.TIGHTER if after > before else Way.LOOSER)


def _money(policy: Policy) -> Callable[[int], str]:
    return lambda minor: f"{sum_text(minor, policy.reference_currency)} {policy.reference_currency}"


def _units(rule: AssetRule) -> Callable[[int], str]:
    return lambda minor: asset_text(minor, rule)
