"""Signer, link and guard as the three processes that they are, by the machine's clocks; this side holds the engine's
seat, watch's key and everybody else's.

Nothing of them is changed unless a control asks for a patched copy: the signer meets guard through link, is locked
down, and has the production gate. A journal is read from its file, so that looking asks the signer nothing.
"""

import json
import os
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from nacl.signing import SigningKey
from tests.adversary.build import Patch, environment, patched
from tests.guard.process import Process, eventually, given_document
from tests.ports import PortBlock, port_block
from tests.signer.test_hardening import unmeasured
from tests.signer.test_locked_signer import LINK, LockedWorld
from tests.signer.world import (
    ORGANISATION,
    PAY_KEY,
    Human,
    payee,
    policy_document,
    roster,
)

from strongroom.domain.ids import ClientId, KeyId
from strongroom.domain.instant import Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ALARM_TYPE, HEARTBEAT_TYPE, ByPeople
from strongroom.protocol.genesis import GENESIS_TYPE
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.roster import RosterClient, RosterKey
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.watch_record import alarm_record, heartbeat_record

TREASURY = payee("treasury")
COOLING_MS = 100
DELAY_MS = 1_000
HEARTBEAT_S = 0.5
PATIENCE_S = 20
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""In memory: what is measured is what the three do, and a sync of a real disk comes on top, four for an instruction."""
REVOCABLE = 48
KEYS_OF_EACH = 16


def revocable(number: int) -> tuple[ClientId, KeyId, SigningKey]:
    """A client's key that is there to be revoked."""
    letters = chr(97 + number // KEYS_OF_EACH) + chr(97 + number % KEYS_OF_EACH)
    return ClientId("cl_" + letters[0] * 26), KeyId("ak_" + letters * 13), SigningKey(bytes([number + 32]) * 32)


def many_keys() -> Any:
    clients: dict[ClientId, list[RosterKey]] = {}
    for number in range(REVOCABLE):
        client, name, key = revocable(number)
        clients.setdefault(client, []).append(
            RosterKey(name, bytes(key.verify_key), (Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL))
        )
    known = roster()
    return replace(known, clients=(*known.clients, *(RosterClient(name, tuple(keys), ())
                                                     for name, keys in clients.items())))


class Trio(LockedWorld):
    """`source` is a patched copy, which signer and guard then run from; `changes` are to the policy."""

    def __init__(self, folder: Path, ports: PortBlock, source: Path | None, changes: Mapping[str, Any]) -> None:
        wallets = [{**policy_document()["wallets"][0], "treasury": TREASURY}]
        policy = policy_document(
            cooling_off_ms=dict.fromkeys(("declared", "payee_verified", "allowlisted"), COOLING_MS), wallets=wallets,
            sweep_fee_budget_reference_minor="1000000", governance={"group": "officers", "delay_ms": DELAY_MS}, risk={
                "above_reference_minor": "25000", "young_for_ms": COOLING_MS}, **changes,
        )
        super().__init__(folder / "signer", policy, many_keys(), began=time.time_ns() // 1_000_000)
        self.source, self.base = source, folder
        self.signer_port, self.officers_port = ports.take(), ports.take()
        if source is not None:
            self.interpreter = self.interpreter[:1]
        (folder / "store").mkdir(mode=0o700)
        (folder / "guard.key").write_text(bytes(self.keys.guard).hex())
        self.officers = httpx.Client(
            base_url=f"http://127.0.0.1:{self.officers_port}", timeout=PATIENCE_S, trust_env=False
        )
        self._is_watched, self._over = threading.Event(), threading.Event()
        self._watch = threading.Thread(target=self._beat_on, daemon=True)

    def environment(self) -> dict[str, str]:
        plain = unmeasured()
        return plain if self.source is None else {**plain, **environment(self.source)}

    # The processes.

    def begin(self, *, is_watched: bool = True) -> None:
        self.found()
        self.begin_guard()
        self.start()
        if is_watched:
            self._is_watched.set()
        self._watch.start()
        self.ask(Ask.STATUS)
        if is_watched:
            assert eventually(lambda: self.ask(Ask.STATUS)["lease"] == "all")

    def begin_guard(self) -> None:
        file = self.base / "guard.json"
        file.write_text(json.dumps({
            "folder": str(self.base / "store"), "marker_file": str(self.base / "marker"),
            "key_file": str(self.base / "guard.key"), "genesis_hash": record_hash(GENESIS_TYPE, self.genesis).hex(),
            "signer_listen": f"127.0.0.1:{self.signer_port}", "officers_listen": f"127.0.0.1:{self.officers_port}",
            "requests_per_second": 10_000,
        }))
        self.guard_process = Process("strongroom.guard.main", file, environment=self.environment())
        assert eventually(lambda: "guard listens" in self.guard_process.log[self.guard_process.started :]), (
            self.guard_process.log)

    def connect_guard(self) -> None:
        self.begin_link()

    def begin_link(self) -> None:
        file = self.base / "link.json"
        file.write_text(json.dumps({
            "signer_socket": str(self.base / LINK), "guard_host": "127.0.0.1", "guard_port": self.signer_port,
        }))
        self.link_process = Process("strongroom.link.main", file, environment=self.environment())

    def end(self) -> None:
        self._over.set()
        self._watch.join(PATIENCE_S)
        super().end()
        for each in (self.link_process, self.guard_process):
            each.kill()
        self.officers.close()

    # Watch.

    def fall_silent(self) -> None:
        self._is_watched.clear()

    def _beat_on(self) -> None:
        while not self._over.is_set():
            if self._is_watched.is_set():
                raw = heartbeat_record(self.book.deployment, Instant(self.times.wall_ms))
                frame = sign_frame(self.keys.checkpoint, raw, HEARTBEAT_TYPE)
                with suppress(httpx.HTTPError):  # guard may be down; watch goes on
                    httpx.post(f"{self.officers.base_url}/v1/heartbeat", json={"frame": b64encode(frame).decode()},
                               trust_env=False)
            self._over.wait(HEARTBEAT_S)

    def alarm(self, name: str) -> None:
        record = alarm_record(name, ORGANISATION, self.book.deployment, Instant(self.times.wall_ms))
        frame = sign_frame(self.keys.checkpoint, record, ALARM_TYPE)
        self.give("/v1/alarms", {"frame": b64encode(frame).decode()})

    # Guard's listener.

    def give(self, path: str, document: Mapping[str, JsonValue]) -> None:
        answer = self.officers.post(path, json={"organisation": ORGANISATION, **document})
        assert answer.status_code == 202, answer.text

    def negative(self, action: Action, subject: str, *people: Human, epoch: int = 0) -> dict[str, Any]:
        """The document of an instruction, not given yet."""
        expires = Instant(self.times.wall_ms + 600_000)
        record = write_negative(Negative(action, expires, epoch, subject, ORGANISATION, f"{next(self.numbers):064x}"))
        return given_document(ByPeople(record, tuple(each.asserts(record, NEGATIVE_TYPE) for each in people)))

    def instruct(self, action: Action, subject: str, *people: Human, epoch: int = 0) -> None:
        self.give("/v1/negatives", self.negative(action, subject, *people, epoch=epoch))

    # The signer's journal, and clients.

    @property
    def written(self) -> int:
        return (self.folder / "journal").stat().st_size

    def entries_after(self, size: int) -> bytes:
        with (self.folder / "journal").open("rb") as handle:
            handle.seek(size)
            return handle.read()

    def asked_with(self, key: SigningKey, name: KeyId, to: Any, minor: int) -> ClientEvidence:
        body = self.payout_body(to, minor)
        return self.request("/v1/payouts", body, f"payout-{next(self.numbers)}", key, name)

    def asked(self, to: Any, minor: int, number: int | None = None) -> str:
        """A payout, of the client's own key or of one that can be revoked; its id."""
        key, name = self.keys.payer, PAY_KEY
        if number is not None:
            _, name, key = revocable(number)
        evidence = self.asked_with(key, name, to, minor)
        (row,) = self.ask(Ask.INTENTS, evidence=[evidence.document()])
        return str(row["payout"])


@contextmanager
def trio(*patches: Patch, is_watched: bool = True, **changes: Any) -> Iterator[Trio]:
    """`is_watched`: whether watch's heartbeat comes. `changes` are to the policy."""
    with tempfile.TemporaryDirectory(prefix="sr", dir=FOLDER) as name, port_block() as ports:
        (Path(name) / "signer").mkdir(mode=0o700)
        source = patched(Path(name), *patches) if patches else None
        made = Trio(Path(name), ports, source, changes)
        try:
            made.begin(is_watched=is_watched)
            yield made
        finally:
            made.end()
