"""The one table of what the API can do. Routing, permissions and the OpenAPI document all come from it."""

import re
from typing import Final

from strongroom.api import approvals, audit, beneficiaries, changes, payouts, person_intents, runs
from strongroom.api.call import Route
from strongroom.api.payouts import read_nothing
from strongroom.api.people_schemas import ChangeAnswer, ChangeBody, ChangeList, PersonIntentBody, RunningAnswer
from strongroom.api.schemas import (
    ApprovalAnswer,
    ApprovalList,
    AssertionBody,
    AuditEntries,
    BalanceList,
    BeneficiaryAnswer,
    BeneficiaryBody,
    BeneficiaryList,
    CancelAnswer,
    CancelBody,
    ConsistencyAnswer,
    DestinationBody,
    EvidenceAnswer,
    InclusionAnswer,
    PayoutAnswer,
    PayoutBody,
    PayoutList,
    PreviewAnswer,
    ReceiptAnswer,
    RunAnswer,
    RunBody,
    RunItemsBody,
    RunList,
    RunPreviewAnswer,
    SealBody,
    WalletList,
)
from strongroom.domain.permissions import Permission as May

RUN_BODY_MAXIMUM: Final = 16 * 2**20
_PAGES: Final = ("limit", "cursor")
_PAYOUT_FILTERS: Final = ("beneficiary", "external_id", "run", "state", "created_after", "chain_transaction", *_PAGES)

ROUTES: Final = (
    Route("POST", "/v1/beneficiaries", May.BENEFICIARIES_CREATE, beneficiaries.read_beneficiary, beneficiaries.create,
          BeneficiaryBody, BeneficiaryAnswer, "Declare a beneficiary with its first destination", 201, keyed=True),
    Route("GET", "/v1/beneficiaries", May.BENEFICIARIES_READ, beneficiaries.read_filters, beneficiaries.find,
          None, BeneficiaryList, "List beneficiaries", query=("external_id", *_PAGES)),
    Route("GET", "/v1/beneficiaries/{beneficiary}", May.BENEFICIARIES_READ, read_nothing, beneficiaries.show,
          None, BeneficiaryAnswer, "A beneficiary with the history of its destinations"),
    Route("POST", "/v1/beneficiaries/{beneficiary}/destinations", May.BENEFICIARIES_CREATE,
          beneficiaries.read_destination, beneficiaries.add_destination, DestinationBody, BeneficiaryAnswer,
          "Declare the next version of a destination", 202, keyed=True),
    Route("POST", "/v1/payouts", May.PAYOUTS_CREATE, payouts.read_payout, payouts.create,
          PayoutBody, PayoutAnswer, "Ask for a payout", 201, keyed=True),
    Route("POST", "/v1/payouts/preview", May.PAYOUTS_PREVIEW, payouts.read_payout, payouts.preview,
          PayoutBody, PreviewAnswer, "See what would happen to a payout; nothing is stored"),
    Route("GET", "/v1/payouts", May.PAYOUTS_READ, payouts.read_filters, payouts.find,
          None, PayoutList, "List payouts", query=_PAYOUT_FILTERS),
    Route("GET", "/v1/payouts/{payout}", May.PAYOUTS_READ, read_nothing, payouts.show,
          None, PayoutAnswer, "A payout as it is now"),
    Route("GET", "/v1/payouts/{payout}/evidence", May.PAYOUTS_READ, read_nothing, payouts.evidence,
          None, EvidenceAnswer, "The signed request that asked for a payout"),
    Route("GET", "/v1/payouts/{payout}/receipt", May.PAYOUTS_READ, read_nothing, payouts.receipt,
          None, ReceiptAnswer, "The proof that a payout is in the audit log"),
    Route("POST", "/v1/payouts/{payout}/cancel", May.PAYOUTS_CANCEL, payouts.read_cancel, payouts.cancel,
          CancelBody, CancelAnswer, "Ask that a payout shall not go out", 202, keyed=True),
    Route("POST", "/v1/payout-runs", May.PAYOUTS_CREATE, runs.read_run, runs.create,
          RunBody, RunAnswer, "Open a run with its items, sealed or not", 201, keyed=True,
          body_maximum=RUN_BODY_MAXIMUM),
    Route("POST", "/v1/payout-runs/preview", May.PAYOUTS_PREVIEW, runs.read_preview, runs.preview,
          RunBody, RunPreviewAnswer, "See what would happen to each row; takes CSV as well", csv=True,
          body_maximum=RUN_BODY_MAXIMUM),
    Route("GET", "/v1/payout-runs", May.PAYOUTS_READ, runs.read_list, runs.find,
          None, RunList, "List runs", query=_PAGES),
    Route("GET", "/v1/payout-runs/{run}", May.PAYOUTS_READ, read_nothing, runs.show,
          None, RunAnswer, "A run as it is now"),
    Route("GET", "/v1/payout-runs/{run}/items", May.PAYOUTS_READ, payouts.read_items_filters, runs.items,
          None, PayoutList, "The payouts of a run", query=("state", *_PAGES)),
    Route("POST", "/v1/payout-runs/{run}/items", May.PAYOUTS_CREATE, runs.read_items, runs.add_items,
          RunItemsBody, RunAnswer, "Add items to an open run, all or none", 201, keyed=True,
          body_maximum=RUN_BODY_MAXIMUM),
    Route("POST", "/v1/payout-runs/{run}/seal", May.PAYOUTS_CREATE, runs.read_seal, runs.add_seal,
          SealBody, RunAnswer, "Seal a run: count, totals and root", 201, keyed=True),
    Route("POST", "/v1/payout-runs/{run}/cancel", May.PAYOUTS_CANCEL, runs.read_cancel, runs.cancel,
          CancelBody, RunAnswer, "Ask that what isn't planned yet of a run shall not go out", 202, keyed=True),
    Route("POST", "/v1/person-intents", May.PAYOUTS_CREATE, person_intents.read_intent, person_intents.ask,
          PersonIntentBody, None, "Ask as a person: a payout, a beneficiary or its next destination", 201,
          asserted=person_intents.sign_in, body_maximum=person_intents.BODY_MAXIMUM),
    Route("GET", "/v1/approvals", May.APPROVALS_READ, approvals.read_list, approvals.find,
          None, ApprovalList, "What waits for people, in the signer's own words", query=_PAGES),
    Route("POST", "/v1/approvals/{request}/assertions", May.APPROVALS_GIVE, approvals.read_assertion, approvals.give,
          AssertionBody, ApprovalAnswer, "Approve: a passkey's assertion over the request", 201,
          asserted=approvals.sign_in, body_maximum=approvals.ASSERTION_BODY_MAXIMUM),
    Route("GET", "/v1/policy", May.LIMITS_READ, read_nothing, changes.policy,
          None, RunningAnswer, "The policy in force, verbatim"),
    Route("GET", "/v1/roster", May.APPROVALS_READ, read_nothing, changes.roster,
          None, RunningAnswer, "The roster in force, verbatim"),
    Route("GET", "/v1/changes", May.APPROVALS_READ, changes.read_list, changes.find,
          None, ChangeList, "Changes of policy and roster that were proposed", query=_PAGES),
    Route("GET", "/v1/changes/{change}", May.APPROVALS_READ, read_nothing, changes.show,
          None, ChangeAnswer, "A change as it is now"),
    Route("POST", "/v1/changes", May.APPROVALS_GIVE, changes.read_proposed, changes.propose,
          ChangeBody, ChangeAnswer, "Propose a policy or roster, with an assertion over it", 201,
          asserted=changes.sign_in_proposer, body_maximum=changes.BODY_MAXIMUM),
    Route("POST", "/v1/changes/{change}/assertions", May.APPROVALS_GIVE, changes.read_assertion, changes.give,
          AssertionBody, ChangeAnswer, "Want a change: a passkey's assertion over its document", 201,
          asserted=changes.sign_in_member, body_maximum=approvals.ASSERTION_BODY_MAXIMUM),
    Route("GET", "/v1/balances", May.BALANCES_READ, read_nothing, audit.balances,
          None, BalanceList, "The ledger's accounts"),
    Route("GET", "/v1/wallets", May.BALANCES_READ, read_nothing, audit.hot_wallets,
          None, WalletList, "What the hot wallets hold by the ledger, and by the chain"),
    Route("GET", "/v1/audit/checkpoint", May.AUDIT_READ, read_nothing, audit.checkpoint,
          None, None, "The newest signed checkpoint of the audit log, as a C2SP note"),
    Route("GET", "/v1/audit/entries", May.AUDIT_READ, audit.read_range, audit.entries,
          None, AuditEntries, "Leaves of the audit log", query=("start", "end")),
    Route("GET", "/v1/audit/proofs/inclusion", May.AUDIT_READ, audit.read_inclusion, audit.inclusion,
          None, InclusionAnswer, "That a leaf is in the log", query=("leaf_index", "size")),
    Route("GET", "/v1/audit/proofs/consistency", May.AUDIT_READ, audit.read_consistency, audit.consistency,
          None, ConsistencyAnswer, "That the log only grew", query=("first", "second")),
)

PUBLIC: Final = frozenset({"/livez", "/readyz", "/openapi.json"})
"""What anybody may GET, without a signature."""

_EXACT = {(route.method, route.path): route for route in ROUTES if "{" not in route.path}
_PATTERNS = [
    (route, re.compile(re.sub(r"\{\w+\}", "([A-Za-z0-9_]{1,64})", route.path)))
    for route in ROUTES
    if "{" in route.path
]


def find_route(method: str, path: str) -> tuple[Route, tuple[str, ...]] | tuple[str, ...]:
    """The route and what its path names; or the methods that the path has instead, none if there is no such path."""
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact, ()
    if path in PUBLIC:
        return ("GET",)
    others: set[str] = {route.method for route in ROUTES if route.path == path}
    for route, pattern in _PATTERNS if not others else ():
        match = pattern.fullmatch(path)
        if match is not None:
            if route.method == method:
                return route, match.groups()
            others.add(route.method)
    return tuple(sorted(others))
