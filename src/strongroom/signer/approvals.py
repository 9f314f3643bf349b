"""Whether enough people, and the right ones, approved what is to be signed.

Counts people, never credentials or assertions. Who asked for it or named the destination doesn't count for it, and
neither does a custodian of a client that did: its custodians speak for it. What doesn't count is left out, and
refuses nothing by itself, so that nobody spoils what enough others approved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from strongroom.domain.ids import Maker, PersonId, is_person
from strongroom.domain.instant import DAY_MS
from strongroom.domain.policy import Tier
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, Heard, PersonAssertion, hear
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.entry import Reading
from strongroom.protocol.roster import CredentialClass
from strongroom.protocol.webauthn import RelyingParty, WebauthnError
from strongroom.signer.book import BROWSER, KnownDestination, Payments
from strongroom.signer.due import Due
from strongroom.signer.rules import Rule, refuse


@dataclass(frozen=True, slots=True)
class Given:
    """The assertions over one request, whose verbatim bytes the engine brings back."""

    subject: str
    request: bytes
    assertions: tuple[PersonAssertion, ...]


class Weighed(NamedTuple):
    """A payout that is paid for the first time: its worth at the most, and the people that it needs."""

    due: Due
    destination: KnownDestination
    reference_minor: int
    tier: Tier


def check_approvals(
    payments: Payments, given: Sequence[Given], weighed: Sequence[Weighed], party: RelyingParty, clock: Reading
) -> int:
    """The worth of what browser credentials alone release here, in reference units. Raises: Refused."""
    by_subject = {each.subject: each for each in given}
    heard: dict[str, tuple[list[Heard], str]] = {}
    browser_minor = 0
    for each in weighed:
        if each.tier.approvals == 0:
            continue
        subject = each.due.subject
        if subject not in heard:
            heard[subject] = _heard(payments, subject, by_subject.get(subject), party, clock)
        those, fault = heard[subject]
        people = _independent(payments, each, those, clock)
        if not _are_enough(people, each.tier):
            rule = Rule.APPROVAL_SIGNED if fault else Rule.APPROVAL_ENOUGH
            rule = Rule.APPROVAL_INDEPENDENT if _are_enough(those, each.tier) else rule
            refuse(rule, f"{subject} needs {each.tier.approvals} people of {each.tier.groups} groups, and has "
                         f"{len(people)} of {len(those)} whose approval counts{fault}")
        if all(person.credential_class is not CredentialClass.TERMINAL for person in people):
            browser_minor += each.reference_minor
    released = payments.windows.used(BROWSER, DAY_MS, clock.at_least) + browser_minor
    if browser_minor and released > payments.standing.policy.browser_release_reference_minor:
        refuse(Rule.APPROVAL_TERMINAL, "above what browsers alone release in a day, a terminal credential is needed")
    return browser_minor


def _heard(
    payments: Payments, subject: str, given: Given | None, party: RelyingParty, clock: Reading
) -> tuple[list[Heard], str]:
    """One for each person whose assertion over the live request holds, and what is wrong with the last of the others.

    Raises: Refused.
    """
    ticket, standing = payments.tickets.get(subject), payments.standing
    if ticket is None or given is None:
        refuse(Rule.APPROVAL_REQUESTED, f"{subject} needs people, and none were asked, or none answered")
    if record_hash(APPROVAL_REQUEST_TYPE, given.request).hex() != ticket.request_hash:
        refuse(Rule.APPROVAL_REQUESTED, f"the approvals of {subject} are over another request than the live one")
    now = (standing.freeze_epoch, standing.policy_hash, standing.roster_hash)
    if now != (ticket.freeze_epoch, ticket.policy_hash, ticket.roster_hash):
        refuse(Rule.APPROVAL_REQUESTED, f"since {subject} was requested, a freeze or a change came")
    if ticket.expires <= clock.at_most:
        refuse(Rule.APPROVAL_ALIVE, f"the request for {subject} has expired")
    people: dict[PersonId, Heard] = {}
    fault = ""
    for each in given.assertions:
        try:
            one = hear(given.request, APPROVAL_REQUEST_TYPE, each, standing, party)
        except WebauthnError as refused:
            fault = f"; one is left out: {refused}"
            continue
        if one.person not in people or one.credential_class is CredentialClass.TERMINAL:
            people[one.person] = one
    return list(people.values()), fault


def _independent(payments: Payments, weighed: Weighed, heard: list[Heard], clock: Reading) -> list[Heard]:
    """Those whose approval counts for this payout."""
    barred = excluded(payments, weighed.due.intent.client, weighed.destination.declared_by)
    standing = payments.standing
    return [each for each in heard if each.person not in barred and standing.may_approve(each.person, clock.at_least)]


def excluded(payments: Payments, *makers: Maker) -> frozenset[PersonId]:
    """Who is or speaks for one of these, and so never approves what they made."""
    clients = payments.standing.roster.clients
    people = {PersonId(each) for each in makers if is_person(each)}
    return frozenset(people.union(*(each.custodians for each in clients if each.id in makers)))


def _are_enough(people: Sequence[Heard], tier: Tier) -> bool:
    """Enough people, and enough of them can each stand for a different group: a matching, found person by person."""
    stands: dict[str, Heard] = {}

    def place(person: Heard, tried: set[str]) -> bool:
        for group in sorted(person.groups - tried):
            tried.add(group)
            if group not in stands or place(stands[group], tried):
                stands[group] = person
                return True
        return False

    return len(people) >= tier.approvals and sum(place(person, set()) for person in people) >= tier.groups
