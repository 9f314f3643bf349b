"""The newest roster and policy as the database mirrors them, parsed once for each version.

The signer believes its own; what is shown by these may lie, and moves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.domain.ids import OrganisationId
from strongroom.domain.policy import AssetRule, Policy
from strongroom.protocol.genesis import Mode, parse_genesis
from strongroom.protocol.roster import Person, Roster
from strongroom.protocol.standing import open_standing
from strongroom.store import approvals, console_lists
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class Mirror:
    """`policy_hash` and `roster_hash` are what approval requests name."""

    policy: Policy
    policy_hash: str
    policy_text: str
    roster: Roster
    roster_hash: str
    roster_text: str
    clients: Mapping[str, str]
    """What clients are called."""

    def person(self, person: str) -> Person | None:
        return next((each for each in self.roster.people if each.id == person), None)

    def name(self, maker: str | None) -> str:
        """A person's name, or a client's, with whose kind it is."""
        found = self.person(maker) if maker is not None else None
        if found is not None:
            return found.name
        if maker is None:
            return "nobody"
        return f"the client “{self.clients[maker]}”" if maker in self.clients else maker

    def asset(self, asset: str) -> AssetRule | None:
        return next((rule for name, rule in self.policy.assets.items() if name == asset), None)


class Mirrors:
    """One for each organisation that somebody looked at."""

    def __init__(self) -> None:
        self._known: dict[OrganisationId, tuple[tuple[bytes, bytes], Mirror]] = {}
        self._mode: Mode | None = None

    async def read(self, connection: Session, organisation: OrganisationId) -> Mirror:
        documents = await approvals.read_documents(connection, organisation)
        known = self._known.get(organisation)
        if known is not None and known[0] == documents:
            return known[1]
        if self._mode is None:
            self._mode = parse_genesis(await approvals.read_genesis(connection)).mode
        standing = open_standing(*documents, self._mode)
        mirror = Mirror(
            standing.policy, standing.policy_hash, documents[0].decode(), standing.roster, standing.roster_hash,
            documents[1].decode(), await console_lists.client_names(connection, organisation),
        )
        self._known[organisation] = (documents, mirror)
        return mirror


def roles_text(person: Person) -> str:
    """What a session remembers of what its person may do."""
    return ",".join(sorted(role.value for role in person.roles))


