"""Whether the people of a roster can give what a policy asks for, also when one of them is away.

Counts as the signer does: people and not credentials, no custodian of the client that pays or of the one that
declared, and as many different groups as the tier asks.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from strongroom.advice.sums import people_text
from strongroom.advice.warnings import Warned
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import Policy, Tier
from strongroom.protocol.roster import CredentialClass, Person, Role, Roster, RosterClient

_DECLARES: Final = Permission.BENEFICIARIES_CREATE
_PAYS: Final = Permission.PAYOUTS_CREATE


def roster_warnings(policy: Policy, roster: Roster) -> list[Warned]:
    """What can't be approved or changed with these people, or by too few of them."""
    return [*_of_organisation(policy, roster), *_of_tiers(policy, roster), *_of_clients(roster),
            *_of_terminals(policy, roster), *_of_governance(policy, roster)]


def are_enough(people: Collection[Person], tier: Tier) -> bool:
    """Enough people, of whom enough can each stand for a different group."""
    stands: dict[str, Person] = {}

    def place(person: Person, tried: set[str]) -> bool:
        for group in sorted(set(person.groups) - tried):
            tried.add(group)
            if group not in stands or place(stands[group], tried):
                stands[group] = person
                return True
        return False

    return len(people) >= tier.approvals and sum(place(person, set()) for person in people) >= tier.groups


def approvers(roster: Roster, clients: Sequence[RosterClient]) -> list[Person]:
    """Whose approval counts for what these clients asked for and declared."""
    barred = {person for client in clients for person in client.custodians}
    return [
        person for person in roster.people
        if Role.APPROVER in person.roles and person.credentials and person.id not in barred
    ]


def _of_organisation(policy: Policy, roster: Roster) -> Iterator[Warned]:
    if policy.organisation != roster.organisation:
        yield Warned("organisation", f"is another than the roster's, {roster.organisation}")


def _of_tiers(policy: Policy, roster: Roster) -> Iterator[Warned]:
    """The worst pair of clients decides: one that pays and one that declared."""
    pairs = [
        (payer, declarer) for payer in _clients(roster, _PAYS) for declarer in _clients(roster, _DECLARES) or [payer]
    ]
    for at, tier in enumerate(policy.tiers):
        asks = people_text(tier.approvals, tier.groups)
        for pair in pairs:
            able = approvers(roster, pair)
            if not are_enough(able, tier):
                yield Warned(f"tiers[{at}]", f"asks {asks}, and the roster can't give them for {pair[0].id}")
                break
            missed = [away for away in able if not are_enough([each for each in able if each is not away], tier)]
            if missed:
                names = " or ".join(person.name for person in missed)
                yield Warned(f"tiers[{at}]", f"asks {asks}: nobody is paid when {names} is away")
                break


def _of_clients(roster: Roster) -> Iterator[Warned]:
    has_approvers = any(Role.APPROVER in person.roles for person in roster.people)
    for at, client in enumerate(roster.clients):
        if has_approvers and not client.custodians and _holds(client, _PAYS):
            yield Warned(
                f"roster clients[{at}].custodians",
                f"are none: whoever reaches the key of {client.id} and approves counts for what it asked itself",
            )


def _of_terminals(policy: Policy, roster: Roster) -> Iterator[Warned]:
    last = policy.tiers[-1]
    has_terminal = any(
        credential.credential_class is CredentialClass.TERMINAL
        for person in roster.people if Role.APPROVER in person.roles for credential in person.credentials
    )
    above = last.approvals and last.up_to_reference_minor > policy.browser_release_reference_minor
    if above and not has_terminal:
        yield Warned(
            "browser_release_reference_minor",
            "no approver has a terminal: what people approve above this in a day waits for the next",
        )


def _of_governance(policy: Policy, roster: Roster) -> Iterator[Warned]:
    name = policy.governance.group
    group = next((each for each in roster.groups if each.name == name), None)
    members = [person for person in roster.people if name in person.groups and person.credentials]
    if group is None:
        yield Warned("governance.group", f"the roster has no group {name!r}: nothing can ever be changed or unfrozen")
    elif len(members) < group.threshold:
        yield Warned("governance.group", f"{name!r} has fewer members with a credential than its threshold")
    elif group.threshold == 1:
        yield Warned("governance.group", f"one person of {name!r} is a quorum, and can change policy and roster alone")
    elif len(members) == group.threshold:
        yield Warned("governance.group", f"all {group.threshold} of {name!r} are needed: with one away nothing changes")


def _clients(roster: Roster, scope: Permission) -> list[RosterClient]:
    return [client for client in roster.clients if _holds(client, scope)]


def _holds(client: RosterClient, scope: Permission) -> bool:
    return any(scope in key.scopes for key in client.keys)
