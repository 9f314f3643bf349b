"""What another policy would have done to payouts that were recorded, on their own times.

Each is shown to the real admission when it was asked for, and again when it is worth asking again; what goes out counts
in the windows. Money is never lacking and nobody is away, so that only the policies differ. The first day has no past,
and payouts that were refused then were never recorded: both make the other policy look a little better than it is.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from strongroom.advice.trial import Place, Said, ask
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import ClientId
from strongroom.domain.instant import Instant, parse_instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.policy import Policy
from strongroom.domain.velocity import Windows

TRIES_MAXIMUM: Final = 1_000
"""Of one payout; a limit that is always full has let nothing pass by then."""


class Effect(StrEnum):
    SAME = "the same"
    MORE_PEOPLE = "more people"
    FEWER_PEOPLE = "fewer people"
    LATER = "held longer"
    SOONER = "held less"
    REFUSED = "refused"
    TAKEN = "no more refused"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A payout as the API lists it; `state` is what became of it."""

    payout: str
    client: ClientId
    amount: Amount
    place: Place
    created_at: Instant
    run: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went in the end: `waited_ms` None if it never could, or was refused."""

    said: Said
    waited_ms: int | None


@dataclass(frozen=True, slots=True)
class Replayed:
    recorded: Recorded
    running: Outcome
    new: Outcome

    @property
    def effect(self) -> Effect:
        """What matters most of what differs."""
        before, after = self.running, self.new
        if (before.said.refused is None) != (after.said.refused is None):
            return Effect.TAKEN if after.said.refused is None else Effect.REFUSED
        people = [(each.said.approvals, each.said.groups) for each in (before, after)]
        if people[0] != people[1]:
            return Effect.MORE_PEOPLE if people[1] > people[0] else Effect.FEWER_PEOPLE
        if before.waited_ms == after.waited_ms:
            return Effect.SAME
        if before.waited_ms is None or after.waited_ms is None:
            return Effect.LATER if after.waited_ms is None else Effect.SOONER
        return Effect.LATER if after.waited_ms > before.waited_ms else Effect.SOONER


def compare(running: Sequence[Outcome], new: Sequence[Outcome], recorded: Sequence[Recorded]) -> list[Replayed]:
    return [Replayed(*each) for each in zip(recorded, running, new, strict=True)]


def replay(
    policy: Policy, recorded: Sequence[Recorded], on_done: Callable[[int], None] = lambda _: None
) -> list[Outcome]:
    """What the policy does to each, in their order; `on_done` hears how many are through."""
    windows = Windows()
    totals = _totals(policy, recorded)
    outcomes: dict[int, Outcome] = {}
    tries = [0] * len(recorded)
    waiting = [(each.created_at, at) for at, each in enumerate(recorded)]
    heapq.heapify(waiting)
    while waiting:
        now, at = heapq.heappop(waiting)
        each = recorded[at]
        said = ask(policy, each.amount, each.place, each.client, windows, now, totals.get(each.run or ""))
        tries[at] += 1
        if said.limit is not None and said.until is not None and tries[at] < TRIES_MAXIMUM:
            heapq.heappush(waiting, (said.until, at))
            continue
        ends_at = said.until if said.hold is not None else now
        is_unpaid = said.refused is not None or said.limit is not None or ends_at is None
        outcomes[at] = Outcome(said, None if is_unpaid or ends_at is None else ends_at - each.created_at)
        on_done(len(outcomes))
    return [outcomes[at] for at in range(len(recorded))]


def read_recorded(rows: Iterable[object], since_of: Mapping[str, Instant]) -> list[Recorded]:
    """Payouts as the API lists them. `since_of` is when a destination was declared, by its digest.

    Where nobody says, a destination is as old as the first payout to it. Raises: DocumentError with the field at fault.
    """
    found: list[tuple[str, bool, Recorded]] = []
    first: dict[str, Instant] = {}
    for at, row in enumerate(rows):
        fields = Fields(row, f"payouts[{at}]")
        destination = fields.inner("destination")
        created_at = fields.parsed("created_at", parse_instant)
        digest = destination.text("digest")
        known = since_of.get(digest)
        if destination.has("created_at"):
            known = destination.parsed("created_at", parse_instant)
        first[digest] = min(first.get(digest, created_at), created_at)
        place = Place(
            destination.text("network"), destination.text("address"), destination.parsed("class", DestinationClass),
            min(known, created_at) if known is not None else created_at,
        )
        amount = Amount(fields.minor("amount"), AssetId(fields.text("asset")))
        run = fields.text("run") if fields.has("run") else None
        payout = Recorded(
            fields.text("id"), ClientId(fields.text("client")), amount, place, created_at, run,
            fields.text("state") if fields.has("state") else "not said",
        )
        found.append((digest, known is not None, payout))
    return [
        payout if is_known else replace(payout, place=replace(payout.place, since=first[digest]))
        for digest, is_known, payout in found
    ]


def check_assets(policy: Policy, recorded: Sequence[Recorded]) -> None:
    """Raises: DocumentError if none of the payouts is in an asset of the policy: then it is another organisation's."""
    if recorded and not any(each.amount.asset in policy.assets for each in recorded):
        raise DocumentError("assets", "no payout is in an asset of this policy: are they of this organisation?")


def _totals(policy: Policy, recorded: Sequence[Recorded]) -> dict[str, int]:
    """The worth of each run, asset by asset; assets that the policy lacks are refused anyway."""
    sums: dict[tuple[str, AssetId], int] = {}
    for each in recorded:
        if each.run is not None and each.amount.asset in policy.assets:
            key = (each.run, each.amount.asset)
            sums[key] = sums.get(key, 0) + each.amount.minor
    totals: dict[str, int] = {}
    for (run, asset), minor in sums.items():
        totals[run] = totals.get(run, 0) + policy.assets[asset].reference_minor(minor)
    return totals
