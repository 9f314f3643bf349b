"""What the signer writes for people: approval requests, and receipts that something will never be paid, signed or not.

Both are signed with the statement key, frozen or not: they move nothing. The request shows what the gate will check.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import Maker
from strongroom.domain.instant import HOUR_MS, INSTANT_MAXIMUM, Instant
from strongroom.domain.policy import Tier
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, REQUEST_LIFE_MAXIMUM_MS, TICKET_LENGTH, approval_request
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.client_request import base64_list
from strongroom.protocol.entry import Kind, Reading
from strongroom.protocol.guard_wire import Attestation, open_attestation
from strongroom.protocol.signer_wire import RECEIPT_TYPE
from strongroom.signer.approvals import excluded
from strongroom.signer.attempts import excludes
from strongroom.signer.book import Payments
from strongroom.signer.due import Item, asked_for, due_now
from strongroom.signer.gate import Operation, tier_of_run, weigh, with_people
from strongroom.signer.notary import Notary, Random
from strongroom.signer.rules import Refused, Rule, refuse

ATTESTATION_LIFE_MS: Final = HOUR_MS


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
    notary.write(Kind.REQUEST, {
        "expires": expires, "freeze_epoch": standing.freeze_epoch, "organisation": standing.organisation,
        "policy": standing.policy_hash, "request": record_hash(APPROVAL_REQUEST_TYPE, raw).hex(),
        "roster": standing.roster_hash, "subject": subject,
    }, clock)
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


def make_receipt(notary: Notary, payments: Payments, subject: str, item: Item | None = None) -> dict[str, JsonValue]:
    """The signer's word that a payout was never signed and never will be. Raises: Refused.

    Of a run, that no more of its items will be: `signed_items` of them were, or may have been, and are paid. Of an
    item, which is known by its run alone, `item` has the proof. Of what is void, what excludes each attempt.
    """
    clock = notary.reading()
    if subject not in payments.dead:
        item = item or Item(subject)
        found = asked_for(payments, item)
        is_over = found.subject in payments.dead or not payments.taken_back.isdisjoint((subject, found.subject))
        is_over = is_over or (found.intent.expires_at or INSTANT_MAXIMUM) <= clock.at_least
        if found.payout != subject or not is_over or payments.attempts_of.get(subject):
            refuse(Rule.INTENT_ALIVE, f"{subject} may still be paid, or was")
        bury(notary, payments, subject, clock)
    notary.agree()  # who is brought forward from guard's copy must know of it
    said: dict[str, JsonValue] = {
        "at_ms": clock.wall, "deployment": notary.book.deployment, "object": subject,
        "organisation": payments.standing.organisation, "type": RECEIPT_TYPE,
    }
    if subject in payments.void:
        said["void"] = [[*row] for row in payments.void[subject]]
    if subject.startswith("run_"):  # also one of before some was lost, which no one knows as a run any more
        said["signed_items"] = sum(paid.run == subject for paid in payments.paid.values())
    raw = encode(said)
    return {"receipt": b64encode(raw).decode(), "signature": notary.statement(raw, RECEIPT_TYPE).hex()}


def make_void(notary: Notary, payments: Payments, payout: str, frames: Sequence[bytes]) -> dict[str, JsonValue]:
    """The signer's word that what it signed for a payout can never be paid: the receipt of such. Raises: Refused.

    Each attempt is excluded by a chain transaction that guard saw final. None of them pays it: what did would be an
    attempt itself, and nothing excludes what is in the chain with it.
    """
    if payout not in payments.dead:
        clock, attempts = notary.reading(), payments.attempts_of.get(payout, [])
        seen = [_seen(notary, payments, frame, clock) for frame in frames]
        void: list[JsonValue] = []
        for attempt in map(payments.attempts.__getitem__, attempts):
            able = [each.identifier for each in seen
                    if each.network == attempt.network and excludes(payments, each, attempt, payout)]
            if not able:
                refuse(Rule.PAYOUT_VOID, f"nothing that guard saw excludes {attempt.transaction}")
            by = payments.attempts.get(able[0])
            is_plain = by is not None and by.operation != Operation.SWEEP
            if not is_plain and payments.standing.released.get(payout) != sorted(attempts):
                refuse(Rule.PAYOUT_RELEASED, f"{able[0]} took its coins, so people must release {payout}")
            void.append([attempt.transaction, able[0]])
        asked = payments.intents.keys() | payments.runs.keys()
        if not void or (payments.lost is not None and asked.isdisjoint((payout, payments.paid[payout].run))):
            refuse(Rule.PAYOUT_VOID, f"{payout} was never signed, or before some of the journal was lost")
        body: dict[str, JsonValue] = {
            "attestations": [[each] for each in base64_list(frames)], "object": payout,
            "organisation": payments.standing.organisation, "void": void,
        }
        notary.write(Kind.VOID, body, clock)
        notary.commit()
    return make_receipt(notary, payments, payout)


def _seen(notary: Notary, payments: Payments, frame: bytes, clock: Reading) -> Attestation:
    """What guard saw lately, as deep as the policy asks for. Raises: Refused."""
    try:
        seen = open_attestation(notary.book.genesis.guard_key, frame, notary.book.deployment)
    except DocumentError as fault:
        raise Refused(Rule.PAYOUT_VOID, f"no attestation of guard's: {fault}") from fault
    wallet = payments.standing.policy.wallets.get(seen.network)
    if wallet is None or seen.depth < wallet.finality_blocks or clock.at_most - seen.at > ATTESTATION_LIFE_MS:
        refuse(Rule.PAYOUT_VOID, f"guard saw {seen.identifier} too long ago, or not deep enough")
    return seen


def bury(notary: Notary, payments: Payments, subject: str, clock: Reading) -> None:
    """Never to be signed from now on. Raises: Refused if it was, or may have been."""
    if payments.attempts_of.get(subject):
        refuse(Rule.PAYOUT_ONCE, f"{subject} was signed already")
    notary.write(Kind.TOMBSTONE, {"object": subject, "organisation": payments.standing.organisation}, clock)
    notary.commit()


def _payout_shown(payments: Payments, payout: str) -> dict[str, JsonValue]:
    intent = (known := payments.intents[payout]).intent
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
