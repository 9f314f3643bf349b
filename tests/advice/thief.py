"""A thief who holds a client's keys, has all the time, and spends through the real gate whatever it lets pass."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.signer.world import COOLING_MS, AskRefused, Human, World, payee, policy_document

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.protocol.destination_record import DestinationRecord

UNIT = 1_000
"""Base units that are worth one minor unit here, so that the smallest piece is no dust."""
POWERS = tuple(2**power for power in range(8, -1, -1))
HOURS = 26
STEP_MS = HOUR_MS + 40_000
"""A sliding hour is over after an hour and the length of a bucket."""


def thief_policy(**changes: Any) -> dict[str, Any]:
    """Small numbers, so that every piece can be tried."""
    document: dict[str, Any] = policy_document(risk={"above_reference_minor": "1", "young_for_ms": 0}, **changes)
    document["assets"][0]["ceiling"] = {"units": str(UNIT), "reference_minor": "1"}
    document["wallets"][0]["fee_rate_maximum"] = "100000000"
    return document


class Thief:
    """`taken` is what was signed: when, and its worth. `misled` approve whatever it shows them."""

    def __init__(self, folder: Path, policy: dict[str, Any], addresses: int, misled: Sequence[Human] = ()) -> None:
        self.world, self.misled = World(folder, policy), misled
        self.places = [self.world.beneficiary(address=payee(f"thief {each}")) for each in range(addresses)]
        self.world.pass_by(COOLING_MS)
        self.taken: list[tuple[Instant, int]] = []

    def have_them_listed(self) -> None:
        """As if a quorum had listed the addresses: no record of the world makes that class yet."""
        payments = self.world.payments
        for digest, known in list(payments.destinations.items()):
            listed = replace(known, record=replace(known.record, destination_class=DestinationClass.ALLOWLISTED))
            payments.destinations[digest] = listed
            payments.versions[known.record.beneficiary] = [listed]

    def spend_all(self) -> int:
        """Fill whatever has room, each hour if a limit is of an hour; the most that went out in any 24 hours."""
        spans = {each.span_ms for each in self.world.payments.standing.policy.limits}
        for _ in range(HOURS if HOUR_MS in spans else 2):
            for place in self.places:
                self.fill(place)
            self.world.pass_by(STEP_MS)
        return self.most()

    def fill(self, place: DestinationRecord) -> None:
        """By halves: what is left of any limit is a sum of these pieces, each taken once."""
        for piece in POWERS:
            if self.try_piece(place, piece):
                self.taken.append((Instant(self.world.times.wall_ms), piece))

    def try_piece(self, place: DestinationRecord, piece: int) -> bool:
        payout = self.world.intent(place, piece * UNIT)
        try:
            self.world.sign([payout], approvals=[self.world.approved(payout, *self.misled)] if self.misled else [])
        except AskRefused as refused:
            if not refused.rule.startswith(("limit-", "approval-")):
                raise
            return False
        return True

    def burn_all(self) -> int:
        """Pay fees for nothing, as an engine does that works with a miner; base units in a day."""
        burnt = 0
        for piece in POWERS + POWERS:  # the ceiling of one chain transaction keeps the large ones out
            try:
                self.world.sign([], operation="consolidate", fee=piece * UNIT)
            except AskRefused as refused:
                if refused.rule not in ("limit-fees", "bytes-fee"):
                    raise
            else:
                burnt += piece * UNIT
        return burnt

    def most(self) -> int:
        return max(
            (sum(worth for at, worth in self.taken if end - DAY_MS < at <= end) for end, _ in self.taken), default=0
        )
