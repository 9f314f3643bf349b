"""Who may do what: one enum of permissions, and one table of which sign-in may carry which.

A client key's scopes are permissions that clients may hold. A scope to declare where money goes and a scope
to pay exclude each other on one key, so that one stolen key can't do both.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class SignIn(StrEnum):
    """How a caller showed who it is."""

    CLIENT_SIGNATURE = "client_signature"
    BEARER = "bearer"
    ASSERTION = "assertion"
    """A person's passkey, over exactly what this one call is about."""


class Permission(StrEnum):
    """What a call of the API needs."""

    PAYOUTS_CREATE = "payouts:create"
    PAYOUTS_CANCEL = "payouts:cancel"
    PAYOUTS_PREVIEW = "payouts:preview"
    PAYOUTS_READ = "payouts:read"
    BENEFICIARIES_CREATE = "beneficiaries:create"
    BENEFICIARIES_READ = "beneficiaries:read"
    ACTIVITIES_CREATE = "activities:create"
    BALANCES_READ = "balances:read"
    LIMITS_READ = "limits:read"
    AUDIT_READ = "audit:read"
    APPROVALS_READ = "approvals:read"
    APPROVALS_GIVE = "approvals:give"


MOVES_MONEY: Final = frozenset({Permission.PAYOUTS_CREATE})
NAMES_DESTINATIONS: Final = frozenset({Permission.BENEFICIARIES_CREATE})

_READ_ONLY: Final = frozenset({
    Permission.PAYOUTS_PREVIEW, Permission.PAYOUTS_READ, Permission.BENEFICIARIES_READ, Permission.BALANCES_READ,
    Permission.LIMITS_READ, Permission.AUDIT_READ, Permission.APPROVALS_READ,
})

CARRIES: Final[dict[SignIn, frozenset[Permission]]] = {
    SignIn.CLIENT_SIGNATURE: frozenset(Permission) - {Permission.APPROVALS_GIVE}, SignIn.BEARER: _READ_ONLY,
    SignIn.ASSERTION: frozenset({Permission.APPROVALS_GIVE, Permission.PAYOUTS_CREATE}),
}


class ScopeError(ValueError):
    """The scopes aren't a set that one key may hold."""


def parse_scopes(names: Iterable[str], sign_in: SignIn) -> frozenset[Permission]:
    """The scopes of one key that signs in by `sign_in`. No scopes is a good answer: new keys have none.

    Raises: ScopeError for an unknown, repeated or forbidden name, and for declaring and paying on one key.
    """
    scopes: set[Permission] = set()
    for name in names:
        try:
            scope = Permission(name)
        except ValueError as fault:
            raise ScopeError(f"there is no scope {name!r}") from fault
        if scope in scopes:
            raise ScopeError(f"the scope {name} stands there twice")
        if scope not in CARRIES[sign_in]:
            raise ScopeError(f"a key of kind {sign_in} can't hold the scope {name}")
        scopes.add(scope)
    if scopes & MOVES_MONEY and scopes & NAMES_DESTINATIONS:
        raise ScopeError("one key can't both declare destinations and pay them")
    return frozenset(scopes)


def allows(permission: Permission, sign_in: SignIn, scopes: frozenset[Permission]) -> bool:
    """Whether a caller with these scopes may. Both the key and the kind of sign-in must carry it."""
    return permission in scopes and permission in CARRIES[sign_in]
