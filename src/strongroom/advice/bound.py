"""The most that each attacker can take in 24 hours, computed from a policy and nothing else.

Sums are in minor units of the policy's reference currency, by its ceilings. What is computed is an upper bound of what
the signer's gate lets pass in any 24 hours, and is reached wherever money and addresses suffice; tests spend through
the real gate to compare. It says nothing of a signer that was taken over itself, nor of prices above the ceilings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from strongroom.advice.sums import span_text
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.instant import DAY_MS
from strongroom.domain.money import AssetId
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import AssetRule, Counts, Limit, LimitScope, Policy
from strongroom.protocol.roster import CredentialClass, Role, Roster


class Attacker(StrEnum):
    """Who attacks, by what it has."""

    NOTHING = "nothing, or a bearer key"
    PAYOUT_KEY = "a client's payout key"
    BOTH_KEYS = "a client's payout and declare keys"
    API = "the API's host, or the database"
    PERSON = "one person"
    CUSTODIAN = "a custodian who also approves"
    STATION = "the station's host"
    ENGINE = "the engine's socket to the signer"
    ALL_THREE = "API, database and engine at once"
    GUARD = "guard's host"
    SIGNER = "the signer's host"


@dataclass(frozen=True, slots=True)
class Most:
    """`reference_minor` None: the policy sets no bound. `native`: base units of each asset, if all goes out in it."""

    reference_minor: int | None
    because: str
    native: Mapping[AssetId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """`elsewhere` None: there is no difference between the attacker's own and other addresses."""

    attacker: Attacker
    own_address: Most
    elsewhere: Most | None


@dataclass(frozen=True, slots=True)
class Reach:
    """What an attacker has at hand: None where nobody knows how many, so that it counts as any number.

    `young_only`: it pays only destinations that are declared or young.
    """

    young_only: bool
    keys: int | None = None
    destinations: int | None = None


UNATTENDED: Final = frozenset({Counts.ALL, Counts.UNATTENDED})
YOUNG: Final = UNATTENDED | {Counts.UNATTENDED_YOUNG}
ATTENDED: Final = frozenset({Counts.ALL, Counts.ATTENDED})


def bounds(policy: Policy, roster: Roster | None = None, destinations: int | None = None) -> tuple[Row, ...]:
    """A row for every attacker. `destinations` is how many addresses could be paid at all, None for any number."""
    keys = most_payout_keys(roster)
    pays = unattended(policy, Reach(young_only=False, keys=1, destinations=destinations))
    declares = unattended(policy, Reach(young_only=True, keys=1, destinations=destinations))
    custodian = unattended(policy, Reach(young_only=False, keys=keys, destinations=destinations))
    custodian_own = unattended(policy, Reach(young_only=True, keys=keys, destinations=destinations))
    unasked = Most(0, "nobody asked for it with a client's key, so the signer signs nothing")
    unnamed = Most(0, "a key that pays declares no destination: only those that exist can be paid")
    shown = Most(0, "the same; payers who don't verify can be shown false funding addresses")
    fees = engine_fees(policy)
    asked = Most(0, "only what is validly asked for, once, in an order and at a time that it chooses")
    return (
        Row(Attacker.NOTHING, unasked, unasked),
        Row(Attacker.PAYOUT_KEY, unnamed, pays),
        Row(Attacker.BOTH_KEYS, _after_cooling(policy, declares), pays),
        Row(Attacker.API, unasked, shown),
        Row(Attacker.PERSON, *_person(policy, roster)),
        Row(Attacker.CUSTODIAN, _after_cooling(policy, custodian_own), custodian),
        Row(Attacker.STATION, browsers(policy, roster), None),
        Row(Attacker.ENGINE, fees, asked),
        Row(Attacker.ALL_THREE, _besides(fees), Most(0, "besides what the keys give that it holds")),
        Row(Attacker.GUARD, Most(0, "guard signs no payment; it can stop them"), None),
        Row(Attacker.SIGNER, Most(None, _hot_wallets(policy)), None),
    )


def unattended(policy: Policy, reach: Reach) -> Most:
    """What goes out in 24 hours without any person, however it is cut into payouts."""
    payable = payable_assets(policy)
    if not payable:
        return Most(0, "no asset has a wallet on its network, so nothing is paid")
    up_to = unattended_up_to(policy)
    if up_to == 0:
        return Most(0, "every payout needs people")
    counts = YOUNG if reach.young_only else UNATTENDED
    tier = "the tiers, to each address in a day without people"
    return _smallest(policy, counts, reach, [(up_to, tier)], [])


def browsers(policy: Policy, roster: Roster | None) -> Most:
    """What approvals by browser credentials alone release in 24 hours."""
    last = policy.tiers[-1]
    if last.approvals == 0:
        return Most(0, "no payout needs people, so there is nothing to mislead them about")
    if not payable_assets(policy):
        return Most(0, "no asset has a wallet on its network, so nothing is paid")
    if roster is not None and not _any_approves_by_browser(roster):
        return Most(0, "every approver signs on a terminal, which shows what it signs")
    to_each = (last.up_to_reference_minor, "the last tier, to each address in a day")
    cap = (policy.browser_release_reference_minor, "browser_release_reference_minor")
    most = _smallest(policy, ATTENDED, Reach(young_only=False), [to_each], [cap])
    misled = "a quorum that it misleads into a change of policy or roster is stopped by a veto only"
    return Most(most.reference_minor, f"{most.because}; {misled}", most.native)


def engine_fees(policy: Policy) -> Most:
    """What can be burnt as fees in 24 hours; a miner who colludes gets it."""
    budget, because = policy.fee_budget_reference_minor, "fee_budget_reference_minor"
    if any(wallet.treasury is not None for wallet in policy.wallets.values()):
        budget, because = budget + policy.sweep_fee_budget_reference_minor, f"{because}, and that of sweeps"
    payers = {wallet.fee_asset for wallet in policy.wallets.values()}
    if not payers:
        return Most(0, "there are no wallets, so there are no fees")
    native = {asset: _units(policy.assets[asset], budget) for asset in payers}
    return Most(budget, f"{because}, if it colludes with a miner", native)


def unattended_up_to(policy: Policy) -> int:
    """How much may go to one address in a day without people; 0 if nothing."""
    return max((tier.up_to_reference_minor for tier in policy.tiers if tier.approvals == 0), default=0)


def payable_assets(policy: Policy) -> tuple[AssetRule, ...]:
    """Those that have a wallet; others are taken as destinations and never signed."""
    return tuple(rule for rule in policy.assets.values() if rule.network in policy.wallets)


def day_maximum(limit: Limit) -> int:
    """The most that a limit lets pass in any 24 hours: a sliding hour fits into them 24 times, and no more."""
    return limit.maximum_reference_minor * (DAY_MS // limit.span_ms)


def most_payout_keys(roster: Roster | None) -> int | None:
    """How many keys that pay one client has at the most; None when there is no roster to say so."""
    if roster is None:
        return None
    return max(
        (sum(Permission.PAYOUTS_CREATE in key.scopes for key in client.keys) for client in roster.clients), default=0
    )


def _smallest(
    policy: Policy, counts: frozenset[Counts], reach: Reach, to_each: list[tuple[int, str]],
    caps: list[tuple[int, str]],
) -> Most:
    """The smallest cut between the wallets and the addresses: total, each asset, each address.

    By symmetry a cut that mixes hours, or addresses, is never smaller than one of these. An attacker is one client.
    """
    limits = [limit for limit in policy.limits if limit.counts in counts]
    asset_cap: tuple[int, str] | None = None
    for limit in limits:
        most, name = day_maximum(limit), _name(limit)
        match limit.scope:
            case LimitScope.ORGANISATION:
                caps.append((most, name))
            case LimitScope.CLIENT if Counts.ATTENDED not in counts:
                caps.append((most, name))
            case LimitScope.KEY if reach.keys is not None:
                caps.append((most * reach.keys, f"{name}, of {reach.keys} keys"))
            case LimitScope.DESTINATION:
                to_each.append((most, f"{name}, to each address"))
            case LimitScope.ASSET:
                asset_cap = min(asset_cap, (most, name)) if asset_cap is not None else (most, name)
            case _:
                pass  # people speak for no client, and nobody knows how many keys there are
    payable = payable_assets(policy)
    if asset_cap is not None:
        caps.append((asset_cap[0] * len(payable), f"{asset_cap[1]}, of {len(payable)} assets"))
    if reach.destinations is not None:
        least, name = min(to_each)
        caps.append((least * reach.destinations, f"{name}; {reach.destinations} addresses"))
    if not caps:
        return Most(None, "no limit adds it up: all that the wallets hold, one address after the other")
    least = min(value for value, _ in caps)
    because = " and ".join(dict.fromkeys(name for value, name in caps if value == least))
    by_asset = least if asset_cap is None else min(least, asset_cap[0])
    return Most(least, because, {rule.asset: _units(rule, by_asset) for rule in payable})


def _units(rule: AssetRule, reference_minor: int) -> int:
    """The most base units whose worth, rounded up, is within it: in one piece, as every piece is rounded up."""
    return reference_minor * rule.ceiling_units // rule.ceiling_reference_minor


def _name(limit: Limit) -> str:
    return repr(limit.name) if limit.span_ms == DAY_MS else f"24 times {limit.name!r}"


def _after_cooling(policy: Policy, most: Most) -> Most:
    if most.reference_minor == 0:
        return most
    cooling = span_text(policy.cooling_off_ms[DestinationClass.DECLARED])
    return Most(most.reference_minor, f"{most.because}; from {cooling} after it declared them", most.native)


def _besides(fees: Most) -> Most:
    return Most(fees.reference_minor, f"{fees.because}; besides what the keys give that it holds", fees.native)


def _person(policy: Policy, roster: Roster | None) -> tuple[Most, Most]:
    """Nothing alone, unless one person is a quorum: then it makes a policy of its own."""
    nothing = Most(0, "no role pays alone; it can freeze, and suspend one person a day")
    if roster is None:
        return nothing, nothing
    name = policy.governance.group
    threshold = next((group.threshold for group in roster.groups if group.name == name), None)
    if threshold != 1:
        return nothing, nothing
    delay = span_text(policy.governance.delay_ms)
    alone = Most(None, f"one of {name!r} is a quorum: it changes policy and roster, {delay} later if nobody vetoes")
    return alone, alone


def _any_approves_by_browser(roster: Roster) -> bool:
    return any(
        credential.credential_class is not CredentialClass.TERMINAL
        for person in roster.people if Role.APPROVER in person.roles for credential in person.credentials
    )


def _hot_wallets(policy: Policy) -> str:
    unswept = [wallet.network for wallet in policy.wallets.values() if wallet.treasury is None]
    text = "H: all that the hot wallets hold, which no policy bounds; sweep it, and keep it small"
    return text if not unswept else f"{text}. Nothing is swept on {', '.join(unswept)}"
