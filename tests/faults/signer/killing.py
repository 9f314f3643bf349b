"""Kills at the points, one after another, each followed by a new beginning, the same question, and a look at all.

The point that killed least so far is next, so that all get their share; what leads to it is asked for most, among
whatever else an engine does.
"""

import random
from contextlib import suppress
from pathlib import Path

from tests.faults.signer.engine import Engine
from tests.faults.signer.fuse import Fuse
from tests.faults.signer.points import ACTS, GUARD, POINTS
from tests.faults.signer.recount import BrokenError
from tests.faults.signer.shop import EndedError, Nursery
from tests.signer.world import AskRefused

Point = tuple[str, str]
KILLS_PER_SHOP = 40
STRAGGLERS = 4
"""Kills of each shop that is begun for the points that are left."""
TIMES_MAXIMUM = 5
"""So many times the kills that were asked for, and a point that is still left is out of reach: a fault."""
ACTS_MAXIMUM = 80


class Killer:
    def __init__(self, root: Path, nursery: Nursery, ports: tuple[int, int], seed: int) -> None:
        self.root, self.nursery, self.ports = root, nursery, ports
        self.chance = random.Random(seed)
        self.fuse = Fuse(root / "fuse")
        self.shops = 0
        self.missed: dict[Point, int] = {}
        self.refused: dict[str, int] = {}
        self.signed = self.entries = 0
        self.shop: Engine | None = None

    @property
    def kills(self) -> int:
        return sum(self.fuse.killed(point) for point in POINTS)

    def run(self, count: int, least: int = 0) -> None:
        """`count` kills, and more until every point has its `least`.

        Raises: BrokenError, also if that takes too many.
        """
        while self.kills < count or self.least() < least:
            if self.kills >= TIMES_MAXIMUM * count:
                missed = [point for point in POINTS if self.fuse.killed(point) < least]
                raise BrokenError(f"{self.kills} kills, and not {least} at each of {missed}")
            self.round(min(KILLS_PER_SHOP, max(count - self.kills, STRAGGLERS)))
            if self.shops % 10 == 0:
                print(f"{self.kills} kills, {self.signed} signed, {self.shops} shops", flush=True)

    def least(self) -> int:
        return min(self.fuse.killed(point) for point in POINTS)

    def round(self, count: int) -> None:
        """One shop from its beginning to its end."""
        self.shops += 1
        shop = self.shop = Engine(self.root, f"shop-{self.shops}", self.nursery, self.ports, self.chance)
        first = self.kills
        try:
            self.fuse.disarm()
            if self.shops == 1 or self.chance.random() < 0.6:
                self.fuse.arm((GUARD, "first marker written"))
            shop.begin()
            while self.kills < first + count:
                self.kill(shop, self.next_point())
            shop.drain()
        finally:
            shop.end()
        for rule, times in shop.refused.items():
            self.refused[rule] = self.refused.get(rule, 0) + times
        self.signed += len(shop.recount.signed)
        self.entries += len(shop.recount.copy.entries)

    def next_point(self) -> Point:
        points = [point for point in POINTS if ACTS[point] != "enrol"]
        self.chance.shuffle(points)
        points.sort(key=lambda point: self.fuse.killed(point) + self.missed.get(point, 0) // 4)
        return self.chance.choice(points[: len(points) // 3])

    def kill(self, shop: Engine, point: Point) -> None:
        """Until somebody ended at the point, or it wasn't reached; then all that must be true is looked at."""
        before, act = self.fuse.killed(point), ACTS[point]
        self.act_some(shop, self.chance.randrange(4))
        if act.startswith("start"):
            self.prepare_start(shop, point)
        else:
            self.fuse.arm(point, 1 if act == "pay while guard ends" else self.chance.choice((1, 1, 1, 2, 3)))
            self.act_until_end(shop, act)
            self.fuse.disarm()
        self.begin_again(shop)
        if self.fuse.killed(point) == before:
            self.missed[point] = self.missed.get(point, 0) + 1

    def begin_again(self, shop: Engine) -> None:
        shop.begin()
        self.fuse.disarm()
        try:
            shop.again()
            shop.sync()
        except (AskRefused, EndedError) as fault:
            raise BrokenError(f"nobody was killed, and the two don't agree: {fault}") from fault
        shop.close_signed()
        shop.look()

    def act_until_end(self, shop: Engine, act: str) -> None:
        for _ in range(ACTS_MAXIMUM):
            name = act if act in shop.acts and self.chance.random() < 0.5 else self.chance.choice(list(shop.acts))
            with suppress(AskRefused):
                try:
                    shop.act(name)
                except EndedError:
                    return

    def prepare_start(self, shop: Engine, point: Point) -> None:
        role, act = point[0], ACTS[point]
        if act == "start behind":
            saved = (shop.folder / "journal").read_bytes()
            self.act_some(shop, 3)
            shop.signer.kill()
            shop.restore_signer(saved)
        elif act == "start":
            shop.signer.kill()
        else:
            self.fuse.arm((role, "frame torn") if act == "start torn" else (GUARD, "entries synced"))
            self.act_until_end(shop, "any")
            self.fuse.disarm()
        self.fuse.arm(point)

    def act_some(self, shop: Engine, count: int) -> None:
        """In peace: nobody is killed, so the two agree and go on. Raises: BrokenError if they don't."""
        try:
            if self.chance.random() < 0.7:
                shop.unfreeze()
            for _ in range(count):
                with suppress(AskRefused):
                    shop.act(self.chance.choice(("ask", "pay", "pay", "declare", "bump", "pay again")))
            shop.sync()
        except (AskRefused, EndedError) as fault:
            raise BrokenError(f"nobody was killed, and the two don't agree: {fault}") from fault
        shop.last = None
