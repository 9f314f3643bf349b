"""Who may do what."""

import pytest

from strongroom.domain.permissions import CARRIES, Permission, ScopeError, SignIn, allows, parse_scopes

# The whole table: what a read-only bearer key may hold. A client key may hold every permission.
BEARER = {
    Permission.PAYOUTS_CREATE: False,
    Permission.PAYOUTS_CANCEL: False,
    Permission.PAYOUTS_PREVIEW: True,
    Permission.PAYOUTS_READ: True,
    Permission.BENEFICIARIES_CREATE: False,
    Permission.BENEFICIARIES_READ: True,
    Permission.ACTIVITIES_CREATE: False,
    Permission.BALANCES_READ: True,
    Permission.LIMITS_READ: True,
    Permission.AUDIT_READ: True,
    Permission.APPROVALS_READ: True,
    Permission.APPROVALS_GIVE: False,
}


def test_every_permission_stands_in_the_table() -> None:
    assert set(BEARER) == set(Permission)
    assert set(CARRIES) == set(SignIn)


@pytest.mark.parametrize("permission", Permission)
def test_what_each_sign_in_carries(permission: Permission) -> None:
    scopes = frozenset({permission})
    assert allows(permission, SignIn.CLIENT_SIGNATURE, scopes) is (permission is not Permission.APPROVALS_GIVE)
    asserted = {Permission.APPROVALS_GIVE, Permission.PAYOUTS_CREATE}
    assert allows(permission, SignIn.ASSERTION, scopes) is (permission in asserted)
    assert allows(permission, SignIn.BEARER, scopes) is BEARER[permission]


def test_without_the_scope_nothing_is_allowed() -> None:
    for permission in Permission:
        others = frozenset(Permission) - {permission}
        assert not allows(permission, SignIn.CLIENT_SIGNATURE, others)
        assert not allows(permission, SignIn.CLIENT_SIGNATURE, frozenset())


def test_no_scopes_is_a_good_set() -> None:
    assert parse_scopes([], SignIn.CLIENT_SIGNATURE) == frozenset()


@pytest.mark.parametrize(
    ("names", "sign_in", "reason"),
    [
        (["payouts:everything"], SignIn.CLIENT_SIGNATURE, "no scope"),
        (["payouts:read", "payouts:read"], SignIn.CLIENT_SIGNATURE, "twice"),
        (["payouts:create"], SignIn.BEARER, "can't hold"),
        (["payouts:create", "beneficiaries:create"], SignIn.CLIENT_SIGNATURE, "both declare"),
    ],
)
def test_sets_that_no_key_may_hold(names: list[str], sign_in: SignIn, reason: str) -> None:
    with pytest.raises(ScopeError, match=reason):
        parse_scopes(names, sign_in)


def test_scopes_that_go_together() -> None:
    names = ["payouts:create", "payouts:read", "beneficiaries:read"]
    assert parse_scopes(names, SignIn.CLIENT_SIGNATURE) == frozenset(map(Permission, names))
