"""The policy that the machine plays against: small numbers, so that every limit is met, and a treasury to sweep to."""

from typing import Any

from tests.signer.world import limit, payee, policy_document

from strongroom.domain.instant import HOUR_MS

FINALITY_BLOCKS = 3
TREASURY = payee("treasury")


def fuzz_policy(**changes: Any) -> dict[str, Any]:
    return policy_document(**{
        "tiers": [
            {"up_to_reference_minor": "5000", "approvals": 0, "groups": 0},
            {"up_to_reference_minor": "50000", "approvals": 1, "groups": 1},
            {"up_to_reference_minor": "500000", "approvals": 2, "groups": 2},
        ],
        "risk": {"above_reference_minor": "4000", "young_for_ms": 60_000},
        "limits": [
            limit("B", "organisation", "unattended", 40_000), limit("all", "organisation", "all", 900_000),
            limit("hour", "organisation", "all", 400_000, HOUR_MS), limit("payee", "destination", "all", 120_000),
            limit("K", "client", "unattended", 35_000, HOUR_MS),
        ],
        "fee_budget_reference_minor": "15000", "sweep_fee_budget_reference_minor": "6000",
        "wallets": [
            {**policy_document()["wallets"][0], "finality_blocks": FINALITY_BLOCKS, "treasury": TREASURY}
        ],
    } | changes)
