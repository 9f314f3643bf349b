"""Changes of roster and policy, and organisations that are let in.

A change needs a quorum of the roster in force and waits out its delay, which begins when guard has cosigned it and
told every member; one veto ends it, and the same bytes are
never proposed again. In production one of those who want it signs with a terminal: a station in the
wrong hands could show a quorum of browsers something else than they sign. An organisation is let in on the admin
socket; in a sandbox nothing else is asked.
"""

from base64 import b64encode
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import PersonId
from strongroom.domain.instant import DAY_MS
from strongroom.domain.policy import POLICY_TYPE, Policy, parse_policy
from strongroom.protocol.approval import PersonAssertion, hear, take_assertions
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.client_request import take_base64
from strongroom.protocol.entry import Kind
from strongroom.protocol.genesis import Mode
from strongroom.protocol.guard_wire import Reason, take_head
from strongroom.protocol.record import read_record, take_hash
from strongroom.protocol.roster import ROSTER_TYPE, CredentialClass, Roster, parse_roster, roster_hash
from strongroom.protocol.signer_wire import RECOVERY_TYPE
from strongroom.protocol.standing import Standing, open_standing, policy_hash
from strongroom.protocol.webauthn import WebauthnError
from strongroom.signer.book import Payments
from strongroom.signer.notary import Notary
from strongroom.signer.rules import Refused, Rule, refuse

ROSTER: Final = "roster"
POLICY: Final = "policy"


def let_in(notary: Notary, fields: Fields) -> JsonValue:
    """An organisation with its first policy and roster. Idempotent. Raises: Refused, DocumentError."""
    policy, roster = (take_base64(fields.take(name), name) for name in (POLICY, ROSTER))
    fields.close()
    standing = open_standing(policy, roster, notary.book.genesis.mode)
    known = notary.book.organisations.get(standing.organisation)
    if known is not None:
        if (known.standing.policy_hash, known.standing.roster_hash) != (standing.policy_hash, standing.roster_hash):
            refuse(Rule.CHANGE_QUORUM, f"{standing.organisation} is here already; it changes by its quorum")
        return {"organisation": standing.organisation}
    for named in notary.book.genesis.organisations:
        hashes = (standing.policy_hash, standing.roster_hash)
        if named.organisation == standing.organisation and (named.policy, named.roster) != hashes:
            refuse(Rule.CHANGE_QUORUM, f"genesis names another policy or roster for {standing.organisation}")
    _check_governed(notary, standing.policy, standing.roster)
    body: dict[str, JsonValue] = {"policy": b64encode(policy).decode(), "roster": b64encode(roster).decode()}
    notary.write(Kind.ORGANISATION, body, notary.reading())
    notary.commit()
    return {"organisation": standing.organisation}


def recover(notary: Notary, payments: Payments, fields: Fields) -> JsonValue:
    """How an organisation goes on when both have lost some of the journal: as its quorum asserted in the record, and
    with no client of before, under no name and with no key. Raises: Refused, DocumentError.
    """
    raw, policy, roster = (take_base64(fields.take(name), name) for name in ("record", POLICY, ROSTER))
    given, record = take_assertions(fields, "assertions"), read_record(raw, RECOVERY_TYPE)
    fields.close()
    before, after = payments.standing, open_standing(policy, roster, notary.book.genesis.mode)
    for name, value in (("deployment", notary.book.deployment), ("organisation", before.organisation),
                        (POLICY, after.policy_hash), (ROSTER, after.roster_hash)):
        record.exactly(name, value)
    epoch, kept = take_hash(record, "epoch"), take_head(record, "journal")
    record.close()
    people = _quorum(notary, before, raw, RECOVERY_TYPE, given)
    _check_governed(notary, after.policy, after.roster)
    _check_all_new(before, after)
    with suppress(Refused):
        notary.agree()
    if notary.said is not Reason.LOST or not notary.holds(kept):
        refuse(Rule.GUARD_AGREES, "guard waits for no recovery, or the record names another journal than is left here")
    body: dict[str, JsonValue] = {
        "epoch": epoch, "organisation": before.organisation, "people": [[each] for each in sorted(people)],
        "policy": b64encode(policy).decode(), "roster": b64encode(roster).decode(),
    }
    clock = notary.reading()
    notary.write(Kind.RECOVERED, body, clock)
    notary.commit()
    with suppress(Refused):
        notary.agree()
    return {"organisation": before.organisation, "spent_until_ms": clock.at_least + DAY_MS}


def _check_all_new(before: Standing, after: Standing) -> None:
    """Raises: Refused."""
    if after.organisation != before.organisation or after.roster.version <= before.roster.version or (
        after.policy.version < before.policy.version
    ):
        refuse(Rule.CHANGE_QUORUM, "policy and roster aren't newer than those of the organisation")
    known = {part for key, mine in before.enrolled.items() for part in (key, *mine)}
    for key, mine in after.enrolled.items():
        if not known.isdisjoint((key, *mine)):
            refuse(Rule.CHANGE_QUORUM, f"{mine[0]} isn't new: its id, or a key of it, was enrolled before")


def propose(notary: Notary, payments: Payments, fields: Fields) -> JsonValue:
    """A change that a quorum asserted over its verbatim bytes. Raises: Refused, DocumentError."""
    document = fields.text("document")
    raw = take_base64(fields.take("raw"), "raw")
    given = take_assertions(fields, "assertions")
    fields.close()
    clock, standing = notary.reading(), payments.standing
    digest = _follows(document, raw, payments, notary)
    people = _quorum(notary, standing, raw, ROSTER_TYPE if document == ROSTER else POLICY_TYPE, given)
    if digest not in standing.pending and digest not in standing.vetoed:
        body: dict[str, JsonValue] = {
            "document": document, "organisation": standing.organisation, "people": [[each] for each in sorted(people)],
            "raw": b64encode(raw).decode(),
        }
        notary.write(Kind.CHANGE, body, clock)
        notary.commit()
    notary.agree()
    change: dict[str, JsonValue] = {"change": digest, "organisation": standing.organisation}
    pending = standing.pending.get(digest)
    if pending is None:
        refuse(Rule.CHANGE_QUORUM, "it was vetoed")
    if pending.noticed is None:
        notary.write(Kind.NOTICED, change, notary.reading())
        notary.commit()
    return {**change, "delay_ms": standing.policy.governance.delay_ms}


def _quorum(
    notary: Notary, standing: Standing, raw: bytes, record_type: str, given: Sequence[PersonAssertion]
) -> frozenset[PersonId]:
    """Who wants it, of those who count. Raises: Refused."""
    try:
        heard = [hear(raw, record_type, each, standing, notary.book.genesis.relying_party) for each in given]
    except WebauthnError as fault:
        refuse(Rule.CHANGE_QUORUM, str(fault))
    now = notary.reading().at_least
    people = frozenset(each.person for each in heard if not standing.is_suspended(each.person, now))
    if not standing.has_quorum(people):
        refuse(Rule.CHANGE_QUORUM, f"{len(people)} people aren't a quorum of {standing.policy.governance.group}")
    keys = ((each.credential_class, each.groups) for each in heard if each.person in people)
    _check_terminal(notary, standing.policy, keys)
    return people


def ripen(notary: Notary) -> None:
    """Agree, and put into force what had waited long enough before that: so a veto that guard took in time counts.

    What no longer follows the version in force ends unused. Raises: Refused.
    """
    clock = notary.reading()
    notary.agree()
    for payments in notary.book.organisations.values():
        standing = payments.standing
        for digest, pending in list(standing.pending.items()):
            delay_ms = standing.policy.governance.delay_ms
            if pending.noticed is None or clock.at_least - pending.noticed < delay_ms:
                continue
            body: dict[str, JsonValue] = {"change": digest, "organisation": standing.organisation}
            notary.write(Kind.ENDED, {**body, "is_in_force": _is_next(pending.document, pending.raw, standing)}, clock)
            notary.commit()


def _is_next(document: str, raw: bytes, standing: Standing) -> bool:
    return parse_object(raw).get("previous") == (standing.roster_hash if document == ROSTER else standing.policy_hash)


def _follows(document: str, raw: bytes, payments: Payments, notary: Notary) -> str:
    """The hash of a document that may follow the one in force. Raises: Refused, DocumentError."""
    standing = payments.standing
    if document == ROSTER:
        roster = parse_roster(raw, notary.book.genesis.mode)
        _check_keys(roster, payments)
        _check_governed(notary, standing.policy, roster)
        organisation, digest = roster.organisation, roster_hash(raw)
        version = standing.roster.version + 1 == roster.version
    elif document == POLICY:
        try:
            policy = parse_policy(parse_object(raw))
        except CanonicalError as fault:
            raise DocumentError(fault.field, fault.reason) from fault
        _check_governed(notary, policy, standing.roster)
        organisation, digest = policy.organisation, policy_hash(raw)
        version = standing.policy.version + 1 == policy.version
    else:
        raise DocumentError("document", f"must be {ROSTER} or {POLICY}")
    if organisation != standing.organisation or not version or not _is_next(document, raw, standing):
        refuse(Rule.CHANGE_QUORUM, f"the {document} doesn't follow the one in force")
    return digest


def _check_keys(new: Roster, payments: Payments) -> None:
    """A key and its name speak for one client for ever, also after they left the roster. Raises: Refused."""
    names = {public_key: name for name, (_, public_key) in payments.standing.enrolled.items()}
    for client in new.clients:
        for key in client.keys:
            mine = (client.id, key.public_key)
            if payments.standing.enrolled.get(key.id, mine) != mine or names.get(key.public_key, key.id) != key.id:
                refuse(Rule.CHANGE_QUORUM, f"the key {key.id}, or its name, was enrolled before as another")


def _check_governed(notary: Notary, policy: Policy, roster: Roster) -> None:
    """What nobody could change or unfreeze any more is no change that a quorum can want. Raises: Refused."""
    group = next((each for each in roster.groups if each.name == policy.governance.group), None)
    able = sum(policy.governance.group in each.groups and bool(each.credentials) for each in roster.people)
    if group is None or able < group.threshold:
        refuse(Rule.CHANGE_QUORUM, f"no quorum of {policy.governance.group} would be left")
    _check_terminal(notary, policy, (
        (credential.credential_class, each.groups) for each in roster.people for credential in each.credentials
    ))


def _check_terminal(notary: Notary, policy: Policy, keys: Iterable[tuple[CredentialClass, Container[str]]]) -> None:
    """One of the keys is a terminal of the governing group, in production. Raises: Refused."""
    is_there = any(each is CredentialClass.TERMINAL and policy.governance.group in groups for each, groups in keys)
    if notary.book.genesis.mode is Mode.PRODUCTION and not is_there:
        refuse(Rule.CHANGE_TERMINAL, f"no terminal of {policy.governance.group} signs it, or none would be left")
