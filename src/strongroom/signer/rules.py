"""The rules of the signer's gate, in the order in which they are asked; each has a tag, here and nowhere else.

The tag stands in the code that asks it, in the error, and in docs/signer-rules.md, which is made from this file. All
rules are affirmative: what isn't shown to hold is refused.
"""

from enum import StrEnum
from typing import NoReturn


class Rule(StrEnum):
    """The comment under each is its sentence in the document."""

    LEASE_FRESH = "lease-fresh"
    """Guard's lease is younger than its term, and allows this operation."""
    NOT_FROZEN = "not-frozen"
    """Nothing that it touches is frozen: organisation, asset, network, client, beneficiary; but a sweep or cancel may
    go by an officer's word, once."""
    GUARD_AGREES = "guard-agrees"
    """Guard has cosigned the journal's head, with all of its control log applied, before a signature is made."""
    ORGANISATION_KNOWN = "organisation-known"
    """The organisation was let in by genesis or on the admin socket."""
    OPERATION_KNOWN = "operation-known"
    """It is one of the typed operations, with exactly what belongs to it; nothing else is ever signed."""

    INTENT_SIGNED = "intent-signed"
    """An enrolled key signed the request, or a person their record, for this deployment, on a literal path."""
    INTENT_SCOPE = "intent-scope"
    """The key holds the scope that the request needs, or the person the role; not revoked, not suspended."""
    INTENT_YOUNG = "intent-young"
    """The request was young enough when the signer first saw it, and isn't from the future."""
    INTENT_FIRST = "intent-first"
    """No other request was seen for the payout: the first fixes method, path and content for ever."""
    INTENT_ALIVE = "intent-alive"
    """Nobody cancelled or declined it, and it hasn't expired; its own `not_before` has come."""
    DEBT_ONCE = "debt-once"
    """The same client pays an external id to a destination once; again only as `replaces` of one that is dead."""
    PAYOUT_ONCE = "payout-once"
    """It was never signed before, or this excludes every earlier attempt on the chain itself."""
    CHILD_PARENT = "child-parent"
    """A child spends the first change of one payment alone, and names its payouts, of which some are still owed."""
    PAYOUT_VOID = "payout-void"
    """A signed payout is void when guard has seen final, by itself, what excludes each attempt and doesn't pay it."""
    PAYOUT_RELEASED = "payout-released"
    """Where that is a sweep, or wasn't signed here, a quorum has released exactly these attempts as well."""
    SWEEP_ONCE = "sweep-once"
    """Of the sweeps of a network in a day a chain can hold one only, unless an officer says so for one more."""
    RUN_ITEM = "run-item"
    """An item of a run stands in the tree that the client sealed, at the place that it says."""

    DESTINATION_KNOWN = "destination-known"
    """The digest that the client signed is of a destination whose evidence was verified here."""
    DESTINATION_COOLED = "destination-cooled"
    """It has cooled off by the signer's own clock."""
    DESTINATION_CURRENT = "destination-current"
    """It is the version in force: the newest that has cooled off and that no open payout holds back."""

    APPROVAL_REQUESTED = "approval-requested"
    """The approvals are over the live request that the signer made: its ticket, policy, roster and freeze epoch."""
    APPROVAL_ALIVE = "approval-alive"
    """The request hasn't expired."""
    APPROVAL_SIGNED = "approval-signed"
    """What counts is a passkey's assertion over those bytes by a credential in the roster, with the person there."""
    APPROVAL_INDEPENDENT = "approval-independent"
    """None that counts is by who made it or its destination, a custodian, or who is suspended, barred, no approver."""
    APPROVAL_ENOUGH = "approval-enough"
    """As many different people as the tier asks, from as many groups; one at least, if a person made or named it."""
    APPROVAL_TERMINAL = "approval-terminal"
    """Above a day's cap on what browsers alone release, one approval is by a terminal credential."""

    LIMIT_AMOUNT = "limit-amount"
    """The policy knows the asset on this network, and pays as much in one payout."""
    LIMIT_TIER = "limit-tier"
    """The payout, its run, and the day's sum to the same address are within the last tier."""
    LIMIT_WINDOW = "limit-window"
    """Every limit has room, exactly, by the journal."""
    LIMIT_FEES = "limit-fees"
    """The day's fees stay within their budget; sweeps have one of their own."""

    BYTES_READ = "bytes-read"
    """The chain transaction is in the one spelling of its network, within its bounds."""
    BYTES_INPUTS = "bytes-inputs"
    """Every input belongs to the organisation's own wallet: its address is derived again from the key."""
    BYTES_OUTPUTS = "bytes-outputs"
    """Every output is an item of this request, to the letter and in its order, or change."""
    BYTES_CHANGE = "bytes-change"
    """Change goes to the next addresses of the current key generation, in few outputs, none of them dust."""
    BYTES_FEE = "bytes-fee"
    """Fee and fee rate are at most what the policy says."""

    CHANGE_QUORUM = "change-quorum"
    """A quorum of the roster in force wants the change, which follows the version in force."""
    CHANGE_TERMINAL = "change-terminal"
    """In production, one of that quorum signs the change with a terminal credential, and one stays who could."""


class Refused(Exception):
    """The signer says no; `rule` is why. A normal answer, never a fault."""

    def __init__(self, rule: Rule, reason: str) -> None:
        super().__init__(f"{rule.value}: {reason}")
        self.rule = rule
        self.reason = reason


def refuse(rule: Rule, reason: str) -> NoReturn:
    raise Refused(rule, reason)
