"""A policy for tests: the sandbox's numbers, with one simple asset whose base unit is worth a cent."""

from copy import deepcopy
from typing import Any

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ORGANISATION = "org_" + "a" * 26
USDC = "eip155:31337/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"
NETWORK = "eip155:31337"


def limit(name: str, scope: str, counts: str, maximum: int, span_ms: int = DAY_MS) -> dict[str, Any]:
    return {
        "name": name, "scope": scope, "counts": counts, "span_ms": span_ms,
        "maximum_reference_minor": str(maximum),
    }


def tier(up_to: int, approvals: int, groups: int) -> dict[str, Any]:
    return {"up_to_reference_minor": str(up_to), "approvals": approvals, "groups": groups}


_DOCUMENT: dict[str, Any] = {
    "type": "strongroom/policy/v1",
    "organisation": ORGANISATION,
    "version": 1,
    "previous": None,
    "reference_currency": "USD",
    "assets": [
        {
            "asset": USDC, "symbol": "USDC", "decimals": 6, "network": NETWORK,
            "maximum_minor": "1000000000000", "ceiling": {"units": "10000", "reference_minor": "1"},
        }
    ],
    "tiers": [tier(25_000, 0, 0), tier(1_000_000, 1, 1), tier(25_000_000, 2, 2)],
    "risk": {"above_reference_minor": "25000", "young_for_ms": DAY_MS},
    "limits": [
        limit("unattended", "organisation", "unattended", 10_000_000),
        limit("declared or young", "organisation", "unattended_young", 10_000_000),
        limit("one client", "client", "unattended", 10_000_000),
    ],
    "fee_budget_reference_minor": "1000000",
    "sweep_fee_budget_reference_minor": "500000",
    "cooling_off_ms": {"declared": 5000, "payee_verified": 1000, "allowlisted": 0},
    "intent_maximum_age_ms": DAY_MS,
    "browser_release_reference_minor": "25000000",
    "wallets": [
        {
            "network": NETWORK, "fee_asset": USDC, "fee_maximum_minor": "5000000", "fee_rate_maximum": "1000000",
            "finality_blocks": 2, "treasury": None,
        }
    ],
    "governance": {"group": "officers", "delay_ms": 5000},
}


def policy_document(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(_DOCUMENT), **changes}
