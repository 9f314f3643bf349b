"""What honest clients and people ask for, and what the machine does with their requests."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

from tests.adversary.checks import Promise
from tests.adversary.machine import NETWORK, Machine, Payable
from tests.signer.world import ORGANISATION, OTTO, PIA, Human, payee

from strongroom.domain.document import Fields
from strongroom.domain.ids import BeneficiaryId, IdempotencyKey
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.merkle import leaf_hash
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import inclusion_proof
from strongroom.protocol.request import Evidence, PersonEvidence
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.protocol.signer_wire import Ask


def declare(machine: Machine) -> None:
    key = machine.name("beneficiary")
    address = payee(f"payee {machine.chance.randrange(30)}")
    body = {"name": "Payee", "destination": {"network": NETWORK, "address": address}}
    path, person = "/v1/beneficiaries", _person(machine)
    declarer = machine.clients.declarer
    beneficiary = beneficiary_id(ORGANISATION, person.id if person else declarer, IdempotencyKey(key))
    machine.named_by[beneficiary] = person.id if person else declarer
    machine.records.append(read_beneficiary(Fields(body), ORGANISATION, beneficiary))
    if person:
        _registers(machine, Ask.DESTINATIONS, machine.by_person(person, path, body, key))
    else:
        _registers(machine, Ask.DESTINATIONS, machine.request(declarer, path, body, key))


def next_version(machine: Machine) -> None:
    before = machine.pick(machine.records)
    body = {
        "network": NETWORK, "address": payee(f"payee {machine.chance.randrange(30)}"),
        "version": before.version + 1, "previous": destination_digest(before.encode()),
    }
    path = f"/v1/beneficiaries/{before.beneficiary}/destinations"
    key, maker = machine.name("next"), machine.named_by[before.beneficiary]
    machine.records.append(DestinationRecord(
        ORGANISATION, BeneficiaryId(before.beneficiary), before.name, before.destination_class, before.network,
        body["address"], before.version + 1, destination_digest(before.encode()),
    ))
    if maker.startswith("pe_"):
        evidence: Evidence = machine.by_person(OTTO if maker == OTTO.id else PIA, path, body, key)
    else:
        evidence = machine.request(machine.clients.declarer, path, body, key)
    _registers(machine, Ask.DESTINATIONS, evidence)


def intend(machine: Machine) -> None:
    record, minor = machine.pick(machine.records), _minor(machine)
    _intend(machine, record, wanted(machine, record, minor), _person(machine))


def intend_again(machine: Machine) -> None:
    """Whoever asked for what will never be paid asks for it anew, as the signer's receipt allows."""
    over = [each for each in machine.payables if each.payout in machine.checks.over]
    if over:
        payable = machine.pick(over)
        ask_again(machine, payable)


def ask_again(machine: Machine, payable: Payable) -> Payable:
    """In its place, and for the same debt, by the one who asked for it."""
    said = payable.promise
    body = wanted(machine, payable.record, said.minor)
    body |= {"external_id": said.external_id, "replaces": payable.payout}
    person = next((each for each in (OTTO, PIA) if each.id == said.maker), None)
    return _intend(machine, payable.record, body, person)


def _intend(machine: Machine, record: DestinationRecord, body: dict[str, Any], person: Human | None) -> Payable:
    key = machine.name("payout")
    if machine.chance.random() < 0.15:
        name, ahead_ms = machine.chance.choice((("expires_at", HOUR_MS), ("not_before", 60_000)))
        body[name] = format_instant(Instant(machine.siege.guard.now + ahead_ms))
    maker = person.id if person else machine.clients.payer
    payout = payout_id(ORGANISATION, maker, IdempotencyKey(key))
    promised = _promise(machine, payout, record, body, maker)
    made = Payable(payout, {"payout": payout}, payout, record, promised)
    machine.payables.append(made)
    if person:
        _registers(machine, Ask.INTENTS, machine.by_person(person, "/v1/payouts", body, key))
    else:
        _registers(machine, Ask.INTENTS, machine.request(machine.clients.payer, "/v1/payouts", body, key))
    return made


def seal(machine: Machine) -> None:
    key, payer = machine.name("run"), machine.clients.payer
    run = run_id(ORGANISATION, payer, IdempotencyKey(key))
    chosen = [(machine.pick(machine.records), _minor(machine)) for _ in range(machine.chance.randint(1, 5))]
    items = [
        {"idempotency_key": machine.name("payout"), **wanted(machine, record, minor)} for record, minor in chosen
    ]
    leaves = [item_leaf(item, run, index) for index, item in enumerate(items)]
    nodes = {(level, at): digest for level, at, digest in Frontier().append([leaf_hash(leaf) for leaf in leaves])}
    total = sum(minor for _, minor in chosen) - (machine.chance.random() < 0.1) * chosen[0][1] // 2
    body = {"count": len(items), "root": run_root(leaves).hex(), "totals": {simulated.ASSET: str(max(1, total))}}
    for index, (leaf, item, (record, _)) in enumerate(zip(leaves, items, chosen, strict=True)):
        proof = [[each.hex()] for each in inclusion_proof(index, len(leaves), nodes.__getitem__)]
        payout = payout_id(ORGANISATION, payer, IdempotencyKey(str(item["idempotency_key"])))
        promised = _promise(machine, payout, record, item, payer)
        named = {"leaf": b64encode(leaf).decode(), "proof": proof, "run": run}
        machine.payables.append(Payable(payout, named, run, record, promised))
    _registers(machine, Ask.RUN, machine.request(payer, f"/v1/payout-runs/{run}/seal", body, "seal"))


def _promise(
    machine: Machine, payout: str, record: DestinationRecord, body: dict[str, Any], maker: str
) -> Promise:
    people = frozenset(each for each in (maker, machine.named_by[record.beneficiary]) if each.startswith("pe_"))
    promised = Promise(
        record.address, int(body["amount"]), maker, body["external_id"], body.get("replaces", ""),
        machine.clients.era, people,
    )
    machine.checks.promise(payout, promised)
    return promised


def wanted(machine: Machine, record: DestinationRecord, minor: int) -> dict[str, Any]:
    body = machine.siege.payout_body(record, minor)
    if machine.chance.random() < 0.3:
        body["external_id"] = f"trip-{machine.chance.randrange(20)}"
    if machine.payables and machine.chance.random() < 0.15:
        body["replaces"] = machine.pick(machine.payables).payout
    return body


def _minor(machine: Machine) -> int:
    return machine.chance.choice((600, 1_000, 2_500, 4_900, 20_000, 45_000, 200_000))


def _person(machine: Machine) -> Human | None:
    """Now and then it is a person who asks."""
    return machine.chance.choice((OTTO, PIA)) if machine.chance.random() < 0.2 else None


def cancel(machine: Machine) -> None:
    """By the client, with its request; the key of the payout is in the body."""
    name = f"payout-{machine.chance.randint(1, machine.numbers + 1)}"
    payout = payout_id(ORGANISATION, machine.clients.payer, IdempotencyKey(name))
    path, body = f"/v1/payouts/{payout}/cancel", {"idempotency_key": name}
    _registers(machine, Ask.CANCEL, machine.request(machine.clients.payer, path, body, f"c-{name}"))


def ask_with_another_key(machine: Machine) -> None:
    """With a key that the client has no more, or that is for something else: nobody promised that."""
    record, key = machine.pick(machine.records), f"stolen-{machine.numbers}"
    roster = machine.siege.payments.standing.roster
    current = {each.keys[0].id for each in roster.clients if each.id == machine.clients.payer}
    stolen = sorted(machine.clients.keys.keys() - current)
    if stolen:
        body = machine.siege.payout_body(record, _minor(machine))
        evidence = machine.request(machine.clients.payer, "/v1/payouts", body, key, machine.pick(stolen))
        machine.moves["asked with another key"] += 1
        _registers(machine, Ask.INTENTS, evidence)


def _registers(machine: Machine, ask: Ask, evidence: Evidence) -> None:
    """Now or later, or never."""
    machine.evidence.append((ask, evidence))
    if machine.chance.random() < 0.8:
        _show(machine, ask, [evidence])


def _show(machine: Machine, ask: Ask, evidence: list[Evidence]) -> None:
    documents = [each.document() for each in evidence]
    if ask in (Ask.RUN, Ask.CANCEL):
        machine.ask(ask, evidence=documents[0])
        return
    for row in machine.ask(ask, evidence=documents):
        machine.answers[row["refused"]["rule"] if "refused" in row else ask.value] += 1


# What is done with it.


def replay(machine: Machine) -> None:
    ask = machine.chance.choice((Ask.INTENTS, Ask.DESTINATIONS, Ask.RUN, Ask.CANCEL))
    known = [evidence for kind, evidence in machine.evidence if kind is ask or machine.chance.random() < 0.02]
    if known:
        _show(machine, ask, [machine.pick(known) for _ in range(machine.chance.randint(1, 4))])


def mix_evidence(machine: Machine) -> None:
    """Body of one request under another, or a flipped bit."""
    (ask, one), (_, other) = machine.pick(machine.evidence), machine.pick(machine.evidence)
    if isinstance(one, PersonEvidence):
        given = other.given if isinstance(other, PersonEvidence) else one.given
        flipped = replace(one, record=machine.flipped(one.record))
        _show(machine, ask, [machine.chance.choice((replace(one, given=given), flipped))])
    elif isinstance(other, ClientEvidence):
        parts = [one.base, one.signature, one.body]
        at = machine.chance.randrange(3)
        parts[at] = machine.chance.choice(
            ([other.base, other.signature, other.body][at], machine.flipped(parts[at]))
        )
        _show(machine, ask, [ClientEvidence(*parts)])
