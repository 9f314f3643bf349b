"""What the signer writes for people: approval requests, and receipts that something will never be paid.

Both are signed with the statement key, frozen or not: they move nothing. The request shows what the gate will check.
"""

from base64 import b64encode

from strongroom.domain.ids import Maker
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Tier
from strongroom.protocol.approval import (
    APPROVAL_REQUEST_TYPE,
    REQUEST_LIFE_MAXIMUM_MS,
    TICKET_LENGTH,
    approval_request,
)
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.entry import Kind, Reading
from strongroom.protocol.signer_wire import RECEIPT_TYPE
from strongroom.signer.approvals import excluded
from strongroom.signer.book import Payments
from strongroom.signer.due import Item, due_now
from strongroom.signer.gate import tier_of_run, weigh, with_people
from strongroom.signer.notary import Notary, Random
from strongroom.signer.rules import Rule, refuse


def make_request(
    notary: Notary, payments: Payments, subject: str, random: Random, needs_people: bool = False
) -> dict[str, JsonValue]:
    """A new request for a payout or run, if it needs people; an earlier ticket for it dies.

    `needs_people`, so that an item can have them which needs more than its run. Raises: Refused.
    """
    clock, standing = notary.reading(), payments.standing
    shown, tier, makers = _asked(payments, subject, clock)
    tier = with_people(tier) if needs_people else tier
    if tier.approvals == 0:
        return {"approvals": 0, "groups": 0}
    expires = Instant(clock.at_most + REQUEST_LIFE_MAXIMUM_MS)
    terms: dict[str, JsonValue] = {
        "approvals": tier.approvals, "client": makers[0], "deployment": notary.book.deployment,
        "excluded": [*sorted(excluded(payments, *makers))], "expires_ms": expires,
        "freeze_epoch": standing.freeze_epoch, "groups": tier.groups, "organisation": standing.organisation,
        "policy": standing.policy_hash, "roster": standing.roster_hash, "ticket": random(TICKET_LENGTH).hex(),
    }
    raw = approval_request(shown, terms)
    notary.write(
        Kind.REQUEST,
        {
            "expires": expires, "freeze_epoch": standing.freeze_epoch, "organisation": standing.organisation,
            "policy": standing.policy_hash, "request": record_hash(APPROVAL_REQUEST_TYPE, raw).hex(),
            "roster": standing.roster_hash, "subject": subject,
        },
        clock,
    )
    notary.commit()
    return {
        "approvals": tier.approvals, "groups": tier.groups, "request": b64encode(raw).decode(),
        "signature": notary.statement(raw, APPROVAL_REQUEST_TYPE).hex(),
    }


def _asked(payments: Payments, subject: str, clock: Reading) -> tuple[dict[str, JsonValue], Tier, list[Maker]]:
    """What people see, how many are needed, and who made it and its destination. Raises: Refused."""
    if subject not in payments.runs:
        due = due_now(payments, Item(subject), clock)
        (weighed,) = weigh(payments, [due], clock)
        return _payout_shown(payments, subject), weighed.tier, [due.intent.client, weighed.destination.declared_by]
    if subject in payments.dead:
        refuse(Rule.INTENT_ALIVE, f"{subject} was cancelled or declined")
    return _run_shown(payments, subject), tier_of_run(payments, subject), [payments.runs[subject].client]


def make_receipt(notary: Notary, payments: Payments, subject: str) -> dict[str, JsonValue]:
    """The signer's word that a payout was never signed and never will be. Raises: Refused.

    Of a run, that no more of its items will be: `signed_items` of them were, or may have been, and are paid.
    """
    clock = notary.reading()
    if subject not in payments.dead:
        known = payments.intents.get(subject)
        expires = None if known is None else known.intent.expires_at
        if expires is None or expires > clock.at_least or payments.attempts_of.get(subject):
            refuse(Rule.INTENT_ALIVE, f"{subject} may still be paid, or was")
        bury(notary, payments, subject, clock)
    said: dict[str, JsonValue] = {
        "at_ms": clock.wall, "deployment": notary.book.deployment, "object": subject,
        "organisation": payments.standing.organisation, "type": RECEIPT_TYPE,
    }
    if subject in payments.runs:
        said["signed_items"] = sum(paid.run == subject for paid in payments.paid.values())
    raw = encode(said)
    return {"receipt": b64encode(raw).decode(), "signature": notary.statement(raw, RECEIPT_TYPE).hex()}


def bury(notary: Notary, payments: Payments, subject: str, clock: Reading) -> None:
    """Never to be signed from now on. Raises: Refused if it was, or may have been."""
    if payments.attempts_of.get(subject):
        refuse(Rule.PAYOUT_ONCE, f"{subject} was signed already")
    notary.write(Kind.TOMBSTONE, {"object": subject, "organisation": payments.standing.organisation}, clock)
    notary.commit()


def _payout_shown(payments: Payments, payout: str) -> dict[str, JsonValue]:
    known = payments.intents[payout]
    intent = known.intent
    record = payments.destinations[intent.destination_digest].record
    return {
        "amount": str(intent.amount.minor), "asset": intent.amount.asset, "beneficiary": intent.beneficiary,
        "destination": {
            "address": record.address, "class": record.destination_class.value, "digest": intent.destination_digest,
            "name": record.name, "network": record.network, "version": record.version,
        },
        "external_id": intent.external_id, "intent": known.digest, "kind": "payout", "payout": intent.id,
    }


def _run_shown(payments: Payments, run: str) -> dict[str, JsonValue]:
    known = payments.runs[run]
    totals: dict[str, JsonValue] = {asset: str(minor) for asset, minor in known.seal.totals.items()}
    return {
        "count": known.seal.count, "intent": known.digest, "kind": "run", "root": known.seal.root.hex(), "run": run,
        "totals": totals,
    }
