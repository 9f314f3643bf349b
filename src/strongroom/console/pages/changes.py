"""Changes of policy and roster: what is proposed, how it differs, the bound before and after, and who agreed.

A proposal stands in the record as text. People agree to its bytes at the station; the engine hands it to the signer
when a quorum has, and the signer alone puts it into force.
"""

import json
from dataclasses import dataclass
from difflib import unified_diff
from typing import Final

from strongroom.advice.bound import Row, bounds
from strongroom.advice.difference import Change, differences
from strongroom.advice.proposal import BYTES_MAXIMUM, POLICY, ROSTER, TYPES, name_of, needed, read_proposal, why_not
from strongroom.console.call import Call
from strongroom.console.pages.station import posted, sentences
from strongroom.console.passkey import PasskeyError, read_attested
from strongroom.console.session import CHALLENGE_LIFE_MS, draw_token, token_hash
from strongroom.console.station import change_link, enrol_link, instruct_link
from strongroom.console.web import JSON, Reply, WebError, redirect
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import IdError, OrganisationId, parse_organisation_id, parse_person_id
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.policy import parse_policy
from strongroom.protocol.approval import assertion_document, hear, take_assertion
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.protocol.genesis import Genesis, parse_genesis
from strongroom.protocol.negative import Action
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.standing import Standing, open_standing
from strongroom.protocol.webauthn import WebauthnError
from strongroom.store import approvals, changes, console
from strongroom.store.changes import StoredChange
from strongroom.store.session import Session

LIFE_MS: Final = 7 * DAY_MS
SHOWN: Final = 50
TEXT_MAXIMUM: Final = BYTES_MAXIMUM


@dataclass(frozen=True, slots=True)
class Compared:
    """A proposal beside what is running. `lines` are (kind, text); `bounds` before and after, for a policy."""

    lines: list[tuple[str, str]]
    fields: list[Change]
    bounds: list[tuple[Row, Row]]


async def show(call: Call) -> Reply:
    visitor = call.who
    async with call.service.pool.acquire() as connection:
        found = await changes.find(connection, visitor.session.organisation, 0, SHOWN)
        _, running = await _running(connection, visitor.session.organisation)
    return call.page(
        "changes.html", rows=list(reversed(found)), needed=needed(running), policy=_pretty(visitor.mirror.policy_text),
        roster=_pretty(visitor.mirror.roster_text),
    )


async def show_one(call: Call) -> Reply:
    visitor = call.who
    async with call.service.pool.acquire() as connection:
        found = await changes.read(connection, visitor.session.organisation, call.parameters[0])
        if found is None:
            raise WebError(404, "There is no such change.")
        _, running = await _running(connection, visitor.session.organisation)
    before = visitor.mirror.policy_text if found.document == POLICY else visitor.mirror.roster_text
    reason = why_not(visitor.person.id, running)
    if visitor.person.id in found.people:
        reason = "You have agreed to it."
    return call.page(
        "change.html", change=found, needed=needed(running), compared=_compare(call, found, before), reason=reason,
        link=None if reason or not found.is_open else change_link(call, found.document, found.raw, before.encode()),
        veto=instruct_link(call, Action.VETO, found.change) if found.is_open else None,
    )


async def propose(call: Call) -> Reply:
    """The text of a new version; what the signer would refuse is refused here, by its field."""
    document, text = call.form.get("document", ""), call.form.get("text", "")
    organisation = call.who.session.organisation
    try:
        raw = encode(parse_object(text.encode()))
    except CanonicalError as fault:
        raise WebError(422, f"text: {fault}") from fault
    async with call.service.pool.acquire() as connection:
        genesis, running = await _running(connection, organisation)
        name = await _keep(connection, call, document, raw, genesis, running)
    return redirect(f"/changes/{name}")


async def agree(call: Call) -> Reply:
    """What the station posts: one person's assertion over a proposal's bytes."""
    fields = posted(call)
    try:
        given = take_assertion(fields.inner("assertion"))
        sentences(fields.take("confirmed"))
        document, name = fields.text("document"), fields.text("record")
        fields.close()
    except DocumentError as fault:
        raise WebError(422, str(fault)) from fault
    async with call.service.pool.acquire() as connection:
        organisation = await changes.organisation_of(connection, name)
        found = None if organisation is None else await changes.read(connection, organisation, name)
        if found is None or found.document != document:
            raise WebError(404, "There is no such change.")
        if not found.is_open or found.expires_at <= call.now:
            raise WebError(409, f"The change is {found.state}, and takes no more people.")
        genesis, running = await _running(connection, found.organisation)
        try:
            hear(found.raw, TYPES[document], given, running, genesis.relying_party)
        except WebauthnError as fault:
            raise WebError(403, f"The assertion doesn't hold: {fault}") from fault
        reason = why_not(given.person, running)
        if reason is not None:
            raise WebError(403, f"{reason}: this would never count.")
        text = json.dumps(assertion_document(given))
        await changes.give(connection, name, given.person, given.credential.hex(), text, call.now)
    return Reply(201, encode({"kept": True}), JSON)


async def begin_enrolment(call: Call) -> Reply:
    """To the station, for an approval credential of one's own."""
    challenge = token_hash(draw_token())
    async with call.service.pool.acquire() as connection:
        expires = Instant(call.now + CHALLENGE_LIFE_MS)
        await console.challenge(connection, challenge, "enrol", None, call.who.person.id, expires, call.now)
    return redirect(enrol_link(call, challenge))


async def enrol(call: Call) -> Reply:
    """What the station posts: a new approval credential, which becomes a proposal for the roster and no more."""
    fields = posted(call)
    try:
        value: dict[str, JsonValue] = {
            name: fields.text(name, TEXT_MAXIMUM) for name in ("attestation_object", "client_data", "credential")
        }
        challenge, organisation = fields.text("challenge"), fields.parsed("organisation", parse_organisation_id)
        person = fields.parsed("person", parse_person_id)
        fields.take("transports")
        fields.close()
        async with call.service.pool.acquire() as connection:
            genesis, running = await _running(connection, organisation)
            passkey = read_attested(value, bytes.fromhex(challenge), genesis.relying_party)
            answered = await console.answer(connection, bytes.fromhex(challenge), "enrol", None, call.now)
            if answered != (person,):
                raise WebError(403, "The page is too old, or was for somebody else. Begin again from the console.")
            roster = await changes.read_running(connection, organisation, ROSTER)
            raw = _with_credential(roster.raw, person, passkey.credential, passkey.public_key)
            read_proposal(ROSTER, raw, running, genesis.mode)
            name = name_of(ROSTER, raw)
            await changes.propose(
                connection, organisation, ROSTER, raw, name, person, Instant(call.now + LIFE_MS), call.now)
    except (DocumentError, IdError, PasskeyError, ValueError) as fault:
        raise WebError(422, str(fault)) from fault
    return Reply(201, encode({"change": name}), JSON)


def _with_credential(raw: bytes, person: str, credential: str, public_key: bytes) -> bytes:
    """The next version of a roster, in which this person has one more credential."""
    roster = json.loads(raw)
    roster |= {"previous": roster_hash(raw), "version": roster["version"] + 1}
    for each in roster["people"]:
        if each["id"] == person:
            each["credentials"].append({"class": "browser", "id": credential, "public_key": public_key.hex()})
    return encode(roster)


async def _keep(
    connection: Session, call: Call, document: str, raw: bytes, genesis: Genesis, running: Standing
) -> str:
    """Raises: WebError."""
    organisation = call.who.session.organisation
    try:
        read_proposal(document, raw, running, genesis.mode)
    except DocumentError as fault:
        raise WebError(422, f"{fault.field or 'text'}: {fault.reason}") from fault
    if await changes.count_open(connection, organisation) >= changes.OPEN_MAXIMUM:
        raise WebError(409, f"{changes.OPEN_MAXIMUM} changes are open: veto some of them first.")
    name = name_of(document, raw)
    await changes.propose(
        connection, organisation, document, raw, name, call.who.person.id, Instant(call.now + LIFE_MS), call.now
    )
    return name


async def _running(connection: Session, organisation: OrganisationId) -> tuple[Genesis, Standing]:
    genesis = parse_genesis(await approvals.read_genesis(connection))
    return genesis, open_standing(*await approvals.read_documents(connection, organisation), genesis.mode)


def _compare(call: Call, found: StoredChange, before: str) -> Compared:
    lines: list[tuple[str, str]] = []
    for line in list(unified_diff(
        _pretty(before).splitlines(), _pretty(found.raw.decode()).splitlines(), n=3, lineterm=""
    ))[2:]:
        kind = {"+": "added", "-": "gone", "@": "place"}.get(line[:1], "same")
        lines.append((kind, line))
    mirror = call.who.mirror
    if found.document != POLICY or not found.is_open:
        return Compared(lines, [], [])
    after = parse_policy(parse_object(found.raw))
    rows = zip(bounds(mirror.policy, mirror.roster), bounds(after, mirror.roster), strict=True)
    return Compared(lines, differences(mirror.policy, after), list(rows))


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
