"""A signer and a guard, both real and in this process, in the hands of whoever has everything around them.

`Siege` is the world of the signer's tests with the real guard: its journal and control log on a disk, its marker, its
leases. An attacker may cut the link, lose answers, end either process, set the clock, and restore the signer's disk.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.signer.world import MILLISECOND_NS, ORGANISATION, START, Human, Keys, Times, World, policy_document

from strongroom.domain.instant import DAY_MS, Instant
from strongroom.guard.config import Config, Node
from strongroom.guard.lease import SILENCE_MAXIMUM_MS
from strongroom.guard.main import Guard
from strongroom.guard.reconcile import Reconciler
from strongroom.guard.witness import Witness
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol import guard_wire
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.control import ALARM_TYPE, HEARTBEAT_TYPE, ByPeople, ByWatch, Control
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.genesis import GENESIS_TYPE
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import Action, InstructionError, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.watch_record import alarm_record, heartbeat_record
from strongroom.signer.desk import Desk
from strongroom.signer.guard_link import LinkError
from strongroom.signer.notary import Notary
from strongroom.signer.start import Opening


class KilledError(Exception):
    """The signer's process ended here: nothing in it may catch this."""


class RealGuard:
    """Guard's own code over its own store, with a clock of its own that nobody sets.

    `loses_answer` lets the next frame in, and its answer not out; `kills` ends the signer at the next frame.
    """

    def __init__(
        self, folder: Path, keys: Keys, times: Times, deployment: str, genesis: bytes,
        nodes: Mapping[str, Node] | None = None,
    ) -> None:
        self.keys, self.times, self.deployment = keys, times, deployment
        self.is_reachable = True
        self.loses_answer = False
        self.kills: str | None = None
        self.before_spend: Callable[[], object] | None = None
        self.heard: list[bytes] = []
        """Every answer that was given, for whoever would give it again."""
        self.numbers = 0
        self.last_given, self.last_expires = ByPeople(b"", ()), Instant(0)
        self._folder = folder
        (folder / "store").mkdir(parents=True, mode=0o700)
        (folder / "guard.key").write_text(bytes(keys.guard).hex())
        self._config = Config(
            folder=str(folder / "store"), marker_file=str(folder / "marker"), key_file=str(folder / "guard.key"),
            genesis_hash=record_hash(GENESIS_TYPE, genesis).hex(), signer_listen="127.0.0.1:29500",
            officers_listen="127.0.0.1:29501", nodes=nodes or {},
        )
        self._open()

    def _open(self, kind: type[Witness] = Witness) -> None:
        self.guard = Guard(
            self._config, kind, lambda: self.now, lambda: self.times.boot_ms * MILLISECOND_NS
        )
        self._beaten = 0

    @property
    def now(self) -> Instant:
        return Instant(START + self.times.boot_ms)

    def restart(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self.guard.witness._journal.close()
        self.guard.log._chain.close()

    # Its disk.

    @property
    def store(self) -> Path:
        return self._folder / "store"

    @property
    def marker(self) -> Path:
        return self._folder / "marker"

    def save(self) -> dict[str, bytes]:
        return {name: (self.store / name).read_bytes() for name in ("journal", "control")}

    def lose(self, saved: Mapping[str, bytes], epoch: str, *, with_control: bool, with_marker: bool) -> None:
        """Its store comes back as it was `saved`, its control log perhaps as it is; a recovery is begun."""
        self.close()
        (self.store / "lost").write_bytes(saved["journal"])
        (self.store / "journal").unlink()
        if not with_control:
            (self.store / "control").write_bytes(saved["control"])
        if not with_marker:
            self.marker.write_bytes(b"")
        self._open(Reconciler)
        assert isinstance(self.guard.witness, Reconciler)
        self.guard.witness.recover(epoch)

    @property
    def head(self) -> Head:
        return self.guard.witness.head

    def entries(self) -> list[bytes]:
        return list(self.guard.witness._journal.entries())

    def beat(self) -> None:
        """Watch says that all is well, if its last word is getting old."""
        if self.guard.log.standings.genesis is None:
            return
        silence_ms = self.guard.leases.silence_ms()
        if self.now > self._beaten and (silence_ms is None or silence_ms > SILENCE_MAXIMUM_MS // 2):
            self._beaten = self.now
            record = heartbeat_record(self.deployment, self.now)
            frame = guard_wire.sign_frame(self.keys.checkpoint, record, HEARTBEAT_TYPE)
            self.guard.leases.beat(frame, self.now)

    def exchange(self, frame: bytes) -> bytes:
        if not self.is_reachable:
            raise LinkError("cut off")
        if self.before_spend is not None and b'"wants_spend":true' in frame:
            act, self.before_spend = self.before_spend, None
            act()
        if self.kills == "before":
            self.kills = None
            raise KilledError
        answer = self.guard.witness.answer(frame)
        if self.kills == "after":
            self.kills = None
            raise KilledError
        self.heard.append(answer)
        if self.loses_answer:
            self.loses_answer = False
            raise LinkError("the answer was lost")
        return answer

    def instruct(
        self, action: Action, subject: str, *people: Human, epoch: int | None = None, life_ms: int = 60 * DAY_MS,
        **said: Any,
    ) -> None:
        """Raises: negative.INSTRUCTION_FAULTS, as the officers' listener would refuse it."""
        self.numbers += 1
        standing = self.guard.log.current[ORGANISATION]
        expires = Instant(max(self.now, self.times.wall_ms) + life_ms)
        wanted = standing.freeze_epoch if epoch is None else epoch
        number = self.numbers.to_bytes(32).hex()
        negative = Negative(action, expires, wanted, subject, ORGANISATION, number, **said)
        record = write_negative(negative)
        given = ByPeople(record, tuple(each.asserts(record, negative.type) for each in people))
        self.keep(given)
        self.last_given, self.last_expires = given, expires

    def alarm(self, name: str) -> None:
        record = alarm_record(name, ORGANISATION, self.deployment, self.now)
        self.keep(ByWatch(guard_wire.sign_frame(self.keys.checkpoint, record, ALARM_TYPE)))

    def keep(self, given: Any) -> None:
        self.guard.log.keep(Control(self.now, ORGANISATION, given))

    def try_instruct(self, action: Action, subject: str, *people: Human, **said: Any) -> bool:
        try:
            self.instruct(action, subject, *people, **said)
        except (InstructionError, KeyError):
            return False
        return True


class Siege(World):
    """`guard` is the real one from here on."""

    guard: Any

    def __init__(
        self, folder: Path, policy: dict[str, Any] | None = None, nodes: Mapping[str, Node] | None = None
    ) -> None:
        (folder / "signer").mkdir()
        super().__init__(folder / "signer", policy or policy_document())
        self.guard = RealGuard(folder / "guard", self.keys, self.times, self.book.deployment, self.genesis, nodes)
        self._open(self.journal)
        self.desk.idle()
        self.restart()  # as the ceremony's process isn't the signer's, which begins with guard's time
        self.guard.beat()

    def ask(self, *asked: Any, **body: Any) -> Any:
        self.guard.beat()
        return super().ask(*asked, **body)

    def restart(self) -> None:
        """The process ends without a word, and starts again from its disk. Raises: LinkError."""
        self.restore(self.backup())

    def backup(self) -> bytes:
        return (self.folder / "journal").read_bytes()

    def restore(self, raw: bytes) -> None:
        """Starts from this journal as the signer's own start does: compares with guard, and is brought forward.

        Raises: LinkError; what is on the disk is then started from by the next one.
        """
        self.journal.close()
        (self.folder / "journal").write_bytes(raw)
        self.journal = Journal.load(FileDisk(str(self.folder)))
        random, boot_ns = self.notary._guard._random, lambda: self.times.boot_ms * MILLISECOND_NS
        opening = Opening(self.journal, self.store, self.guard, random)
        now = opening.settle()
        clock = opening.clock(now, lambda: self.times.wall_ms * MILLISECOND_NS, boot_ns)
        self.book = opening.book
        self.notary = Notary(
            self.journal, self.book, clock, self.store.statement_sign, self.guard, random, boot_ns
        )
        self.notary.write(Kind.RESUMED, {"guard_ms": now}, self.notary.reading())
        self.notary.commit()
        self.desk = Desk(self.notary, self.wallets, random)

    def spends_at_guard(self) -> set[str]:
        """The transactions of spends in guard's copy that weren't given up."""
        spends: set[str] = set()
        for kind, _, fields in map(read_entry, self.guard.entries()):
            if kind is Kind.SPEND:
                spends.add(fields.text("transaction"))
            elif kind is Kind.ABANDONED:
                spends.discard(fields.text("transaction"))
        return spends


def fast_folder(fallback: Path) -> Path:
    """A new folder in memory if there is one: what is tested here is not the disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="strongroom-siege-", dir=memory if memory.is_dir() else fallback))


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)

