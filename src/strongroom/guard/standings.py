"""Who may give guard instructions, as the journal says: every organisation's roster in force, and what has stopped.

Made by applying entries in their order. An instruction in the journal is taken as the signer applied it; what the
signer hasn't written down yet is `control_log`'s to add.
"""

from base64 import b64decode
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import parse_policy
from strongroom.protocol.canonical import parse_object, record_hash
from strongroom.protocol.entry import Kind, Reading
from strongroom.protocol.genesis import GENESIS_TYPE, Genesis, deployment_id, parse_genesis
from strongroom.protocol.guard_wire import Head
from strongroom.protocol.journal_chain import EMPTY_HEAD, next_head
from strongroom.protocol.negative import Action, Instruction, apply
from strongroom.protocol.roster import parse_roster, roster_hash
from strongroom.protocol.standing import Standing, open_standing, policy_hash

KINDS: Final = frozenset({Kind.GENESIS, Kind.ORGANISATION, Kind.CONTROL, Kind.CHANGE, Kind.ENDED})


@dataclass(slots=True)
class Standings:
    """`pending` is organisation and hash to a document's name, its bytes, and since when; `control` is what the journal
    holds of guard's log."""

    genesis_hash: str
    genesis: Genesis | None = None
    deployment: str = ""
    organisations: dict[OrganisationId, Standing] = field(default_factory=dict)
    pending: dict[tuple[OrganisationId, str], tuple[str, bytes, Instant]] = field(default_factory=dict)
    control: Head = field(default_factory=lambda: Head(0, EMPTY_HEAD))

    def copied(self) -> "Standings":
        """To be applied to on trial; policies and rosters never change, so they are shared."""
        shared = (each for standing in self.organisations.values() for each in (standing.policy, standing.roster))
        return deepcopy(self, {id(each): each for each in shared})

    def apply(self, kind: Kind, clock: Reading, fields: Fields) -> None:
        """Raises: DocumentError for what can't follow; half of it may be applied then."""
        try:
            match kind:
                case Kind.GENESIS:
                    self._begin(b64decode(fields.text("genesis", 2**20)))
                case Kind.ORGANISATION if self.genesis is not None:
                    policy, roster = (b64decode(fields.text(name, 2**20)) for name in ("policy", "roster"))
                    standing = open_standing(policy, roster, self.genesis.mode)
                    self.organisations[standing.organisation] = standing
                case Kind.CONTROL:
                    self._instruct(b64decode(fields.text("entry", 2**20)), clock, fields)
                case Kind.CHANGE:
                    document, raw = fields.text("document"), b64decode(fields.text("raw", 2**20))
                    digest = roster_hash(raw) if document == "roster" else policy_hash(raw)
                    self.pending[self._organisation(fields).organisation, digest] = document, raw, clock.at_least
                case Kind.ENDED:
                    self._end(self._organisation(fields), fields.text("change"), fields.flag("is_in_force"))
                case _:
                    raise DocumentError("type", f"{kind} can't stand here")
        except (KeyError, ValueError) as fault:
            raise DocumentError("", f"an entry of kind {kind} can't be applied: {fault}") from fault

    def _begin(self, raw: bytes) -> None:
        if self.genesis is not None or record_hash(GENESIS_TYPE, raw).hex() != self.genesis_hash:
            raise DocumentError("genesis", "isn't the one that guard's operator named")
        self.genesis, self.deployment = parse_genesis(raw), deployment_id(raw)

    def _organisation(self, fields: Fields) -> Standing:
        return self.organisations[OrganisationId(fields.text("organisation"))]

    def _instruct(self, raw: bytes, clock: Reading, fields: Fields) -> None:
        self.control = Head(self.control.length + 1, next_head(self.control.head, raw))
        if fields.has("action"):
            people = frozenset(PersonId(row[0]) for row in fields.rows("people", 1))
            instruction = Instruction(
                Action(fields.text("action")), fields.text("object"), fields.text("record_id"), people
            )
            standing = self._organisation(fields)
            apply(instruction, standing, clock.at_least)
            if instruction.action is Action.VETO:
                self.pending.pop((standing.organisation, instruction.object), None)

    def _end(self, standing: Standing, digest: str, is_in_force: bool) -> None:
        document, raw, _ = self.pending.pop((standing.organisation, digest))
        if is_in_force and document == "policy":
            standing.policy, standing.policy_hash = parse_policy(parse_object(raw)), digest
        elif is_in_force and self.genesis is not None:
            standing.roster, standing.roster_hash = parse_roster(raw, self.genesis.mode), digest
