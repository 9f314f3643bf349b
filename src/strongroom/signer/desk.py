"""What the signer is asked, and in which order it acts: the one place from which a signature leaves.

For a payment: hear guard, decide at the gate, write it down, have guard agree, and only then sign. Whatever ends the
process in between, nothing was signed that isn't in the journal and at guard. Frames come from the engine's socket, or
from the admin socket of another user; who may ask what is one table.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, parse_organisation_id
from strongroom.formats import simulated
from strongroom.protocol.approval import take_assertions
from strongroom.protocol.canonical import CanonicalError, JsonValue
from strongroom.protocol.client_request import take_base64, take_client_evidence
from strongroom.protocol.entry import Kind
from strongroom.protocol.negative import INSTRUCTION_FAULTS, check_client
from strongroom.protocol.request import Evidence, take_evidence
from strongroom.protocol.signer_wire import ITEMS_MAXIMUM, Ask, RefusedAnswer, read_ask, write_answer
from strongroom.signer.approvals import Given
from strongroom.signer.book import Payments
from strongroom.signer.changes import let_in, propose, recover, ripen
from strongroom.signer.due import Item
from strongroom.signer.gate import Asked, Operation, decide
from strongroom.signer.notary import Notary, Random
from strongroom.signer.register import register_destinations, register_intents, register_run
from strongroom.signer.requests import bury, make_receipt, make_request, make_void
from strongroom.signer.rules import Refused, Rule, refuse
from strongroom.signer.wallets import Wallets, wallet_on

ADDRESSES_MAXIMUM: Final = 1_000
PATH_MAXIMUM: Final = 2**31 - 1
APPROVALS_MAXIMUM: Final = 2_000
PROOF_MAXIMUM: Final = 64
ENGINE: Final = "engine"
ADMIN: Final = "admin"
_CHANNELS: Final = {
    ENGINE: frozenset(Ask) - {Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER},
    ADMIN: frozenset({Ask.STATUS, Ask.ADDRESSES, Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER}),
}


class Desk:
    def __init__(self, notary: Notary, wallets: Wallets, random: Random) -> None:
        self._notary = notary
        self._wallets = wallets
        self._random = random

    def answer(self, channel: str, frame: bytes) -> bytes:
        """One frame, one answer. Raises only what must end the process."""
        try:
            ask, fields = read_ask(frame)
            if ask not in _CHANNELS[channel]:
                refuse(Rule.OPERATION_KNOWN, f"{ask.value} isn't asked here")
            return write_answer(_ACTS[ask](self, fields))
        except Refused as fault:
            return write_answer(RefusedAnswer(fault.rule.value, fault.reason))
        except (DocumentError, CanonicalError) as fault:
            return write_answer(RefusedAnswer(Rule.OPERATION_KNOWN.value, str(fault)))

    def idle(self) -> None:
        """Hear what guard has, so that a freeze is known before the next payment asks."""
        try:
            ripen(self._notary)
        except Refused:
            return  # it stays without a lease, which is what stops it

    def _status(self, fields: Fields) -> JsonValue:
        fields.close()
        notary = self._notary
        organisations: dict[str, JsonValue] = {
            name: {
                "freeze_epoch": each.standing.freeze_epoch, "frozen": sorted(each.standing.frozen),
                "pending": {change: waits.noticed for change, waits in each.standing.pending.items()},
                "policy": each.standing.policy_hash, "roster": each.standing.roster_hash,
                "taken_back": sorted(each.taken_back - each.dead),
            }
            for name, each in notary.book.organisations.items()
        }
        return {
            "control_length": notary.book.control.length, "deployment": notary.book.deployment,
            "journal_head": notary.head.head.hex(), "journal_length": notary.head.length,
            "lease": notary.lease.value, "organisations": organisations,
        }

    def _destinations(self, fields: Fields) -> JsonValue:
        payments, evidence = self._payments(fields), _evidence(fields)
        return list(register_destinations(self._notary, payments, evidence))

    def _intents(self, fields: Fields) -> JsonValue:
        payments, evidence = self._payments(fields), _evidence(fields)
        return list(register_intents(self._notary, payments, evidence))

    def _run(self, fields: Fields) -> JsonValue:
        payments, evidence = self._payments(fields), take_evidence(fields.take("evidence"), "evidence")
        fields.close()
        return register_run(self._notary, payments, evidence)

    def _request(self, fields: Fields) -> JsonValue:
        payments, subject = self._payments(fields), fields.text("subject")
        needs_people = fields.has("needs_people") and fields.flag("needs_people")
        fields.close()
        return make_request(self._notary, payments, subject, self._random, needs_people)

    def _cancel(self, fields: Fields) -> JsonValue:
        """A client's own, as it would give it to guard."""
        payments, evidence = self._payments(fields), take_client_evidence(fields.take("evidence"), "evidence")
        fields.close()
        try:
            instruction = check_client(evidence, payments.standing, self._notary.book.deployment)
        except INSTRUCTION_FAULTS as fault:
            raise Refused(Rule.INTENT_SIGNED, str(fault)) from fault
        if instruction.object not in payments.dead:
            bury(self._notary, payments, instruction.object, self._notary.reading())
        return make_receipt(self._notary, payments, instruction.object)

    def _receipt(self, fields: Fields) -> JsonValue:
        payments, subject = self._payments(fields), fields.text("object")
        item = _read_item(fields.inner("item")) if fields.has("item") else None
        fields.close()
        return make_receipt(self._notary, payments, subject, item)

    def _void(self, fields: Fields) -> JsonValue:
        payments, subject = self._payments(fields), fields.text("object")
        frames = [take_base64(row[0], "attestations") for row in fields.rows("attestations", 1, ITEMS_MAXIMUM)]
        fields.close()
        return make_void(self._notary, payments, subject, frames)

    def _addresses(self, fields: Fields) -> JsonValue:
        """A generation's addresses from `first` on; where change goes next, and how far it went in former ones."""
        payments, network = self._payments(fields), fields.text("network")
        first, count = fields.integer("first", 0, PATH_MAXIMUM), fields.integer("count", 1, ADDRESSES_MAXIMUM)
        generation = fields.integer("generation", 0, PATH_MAXIMUM)
        fields.close()
        organisation = payments.standing.organisation
        address = wallet_on(self._wallets, network).address
        addresses: list[JsonValue] = [address(organisation, generation, each) for each in range(first, first + count)]
        former: list[JsonValue] = [*payments.former.get(network, ())]
        return {"addresses": addresses, "change_next": payments.change_next.get(network, 0), "former": former}

    def _rotate(self, fields: Fields) -> JsonValue:
        """Change goes to this generation of keys, the next one, from now on. The same again is answered alike."""
        payments, network = self._payments(fields), fields.text("network")
        generation = fields.integer("generation", 1, PATH_MAXIMUM)
        fields.close()
        organisation, current = payments.standing.organisation, payments.generation(network)
        if generation not in (current, current + 1):
            refuse(Rule.BYTES_CHANGE, f"change goes to generation {current}: the next one is {current + 1}")
        wallet_on(self._wallets, network).address(organisation, generation, 0)  # a token may not have that key
        if generation != current:
            body: dict[str, JsonValue] = {"network": network, "organisation": organisation}
            self._notary.write(Kind.ROTATED, body, self._notary.reading())
            self._notary.commit()
        self._notary.agree()
        return {"generation": generation}

    def _change(self, fields: Fields) -> JsonValue:
        return propose(self._notary, self._payments(fields), fields)

    def _recover(self, fields: Fields) -> JsonValue:
        return recover(self._notary, self._payments(fields), fields)

    def _organisation(self, fields: Fields) -> JsonValue:
        return let_in(self._notary, fields)

    def _sign(self, fields: Fields) -> JsonValue:
        """The way of every payment."""
        asked, notary = _read_asked(fields), self._notary
        ripen(notary)
        clock = notary.reading()
        decision = decide(notary.book, asked, notary.lease, clock, self._wallets)
        if decision.entry is not None:
            notary.write(Kind.SPEND, decision.entry, clock)
            notary.commit()
            self._agree_to(asked.organisation, decision.transaction.identifier)
        signed = wallet_on(self._wallets, asked.network).sign(asked.organisation, asked.transaction, asked.paths)
        return {"signed": b64encode(signed).decode(), "transaction": decision.transaction.identifier}

    def _agree_to(self, organisation: OrganisationId, transaction: str) -> None:
        """Guard's cosignature of the spend; without it, it is written down that nothing was signed."""
        notary = self._notary
        try:
            notary.agree(wants_spend=True)
        except Refused:
            body: dict[str, JsonValue] = {"organisation": organisation, "transaction": transaction}
            notary.write(Kind.ABANDONED, body, notary.reading())
            notary.commit()
            raise

    def _payments(self, fields: Fields) -> Payments:
        organisation = fields.parsed("organisation", parse_organisation_id)
        payments = self._notary.book.organisations.get(organisation)
        if payments is None:
            refuse(Rule.ORGANISATION_KNOWN, f"{organisation} isn't known")
        return payments


def _evidence(fields: Fields) -> list[Evidence]:
    values = fields.take("evidence")
    fields.close()
    if not isinstance(values, list) or not 1 <= len(values) <= ITEMS_MAXIMUM:
        raise DocumentError("evidence", f"must be a list of 1 to {ITEMS_MAXIMUM}")
    return [take_evidence(value, f"evidence[{index}]") for index, value in enumerate(values)]


def _read_asked(fields: Fields) -> Asked:
    approvals = fields.each("approvals", 0, APPROVALS_MAXIMUM)
    asked = Asked(
        fields.parsed("organisation", parse_organisation_id), fields.parsed("operation", Operation),
        fields.text("network"), take_base64(fields.take("transaction"), "transaction"),
        tuple((each.integer("generation", 0, PATH_MAXIMUM), each.integer("index", 0, PATH_MAXIMUM))
              for each in fields.each("paths", 1, simulated.INPUTS_MAXIMUM)),
        tuple(_read_item(each) for each in fields.each("items", 0, ITEMS_MAXIMUM)),
        tuple(Given(each.text("subject"), take_base64(each.take("request"), "request"),
                    take_assertions(each, "assertions")) for each in approvals),
    )
    for each in (*approvals, fields):
        each.close()
    return asked


def _read_item(fields: Fields) -> Item:
    if fields.has("payout"):
        return fields.done(Item(payout=fields.text("payout")))
    leaf = take_base64(fields.take("leaf"), fields.path("leaf"))
    return fields.done(Item(run=fields.text("run"), leaf=leaf, proof=_read_proof(fields)))


def _read_proof(fields: Fields) -> tuple[bytes, ...]:
    rows = fields.rows("proof", 1, PROOF_MAXIMUM)
    try:
        return tuple(bytes.fromhex(row[0]) for row in rows)
    except ValueError as fault:
        raise DocumentError(fields.path("proof"), "must be hashes in hex") from fault


_ACTS: Final[dict[Ask, Callable[[Desk, Fields], JsonValue]]] = {
    Ask.STATUS: Desk._status, Ask.DESTINATIONS: Desk._destinations, Ask.INTENTS: Desk._intents, Ask.RUN: Desk._run,
    Ask.REQUEST: Desk._request, Ask.SIGN: Desk._sign, Ask.CANCEL: Desk._cancel, Ask.RECEIPT: Desk._receipt,
    Ask.ADDRESSES: Desk._addresses, Ask.CHANGE: Desk._change, Ask.ORGANISATION: Desk._organisation,
    Ask.VOID: Desk._void, Ask.ROTATE: Desk._rotate, Ask.RECOVER: Desk._recover,
}
