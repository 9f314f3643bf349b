"""What the machine asks the signer to sign, and with whose approvals."""

import json
from base64 import b64decode

from tests.adversary.machine import KEPT, Coin, Machine, Payable
from tests.signer.world import ADA, BEN, CLEO, EVE, PIA, TESS

from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.signer_wire import Ask

PEOPLE = (ADA, BEN, EVE, TESS, CLEO, PIA)


def approve(machine: Machine) -> None:
    subject = machine.pick(machine.payables).subject
    answer = machine.ask(Ask.REQUEST, subject=subject)
    if "request" not in answer:
        return
    raw = b64decode(answer["request"])
    people = machine.chance.sample(PEOPLE, machine.chance.randint(0, 3))
    given = [assertion_document(each.asserts(raw, APPROVAL_REQUEST_TYPE)) for each in people]
    machine.approvals.append({"subject": subject, "request": answer["request"], "assertions": given})


def sign(machine: Machine) -> None:
    payables = [machine.pick(machine.payables) for _ in range(machine.chance.choice((1, 1, 1, 2, 3)))]
    if machine.chance.random() < 0.5:
        signed = [each for each in machine.payables if each.payout in machine.used]
        payables[0] = machine.pick(signed) if signed else payables[0]
    machine.sign(payables, machine.chance.choice(("pay", "pay", "pay", "bump")))


def approve_and_sign(machine: Machine) -> None:
    """As an honest engine does."""
    pay_for(machine, fresh(machine))


def fresh(machine: Machine) -> Payable:
    """One that the signer knows and that wasn't tried yet, if there is one."""
    payments = machine.siege.payments
    known = [each for each in machine.payables if each.subject in payments.intents or each.subject in payments.runs]
    payable: Payable = machine.pick([each for each in known if each.payout not in machine.used] or machine.payables)
    return payable


def pay_for(machine: Machine, payable: Payable, coins: list[Coin] | None = None) -> str:
    """The id of what was signed, by these coins at least. Raises: AskRefused, KilledError."""
    answer = machine.ask(Ask.REQUEST, subject=payable.subject)
    given = []
    if "request" in answer:
        raw = b64decode(answer["request"])
        people = machine.chance.choice(((ADA, BEN), (PIA, BEN)))[: int(answer["approvals"])]
        assertions = [assertion_document(each.asserts(raw, APPROVAL_REQUEST_TYPE)) for each in people]
        given = [{"subject": payable.subject, "request": answer["request"], "assertions": assertions}]
        machine.approvals += given
    return machine.sign([payable], "pay", given, coins)


def move_coins(machine: Machine) -> None:
    """Without payouts: cancel of an attempt, consolidation, sweep."""
    machine.sign([], machine.chance.choice(("cancel", "cancel", "consolidate", "sweep", "sweep")))


def repeat_frame(machine: Machine) -> None:
    machine.send(machine.pick(machine.frames))


def mix_frame(machine: Machine) -> None:
    """A frame with a field of another of its kind, or with a flipped bit."""
    raw = machine.pick(machine.frames)
    document = json.loads(raw)
    alike = [other for each in machine.frames[-KEPT:] if (other := json.loads(each))["type"] == document["type"]]
    if alike and machine.chance.random() < 0.8:
        name = machine.chance.choice(sorted(document.keys() - {"type"}))
        document[name] = machine.pick(alike).get(name)
        machine.send(encode(document))
    else:
        machine.send(machine.flipped(raw))


def receipt(machine: Machine) -> None:
    payable = machine.pick(machine.payables)
    subject = machine.chance.choice((payable.payout, payable.subject))
    if subject == payable.payout != payable.subject and machine.chance.random() < 0.5:
        machine.ask(Ask.RECEIPT, object=subject, item=payable.item)
    else:
        machine.ask(Ask.RECEIPT, object=subject)
