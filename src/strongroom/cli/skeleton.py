"""A first policy and roster to fill in, for a team of 3, 6 or 12: a proposal to argue about, never used as it is.

What only the team knows says FILL IN and is refused until somebody did. Three clients: one pays, one declares, and one
only reads, for people who approve. In each, any one person may be away and the
largest payout can still be approved, and nobody alone can approve it or change anything.
"""

import secrets
from base64 import b32encode
from typing import Any, Final

from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import POLICY_TYPE
from strongroom.protocol.roster import ROSTER_TYPE

FILL_IN: Final = "FILL IN"
TEAMS: Final = (3, 6, 12)
BITCOIN: Final = "bip122:000000000019d6689c085ae165831e93"

_People = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
_APPROVER, _OFFICER, _BOTH = ("approver",), ("officer", "admin"), ("approver", "officer")
_ROLES: Final[dict[int, _People]] = {
    3: (
        (_BOTH, ("treasury", "officers")), (_BOTH, ("operations", "officers")),
        (_BOTH, ("treasury", "operations", "officers")),
    ),
    6: (
        (_APPROVER, ("treasury",)), (_BOTH, ("treasury", "officers")), *[(_APPROVER, ("operations",))] * 2,
        *[(_OFFICER, ("officers",))] * 2,
    ),
    12: (
        *[(_APPROVER, ("treasury",))] * 4, *[(_APPROVER, ("operations",))] * 4, *[(_OFFICER, ("officers",))] * 4,
    ),
}
"""Roles and groups of each person."""
_QUORUM: Final = {3: 2, 6: 2, 12: 3}
"""Of the officers."""


def skeleton(team: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policy and roster of a new organisation. `team` is one of TEAMS."""
    organisation = _fresh("org_")
    return _policy(organisation), _roster(organisation, team)


def _roster(organisation: str, team: int) -> dict[str, Any]:
    people = [
        {
            "credentials": [{"class": f"{FILL_IN}: browser or terminal", "id": f"{FILL_IN}: hex",
                             "public_key": f"{FILL_IN}: hex of the COSE key"}],
            "groups": list(groups), "id": _fresh("pe_"), "name": f"{FILL_IN}: person {number}", "roles": list(roles),
        }
        for number, (roles, groups) in enumerate(_ROLES[team], start=1)
    ]
    reads = [
        Permission.APPROVALS_READ, Permission.BALANCES_READ, Permission.BENEFICIARIES_READ, Permission.LIMITS_READ,
        Permission.PAYOUTS_PREVIEW, Permission.PAYOUTS_READ,
    ]
    pays = [Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL, *reads]
    declares = [Permission.BENEFICIARIES_CREATE, Permission.BENEFICIARIES_READ]
    return {
        "clients": [
            {
                "custodians": [f"{FILL_IN}: the ids of people who can reach this key, or none"], "id": _fresh("cl_"),
                "keys": [{"id": _fresh("ak_"), "public_key": f"{FILL_IN}: hex of an Ed25519 key", "scopes": scopes}],
            }
            for scopes in (pays, declares, reads)
        ],
        "groups": [
            {"name": "treasury", "threshold": 1}, {"name": "operations", "threshold": 1},
            {"name": "officers", "threshold": _QUORUM[team]},
        ],
        "organisation": organisation, "people": people, "previous": None, "type": ROSTER_TYPE, "version": 1,
    }


def _policy(organisation: str) -> dict[str, Any]:
    """The sums of a small company that pays in Bitcoin: all of them are to be thought about."""
    return {
        "type": POLICY_TYPE, "organisation": organisation, "version": 1, "previous": None,
        "reference_currency": "USD",
        "assets": [
            {
                "asset": f"{BITCOIN}/slip44:0", "symbol": "BTC", "decimals": 8, "network": BITCOIN,
                "maximum_minor": "500000000", "ceiling": {"units": "100000000", "reference_minor": "25000000"},
            }
        ],
        "tiers": [
            {"up_to_reference_minor": "25000", "approvals": 0, "groups": 0},
            {"up_to_reference_minor": "1000000", "approvals": 1, "groups": 1},
            {"up_to_reference_minor": "25000000", "approvals": 2, "groups": 2},
        ],
        "risk": {"above_reference_minor": "25000", "young_for_ms": 7 * DAY_MS},
        "limits": [
            _limit("B: unattended, a day", "organisation", "unattended", "1000000"),
            _limit("B: unattended, an hour", "organisation", "unattended", "250000", HOUR_MS),
            _limit("D: declared or young, a day", "organisation", "unattended_young", "250000"),
            _limit("K: one client, a day", "client", "unattended", "500000"),
            _limit("K: one key, a day", "key", "unattended", "500000"),
            _limit("attended, a day", "organisation", "attended", "100000000"),
        ],
        "fee_budget_reference_minor": "50000", "sweep_fee_budget_reference_minor": "50000",
        "browser_release_reference_minor": "5000000",
        "cooling_off_ms": {"declared": DAY_MS, "payee_verified": DAY_MS, "allowlisted": HOUR_MS},
        "intent_maximum_age_ms": DAY_MS,
        "wallets": [
            {
                "network": BITCOIN, "fee_asset": f"{BITCOIN}/slip44:0", "fee_maximum_minor": "100000",
                "fee_rate_maximum": "100000", "finality_blocks": 6, "treasury": None,
            }
        ],
        "governance": {"group": "officers", "delay_ms": DAY_MS},
    }


def _limit(name: str, scope: str, counts: str, maximum: str, span_ms: int = DAY_MS) -> dict[str, Any]:
    return {"name": name, "scope": scope, "counts": counts, "span_ms": span_ms, "maximum_reference_minor": maximum}


def _fresh(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]
