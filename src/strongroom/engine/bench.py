"""What every step of the engine works with: the record, the signer, the rails, the screen, the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import MINUTE_MS, SECOND_MS, Instant
from strongroom.domain.payout import HoldReason
from strongroom.domain.policy import Policy
from strongroom.engine.guard_client import GuardClient
from strongroom.engine.run_proofs import RunProofs
from strongroom.engine.screening import NoScreen, Screen
from strongroom.engine.signer_client import SignerClient
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.preflight import Passed
from strongroom.rails.port import Rail
from strongroom.store import engine as store
from strongroom.store.engine import Reason
from strongroom.store.session import Connection

SOON_MS: Final = SECOND_MS
LATER_MS: Final = MINUTE_MS
DOUBLINGS_MAXIMUM: Final = 10
WAIT_MAXIMUM_MS: Final = 10 * MINUTE_MS

# What a refusal of the signer means for a payout: why it waits. What isn't listed is looked at by people.
_HOLDS: Final = {
    "destination-cooled": HoldReason.COOLING, "destination-current": HoldReason.COOLING,
    "limit-window": HoldReason.LIMIT_WINDOW, "limit-tier": HoldReason.LIMIT_WINDOW, "not-frozen": HoldReason.FREEZE,
    "limit-fees": HoldReason.FEE, "bytes-fee": HoldReason.FEE, "lease-fresh": HoldReason.ALARM,
    "guard-agrees": HoldReason.ALARM, "bytes-change": HoldReason.RAIL,
}
# What passes by itself or by people within moments: it is asked again every second.
_SOON: Final = frozenset({"destination-cooled", "not-frozen", "lease-fresh", "guard-agrees", "bytes-change"})


@dataclass(frozen=True, slots=True)
class SaidStanding:
    """Of an organisation, by the signer: the hashes of policy and roster in force; the changes that wait, each with
    whether its delay runs; what was taken back."""

    in_force: Mapping[str, str]
    pending: Mapping[str, bool]
    taken_back: frozenset[str]


@dataclass(slots=True)
class Bench:
    connection: Connection
    signer: SignerClient
    rails: Mapping[str, Rail]
    clock: Callable[[], Instant]
    screen: Screen = field(default_factory=NoScreen)
    guard: GuardClient | None = None
    accounts: Mapping[str, AccountRail] = field(default_factory=dict)
    """The rails of chains of accounts; `rails` are those of coins."""
    stuck_ms: int = MINUTE_MS
    """After this a call of a vault that isn't in a block is sent again at a higher price."""
    bump_after_ms: int = 30 * MINUTE_MS
    """After this what no block has taken is replaced on a chain of coins, if the node asks for more by then."""
    published: set[tuple[OrganisationId, str]] = field(default_factory=set)
    """Wallets whose addresses were published since this process started."""
    passed: Passed = field(default_factory=dict)
    """Payees of tokens who were looked at before, as of which block."""
    changes_due: dict[str, tuple[int, int, Instant]] = field(default_factory=dict)
    """Changes that the signer didn't take: with how many assertions, how often, and when it is asked again."""
    reports_seen: int = 0
    """The newest report of a vault's item that was looked at since this process started."""
    proofs: RunProofs = field(init=False)
    """Of the runs that were asked about in this step."""
    _standings: Mapping[OrganisationId, SaidStanding] | None = None
    _policies: Mapping[OrganisationId, Policy] = field(default_factory=dict)
    _policies_read: int = 0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A step: what was asked in the one before is asked again."""
        self.proofs, self._standings = RunProofs(self.connection), None

    async def standings(self) -> Mapping[OrganisationId, SaidStanding]:
        """What the signer says of each organisation; asked once a step."""
        if self._standings is None:
            self._standings = await _standings(self.signer)
        return self._standings

    async def taken_back(self) -> frozenset[str]:
        """Payouts and runs that clients and people took back, as the signer heard it from guard."""
        return frozenset[str]().union(*(each.taken_back for each in (await self.standings()).values()))

    def relay(self, network: str) -> Rail | AccountRail | None:
        """What takes signed bytes to this network."""
        return self.rails.get(network) or self.accounts.get(network)

    async def policies(self) -> Mapping[OrganisationId, Policy]:
        """Those in force, read again every second: they change seldom, and are asked for in every step."""
        now = self.clock()
        if not self._policies or now - self._policies_read >= SECOND_MS:
            self._policies, self._policies_read = await store.policies(self.connection), now
        return self._policies

    def forget_policies(self) -> None:
        """Another one is in force."""
        self._policies = {}


async def _standings(signer: SignerClient) -> Mapping[OrganisationId, SaidStanding]:
    answer = await signer.ask(Ask.STATUS, {})
    if isinstance(answer, RefusedAnswer):
        return {}
    organisations = Fields(answer).inner("organisations")
    found: dict[OrganisationId, SaidStanding] = {}
    for name in organisations.names():
        said = organisations.inner(name)
        taken, pending = said.take("taken_back"), said.take("pending")
        found[OrganisationId(name)] = SaidStanding(
            {document: said.text(document) for document in ("policy", "roster")},
            {str(change): noticed is not None for change, noticed in pending.items()}
            if isinstance(pending, dict) else {},
            frozenset(map(str, taken if isinstance(taken, list) else ())),
        )
    return found


def hold_of(refused: RefusedAnswer, now: Instant, holds: int) -> tuple[HoldReason, Instant]:
    """Why a payout waits that the signer refused, and when to ask again: ever later, the more often it was held."""
    wait_ms = SOON_MS if refused.rule in _SOON else later_ms(holds)
    return _HOLDS.get(refused.rule, HoldReason.SCREENING), Instant(now + wait_ms)


def later_ms(tries: int) -> int:
    """How long to wait after so many tries in vain: a second, and twice as long each time."""
    return min(SOON_MS << min(tries, DOUBLINGS_MAXIMUM), WAIT_MAXIMUM_MS)


def reason_of(refused: RefusedAnswer) -> Reason:
    return Reason(refused.rule, "signer", refused.reason)
