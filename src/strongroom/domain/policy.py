"""The policy of one organisation: the document `strongroom/policy/v1`, parsed. `admission` decides by it.

Closed form and integers only: every bound can be read off the page. Values of different assets are compared
in minor units of one reference currency, by conservative ceilings that stand in the document; no price feed
is asked. Versions are chained: each names the hash of the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, parse_organisation_id
from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.domain.money import AssetId

POLICY_TYPE: Final = "strongroom/policy/v1"
ASSETS_MAXIMUM: Final = 64
TIERS_MAXIMUM: Final = 8
LIMITS_MAXIMUM: Final = 64
WALLETS_MAXIMUM: Final = 64
APPROVALS_MAXIMUM: Final = 16
COOLING_OFF_MAXIMUM_MS: Final = 90 * DAY_MS
INTENT_AGE_MAXIMUM_MS: Final = 30 * DAY_MS
CHANGE_DELAY_MAXIMUM_MS: Final = 30 * DAY_MS
FINALITY_MAXIMUM_BLOCKS: Final = 10_000
SWEEP_FEES: Final = "sweep_fee_budget_reference_minor"


class LimitScope(StrEnum):
    """What a limit adds up over: all of the organisation, or each one of these for itself."""

    ORGANISATION = "organisation"
    CLIENT = "client"
    KEY = "key"
    DESTINATION = "destination"
    ASSET = "asset"


class Counts(StrEnum):
    """Which payouts a limit counts. Unattended: no person approves. Young: declared, or not long there."""

    ALL = "all"
    UNATTENDED = "unattended"
    UNATTENDED_YOUNG = "unattended_young"
    ATTENDED = "attended"


@dataclass(frozen=True, slots=True)
class AssetRule:
    """One asset: `units` base units are never worth more than `reference_minor` of the reference currency."""

    asset: AssetId
    symbol: str
    decimals: int
    network: str
    maximum_minor: int
    ceiling_units: int
    ceiling_reference_minor: int

    def reference_minor(self, minor: int) -> int:
        """What `minor` base units are worth at the most, rounded up."""
        return -(-minor * self.ceiling_reference_minor // self.ceiling_units)


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and including this worth, so many different people from so many groups must approve."""

    up_to_reference_minor: int
    approvals: int
    groups: int


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may go out in a sliding window; `span_ms` is an hour or a day."""

    name: str
    scope: LimitScope
    counts: Counts
    span_ms: int
    maximum_reference_minor: int


@dataclass(frozen=True, slots=True)
class WalletRule:
    """The hot wallet of one network: what a chain transaction from it may cost, and where a sweep may go.

    `fee_asset` pays the fees; `fee_rate_maximum` is in its base units for 1,000 bytes, or of gas. `treasury` None: no
    sweeps. `vault` is the contract that holds the money, where there is one.
    """

    network: str
    fee_asset: AssetId
    fee_maximum_minor: int
    fee_rate_maximum: int
    finality_blocks: int
    treasury: str | None
    vault: str | None = None


@dataclass(frozen=True, slots=True)
class Governance:
    """Whose quorum changes roster and policy, unfreezes and releases; a change waits `delay_ms` for a veto."""

    group: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Policy:
    organisation: OrganisationId
    version: int
    previous: str | None
    reference_currency: str
    assets: Mapping[AssetId, AssetRule]
    tiers: tuple[Tier, ...]
    risk_above_reference_minor: int
    young_for_ms: int
    limits: tuple[Limit, ...]
    fee_budget_reference_minor: int
    sweep_fee_budget_reference_minor: int
    """Sweeps' own, so that nobody who burns the other keeps money from being saved; 0 if the document names none."""
    browser_release_reference_minor: int
    """The most that a day's approvals by browser credentials alone may release."""
    cooling_off_ms: Mapping[DestinationClass, int]
    intent_maximum_age_ms: int
    wallets: Mapping[str, WalletRule]
    governance: Governance


def parse_policy(document: object) -> Policy:
    """A policy from its strictly parsed JSON. Raises: DocumentError with the field at fault."""
    fields = Fields(document)
    fields.exactly("type", POLICY_TYPE)
    assets = [_asset(each) for each in fields.each("assets", 1, ASSETS_MAXIMUM)]
    limits = [_limit(each) for each in fields.each("limits", 1, LIMITS_MAXIMUM)]
    _refuse_twice("assets", [rule.asset for rule in assets])
    _refuse_twice("limits", [limit.name for limit in limits])
    risk = fields.inner("risk")
    cooling = fields.inner("cooling_off_ms")
    wallets = [_wallet(each) for each in fields.each("wallets", 0, WALLETS_MAXIMUM)]
    _refuse_twice("wallets", [wallet.network for wallet in wallets])
    governance = fields.inner("governance")
    policy = Policy(
        organisation=fields.parsed("organisation", parse_organisation_id),
        version=fields.integer("version", 1, 2**31), previous=fields.optional_text("previous"),
        reference_currency=fields.text("reference_currency", 3),
        assets={rule.asset: rule for rule in assets}, tiers=_tiers(fields.each("tiers", 1, TIERS_MAXIMUM)),
        risk_above_reference_minor=risk.minor("above_reference_minor"),
        young_for_ms=risk.integer("young_for_ms", 0, COOLING_OFF_MAXIMUM_MS),
        limits=tuple(limits), fee_budget_reference_minor=fields.minor("fee_budget_reference_minor"),
        sweep_fee_budget_reference_minor=fields.minor(SWEEP_FEES) if fields.has(SWEEP_FEES) else 0,
        browser_release_reference_minor=fields.minor("browser_release_reference_minor"),
        cooling_off_ms={each: cooling.integer(each, 0, COOLING_OFF_MAXIMUM_MS) for each in DestinationClass},
        intent_maximum_age_ms=fields.integer("intent_maximum_age_ms", HOUR_MS, INTENT_AGE_MAXIMUM_MS),
        wallets={wallet.network: wallet for wallet in wallets},
        governance=Governance(governance.text("group"), governance.integer("delay_ms", 0, CHANGE_DELAY_MAXIMUM_MS)),
    )
    for each in (risk, cooling, governance, fields):
        each.close()
    for index, wallet in enumerate(wallets):
        if wallet.fee_asset not in policy.assets:
            raise DocumentError(f"wallets[{index}].fee_asset", "isn't among the assets")
    return policy


def _asset(fields: Fields) -> AssetRule:
    ceiling = fields.inner("ceiling")
    return fields.done(AssetRule(
        asset=AssetId(fields.text("asset")), symbol=fields.text("symbol", 16),
        decimals=fields.integer("decimals", 0, 24), network=fields.text("network"),
        maximum_minor=fields.minor("maximum_minor"), ceiling_units=ceiling.minor("units"),
        ceiling_reference_minor=ceiling.done(ceiling.minor("reference_minor")),
    ))


def _tiers(each: list[Fields]) -> tuple[Tier, ...]:
    """From the smallest worth to the largest, never asking fewer people for more money."""
    tiers: list[Tier] = []
    for fields in each:
        tier = Tier(
            fields.minor("up_to_reference_minor"), fields.integer("approvals", 0, APPROVALS_MAXIMUM),
            fields.integer("groups", 0, APPROVALS_MAXIMUM),
        )
        fields.close()
        if (tier.approvals == 0) != (tier.groups == 0) or tier.groups > tier.approvals:
            raise DocumentError(fields.path("groups"), "must be from 1 to the number of approvals, or both 0")
        if tiers and not _rises(tiers[-1], tier):
            raise DocumentError(fields.path("up_to_reference_minor"), "must rise, and approvals with it")
        tiers.append(tier)
    return tuple(tiers)


def _rises(before: Tier, after: Tier) -> bool:
    people_rise = after.approvals >= before.approvals and after.groups >= before.groups
    return after.up_to_reference_minor > before.up_to_reference_minor and people_rise


def _limit(fields: Fields) -> Limit:
    limit = Limit(
        name=fields.text("name", 40), scope=fields.parsed("scope", LimitScope), counts=fields.parsed("counts", Counts),
        span_ms=fields.integer("span_ms", HOUR_MS, DAY_MS),
        maximum_reference_minor=fields.minor("maximum_reference_minor"),
    )
    fields.close()
    if limit.span_ms not in (HOUR_MS, DAY_MS):
        raise DocumentError(fields.path("span_ms"), f"must be {HOUR_MS} (an hour) or {DAY_MS} (a day)")
    return limit


def _wallet(fields: Fields) -> WalletRule:
    return fields.done(WalletRule(
        network=fields.text("network"), fee_asset=AssetId(fields.text("fee_asset")),
        fee_maximum_minor=fields.minor("fee_maximum_minor"), fee_rate_maximum=fields.minor("fee_rate_maximum"),
        finality_blocks=fields.integer("finality_blocks", 1, FINALITY_MAXIMUM_BLOCKS),
        treasury=fields.optional_text("treasury"),
        vault=fields.text("vault") if fields.has("vault") else None,
    ))


def _refuse_twice(name: str, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise DocumentError(f"{name}[{index}]", f"{value!r} stands there twice")
