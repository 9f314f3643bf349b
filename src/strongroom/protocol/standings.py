"""What the journal says of every organisation's standing: whose word counts, what has stopped, which change waits.

Made by applying entries in their order, by signer and guard with this one code. Nothing is verified here: the signer
did before it wrote. An instruction counts as the signer applied it; what it hasn't written down yet isn't here.
"""

from base64 import b64decode
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.domain.policy import parse_policy
from strongroom.protocol.canonical import parse_object, record_hash
from strongroom.protocol.entry import Kind, Reading
from strongroom.protocol.genesis import GENESIS_TYPE, Genesis, Mode, deployment_id, parse_genesis
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, next_head
from strongroom.protocol.negative import Action, Instruction, apply
from strongroom.protocol.roster import parse_roster, roster_hash
from strongroom.protocol.standing import PROPOSER_BARRED_MS, Pending, Standing, open_standing, policy_hash

KINDS: Final = frozenset({
    Kind.GENESIS, Kind.ORGANISATION, Kind.CONTROL, Kind.CHANGE, Kind.NOTICED, Kind.ENDED, Kind.RECOVERED,
})

FREEZES_LOST: Final = 2**16
"""More freezes and unfreezes than were lost with some of the journal: what was said at one of them starts nothing."""


@dataclass(slots=True)
class Standings:
    """`named` is the hash of the genesis that must come, if somebody named one; `control` is what the journal holds of
    guard's log."""

    named: str | None = None
    genesis: Genesis | None = None
    deployment: str = ""
    organisations: dict[OrganisationId, Standing] = field(default_factory=dict)
    control: Head = field(default_factory=lambda: Head(0, EMPTY_HEAD))

    def copied(self) -> "Standings":
        """To be applied to on trial; policies and rosters never change, so they are shared."""
        shared = (each for standing in self.organisations.values() for each in (standing.policy, standing.roster))
        return deepcopy(self, {id(each): each for each in shared})

    def apply(self, kind: Kind, clock: Reading, fields: Fields) -> tuple[Standing, Instruction | None] | None:
        """Whom the entry is about, and what was instructed. Raises: DocumentError for what can't follow; half of it
        may be applied then."""
        try:
            match kind:
                case Kind.GENESIS:
                    self._begin(b64decode(fields.text("genesis", 2**20)))
                    return None
                case Kind.ORGANISATION:
                    return self._let_in(self._open(fields)), None
                case Kind.CONTROL:
                    return self._instruct(b64decode(fields.text("entry", 2**20)), clock, fields)
            standing = self.organisations[OrganisationId(fields.text("organisation"))]
            match kind:
                case Kind.CHANGE:
                    people = tuple(PersonId(row[0]) for row in fields.rows("people", 1))
                    document, raw = fields.text("document"), b64decode(fields.text("raw", 2**20))
                    digest = roster_hash(raw) if document == "roster" else policy_hash(raw)
                    standing.pending[digest] = Pending(document, raw, people, clock.at_least)
                case Kind.NOTICED:
                    digest = fields.text("change")
                    standing.pending[digest] = replace(standing.pending[digest], noticed=clock.at_least)
                case Kind.ENDED:
                    self._end(standing, fields.text("change"), clock.at_least, is_in_force=fields.flag("is_in_force"))
                case Kind.RECOVERED:
                    self._recover(standing, fields)
                case _:
                    raise DocumentError("type", "can't stand here")
        except (KeyError, ValueError) as fault:
            raise DocumentError("", f"an entry of kind {kind} can't be applied: {fault}") from fault
        return standing, None

    def _begin(self, raw: bytes) -> None:
        if self.genesis is not None or self.named not in (None, record_hash(GENESIS_TYPE, raw).hex()):
            raise DocumentError("genesis", "stands here twice, or isn't the one that was named")
        self.genesis, self.deployment = parse_genesis(raw), deployment_id(raw)

    def _open(self, fields: Fields) -> Standing:
        policy, roster = (b64decode(fields.text(name, 2**20)) for name in ("policy", "roster"))
        return open_standing(policy, roster, self._mode())

    def _mode(self) -> Mode:
        if self.genesis is None:
            raise DocumentError("type", "can't stand before genesis")
        return self.genesis.mode

    def _let_in(self, standing: Standing) -> Standing:
        if standing.organisation in self.organisations:
            raise DocumentError("policy", f"lets {standing.organisation} in twice")
        self.organisations[standing.organisation] = standing
        return standing

    def _instruct(self, raw: bytes, clock: Reading, fields: Fields) -> tuple[Standing, Instruction] | None:
        """The next entry of guard's control log. Without an instruction it was void: it didn't hold."""
        self.control = Head(self.control.length + 1, next_head(self.control.head, raw))
        if not fields.has("action"):
            return None
        people = frozenset(PersonId(row[0]) for row in fields.rows("people", 1))
        action = Action(fields.text("action"))
        expires = Instant(fields.integer("expires_ms", 0, INSTANT_MAXIMUM))
        attempts = tuple(row[0] for row in fields.rows("attempts", 1)) if fields.has("attempts") else ()
        instruction = Instruction(action, fields.text("object"), fields.text("record_id"), people, expires, attempts)
        standing = self.organisations[OrganisationId(fields.text("organisation"))]
        apply(instruction, standing, clock.at_least)
        return standing, instruction

    def _recover(self, standing: Standing, fields: Fields) -> None:
        after = self._open(fields)
        standing.policy, standing.policy_hash = after.policy, after.policy_hash
        standing.roster, standing.roster_hash = after.roster, after.roster_hash
        standing.freeze_epoch += FREEZES_LOST
        standing.enrol()
        fields.text("epoch")
        fields.rows("people", 1)

    def _end(self, standing: Standing, digest: str, now: Instant, *, is_in_force: bool) -> None:
        pending = standing.pending.pop(digest)
        if is_in_force and pending.document == "policy":
            standing.policy, standing.policy_hash = parse_policy(parse_object(pending.raw)), digest
        elif is_in_force:
            standing.roster, standing.roster_hash = parse_roster(pending.raw, self._mode()), digest
            standing.barred.update(dict.fromkeys(pending.people, Instant(now + PROPOSER_BARRED_MS)))
            standing.enrol()
