"""Power failures of the signer and of guard: what wasn't synced is lost, torn or flipped. A kill can't show that.

Both run in this process, over their own files; a shadow of each file on the simulated disk of the journal's tests says
what of it the failure leaves. `python -m tests.faults.signer.power COUNT SEED` is for copies of the source with a
fault built in; it prints what was caught.
"""

import json
import os
import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.signer.recount import BrokenError, Chain, Key, said
from tests.guard.test_with_signer import RealGuard, opening
from tests.journal.disks import CrashingDisk
from tests.signer import world as world_module
from tests.signer.world import AskRefused, World

from strongroom.guard import witness as witness_module
from strongroom.journal.journal import FileDisk, Journal

FAILURES_PER_WORLD = 20


class ShadowedDisk(FileDisk):
    """A real file, and beside it what of it is safe."""

    chance = random.Random()
    shadows: dict[Path, CrashingDisk] = {}  # noqa: RUF012 one for each file, whichever disk writes it

    def __init__(self, folder: str, name: str = "journal", *, create: bool = False) -> None:
        super().__init__(folder, name, create=create)
        path = Path(folder, name)
        if path not in self.shadows:
            self.shadows[path] = CrashingDisk(self.chance)
        self.shadow = self.shadows[path]

    def append(self, raw: bytes) -> None:
        super().append(raw)
        self.shadow.append(raw)

    def sync(self) -> None:
        super().sync()
        self.shadow.sync()

    def truncate(self, length: int) -> None:
        super().truncate(length)
        self.shadow.truncate(length)


def fail_power(file: Path) -> None:
    shadow = ShadowedDisk.shadows[file]
    shadow.fail_power()
    file.write_bytes(bytes(shadow.seen))


class PoweredWorld(World):
    """What was acknowledged, and a power failure of either side."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        for name in ("signer", "guard"):
            (folder / name).mkdir(mode=0o700)
        super().__init__(folder / "signer")
        self.chance = chance
        self.acknowledged: set[Key] = set()
        self.real = RealGuard(self, folder / "guard")
        guard: Any = self.real
        self.guard = guard
        self._open(self.journal)
        self.notary.agree()
        self.record = self.cooled()

    def act(self) -> None:
        self.pass_by(self.chance.choice((1, 500, 3_700_000)))
        self.real.beat()
        payout = self.intent(self.record, self.chance.choice((1_000, 9_000)))
        self.acknowledged.add(("payout", payout))
        if self.chance.random() < 0.5:
            raw, _ = self.transaction([self.output(payout)])
            self.sign([payout], raw=raw)
            self.acknowledged.add(("signed", self.payments.attempts_of[payout][0]))

    def fail_signer(self) -> None:
        self.journal.close()
        fail_power(self.folder / "journal")
        start = opening(self, Journal.load(ShadowedDisk(str(self.folder))))
        start.settle()
        self._open(start.journal)
        self.check(self.folder / "journal")

    def close_guard(self) -> None:
        self.real.close()
        os.close(self.real.parts.witness._marker._file)

    def fail_guard(self) -> None:
        self.close_guard()
        fail_power(self.real.folder / "store" / "journal")
        fail_power(self.real.folder / "store" / "control")
        self.real.open()
        if self.real.parts.witness.is_restored:
            raise BrokenError("guard lost what it had cosigned")
        self.notary.agree()
        self.check(self.real.folder / "store" / "journal")

    def check(self, file: Path) -> None:
        kept = {key for entry in Chain(file).read() for key in said(entry)}
        missing = self.acknowledged - kept
        if missing:
            raise BrokenError(f"was acknowledged, and lost with the power: {sorted(missing)[:2]}")


def fail_often(count: int, seed: int) -> int:
    """How much was acknowledged in all. Raises: BrokenError."""
    chance = random.Random(seed)
    acknowledged, done = 0, 0
    ShadowedDisk.chance = chance
    before = world_module.FileDisk, witness_module.FileDisk
    modules: Any = (world_module, witness_module)
    for module in modules:
        module.FileDisk = ShadowedDisk
    try:
        while done < count:
            ShadowedDisk.shadows.clear()
            with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as name:
                world = PoweredWorld(Path(name), chance)
                for _ in range(min(FAILURES_PER_WORLD, count - done)):
                    for _ in range(chance.randint(1, 3)):
                        with suppress(AskRefused):
                            world.act()
                    chance.choice((world.fail_signer, world.fail_guard))()
                    done += 1
                acknowledged += len(world.acknowledged)
                world.journal.close()
                world.close_guard()
    finally:
        for module, disk in zip(modules, before, strict=True):
            module.FileDisk = disk
    return acknowledged


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    try:
        print(json.dumps({"acknowledged": fail_often(count, seed)}))
    except BrokenError as fault:
        print(json.dumps({"broken": str(fault)}))


if __name__ == "__main__":
    main()
