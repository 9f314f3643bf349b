"""A deployment for guard's tests: keys, people, clients, a signer that speaks guard's wire, and a guard to speak to.

The signer keeps a real chain of entries and signs with real keys; it decides nothing. `World.open` makes a guard in
this process over a real store, as `main` does; `tests.guard.process` runs it as a process.
"""

import itertools
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.people import NOW, ORGANISATION, Human, policy, roster

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.guard.config import Config
from strongroom.guard.control_log import ControlLog
from strongroom.guard.lease import Leases
from strongroom.guard.main import Guard
from strongroom.guard.witness import Witness
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.canonical import JsonValue, record_hash
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ALARM_TYPE, HEARTBEAT_TYPE, ByPeople, ByWatch, Control, read_control
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.genesis import FoundingOrganisation, Genesis, Mode, deployment_id
from strongroom.protocol.guard_wire import FetchAnswer, Sync, SyncAnswer
from strongroom.protocol.journal_chain import EMPTY_HEAD, Head, head_after
from strongroom.protocol.negative import Action, Negative, parse_negative
from strongroom.protocol.record_writer import write_genesis, write_negative, write_roster
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.standing import policy_hash
from strongroom.protocol.watch_record import alarm_record, heartbeat_record
from strongroom.protocol.webauthn import RelyingParty

_numbers = itertools.count(1)


def b64(raw: bytes) -> str:
    return b64encode(raw).decode()


class Signer:
    """A chain of entries, and the frames that offer it. `exchange` brings a frame to guard and its answer back."""

    def __init__(self, world: "World", exchange: Callable[[bytes], bytes]) -> None:
        self.world = world
        self.exchange = exchange
        self.entries: list[bytes] = []
        self.control = Head(0, EMPTY_HEAD)
        self.guard = 0
        """How many entries guard has, as this signer believes."""

    @property
    def head(self) -> Head:
        return self.head_at(len(self.entries))

    def head_at(self, length: int) -> Head:
        return Head(length, head_after(EMPTY_HEAD, self.entries[:length]))

    def write(self, kind: Kind, at: int = NOW, /, **body: JsonValue) -> bytes:
        self.entries.append(write_entry(kind, Reading(Instant(at), Instant(at), Instant(at)), body))
        return self.entries[-1]

    def found(self, *organisations: OrganisationId) -> None:
        """Genesis and organisations, as the ceremony writes them."""
        self.write(Kind.GENESIS, genesis=b64(self.world.genesis_record))
        for organisation in organisations or (ORGANISATION,):
            documents = policy(organisation), write_roster(roster(organisation))
            self.write(Kind.ORGANISATION, policy=b64(documents[0]), roster=b64(documents[1]))

    def spend(self, operation: str = "pay") -> str:
        transaction = secrets.token_hex(32)
        self.write(Kind.SPEND, organisation=ORGANISATION, transaction=transaction, operation=operation)
        return transaction

    def abandon(self, transaction: str) -> None:
        self.write(Kind.ABANDONED, organisation=ORGANISATION, transaction=transaction)

    def offer(self, first: int | None = None, **changes: Any) -> Sync:
        """All entries from `first` on, by default from what guard has."""
        journal = changes.get("journal", self.head)
        statement = wire.head_statement(self.world.deployment, journal)
        values: dict[str, Any] = {
            "nonce": secrets.token_bytes(32), "journal": journal,
            "entries": tuple(self.entries[self.guard if first is None else first :]), "control": self.control,
            "wants_spend": False,
            "head_signature": self.world.statement_key.sign(record_hash(wire.HEAD_TYPE, statement)).signature,
        }
        return Sync(**values | changes)

    def frame(self, sync: Sync) -> bytes:
        return wire.sign_frame(self.world.statement_key, wire.encode_sync(sync), wire.SYNC_TYPE)

    def sync(self, first: int | None = None, **changes: Any) -> SyncAnswer:
        sync = self.offer(first, **changes)
        answer = self.read(self.exchange(self.frame(sync)))
        if answer.nonce != sync.nonce:
            raise AssertionError("guard answered another question")
        if answer.is_cosigned:
            self.guard = answer.journal.length
        return answer

    def read(self, frame: bytes) -> SyncAnswer:
        raw = wire.open_frame(bytes(self.world.guard_key.verify_key), frame, wire.SYNC_ANSWER_TYPE)
        return wire.parse_sync_answer(raw)

    def fetch(self, first: int) -> FetchAnswer:
        raw = wire.encode_fetch(secrets.token_bytes(32), first)
        frame = self.exchange(wire.sign_frame(self.world.statement_key, raw, wire.FETCH_TYPE))
        public_key = bytes(self.world.guard_key.verify_key)
        return wire.parse_fetch_answer(wire.open_frame(public_key, frame, wire.FETCH_ANSWER_TYPE))

    def apply_control(self, answer: SyncAnswer, *, is_void: bool = False) -> None:
        """Journal what guard's log has that is new, as applied by people at guard's time, or as void."""
        for raw in answer.control_entries:
            body: dict[str, JsonValue] = {} if is_void else self.world.instruction(raw)
            self.write(Kind.CONTROL, entry=b64(raw), **body)
            self.control = Head(self.control.length + 1, head_after(self.control.head, [raw]))


@dataclass
class World:
    """Everything of one deployment below `folder`; `now` and `monotonic_ns` are the clocks of what `open` makes."""

    folder: Path
    now: Instant = NOW
    monotonic_ns: int = 0
    statement_key: SigningKey = field(default_factory=SigningKey.generate)
    guard_key: SigningKey = field(default_factory=SigningKey.generate)
    watch_key: SigningKey = field(default_factory=SigningKey.generate)
    organisations: tuple[OrganisationId, ...] = (ORGANISATION,)

    def __post_init__(self) -> None:
        founding = tuple(
            FoundingOrganisation(each, policy_hash(policy(each)), roster_hash(write_roster(roster(each))))
            for each in self.organisations
        )
        self.genesis = Genesis(
            Mode.SANDBOX, NOW, *(bytes(key.verify_key) for key in (self.watch_key, self.statement_key, self.guard_key)),
            RelyingParty(RELYING_PARTY_ID, frozenset({ORIGIN})), founding,
        )
        self.genesis_record = write_genesis(self.genesis)
        self.deployment = deployment_id(self.genesis_record)
        self.store.mkdir(parents=True, mode=0o700, exist_ok=True)
        (self.folder / "guard.key").write_text(bytes(self.guard_key).hex())

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def marker(self) -> Path:
        return self.folder / "marker"

    def config(self, **changes: Any) -> dict[str, Any]:
        return {
            "folder": str(self.store), "marker_file": str(self.marker), "key_file": str(self.folder / "guard.key"),
            "genesis_hash": record_hash("strongroom/genesis/v1", self.genesis_record).hex(),
            "signer_listen": "127.0.0.1:28000", "officers_listen": "127.0.0.1:28001",
        } | changes

    def write_config(self, **changes: Any) -> Path:
        file = self.folder / "guard.json"
        file.write_text(json.dumps(self.config(**changes)))
        return file

    def open(self, kind: type[Witness] = Witness) -> "OpenGuard":
        """A guard in this process, over what is on the disk."""
        return OpenGuard(self, kind)

    def negative(
        self, action: Action, target: str, *people: Human, expires: int | None = None, freeze_epoch: int = 0,
        organisation: OrganisationId = ORGANISATION, record_id: str | None = None, **wrong: Any,
    ) -> ByPeople:
        if record_id is None:
            record_id = f"{next(_numbers):064x}"
        expiry = Instant(self.now + 60_000 if expires is None else expires)
        record = write_negative(Negative(action, expiry, freeze_epoch, target, organisation, record_id))
        return ByPeople(record, tuple(each.asserts(record, **wrong) for each in people))

    def beat(self, at: int | None = None, key: SigningKey | None = None, deployment: str | None = None) -> bytes:
        record = heartbeat_record(deployment or self.deployment, Instant(self.now if at is None else at))
        return wire.sign_frame(key or self.watch_key, record, HEARTBEAT_TYPE)

    def alarm(
        self, name: str, at: int | None = None, key: SigningKey | None = None, deployment: str | None = None,
        organisation: OrganisationId = ORGANISATION,
    ) -> ByWatch:
        time = Instant(self.now if at is None else at)
        record = alarm_record(name, organisation, deployment or self.deployment, time)
        return ByWatch(wire.sign_frame(key or self.watch_key, record, ALARM_TYPE))

    @staticmethod
    def instruction(raw: bytes) -> dict[str, JsonValue]:
        """What a signer journals of an entry by people or watch that it applied."""
        control = read_control(raw)
        if isinstance(control.given, ByWatch):
            record = control.given.frame[64:]
            return {
                "action": "alarm", "expires_ms": 0, "object": json.loads(record)["name"],
                "organisation": control.organisation, "people": [],
                "record_id": record_hash(ALARM_TYPE, record).hex(),
            }
        if not isinstance(control.given, ByPeople):
            raise AssertionError("this signer journals only what people and watch said")
        negative = parse_negative(control.given.record)
        return {
            "action": negative.action.value, "expires_ms": negative.expires, "object": negative.object,
            "organisation": negative.organisation,
            "people": [[each.person] for each in control.given.assertions], "record_id": negative.record_id,
        }


class OpenGuard:
    """The parts of a guard in this process; its clocks are the world's."""

    def __init__(self, world: World, kind: type[Witness] = Witness) -> None:
        self.world = world
        self._is_open = True
        guard = Guard(Config(**world.config()), kind, lambda: world.now, lambda: world.monotonic_ns)
        self.log: ControlLog = guard.log
        self.leases: Leases = guard.leases
        self.eyes = guard.eyes
        self.cosigner = guard.cosigner
        self.witness: Witness = guard.witness

    def keep(self, given: ByPeople | ByWatch | ClientEvidence, organisation: OrganisationId = ORGANISATION) -> int:
        return self.log.keep(Control(self.world.now, organisation, given))

    def close(self) -> None:
        """As a kill would: nothing more is written."""
        if self._is_open:
            self.witness._journal.close()
            self.log._chain.close()
            os.close(self.witness._marker._file)
        self._is_open = False
