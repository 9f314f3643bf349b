"""Cases that a policy must decide as its authors think: `strongroom/policy-cases/v1`.

A case is one payout with what went out before it, and what is expected: how many people, a hold, or a refusal. The
real admission decides. A case whose own past could not have been fails, and says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from strongroom.advice.sums import people_text
from strongroom.advice.trial import Place, Said, ask
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.errors import Code
from strongroom.domain.ids import ClientId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import HoldReason
from strongroom.domain.policy import Policy
from strongroom.domain.velocity import Windows

CASES_TYPE: Final = "strongroom/policy-cases/v1"
CASES_MAXIMUM: Final = 1_000
EARLIER_MAXIMUM: Final = 100
TIMES_MAXIMUM: Final = 10_000
AGE_MAXIMUM_MS: Final = 3_650 * DAY_MS

NOW: Final = Instant(20_000 * DAY_MS)
_SAME, _OTHER = "same", "other"


@dataclass(frozen=True, slots=True)
class Earlier:
    """A payout that went out `ago_ms` before, `times` times; to this place and by this client, or to and by others."""

    asset: str
    minor: int
    ago_ms: int
    times: int
    is_same_place: bool
    is_same_client: bool
    path: str


@dataclass(frozen=True, slots=True)
class Expected:
    """`hold` and `limit` None: none. `limit` is compared only where it stands."""

    refused: Code | None
    approvals: int
    groups: int
    hold: HoldReason | None
    limit: str | None

    def holds(self, said: Said) -> bool:
        if self.refused is not None or said.refused is not None:
            return self.refused is said.refused
        same = (self.approvals, self.groups, self.hold) == (said.approvals, said.groups, said.hold)
        return same and self.limit in (None, said.limit)

    def __str__(self) -> str:
        if self.refused is not None:
            return f"refused ({self.refused})"
        people = people_text(self.approvals, self.groups)
        if self.hold is None:
            return people
        return f"{people}, held ({self.hold}{f': {self.limit}' if self.limit else ''})"


@dataclass(frozen=True, slots=True)
class Case:
    """`totals` are the sums of the run that it is an item of, in base units."""

    name: str
    asset: str
    minor: int
    destination_class: DestinationClass
    age_ms: int
    totals: tuple[tuple[str, int], ...]
    earlier: tuple[Earlier, ...]
    expected: Expected
    path: str


@dataclass(frozen=True, slots=True)
class Tried:
    """`said` None: by this policy the case can't be, and `fault` says why; then it fails."""

    case: Case
    said: Said | None
    fault: DocumentError | None = None

    @property
    def passed(self) -> bool:
        return self.said is not None and self.case.expected.holds(self.said)

    @property
    def got(self) -> str:
        return str(self.said) if self.fault is None else f"no such case: {self.fault}"


def parse_cases(document: object) -> tuple[Case, ...]:
    """Raises: DocumentError with the field at fault."""
    fields = Fields(document)
    fields.exactly("type", CASES_TYPE)
    cases = tuple(_case(each) for each in fields.each("cases", 1, CASES_MAXIMUM))
    fields.close()
    for at, case in enumerate(cases):
        if any(case.name == other.name for other in cases[:at]):
            raise DocumentError(f"{case.path}.name", f"{case.name!r} stands there twice")
    return cases


def try_cases(policy: Policy, cases: tuple[Case, ...]) -> Iterator[Tried]:
    """Each for itself; one that can't be, for an unknown asset or an impossible past, fails."""
    for case in cases:
        try:
            yield Tried(case, _try(policy, case))
        except DocumentError as fault:
            yield Tried(case, None, fault)


def _try(policy: Policy, case: Case) -> Said:
    windows = Windows()
    amount = _amount(policy, case.asset, case.minor, f"{case.path}.asset")
    since = Instant(NOW - case.age_ms)
    for each in sorted(case.earlier, key=lambda earlier: -earlier.ago_ms):
        _pay(policy, case, each, since, windows)
    place = Place(_network(policy, amount), "here", case.destination_class, since)
    total = None
    if case.totals:
        total = sum(
            policy.assets[_amount(policy, asset, minor, f"{case.path}.run_totals").asset].reference_minor(minor)
            for asset, minor in case.totals
        )
    return ask(policy, amount, place, _client(_SAME), windows, NOW, total)


def _pay(policy: Policy, case: Case, earlier: Earlier, since: Instant, windows: Windows) -> None:
    amount = _amount(policy, earlier.asset, earlier.minor, f"{earlier.path}.asset")
    at = Instant(NOW - earlier.ago_ms)
    if earlier.is_same_place and at < since:
        raise DocumentError(f"{earlier.path}.ago_ms", "is before the destination was declared")
    client = _client(_SAME if earlier.is_same_client else _OTHER)
    for number in range(earlier.times):
        address = "here" if earlier.is_same_place else f"{earlier.path} {number}"
        place_since = since if earlier.is_same_place else Instant(0)
        place = Place(_network(policy, amount), address, case.destination_class, place_since)
        said = ask(policy, amount, place, client, windows, at)
        if said.refused is not None or said.hold is not None:
            raise DocumentError(earlier.path, f"could not have gone out by this policy: {said}")


def _amount(policy: Policy, name: str, minor: int, path: str) -> Amount:
    """By the asset's symbol or its full name."""
    found = [rule.asset for rule in policy.assets.values() if name in (rule.symbol, rule.asset)]
    if len(found) != 1:
        raise DocumentError(path, f"the policy has {'no' if not found else 'more than one'} asset {name!r}")
    return Amount(minor, AssetId(found[0]))


def _network(policy: Policy, amount: Amount) -> str:
    return policy.assets[amount.asset].network


def _client(name: str) -> ClientId:
    return ClientId(name)


def _case(fields: Fields) -> Case:
    destination = fields.inner("destination")
    totals: tuple[tuple[str, int], ...] = ()
    if fields.has("run_totals"):
        inner = fields.inner("run_totals")
        totals = tuple((name, inner.minor(name)) for name in inner.names())
    case = Case(
        fields.text("name", 120), fields.text("asset"), fields.minor("amount"),
        destination.parsed("class", DestinationClass), destination.integer("age_ms", 0, AGE_MAXIMUM_MS), totals,
        tuple(_earlier(each) for each in fields.each("earlier", 0, EARLIER_MAXIMUM)) if fields.has("earlier") else (),
        _expected(fields.inner("expect")), fields.path("").removesuffix("."),
    )
    destination.close()
    fields.close()
    return case


def _earlier(fields: Fields) -> Earlier:
    earlier = Earlier(
        fields.text("asset"), fields.minor("amount"), fields.integer("ago_ms", 0, AGE_MAXIMUM_MS),
        fields.integer("times", 1, TIMES_MAXIMUM) if fields.has("times") else 1,
        _is_same(fields, "destination"), _is_same(fields, "client"), fields.path("").removesuffix("."),
    )
    fields.close()
    return earlier


def _is_same(fields: Fields, name: str) -> bool:
    if not fields.has(name):
        return True
    text = fields.text(name)
    if text not in (_SAME, _OTHER):
        raise DocumentError(fields.path(name), f"must be {_SAME!r} or {_OTHER!r}")
    return text == _SAME


def _expected(fields: Fields) -> Expected:
    if fields.has("refused"):
        expected = Expected(fields.parsed("refused", Code), 0, 0, None, None)
    else:
        expected = Expected(
            None, fields.integer("approvals", 0, 2**10), fields.integer("groups", 0, 2**10),
            fields.parsed("hold", HoldReason) if fields.has("hold") else None,
            fields.text("limit") if fields.has("limit") else None,
        )
    fields.close()
    return expected
