"""The papers of a recovery, a file that goes round: what the people assert when signer and guard have both lost some.

It holds the record `strongroom/recovery/v1`, the two documents that it names by their hashes, and the assertions that
were given so far (ADR 0034). Nothing of it is secret. It is checked each time that it is read: the record must name the
documents that lie beside it, so that what people are shown is what they assert. Whether they are a quorum, and whether
the keys are new, the signer says.
"""

import json
import os
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from strongroom.cli.files import write_new
from strongroom.cli.founding import FoundingError, canonical
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId
from strongroom.domain.policy import Policy, parse_policy
from strongroom.protocol.approval import PersonAssertion, assertion_document, take_assertions
from strongroom.protocol.canonical import JsonValue, encode, parse_object
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record import read_record, take_hash
from strongroom.protocol.roster import Roster, parse_roster, roster_hash
from strongroom.protocol.signer_wire import RECOVERY_TYPE
from strongroom.protocol.standing import policy_hash

PAPERS_TYPE: Final = "strongroom/recovery-papers/v1"


@dataclass(frozen=True, slots=True)
class Papers:
    """`record`, `policy_raw` and `roster_raw` are canonical bytes; the rest is read from them."""

    record: bytes
    policy_raw: bytes
    roster_raw: bytes
    assertions: tuple[PersonAssertion, ...]
    deployment: str
    epoch: str
    journal_length: int
    journal_head: str
    policy: Policy
    roster: Roster

    @property
    def organisation(self) -> OrganisationId:
        return self.roster.organisation

    def with_assertion(self, given: PersonAssertion) -> "Papers":
        return replace(self, assertions=(*self.assertions, given))

    def ask(self) -> dict[str, JsonValue]:
        """What the signer is given."""
        raws = {"policy": self.policy_raw, "record": self.record, "roster": self.roster_raw}
        assertions: list[JsonValue] = [assertion_document(each) for each in self.assertions]
        return {
            "assertions": assertions, "organisation": self.organisation,
            **{name: b64encode(raw).decode() for name, raw in raws.items()},
        }


def new_record(deployment: str, epoch: str, journal: dict[str, JsonValue], policy: bytes, roster: bytes) -> bytes:
    """`journal` is the `head` and the `length` of what the signer has left."""
    organisation: Any = parse_object(roster)["organisation"]
    return encode({
        "deployment": deployment, "epoch": epoch, "journal": journal, "organisation": organisation,
        "policy": policy_hash(policy), "roster": roster_hash(roster), "type": RECOVERY_TYPE,
    })


def write_papers(file: Path, record: bytes, policy: bytes, roster: bytes) -> None:
    """New ones, which nobody has asserted. Raises: Stop."""
    write_new(file, _text(record, policy, roster, ()))


def keep_papers(file: Path, papers: Papers) -> None:
    """In the place of what was read from there, whole or not at all."""
    unfinished = file.with_name(file.name + ".unfinished")
    with unfinished.open("w") as handle:
        handle.write(_text(papers.record, papers.policy_raw, papers.roster_raw, papers.assertions))
        handle.flush()
        os.fsync(handle.fileno())
    unfinished.rename(file)


def read_papers(file: Path) -> Papers:
    """Raises: FoundingError with file and field."""
    try:
        fields = Fields(parse_object(canonical(file)))
        fields.exactly("type", PAPERS_TYPE)
        record, policy, roster = (_bytes(fields, name) for name in ("record", "policy", "roster"))
        given = take_assertions(fields, "assertions")
        fields.close()
        papers = _read(record, policy, roster, given)
    except DocumentError as fault:
        raise FoundingError(f"{file}: {fault}") from fault
    return papers


def _read(record: bytes, policy: bytes, roster: bytes, given: tuple[PersonAssertion, ...]) -> Papers:
    read = read_record(record, RECOVERY_TYPE)
    # A sandbox's people may have software keys; the signer knows which mode it is in.
    people, rules = parse_roster(roster, Mode.SANDBOX), parse_policy(parse_object(policy))
    deployment, epoch, journal = read.text("deployment"), take_hash(read, "epoch"), read.inner("journal")
    for name, value in (
        ("organisation", people.organisation), ("policy", policy_hash(policy)), ("roster", roster_hash(roster)),
    ):
        read.exactly(name, value)
    read.close()
    if rules.organisation != people.organisation:
        raise DocumentError("policy.organisation", "is another than the roster's")
    papers = Papers(
        record, policy, roster, given, deployment, epoch, journal.integer("length", 0, 2**53),
        take_hash(journal, "head"), rules, people,
    )
    journal.close()
    return papers


def _bytes(fields: Fields, name: str) -> bytes:
    value: Any = fields.take(name)
    if not isinstance(value, dict):
        raise DocumentError(name, "must be an object")
    return encode(value)


def _text(record: bytes, policy: bytes, roster: bytes, given: tuple[PersonAssertion, ...]) -> str:
    return json.dumps({
        "type": PAPERS_TYPE, "record": json.loads(record), "policy": json.loads(policy), "roster": json.loads(roster),
        "assertions": [assertion_document(each) for each in given],
    }, indent=1) + "\n"
