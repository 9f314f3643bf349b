"""Disks that come back older than they were, or not at all: what an operator does, and what must be true then."""

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.faults.signer.engine import Engine
from tests.faults.signer.ground import Ground
from tests.faults.signer.recount import BrokenError, Chain
from tests.faults.signer.shop import EndedError
from tests.signer.world import AskRefused

from strongroom.signer.desk import ENGINE

ACTS = ("ask", "pay", "pay", "pay", "declare", "bump", "run", "request", "cancel", "freeze", "pay again")


class Restored(Engine):
    """An engine whose signer or guard lose their disks."""

    def work(self, count: int) -> None:
        """In peace; the last acts may be known to the signer alone."""
        for _ in range(count):
            with suppress(AskRefused):
                self.act(self.chance.choice(ACTS))

    def save_signer(self) -> bytes:
        return (self.folder / "journal").read_bytes()

    def save_guard(self) -> None:
        shutil.rmtree(self.place / "backup", ignore_errors=True)
        shutil.copytree(self.place / "store", self.place / "backup")

    def restore_guard(self, *, with_marker: bool = True) -> None:
        """Guard's folder as it was saved; its marker is in no backup, and may be lost."""
        self.guard_child.kill()
        shutil.rmtree(self.place / "store")
        shutil.copytree(self.place / "backup", self.place / "store")
        (self.place / "store").chmod(0o700)
        if not with_marker:
            (self.place / "marker").write_bytes(b"")

    def end_signer(self, saved: bytes) -> None:
        self.signer.kill()
        self.restore_signer(saved)

    def reconcile(self) -> None:
        """Guard's operator has it take the signer's journal, while the signer runs; until guard ends by itself."""
        self.guard_child.kill()
        self.begin_guard(reconciles=True)
        for _ in range(5):
            if not self.guard_child.ends_within(0.05):
                with suppress(AskRefused, EndedError):
                    self.sync()
        if not self.guard_child.ends_within(10):
            raise BrokenError(f"guard doesn't come to an end of reconciling: {self.logs()}")

    def asked_again(self) -> int:
        """What only the signer had heard is asked again, and acknowledged again; how much it was."""
        self.recount.read_copy()
        lost = self.acknowledged.keys() - self.recount.kept
        if any(kind == "signed" for kind, _ in lost):
            raise BrokenError("something was signed that guard hasn't")
        for key in lost:
            asked = self.acknowledged.pop(key)
            if asked is not None and key[0] != "request":  # a new request has a new ticket
                self.send(*asked)
                if key not in self.acknowledged:
                    raise BrokenError(f"{key} was asked for again and isn't the same")
        self.sync()
        return len(lost)

    def signs_nothing(self) -> None:
        """What was signed once and what is new, while the two aren't reconciled. Raises: BrokenError."""
        self.beat()
        for _ in range(2):  # over a new connection, and with all that can be told
            with suppress(AskRefused):
                self.sync()
        before = (self.place / "signing").read_bytes()
        asks: list[Callable[[], object]] = [
            partial(self.send, ENGINE, frame) for frame, _ in list(self.signatures.values())[:3]
        ]
        for payout in list(self.open.values())[:3]:
            asks.append(partial(self.sign_payouts, "pay", [payout], [(self.coin(50_000), 0)], 500))
        for ask in asks:
            try:
                ask()
            except AskRefused:
                continue
            raise BrokenError("something was signed that guard didn't agree to")
        if (self.place / "signing").read_bytes() != before:
            raise BrokenError("something was signed that guard didn't agree to")

    def still_holds(self) -> None:
        """After healing: all is there, the same bytes get the same signature, and nothing is paid twice."""
        self.look()
        self.unfreeze()
        self.pass_by(90_000_000)
        self.sign_again()
        self.pay_twice()
        self.look()


def restored(made: Ground, name: str, seed: int, ports: tuple[int, int]) -> Restored:
    shop = Restored(made.root, name, made.nursery, ports, random.Random(seed))
    shop.begin()
    shop.work(10)
    while not shop.signatures:
        shop.unfreeze()
        shop.pass_by(3_700_000)
        shop.work(3)
    return shop


def older_journal(shop: Restored) -> int:
    """The signer's disk is restored; how much had to be asked again."""
    saved = shop.save_signer()
    shop.work(8)
    shop.sync()
    shop.work(shop.chance.randrange(3))
    shop.end_signer(saved)
    shop.guard_child.kill()
    shop.begin_signer(waits=False)
    if shop.signer.ends_within(0.2) or shop.save_signer() != saved:
        raise BrokenError("a restored signer began without guard")
    shop.signer.kill()
    shop.begin()
    asked = shop.asked_again()
    shop.still_holds()
    return asked


def older_guard(shop: Restored) -> None:
    """Guard's store is restored or lost: closed until its operator reconciles it with the signer."""
    shop.save_guard()
    shop.work(8)
    shop.unfreeze()
    shop.sync()
    shop.restore_guard(with_marker=shop.chance.random() < 0.5)
    shop.begin_guard()
    shop.signs_nothing()
    status, _ = shop.call("/v1/negatives", {})
    if status < 400:
        raise BrokenError("a restored guard takes instructions")
    shop.reconcile()
    shop.begin()
    shop.still_holds()


def both_older(shop: Restored) -> str:
    """Both are as they were, and only guard's marker knows of more; what guard says when it is told to reconcile."""
    shop.unfreeze()
    shop.sync()
    shop.save_guard()
    saved = shop.save_signer()
    while len(Chain(shop.folder / "journal").read()) < len(Chain(shop.place / "backup" / "journal").read()) + 4:
        shop.work(4)
        shop.sync()
    shop.restore_guard()
    shop.end_signer(saved)
    shop.begin_guard()
    shop.begin_signer()
    shop.signs_nothing()
    shop.reconcile()
    said = (shop.place / "guard.log").read_text()
    shop.begin_guard()
    shop.signs_nothing()
    return said


def standby(shop: Restored) -> None:
    """The signer's disk is gone; another with its keys and genesis alone takes over."""
    shop.sync()
    before = shop.save_signer()
    shop.end_signer(before[: 36 + int.from_bytes(before[:4])])
    shop.begin()
    if not shop.save_signer().startswith(before):
        raise BrokenError("the standby has another journal than the signer had")
    shop.still_holds()
