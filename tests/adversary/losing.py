"""Ends, clocks, cut links, older disks; and both disks lost, with the recovery after it."""

from contextlib import suppress

from tests.adversary.asking import declare, intend
from tests.adversary.governing import tell
from tests.adversary.machine import Machine
from tests.protocol.recovering import new_client, new_roster, recovery_ask, recovery_record
from tests.signer.world import ADA, CLEO, DAN, ORGANISATION, AskRefused, Human

from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.guard.reconcile import Reconciler
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.signer_wire import RECOVERY_TYPE, Ask
from strongroom.signer.desk import ENGINE

BACKUPS = 8
OLD_KEPT = 12
LETTERS = "bcdefghijlmnoqrstuvwxyz"
"""Of the client generations: none twice, and not those of the first, nor of keys that changed."""


def wait(machine: Machine) -> None:
    machine.siege.pass_by(machine.chance.choice((10, 1_000, 6_000, 61_000, HOUR_MS // 4, HOUR_MS, DAY_MS // 3)))


def set_clock(machine: Machine) -> None:
    """A minute back; thirty days ahead or back, when little is left to do: what the signer's clock gained once
    it never gives back, and it believes no request any more.
    """
    times, now = machine.siege.times, machine.siege.guard.now
    days = machine.chance.choice((-30, 30)) * DAY_MS if machine.may_run_ahead else 0
    times.wall_ms = now + (days or -60_000)


def restart(machine: Machine) -> None:
    machine.revive()


def restore(machine: Machine) -> None:
    machine.backups = [*machine.backups[-BACKUPS:], machine.siege.backup()]
    machine.restore_from(machine.pick(machine.backups))


def restart_guard(machine: Machine) -> None:
    machine.siege.guard.restart()


def trouble(machine: Machine) -> None:
    """The next frame to guard, or its answer, is lost, or the signer ends there; or guard is away for a while."""
    guard = machine.siege.guard
    match machine.chance.randrange(4):
        case 0:
            guard.loses_answer = True
        case 1:
            guard.kills = machine.chance.choice(("before", "after"))
        case 2:
            guard.is_reachable = not guard.is_reachable
        case _:
            guard.is_reachable = True


# Both lose some.


def save_both(machine: Machine) -> None:
    machine.stores = [*machine.stores[-2:], (machine.siege.backup(), machine.siege.guard.save())]


def recover_uncalled(machine: Machine) -> None:
    """A quorum's word for a recovery, when guard waits for none; or the one of an earlier recovery."""
    machine.as_admin(Ask.RECOVER, **_recovering(machine, len(LETTERS)))
    machine.checks.broken("a recovery was written down that guard didn't wait for")


def lose_both(machine: Machine) -> None:
    """Guard's operator begins a recovery, a quorum says how to go on, and new clients ask anew."""
    era = machine.clients.era + 1
    if not machine.stores or era >= len(LETTERS):
        return
    siege, chance, guard = machine.siege, machine.chance, machine.siege.guard
    guard.is_reachable, guard.kills, guard.loses_answer, guard.before_spend = True, None, False, None
    journal, store = machine.pick(machine.stores)
    machine.stores, machine.backups = [], []
    guard.lose(store, f"{era:064x}", with_control=chance.random() < 0.5, with_marker=chance.random() < 0.5)
    siege.restore(journal)
    machine.checks.lost(siege)
    for _ in range(3):  # nothing is signed while guard waits
        with suppress(AskRefused):
            machine.send(machine.pick(machine.frames))
    given = _recovering(machine, era)
    for attempt in (ENGINE, "by one", "by others"):
        with suppress(AskRefused):
            if attempt == ENGINE:
                machine.ask(Ask.RECOVER, ENGINE, **given)
            else:
                people = (CLEO,) if attempt == "by one" else (CLEO, ADA)
                machine.as_admin(Ask.RECOVER, **_recovering(machine, era, *people))
            machine.checks.broken("a recovery was written down that no quorum wants")
    machine.as_admin(Ask.RECOVER, **given)
    for _ in range(3):
        siege.desk.idle()
    if not (isinstance(guard.guard.witness, Reconciler) and guard.guard.witness.is_done):
        machine.checks.broken("guard doesn't come to an end of the recovery")
    guard.restart()
    siege.desk.idle()
    _go_on(machine, era)
    machine.moves["recovered"] += 1


def _recovering(machine: Machine, era: int, *people: Human) -> dict[str, object]:
    standing, head = machine.siege.payments.standing, machine.siege.notary.head
    policy, roster = machine.checks.tally.policy, write_roster(
        new_roster(standing.roster, LETTERS[era % len(LETTERS)])
    )
    record = recovery_record(
        machine.siege.book.deployment, ORGANISATION, head, policy, roster, {"epoch": f"{era:064x}"}
    )
    those = people or (CLEO, DAN)
    return {**recovery_ask(record, policy, roster, [each.asserts(record, RECOVERY_TYPE) for each in those])}


def _go_on(machine: Machine, era: int) -> None:
    """New clients declare anew; what was asked for before stays in the machine's hands, and people clear it up."""
    clients, chance, letter = machine.clients, machine.chance, LETTERS[era]
    (clients.payer, pay_key, payer), (clients.declarer, declare_key, declarer) = (
        new_client(letter, place) for place in range(2)
    )
    clients.keys |= {pay_key: payer, declare_key: declarer}
    clients.era = era
    machine.numbers += 10
    old = [each for each in machine.payables if each.payout in machine.checks.signed_of and each.promise.era < era]
    machine.payables = chance.sample(old, min(OLD_KEPT, len(old)))
    for payable in list(machine.payables):
        tell(machine, chance.choice((Action.CANCEL, Action.DECLINE)), payable.payout, (CLEO,))
        with suppress(AskRefused):
            machine.ask(Ask.RECEIPT, object=payable.payout)
    machine.records = [each for each in machine.records if machine.named_by[each.beneficiary].startswith("pe_")][-4:]
    for _ in range(6):
        declare(machine)
    intend(machine)
    if chance.random() < 0.8:
        machine.siege.pass_by(DAY_MS)
