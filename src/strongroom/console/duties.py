"""What people may do on the console's pages: one enum, one table of roles, one table of ways of signing in.

`permissions` is for programs; this is for people. A duty is what a page or button needs. No role gives money away: what
moves money, or says where it may go, needs an assertion by an approval credential, which the console can't make.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from strongroom.protocol.roster import Role


class Way(StrEnum):
    """What a person must have shown, each more than the one before."""

    SESSION = "session"
    """Signed in with a passkey, in this browser, from a network that is known."""
    STEP_UP = "step_up"
    """And has said yes to exactly this change, with the passkey."""
    ASSERTION = "assertion"
    """An approval credential's, given at the station, over the very bytes that are checked elsewhere."""


class Duty(StrEnum):
    OVERVIEW_SEE = "overview:see"
    APPROVALS_SEE = "approvals:see"
    APPROVALS_GIVE = "approvals:give"
    PAYOUTS_SEE = "payouts:see"
    PAYOUTS_FIND = "payouts:find"
    PAYOUTS_ASK = "payouts:ask"
    EXCEPTIONS_SEE = "exceptions:see"
    BENEFICIARIES_SEE = "beneficiaries:see"
    BENEFICIARIES_CHANGE = "beneficiaries:change"
    TREASURY_SEE = "treasury:see"
    KEYS_SEE = "keys:see"
    POLICY_SEE = "policy:see"
    POLICY_CHANGE = "policy:change"
    PEOPLE_SEE = "people:see"
    PEOPLE_INVITE = "people:invite"
    SESSIONS_OWN = "sessions:own"
    SESSIONS_SEE = "sessions:see"
    SESSIONS_END = "sessions:end"
    AUDIT_SEE = "audit:see"
    AUDIT_EXPORT = "audit:export"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"


_EVERYBODY: Final = frozenset({Duty.OVERVIEW_SEE, Duty.SESSIONS_OWN})
_LOOKS: Final = frozenset({
    Duty.PAYOUTS_SEE, Duty.PAYOUTS_FIND, Duty.EXCEPTIONS_SEE, Duty.BENEFICIARIES_SEE, Duty.TREASURY_SEE,
    Duty.POLICY_SEE,
})

GRANTS: Final[dict[Role, frozenset[Duty]]] = {
    Role.VIEWER: _EVERYBODY | _LOOKS,
    Role.SUPPORT: _EVERYBODY | {Duty.PAYOUTS_FIND, Duty.PAYOUTS_SEE, Duty.EXCEPTIONS_SEE},
    Role.AUDITOR: _EVERYBODY | _LOOKS | {
        Duty.APPROVALS_SEE, Duty.KEYS_SEE, Duty.PEOPLE_SEE, Duty.SESSIONS_SEE, Duty.AUDIT_SEE, Duty.AUDIT_EXPORT,
    },
    Role.OPERATOR: _EVERYBODY | _LOOKS | {Duty.PAYOUTS_ASK, Duty.BENEFICIARIES_CHANGE},
    Role.APPROVER: _EVERYBODY | _LOOKS | {Duty.APPROVALS_SEE, Duty.APPROVALS_GIVE},
    Role.TREASURER: _EVERYBODY | _LOOKS | {Duty.APPROVALS_SEE, Duty.AUDIT_SEE},
    Role.OFFICER: _EVERYBODY | _LOOKS | {
        Duty.APPROVALS_SEE, Duty.KEYS_SEE, Duty.POLICY_CHANGE, Duty.PEOPLE_SEE, Duty.SESSIONS_SEE, Duty.SESSIONS_END,
        Duty.AUDIT_SEE, Duty.AUDIT_EXPORT, Duty.FREEZE, Duty.UNFREEZE,
    },
    Role.DEVELOPER: _EVERYBODY | {Duty.PAYOUTS_SEE, Duty.PAYOUTS_FIND, Duty.KEYS_SEE},
    Role.ADMIN: _EVERYBODY | {
        Duty.POLICY_SEE, Duty.PEOPLE_SEE, Duty.PEOPLE_INVITE, Duty.SESSIONS_SEE, Duty.SESSIONS_END, Duty.KEYS_SEE,
        Duty.AUDIT_SEE,
    },
}

TAKES_AWAY: Final[dict[Role, frozenset[Duty]]] = {
    Role.ADMIN: frozenset({Duty.APPROVALS_GIVE, Duty.PAYOUTS_ASK, Duty.BENEFICIARIES_CHANGE}),
    Role.OPERATOR: frozenset({Duty.POLICY_CHANGE}),
}
"""What a role bars whatever other roles give: who lets people in approves nothing, and who asks changes no rule."""

NEEDS: Final[dict[Duty, Way]] = dict.fromkeys(Duty, Way.SESSION) | {
    Duty.PEOPLE_INVITE: Way.STEP_UP,
    Duty.SESSIONS_END: Way.STEP_UP,
    Duty.APPROVALS_GIVE: Way.ASSERTION,
    Duty.PAYOUTS_ASK: Way.ASSERTION,
    Duty.BENEFICIARIES_CHANGE: Way.ASSERTION,
    Duty.POLICY_CHANGE: Way.ASSERTION,
    Duty.FREEZE: Way.ASSERTION,
    Duty.UNFREEZE: Way.ASSERTION,
}
"""The least that a duty is done by."""


def duties_of(roles: Iterable[Role]) -> frozenset[Duty]:
    """What a person with these roles may do; somebody without a role may do nothing."""
    held = frozenset(roles)
    granted = frozenset[Duty]().union(*(GRANTS[role] for role in held))
    return granted.difference(*(TAKES_AWAY.get(role, frozenset()) for role in held))
