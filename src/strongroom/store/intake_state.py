"""What the one intake writer keeps in memory: policies, windows, the accounts, and the next evidence number.

All of it is derived from PostgreSQL and thrown away whenever a commit failed or its outcome isn't known.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from strongroom.domain.admission import Admitted, Subject, count, limits_met
from strongroom.domain.destination import Destination
from strongroom.domain.ids import ClientId, KeyId, OrganisationId
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.policy import Policy, Tier
from strongroom.domain.velocity import Windows
from strongroom.store.beneficiaries import destination
from strongroom.store.organisations import read_policies

DESTINATIONS_MAXIMUM: Final = 200_000
"""How many destinations are remembered; above it all are forgotten and read again."""

REMEMBERED_MS: Final = DAY_MS + HOUR_MS
"""The longest window and more than its longest bucket."""

_COUNTED = """
SELECT d.*, p.client, p.key_id, p.asset, p.amount::text AS amount, p.reference_minor::text AS reference,
       p.approvals, p.approval_groups, p.created_at AS counted_at
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
WHERE p.counted AND p.created_at > $1 ORDER BY p.created_at, p.leaf
"""


_DESTINATIONS = """
SELECT d.*, EXISTS (SELECT FROM strongroom.destinations newer
    WHERE newer.beneficiary = d.beneficiary AND newer.version > d.version) AS has_newer
FROM strongroom.destinations d WHERE d.digest = ANY ($1)
"""


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """A destination as recorded; `is_only` says that it is the one version there is."""

    destination: Destination
    is_only: bool


@dataclass(slots=True)
class IntakeState:
    policies: dict[OrganisationId, Policy]
    policy_versions: dict[str, int]
    payouts_accounts: dict[tuple[str, str], int]
    next_evidence: int
    windows: dict[OrganisationId, Windows] = field(default_factory=dict)
    destinations: dict[str, KnownDestination] = field(default_factory=dict)

    def windows_of(self, organisation: OrganisationId) -> Windows:
        return self.windows.setdefault(organisation, Windows())

    def policy_of(self, organisation: OrganisationId) -> Policy:
        """Raises: InvariantError: a key signed in for an organisation that has no policy."""
        policy = self.policies.get(organisation)
        if policy is None:
            raise InvariantError(f"{organisation} has no policy")
        return policy

    async def find_destinations(self, connection: asyncpg.Connection, digests: Iterable[str]) -> None:
        """Read the destinations that aren't remembered yet. They never change, and newer versions come by us."""
        missing = [digest for digest in digests if digest not in self.destinations]
        if not missing:
            return
        if len(self.destinations) + len(missing) > DESTINATIONS_MAXIMUM:
            self.destinations.clear()
        for row in await connection.fetch(_DESTINATIONS, missing):
            is_only = row["version"] == 1 and not row["has_newer"]
            self.destinations[row["digest"]] = KnownDestination(destination(row), is_only)

    def take_evidence(self) -> int:
        number = self.next_evidence
        self.next_evidence += 1
        return number


async def load_state(connection: asyncpg.Connection, now: Instant) -> IntakeState:
    """All of the state from the record; takes some seconds for a million payouts a day."""
    accounts = await connection.fetch(
        "SELECT id, organisation, asset FROM strongroom.ledger_accounts WHERE account = 'payouts'"
    )
    state = IntakeState(
        policies=await read_policies(connection),
        policy_versions=await read_policy_versions(connection),
        payouts_accounts={(row["organisation"], row["asset"]): row["id"] for row in accounts},
        next_evidence=1 + await connection.fetchval("SELECT coalesce(max(id), 0) FROM strongroom.evidence"),
    )
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(_COUNTED, now - REMEMBERED_MS, prefetch=1_000):
            _count(state, row)
    return state


async def read_policy_versions(connection: asyncpg.Connection) -> dict[str, int]:
    """The newest policy version of every organisation; compared to see whether the state is of yesterday."""
    rows = await connection.fetch("SELECT organisation, max(version) AS newest FROM strongroom.policies GROUP BY 1")
    return {row["organisation"]: row["newest"] for row in rows}


def _count(state: IntakeState, row: asyncpg.Record) -> None:
    organisation = OrganisationId(row["organisation"])
    paid = destination(row)
    subject = Subject(
        client=ClientId(row["client"]),
        key=KeyId(row["key_id"]),
        amount=Amount(int(row["amount"]), AssetId(row["asset"])),
        destination=paid,
        payable_from=paid.cooling_until,
    )
    reference_minor = int(row["reference"])
    tier = Tier(reference_minor, row["approvals"], row["approval_groups"])
    at = Instant(row["counted_at"])
    meets = limits_met(state.policy_of(organisation), subject, tier, at)
    count(subject, Admitted(reference_minor, tier, None, True, meets), state.windows_of(organisation), at)
