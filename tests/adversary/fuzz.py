"""A machine that owns engine, database, rail and link, and plays what honest parties signed against the signer.

Clients, people and officers are honest, and careless: they ask for many things, also twice, and change their minds.
The machine recombines, reorders, withholds, replays and mutates what they signed, mines what it likes, ends signer and
guard, restores older journals, loses both, sets the clock, and cuts the link. After every step it counts, from signed
bytes, raw blocks, raw entries and its own notes alone, what must hold (`Checks`, `Tally`). All goes by one seed:
`python -m tests.adversary.fuzz SEED STEPS`.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.adversary import asking, freeing, governing, losing, paying
from tests.adversary.checks import Checks
from tests.adversary.machine import Machine
from tests.adversary.policy import FINALITY_BLOCKS, fuzz_policy
from tests.adversary.rail import Rail
from tests.adversary.siege import KilledError, Siege, fast_folder, remove
from tests.signer.world import CLEO, DAN, ORGANISATION, AskRefused

from strongroom.formats import simulated
from strongroom.protocol.negative import Action

STEPS: dict[Callable[[Machine], None], int] = {
    asking.declare: 4, asking.next_version: 1, asking.intend: 14, asking.intend_again: 3, asking.seal: 4,
    asking.cancel: 2, asking.replay: 5, asking.mix_evidence: 3, asking.ask_with_another_key: 1,
    paying.approve: 5, paying.sign: 18, paying.approve_and_sign: 24, paying.move_coins: 3, paying.repeat_frame: 4,
    paying.mix_frame: 5, paying.receipt: 3,
    freeing.mine: 5, freeing.go_back: 1, freeing.attest: 2, freeing.void: 3, freeing.release: 1, freeing.free: 8,
    freeing.free_by_half: 2,
    governing.instruct: 3, governing.instruct_in_time: 3, governing.rescue: 2, governing.replay_given: 2,
    governing.alarm: 1, governing.change_policy: 1, governing.change_roster: 1, governing.veto: 1, governing.rotate: 1,
    losing.wait: 9, losing.set_clock: 1, losing.restart: 1, losing.restore: 1, losing.restart_guard: 1,
    losing.trouble: 3, losing.save_both: 1, losing.recover_uncalled: 1,
}
LOSE_EVERY, SAVE_FIRST, LOSE_FIRST = 1_000, 200, 300
"""Steps between two losses of both disks, and before the first; of what they are put back to there are others too."""


def step(machine: Machine, number: int) -> None:
    _calm_down(machine)
    act = machine.chance.choices(list(STEPS), list(STEPS.values()))[0]
    if number % LOSE_EVERY == SAVE_FIRST:
        act = losing.save_both
    elif number % LOSE_EVERY == LOSE_FIRST:
        act = losing.lose_both
    try:
        act(machine)
    except AskRefused as refusal:
        machine.answers[refusal.rule] += 1
    except KilledError:
        machine.revive()
    machine.checks.after_step(machine.siege, machine.rail)


def _calm_down(machine: Machine) -> None:
    """No trouble lasts for ever."""
    guard, chance = machine.siege.guard, machine.chance
    if chance.random() < 0.1:
        guard.is_reachable = True
    if chance.random() < 0.1 and machine.siege.times.wall_ms < guard.now:
        machine.siege.times.wall_ms = guard.now
    standing = guard.guard.log.current[ORGANISATION]
    if standing.frozen and chance.random() < 0.1:
        governing.tell(machine, Action.UNFREEZE, "organisation", (CLEO, DAN))
    for name in sorted(standing.alarms):
        if chance.random() < 0.1:
            governing.tell(machine, Action.RESOLVE, name, (CLEO,))


def play(seed: int, steps: int, folder: Path) -> Machine:
    """Raises: checks.BrokenError when something doesn't hold; any other error would have ended the signer."""
    rail = Rail(FINALITY_BLOCKS)
    try:
        siege = Siege(folder, fuzz_policy(), nodes={simulated.NETWORK: rail.node})
        machine = Machine(siege, random.Random(seed), Checks(siege), rail)
        for _ in range(6):
            asking.declare(machine)
        siege.pass_by(120_000)
        for _ in range(4):
            with suppress(AskRefused):
                asking.intend(machine)
        for number in range(steps):
            machine.may_run_ahead = number > steps * 0.95
            try:
                step(machine, number)
            except Exception as fault:
                fault.add_note(f"seed {seed}, step {number}")
                raise
        machine.checks.at_end(siege)
    finally:
        rail.close()
    return machine


def main() -> int:
    folder, started = fast_folder(Path.cwd()), time.monotonic()
    try:
        machine = play(int(sys.argv[1]), int(sys.argv[2]), folder)
    finally:
        remove(folder)
    print(f"answers: {dict(machine.answers.most_common())}")
    print(f"moves: {dict(machine.moves.most_common())}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
