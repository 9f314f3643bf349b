"""Who wants payees paid twice on a Bitcoin and an EVM chain, by real processes and real nodes; the bound is 0 on each.

What an attack took is what payees got above what was promised to them, by chain. A control takes one rule out of the
signer while the attack runs: then both chains pay twice.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.adversary.attacks import ONCE_OUT
from tests.adversary.build import Patch
from tests.adversary.ground import Ground
from tests.adversary.plunder import Control
from tests.adversary.real_firm import RealFirm, RealSeat, found_real
from tests.adversary.records import begin_log_anew, copy_files, put_back
from tests.faults.real_chains import Payee

Taken = Mapping[str, int]
Without = Control | None
"""What is taken out while the attack runs."""

ONCE = Control(("signer",), (ONCE_OUT,))
DEBTS = Control(("signer",), (
    Patch("signer/due.py", "if replaces is not None and replaces not in payments.dead:", "if False:"),
))
ALONE = Control(("signer",), (
    Patch("signer/start.py", "self.journal.settle(answer.journal.length, answer.journal.head)",
          "self.journal.settle(self.journal.length, self.journal.head)"),
    Patch("signer/notary.py", "ends_ns = self._boot_ns() + AGREE_MAXIMUM_MS * MILLISECOND_NS\n", "return\n"),
    Patch("signer/notary.py", "return self._lease if self._boot_ns() < self._lease_ends_ns else Lease.NONE",
          "return Lease.ALL"),
))
"""A signer that begins with the journal it finds, and asks nobody whether that is the newest."""


@dataclass(frozen=True)
class Case:
    act: Callable[[Ground, Without], Taken]
    controls: Mapping[str, Control]


@contextmanager
def taken_out(ground: Ground, without: Without) -> Iterator[None]:
    with ground.patched(without.processes, without.patches) if without else contextlib.nullcontext():
        yield


def engine_takes_other_coins(ground: Ground, without: Without) -> Taken:
    """The attacker has the engine's socket and both nodes, wants payees paid twice: what is signed and in no block yet
    it builds anew, of other coins, and as another batch of the vault. The bound is 0.
    """
    firm = found_real(ground)
    payouts = [firm.pay(each) for each in firm.known("rosa")]
    _reaches(firm, "broadcast")
    with ground.without("engine"), taken_out(ground, without):
        seat = RealSeat(firm)
        for payout in payouts:
            seat.pays_again(payout)
        firm.mine()
    firm.rest()
    return firm.beyond()


def database_says_failed(ground: Ground, without: Without) -> Taken:
    """The attacker has the database, wants payees paid twice: it says that settled payouts failed, with the signer's
    word for it made up, so that an honest client asks again for what it owes. The bound is 0.
    """
    firm = found_real(ground)
    to = firm.known("rosa")
    payouts = [firm.pay(each) for each in to]
    firm.rest()
    for payout in payouts:
        ground.as_owner(
            ("UPDATE strongroom.payouts SET state = 'failed', due_at = NULL WHERE id = $1", payout),
            ("INSERT INTO strongroom.receipts VALUES ($1, $2, 'made up', decode(repeat('00', 64), 'hex'), 1)",
             payout, firm.id),
        )
    with taken_out(ground, without):
        for each, before in zip(to, payouts, strict=True):
            firm.pay(each, f"again-{each.name}", replaces=before)
        firm.rest()
    return firm.beyond()


def database_restored(ground: Ground, without: Without) -> Taken:
    """The attacker has the database's files, wants payees paid twice: it puts yesterday's back, and honest clients send
    again what the record lost. The bound is 0.
    """
    firm, backup = found_real(ground), ground.data / "yesterday"
    names = [firm.known(name) for name in ("rosa", "otto")]
    ground.with_files(lambda files: copy_files(files, backup))
    _paid_together(firm, names)
    ground.with_files(lambda files: put_back(files, backup), watch=False)
    with taken_out(ground, without):
        _asked_one_by_one(firm, names)
    return firm.beyond()


def signer_restored(ground: Ground, without: Without) -> Taken:
    """The attacker has the signer's disk and the engine's socket, wants payees paid twice: it puts yesterday's journal
    back, and builds anew what was paid since, of other coins and as another batch. The bound is 0.
    """
    firm, journal = found_real(ground), _Journal(ground)
    payouts = [firm.pay(each) for each in firm.known("rosa")]
    firm.rest()
    with ground.without("engine"), journal.put_back(without):
        seat = RealSeat(firm)
        seat.show()
        for payout in payouts:
            seat.pays_again(payout)
        firm.mine()
    firm.rest()
    return firm.beyond()


def database_and_signer_restored(ground: Ground, without: Without) -> Taken:
    """The attacker has the files of both, wants payees paid twice: it puts yesterday's back, and honest clients send
    again what the record lost. The bound is 0.
    """
    firm, backup = found_real(ground), ground.data / "yesterday"
    names = [firm.known(name) for name in ("rosa", "otto")]
    ground.with_files(lambda files: copy_files(files, backup))
    journal = _Journal(ground)
    _paid_together(firm, names)
    ground.with_files(lambda files: put_back(files, backup), watch=False)
    with journal.put_back(without):
        _asked_one_by_one(firm, names)
    return firm.beyond()


class _Journal:
    """The signer's, as it is now."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._file = ground, ground.data / "signer" / "journal"
        self._before, self._newest = ground.data / "journal.before", ground.data / "journal.newest"
        with ground.without("signer"):
            copy_files(self._file, self._before)

    @contextmanager
    def put_back(self, without: Without) -> Iterator[None]:
        """The signer begins with it. One that went its own way has parted from guard for good, and begins again after
        this with what it had.
        """
        self._ground.stop("signer")
        self._replace(self._before, self._newest)
        if without is None:
            self._ground.start("signer")
        with taken_out(self._ground, without):
            try:
                yield
            finally:
                if without is not None:
                    self._ground.stop("signer")
                    self._replace(self._newest, self._before)

    def _replace(self, by: Path, kept: Path) -> None:
        copy_files(self._file, kept)
        self._file.unlink()
        copy_files(by, self._file)


def _reaches(firm: RealFirm, state: str) -> None:
    firm.ground.eventually(lambda: set(firm.states().values()) == {state}, f"all are {state}")


def _paid_together(firm: RealFirm, names: Sequence[Sequence[Payee]]) -> None:
    """In one batch on each chain."""
    with firm.ground.without("engine"):
        for payees in names:
            for each in payees:
                firm.pay(each)
    assert set(firm.rest().values()) == {"settled"}


def _asked_one_by_one(firm: RealFirm, names: Sequence[Sequence[Payee]]) -> None:
    begin_log_anew(firm.ground)
    for payees in names:
        for each in payees:
            firm.pay(each)
        firm.rest()


CASES = {
    each.act.__name__: each for each in (
        Case(engine_takes_other_coins, {"attempts needn't exclude each other": ONCE}),
        Case(database_says_failed, {"a debt is paid as often as it is asked for": DEBTS}),
        Case(database_restored, {"attempts needn't exclude each other": ONCE}),
        Case(signer_restored, {"attempts needn't exclude each other": ONCE, "without guard": ALONE}),
        Case(database_and_signer_restored, {"attempts needn't exclude each other": ONCE, "without guard": ALONE}),
    )
}
