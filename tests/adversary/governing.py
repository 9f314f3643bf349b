"""What people tell guard, what a quorum changes, and the admin's asks; with what the machine makes of their words."""

from base64 import b64encode
from contextlib import suppress
from dataclasses import replace

from nacl.signing import SigningKey
from tests.adversary.machine import NETWORK, Machine, Payable
from tests.adversary.paying import fresh, pay_for
from tests.adversary.policy import fuzz_policy
from tests.signer.world import ADA, BEN, CLEO, DAN, ORGANISATION, OTTO, TESS, AskRefused, Human

from strongroom.domain.ids import KeyId
from strongroom.domain.instant import HOUR_MS
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.negative import INSTRUCTION_FAULTS, Action, InstructionError, parse_negative
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import ROSTER_TYPE, Roster, RosterClient, roster_hash
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import POLICY_TYPE, policy_hash
from strongroom.signer.desk import ENGINE

WORD = f"network:{NETWORK}"


def instruct(machine: Machine) -> None:
    _instruct(machine, machine.pick(machine.payables), _attempted(machine))


def instruct_in_time(machine: Machine) -> None:
    """Between a decision and guard's cosignature."""
    payable, attempted = fresh(machine), _attempted(machine)
    machine.siege.guard.before_spend = lambda: _instruct(machine, payable, attempted)
    try:
        for _ in range(3):
            try:
                pay_for(machine, payable)
            except AskRefused as refusal:
                machine.answers[refusal.rule] += 1
    finally:
        machine.siege.guard.before_spend = None


def _attempted(machine: Machine) -> set[str]:
    """Payouts of which the signer may have signed something, when the process ended in the middle."""
    return {payout for payout, attempts in machine.siege.payments.attempts_of.items() if attempts}


def _instruct(machine: Machine, payable: Payable, attempted: set[str]) -> None:
    action, subject, people = machine.chance.choice((
        (Action.FREEZE, "organisation", (CLEO,)), (Action.UNFREEZE, "organisation", (CLEO, DAN)),
        (Action.UNFREEZE, "organisation", (CLEO, DAN)), (Action.UNFREEZE, "organisation", (CLEO,)),
        (Action.CANCEL, payable.payout, (CLEO,)), (Action.DECLINE, payable.payout, (ADA,)),
        (Action.CANCEL, payable.payout, (CLEO,)), (Action.DECLINE, payable.payout, (ADA,)),
        (Action.CANCEL, payable.subject, (CLEO,)), (Action.SUSPEND, TESS.id, (CLEO,)),
        (Action.RECOVER, WORD, (CLEO,)),
    ))
    tell(machine, action, subject, people, attempted)


def tell(
    machine: Machine, action: Action, subject: str, people: tuple[Human, ...], attempted: set[str] | None = None
) -> bool:
    """Whether guard kept it."""
    guard = machine.siege.guard
    life = {"life_ms": machine.chance.choice((HOUR_MS // 2, HOUR_MS))} if action is Action.RECOVER else {}
    is_kept: bool = guard.try_instruct(action, subject, *people, **life)
    if is_kept:
        machine.moves[f"told guard: {action.value}"] += 1
        machine.given.append(guard.last_given)
        machine.checks.instructed(action, subject, attempted or set(), machine.siege)
    return is_kept


def rescue(machine: Machine) -> None:
    """All is frozen; an officer says that one sweep or cancel may be signed, and the engine tries more than that."""
    tell(machine, Action.FREEZE, "organisation", (CLEO,))
    if machine.chance.random() < 0.8:
        tell(machine, Action.RECOVER, WORD, (CLEO,))
    for _ in range(3):
        with suppress(AskRefused):
            machine.sign([], machine.chance.choice(("sweep", "cancel", "consolidate")))
    if machine.chance.random() < 0.5:
        tell(machine, Action.UNFREEZE, "organisation", (CLEO, DAN))


def replay_given(machine: Machine) -> None:
    """What people told guard once is told again by whoever saw it."""
    if machine.given:
        given = machine.pick(machine.given)
        machine.moves["replayed"] += 1
        with suppress(*INSTRUCTION_FAULTS, KeyError):
            machine.siege.guard.keep(given)
            machine.moves["told again"] += 1
            machine.checks.told_again(parse_negative(given.record))


def alarm(machine: Machine) -> None:
    with suppress(InstructionError):  # it stands already
        machine.siege.guard.alarm(f"alarm-{machine.siege.times.boot_ms}")


# Changes, which wait.


def change_policy(machine: Machine) -> None:
    """Two officers change limits; or one tries."""
    standing = machine.siege.payments.standing
    factor = machine.chance.choice((50, 100, 150))
    limits = [
        {**each, "maximum_reference_minor": str(int(each["maximum_reference_minor"]) * factor // 100)}
        for each in fuzz_policy()["limits"]
    ]
    raw = encode(fuzz_policy(version=standing.policy.version + 1, previous=standing.policy_hash, limits=limits))
    _propose(machine, "policy", raw, policy_hash(raw), POLICY_TYPE)


def change_roster(machine: Machine) -> None:
    """A client's key is new, or somebody leaves or comes."""
    standing = machine.siege.payments.standing
    before: Roster = standing.roster
    made = replace(before, version=before.version + 1, previous=standing.roster_hash)
    if machine.chance.random() < 0.7:
        made = replace(made, clients=tuple(_with_new_key(machine, each) for each in before.clients))
    else:
        left = [each for each in before.people if each.id not in (TESS.id, OTTO.id)]
        came = [each.person() for each in (TESS, OTTO) if machine.chance.random() < 0.7]
        made = replace(made, people=(*left, *came))
    raw = write_roster(made)
    _propose(machine, "roster", raw, roster_hash(raw), ROSTER_TYPE)


def _with_new_key(machine: Machine, client: RosterClient) -> RosterClient:
    keys = machine.clients.keys
    name = KeyId(f"ak_{_letters(len(keys))}")
    keys[name] = SigningKey(len(keys).to_bytes(32))
    key = replace(client.keys[0], id=name, public_key=bytes(keys[name].verify_key))
    return replace(client, keys=(key,))


def _letters(number: int) -> str:
    return "k" * 20 + "".join(chr(97 + number // 26**place % 26) for place in range(6))


def _propose(machine: Machine, document: str, raw: bytes, digest: str, record_type: str) -> None:
    people: tuple[Human, ...] = machine.chance.choice(((CLEO, DAN), (CLEO, DAN), (CLEO,), (CLEO, ADA)))
    machine.checks.wanted(digest, {each.id for each in people})
    given = [assertion_document(each.asserts(raw, record_type)) for each in people]
    machine.ask(Ask.CHANGE, document=document, raw=b64encode(raw).decode(), assertions=given)
    machine.moves[f"waits: {document}"] += 1


def veto(machine: Machine) -> None:
    """By anybody of the roster; then, perhaps, nobody lets guard be heard until the delay is over."""
    pending = sorted(machine.siege.guard.guard.log.current[ORGANISATION].pending)
    if not pending:
        change_policy(machine)
        pending = sorted(machine.siege.guard.guard.log.current[ORGANISATION].pending)
    if not pending:
        return
    tell(machine, Action.VETO, machine.chance.choice(pending), (machine.chance.choice((ADA, BEN)),))
    if machine.chance.random() < 0.5:
        machine.siege.guard.is_reachable = False
        machine.siege.pass_by(6_000)
        machine.siege.desk.idle()


# On the admin's socket.


def rotate(machine: Machine) -> None:
    """The next generation of keys; or another, or asked for by the engine."""
    wanted = machine.generation + machine.chance.choice((1, 1, 1, 0, -1, 2, 40))
    body = {"network": NETWORK, "generation": max(0, wanted)}
    if machine.chance.random() < 0.2:
        machine.ask(Ask.ROTATE, ENGINE, **body)
    machine.as_admin(Ask.ROTATE, **body)
    machine.moves["rotated"] += 1
