"""A signer, a guard and the engine in front of them, of which any may end at any moment; the driver is the engine.

The signer and guard are processes of their own, forked by the nursery from the patched copy. What the signer answered
is remembered as acknowledged, with the frame that asked for it; after every end it is asked again, and everything is
compared with what the files say (`recount`).
"""

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.adversary.build import ROOT, environment
from tests.faults.signer.fuse import Fuse
from tests.faults.signer.nursery import SharedTimes
from tests.faults.signer.points import GUARD, SIGNER
from tests.faults.signer.recount import DAY_MS, HOUR_MS, BrokenError, Chain, Key, Limit, Recount, digest
from tests.guard.process import given_document
from tests.signer.world import ORGANISATION, AskRefused, World, limit, payee, policy_document

from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.control import HEARTBEAT_TYPE, ByPeople
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.protocol.watch_record import heartbeat_record
from strongroom.signer.desk import ADMIN, ENGINE

PATIENCE_S = 30
FEE_BUDGET = 60_000
LIMITS = (
    Limit("B", "unattended", None, HOUR_MS, 60_000),
    Limit("D", "unattended_young", None, DAY_MS, 900_000),
    Limit("A", "all", None, DAY_MS, 3_000_000),
    Limit("P", "all", 7, DAY_MS, 150_000),
)
TREASURY = payee("treasury")
_SCOPES = {"B": "organisation", "D": "organisation", "A": "organisation", "P": "destination"}


def policy(**changes: Any) -> dict[str, Any]:
    """Small limits, so that they are met."""
    limits = [limit(each.name, _SCOPES[each.name], each.counts, each.maximum, each.span_ms) for each in LIMITS]
    return policy_document(
        limits=limits, fee_budget_reference_minor=str(FEE_BUDGET), sweep_fee_budget_reference_minor=str(FEE_BUDGET),
        wallets=[{**policy_document()["wallets"][0], "treasury": TREASURY}], **changes,
    )


class EndedError(Exception):
    """A process ended while it was asked something, or before."""


class Nursery:
    """The process that forks the others; `source` is the copy whose code they run."""

    def __init__(self, source: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.signer.nursery"], cwd=ROOT, env=environment(source), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        told = self._read()
        if not told["source"].startswith(str(source)):
            raise AssertionError(f"{told['source']} isn't in the patched copy")

    def tell(self, **told: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the nursery ended")
        told: dict[str, Any] = json.loads(line)
        return told

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()


@dataclass
class Child:
    """A process of the nursery's, and a handle by which its end is seen."""

    pid: int = 0
    handle: int = -1

    def begin(self, pid: int) -> None:
        if self.handle >= 0:
            os.close(self.handle)
        self.pid, self.handle = pid, os.pidfd_open(pid)

    @property
    def has_ended(self) -> bool:
        return self.ends_within(0)

    def ends_within(self, seconds: float) -> bool:
        return self.handle < 0 or bool(select.select([self.handle], [], [], seconds)[0])

    def kill(self) -> None:
        if not self.has_ended:
            os.kill(self.pid, signal.SIGKILL)
            select.select([self.handle], [], [], PATIENCE_S)


@dataclass
class Payout:
    """What the engine knows of one: where it goes, and whether the signer took it, signed it or buried it."""

    id: str
    address: str
    minor: int
    key: str = ""
    approvals: list[dict[str, JsonValue]] = field(default_factory=list)
    item: dict[str, JsonValue] | None = None
    run: str = ""


class Shop(World):
    """One deployment below `root / name`; `fuse` is shared by all of one root."""

    def __init__(
        self, root: Path, name: str, nursery: Nursery, ports: Sequence[int], chance: random.Random,
        link_port: int | None = None,
    ) -> None:
        self.root, self.place, self.nursery, self.chance = root, root / name, nursery, chance
        for each in (self.place / "signer", self.place / "store"):
            each.mkdir(mode=0o700, parents=True)
        super().__init__(self.place / "signer", policy())
        self.journal.close()
        self.signer_port, self.officers_port = ports
        self.link_port = link_port or self.signer_port
        (self.place / "guard.key").write_text(bytes(self.keys.guard).hex())
        (self.place / "times").write_bytes(bytes(16))
        (self.place / "signing").touch()
        (self.place / "marker").touch()
        (self.place / "store" / "journal").touch(mode=0o600)
        self.fuse, self.shared = Fuse(root / "fuse"), SharedTimes(self.place / "times")
        self.signer, self.guard_child = Child(), Child()
        self.connections: dict[str, socket.socket] = {}
        self.own = Chain(self.folder / "journal")
        self.recount = Recount(
            self.place / "store" / "journal", self.place / "marker", self.place / "signing", LIMITS, FEE_BUDGET
        )
        self.acknowledged: dict[Key, tuple[str, bytes] | None] = {}
        """With what was asked for it, or nothing if it was said at guard."""
        self.instructions: list[bytes] = []
        self.last: tuple[str, bytes] | None = None
        self.signatures: dict[str, tuple[bytes, bytes]] = {}
        """Transaction to the frame that asked for it and the signed bytes."""
        self.refused: dict[str, int] = {}
        self.last_refusal: RefusedAnswer | None = None
        self.is_signer_up = False
        self.shared.set(self.times.boot_ms, self.times.wall_ms)

    # The processes.

    def config(self) -> dict[str, Any]:
        return {
            "folder": str(self.place / "store"), "marker_file": str(self.place / "marker"),
            "key_file": str(self.place / "guard.key"),
            "genesis_hash": record_hash("strongroom/genesis/v1", self.genesis).hex(),
            "signer_listen": f"127.0.0.1:{self.signer_port}", "officers_listen": f"127.0.0.1:{self.officers_port}",
            "requests_per_second": 10_000,
        }

    def begin_guard(self, *, reconciles: bool = False, epoch: str = "", waits: bool = True) -> None:
        told = self.nursery.tell(
            role=GUARD, folder=str(self.place), config=self.config(), reconciles=reconciles, epoch=epoch,
            before=self.guard_child.pid,
        )
        self.guard_child.begin(told["pid"])
        ends = time.monotonic() + PATIENCE_S
        last_port = self.signer_port if reconciles else self.officers_port
        while waits:
            with suppress(OSError), socket.create_connection(("127.0.0.1", last_port), 1):
                return
            if self.guard_child.has_ended:
                raise EndedError
            if time.monotonic() > ends:
                raise AssertionError("guard doesn't listen")
            time.sleep(0.002)

    def begin_signer(self, *, folder: Path | None = None, waits: bool = True) -> None:
        told = self.nursery.tell(
            role=SIGNER, folder=str(self.place), journal=str(folder or self.folder), port=self.link_port,
            before=self.signer.pid, sockets=[str(self.place / f"{name}.sock") for name in (ENGINE, ADMIN)],
        )
        self.signer.begin(told["pid"])
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        self.is_signer_up = False
        if waits:
            self.exchange(ENGINE, write_ask(Ask.STATUS, {}))
            self.is_signer_up = True

    def begin(self) -> None:
        """Both, as often as it takes, and a heartbeat."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            if time.monotonic() > ends:
                raise AssertionError(f"they don't come up: {self.logs()}")
            try:
                if self.guard_child.has_ended:
                    self.begin_guard()
                if self.signer.has_ended or not self.is_signer_up:
                    if not self.signer.has_ended:
                        self.signer.kill()
                    self.begin_signer()
                self.sync()
                self.beat()
                if not (self.guard_child.has_ended or self.signer.has_ended):
                    return
            except (EndedError, AskRefused):
                self.check_no_fault()

    def check_no_fault(self) -> None:
        """Whoever ended was killed: what ends by itself has found a fault. Raises: BrokenError."""
        for name in (SIGNER, GUARD):
            log = self.place / f"{name}.log"
            text = log.read_text() if log.exists() else ""
            if "Traceback" in text or "can't begin" in text or "ERROR" in text:
                raise BrokenError(f"{name}: {text[-3_000:]}")

    def logs(self) -> str:
        return "".join(each.read_text()[-2_000:] for each in self.place.glob("*.log"))

    def end(self) -> None:
        self.signer.kill()
        self.guard_child.kill()
        for child in (self.signer, self.guard_child):
            if child.pid:
                self.nursery.tell(before=child.pid)
                os.close(child.handle)
        for connection in self.connections.values():
            connection.close()

    # The engine's frames.

    def exchange(self, channel: str, frame: bytes) -> bytes:
        """Raises: EndedError if the signer ends before it has answered."""
        try:
            connection = self.connections.get(channel)
            if connection is None:
                connection = self.connections[channel] = socket.socket(socket.AF_UNIX)
                connection.settimeout(PATIENCE_S)
                connection.connect(str(self.place / f"{channel}.sock"))
            connection.sendall(len(frame).to_bytes(4) + frame)
            return self._receive(connection, int.from_bytes(self._receive(connection, 4)))
        except (ConnectionError, EOFError, FileNotFoundError) as fault:
            raise EndedError from fault

    def _receive(self, connection: socket.socket, length: int) -> bytes:
        raw = bytearray()
        while len(raw) < length:
            watched = [connection] if self.is_signer_up else [connection, self.guard_child.handle]
            ready = select.select(watched, [], [], PATIENCE_S)[0]
            if not ready:
                raise AssertionError(f"the signer doesn't answer: {self.logs()}")
            if connection not in ready:  # guard ended while the signer waits for it to begin
                self.signer.kill()
                raise EndedError
            part = connection.recv(length - len(raw))
            if not part:
                raise EOFError
            raw += part
        return bytes(raw)

    def ask(self, ask: Ask, channel: str = ENGINE, **body: JsonValue) -> Any:
        document = body if ask in (Ask.ORGANISATION, Ask.STATUS) else {"organisation": ORGANISATION, **body}
        return self.send(channel, write_ask(ask, document))

    def send(self, channel: str, frame: bytes) -> Any:
        """The answer; what it acknowledges is remembered. Raises: AskRefused, EndedError."""
        self.last = (channel, frame)
        answer = read_answer(self.exchange(channel, frame))
        if isinstance(answer, RefusedAnswer):
            self.refused[answer.rule] = self.refused.get(answer.rule, 0) + 1
            self.last_refusal = answer
        else:
            self.note(channel, frame, answer)
            self.last = None
        if self.guard_child.has_ended:
            raise EndedError
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        return answer

    def note(self, channel: str, frame: bytes, answer: Any) -> None:
        asked = json.loads(frame)
        keys: list[Key] = []
        match asked["type"].split("/")[2]:
            case "destinations":
                keys = [("destination", row["digest"]) for row in answer if "digest" in row]
            case "intents":
                keys = [("payout", row["payout"]) for row in answer if "payout" in row]
            case "run":
                keys = [("run", answer["run"])]
            case "request" if "request" in answer:
                keys = [("request", digest(b64decode(answer["request"])))]
            case "cancel" | "receipt":
                keys = [("dead", json.loads(b64decode(answer["receipt"]))["object"])]
            case "change":
                keys = [("change", answer["change"])]
            case "organisation":
                keys = [("organisation", answer["organisation"])]
            case "sign":
                keys = [("signed", answer["transaction"])]
                signed = b64decode(answer["signed"])
                before = self.signatures.setdefault(answer["transaction"], (frame, signed))
                if before[1] != signed:
                    raise BrokenError(f"{answer['transaction']} was signed in two ways")
        for key in keys:
            self.acknowledged.setdefault(key, (channel, frame))

    def sync(self) -> None:
        """Has the two agree: the gate refuses what is asked here, and hears guard before. Raises: EndedError."""
        try:
            self.ask(
                Ask.SIGN, operation="consolidate", network=simulated.NETWORK, transaction="",
                paths=[{"generation": 0, "index": 0}], items=[], approvals=[],
            )
        except AskRefused as fault:
            if fault.rule == "guard-agrees":
                raise

    # Time, and guard's listener.

    def pass_by(self, ms: int) -> None:
        super().pass_by(ms)
        self.shared.set(self.times.boot_ms, self.times.wall_ms)
        if self.is_signer_up:
            self.beat()

    def call(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Raises: EndedError if guard ends before it has answered."""
        body = json.dumps(document).encode()
        try:
            with socket.create_connection(("127.0.0.1", self.officers_port), PATIENCE_S) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionError as fault:
            raise EndedError from fault
        if not answer:
            raise EndedError
        return int(answer.split(b" ", 2)[1]), json.loads(answer.partition(b"\r\n\r\n")[2])

    def beat(self) -> None:
        self.times.wall_ms += 1
        self.times.boot_ms += 1
        self.shared.set(self.times.boot_ms, self.times.wall_ms)
        raw = heartbeat_record(self.book.deployment, Instant(self.times.wall_ms))
        frame = sign_frame(self.keys.checkpoint, raw, HEARTBEAT_TYPE)
        status, answer = self.call("/v1/heartbeat", {"frame": b64encode(frame).decode()})
        if status != 200 and "enrolled" not in str(answer):
            raise BrokenError(f"guard doesn't take watch's heartbeat: {answer}")

    def instruct(self, action: Action, subject: str, *people: Any, epoch: int = 0) -> None:
        """Acknowledged by guard, or given again until it says that it has it. Raises: EndedError."""
        number = f"{next(self.numbers):064x}"
        expires = Instant(self.times.wall_ms + 600_000)
        record = write_negative(Negative(action, expires, epoch, subject, ORGANISATION, number))
        given = ByPeople(record, tuple(each.asserts(record, NEGATIVE_TYPE) for each in people))
        document = {"organisation": ORGANISATION, **given_document(given)}
        status, answer = self.call("/v1/negatives", document)
        if status == 202:
            self.instructions.append(record)
        elif status != 409:
            raise BrokenError(f"guard doesn't take an instruction: {answer}")

    # What must be true.

    def look(self) -> None:
        """After an end and a new beginning, when the two have agreed. Raises: BrokenError."""
        self.check_no_fault()
        self.recount.look()
        if self.own.file.stat().st_size < self.own.end:
            self.own = Chain(self.own.file)
        self.own.read()
        copy = self.recount.copy
        if self.own.heads[-1] != copy.heads[-1]:
            raise BrokenError(f"signer has {len(self.own.entries)} entries, guard {len(copy.entries)}, and they differ")
        missing = self.acknowledged.keys() - self.recount.kept
        if missing:
            raise BrokenError(f"was acknowledged and is nowhere: {sorted(missing)[:3]}")
        control = (self.place / "store" / "control").read_bytes() if self.instructions else b""
        for record in self.instructions:
            if b64encode(record) not in control:
                raise BrokenError("guard said that it keeps an instruction, and doesn't")
        dead = {name for kind, name in self.acknowledged if kind == "dead"}
        both = dead & self.recount.attempts.keys()
        if both:
            raise BrokenError(f"has a receipt and was signed: {both}")

    def again(self) -> None:
        """The engine asks the last thing again, which it may not have heard of."""
        if self.last is not None:
            with suppress(AskRefused):
                self.send(*self.last)
            self.last = None

    def restore_signer(self, saved: bytes) -> None:
        """The signer's disk as it was; what only it had been told is asked again, as an engine does. Signer is down."""
        (self.folder / "journal").write_bytes(saved)
        self.own = Chain(self.own.file)

    # What the engine builds.

    def plan(
        self, outputs: Sequence[tuple[str, int]], coins: Sequence[tuple[simulated.Input, int]], fee: int
    ) -> bytes:
        change_next = self.ask(Ask.ADDRESSES, network=simulated.NETWORK, first=0, generation=0, count=1)["change_next"]
        rest = sum(coin.amount for coin, _ in coins) - sum(amount for _, amount in outputs) - fee
        if rest < simulated.DUST_MINOR:
            raise AskRefused("not asked", "the coins don't pay for it")
        made = [simulated.Output(amount, address) for address, amount in outputs]
        made.append(simulated.Output(rest, self.wallet.address(ORGANISATION, 0, change_next)))
        self.planned_change = change_next
        return simulated.encode_unsigned(simulated.Transaction(tuple(coin for coin, _ in coins), tuple(made)))

    def signing(
        self, raw: bytes, operation: str, payouts: Sequence[Payout], coins: Sequence[tuple[simulated.Input, int]],
        approvals: Sequence[dict[str, JsonValue]] = (),
    ) -> dict[str, Any]:
        items: list[JsonValue] = [each.item or {"payout": each.id} for each in payouts]
        return {
            "operation": operation, "network": simulated.NETWORK, "transaction": b64encode(raw).decode(),
            "paths": [{"generation": 0, "index": index} for _, index in coins], "items": items,
            "approvals": list(approvals),
        }
