"""Positive controls: with a fault built into a copy of the source, the same checks must catch it.

Each fault is one that the kills, the recount or the simulated disk exist for; a check that lets it pass proves nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.adversary.build import Patch, patched, run
from tests.faults.signer import restores
from tests.faults.signer.ground import IS_FULL, SEED, ground
from tests.faults.signer.killing import Killer
from tests.faults.signer.power import fail_often
from tests.faults.signer.recount import BrokenError

KILLS = 200
_SIGN = "wallet_on(self._wallets, asked.network).sign(asked.organisation, asked.transaction, asked.paths)\n"

FAULTS = {
    "signs before it is journaled": (
        Patch(
            "signer/desk.py", "        if decision.entry is not None:\n",
            f"        {_SIGN}        if decision.entry is not None:\n",
        ),
        "was signed when guard hadn't its spend",
    ),
    "signs without guard's cosignature": (
        Patch(
            "signer/desk.py", "            self._agree_to(asked.organisation, decision.transaction.identifier)\n",
            "            pass\n",
        ),
        "was signed when guard hadn't its spend",
    ),
    "signs after guard has refused": (
        Patch("signer/desk.py", "            raise\n", "            pass\n"),
        "was signed when guard hadn't its spend|was signed, and its spend was given up",
    ),
    "counts from nothing after a start": (
        Patch(
            "signer/main.py", "        clock = opening.clock(guard_now, time.time_ns, boot_ns)\n",
            "        clock = opening.clock(guard_now, time.time_ns, boot_ns)\n"
            "        for each in opening.book.organisations.values():\n"
            "            each.windows = type(each.windows)()\n",
        ),
        "in a window of",
    ),
    "forgets at a start what was signed": (
        Patch(
            "signer/main.py", "        clock = opening.clock(guard_now, time.time_ns, boot_ns)\n",
            "        clock = opening.clock(guard_now, time.time_ns, boot_ns)\n"
            "        for each in opening.book.organisations.values():\n"
            "            each.attempts_of.clear()\n",
        ),
        "can both be on the chain|signed again",
    ),
    "acknowledges what isn't written": (
        Patch(
            "signer/register.py", "        notary.write(kind, {kind.value: part, ",
            "        kind is Kind.INTENTS or notary.write(kind, {kind.value: part, ",
        ),
        "acknowledged",
    ),
    "guard answers before it has kept": (
        Patch(
            "guard/witness.py",
            "        self._marker.write(replace(mark, journal=sync.journal, signature=sync.head_signature))\n", "",
        ),
        "was signed when guard hadn't its spend",
    ),
    "a torn tail stays": (
        Patch("journal/journal.py", "                self._disk.truncate(self._ends[-1])\n", ""),
        "and they differ|doesn't hold the|don't agree|has changed on the disk",
    ),
    "guard keeps no instruction": (
        Patch("guard/control_log.py", "        self.append(write_control(control))\n", ""),
        "guard said that it keeps an instruction",
    ),
}


UNSYNCED = {
    "the signer doesn't sync": (
        Patch("signer/notary.py", "        self._journal.sync()\n", "        pass\n"), "was acknowledged, and lost",
    ),
    "guard doesn't sync its copy": (
        Patch(
            "guard/witness.py", "            self._journal.append(raw)\n        self._journal.sync()\n",
            "            self._journal.append(raw)\n",
        ),
        "guard lost what it had cosigned",
    ),
}


@pytest.mark.faults
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str) -> None:
    patch, expected = FAULTS[name]
    with ground(patch) as made:
        killer = Killer(made.root, made.nursery, made.ports(), SEED)
        with pytest.raises(BrokenError, match=expected) as caught:
            killer.run(KILLS)
        print(f"{name}: caught after {killer.kills} kills: {caught.value}")


@pytest.mark.faults
def test_a_power_failure_loses_nothing_that_was_acknowledged() -> None:
    failures = 2_000 if IS_FULL else 40
    print(f"{failures} power failures from seed {SEED}")
    assert fail_often(failures, SEED) > failures // 2


@pytest.mark.faults
@pytest.mark.parametrize("name", UNSYNCED)
def test_a_missing_sync_is_caught_by_a_power_failure(name: str, tmp_path: Path) -> None:
    patch, expected = UNSYNCED[name]
    said = json.loads(run(patched(tmp_path, patch), "tests.faults.signer.power", "200", str(SEED)))
    assert expected in said.get("broken", ""), said


@pytest.mark.faults
@pytest.mark.parametrize("lose", [restores.older_guard, restores.both_older])
def test_a_guard_that_doesnt_know_that_it_was_restored_is_caught(lose: Callable[[restores.Restored], object]) -> None:
    blind = Patch("guard/witness.py", "self.is_restored = not (is_marked and has_all)", "self.is_restored = False")
    with ground(blind) as made:
        shop = restores.restored(made, "shop", SEED, made.ports())
        with pytest.raises(BrokenError, match="guard didn't agree to"):
            lose(shop)
        shop.end()
