"""Guard's host, taken over: its key and its store in the attacker's hands, a process of its own on guard's port.

It says yes to whatever the signer offers. `shown` is how much of its control log it admits to, `journal` the head that
it says it has, `replays` gives the last answer again. The signer comes to it through the real link.
"""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from nacl.signing import SigningKey
from tests.adversary.firm import Firm, negative, now
from tests.adversary.ground import Ground

from strongroom.protocol import guard_wire
from strongroom.protocol.control import ByPeople, Control, write_control
from strongroom.protocol.guard_wire import Head, Lease, Reason, SyncAnswer
from strongroom.protocol.journal_chain import EMPTY_HEAD, head_after
from strongroom.protocol.negative import NEGATIVE_TYPE, Action

POLL_S = 0.2


class Liar:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._key = SigningKey(bytes.fromhex((ground.data / "guard" / "guard.key").read_text().strip()))
        self.control = entries_of(ground.data / "guard" / "store" / "control")
        self.shown: int | None = None
        self.journal: Head | None = None
        self.replays = False
        self.answered = 0
        self._last = b""
        self._is_over = threading.Event()

    def instruct(self, firm: Firm, action: Action, *logins: str, epoch: int) -> None:
        """Kept in its log without a look at who gave it."""
        record = negative(firm.id, action, "organisation", epoch)
        given = ByPeople(record, tuple(firm.passkey(login).asserts(record, NEGATIVE_TYPE) for login in logins))
        self.control.append(write_control(Control(now(), firm.id, given)))

    def answer(self, frame: bytes) -> bytes:
        self.answered += 1
        if self.replays:
            return self._last
        sync = guard_wire.parse_sync(frame[64:])
        control = self.control[: self.shown]
        said = Head(len(control), head_after(EMPTY_HEAD, control))
        journal = self.journal or sync.journal
        answer = SyncAnswer(
            sync.nonce, journal == sync.journal, journal, said, tuple(control[sync.control.length :]), Lease.ALL,
            guard_wire.LEASE_MAXIMUM_MS, now(), Reason.COSIGNED,
        )
        raw = guard_wire.encode_sync_answer(answer)
        self._last = guard_wire.sign_frame(self._key, raw, guard_wire.SYNC_ANSWER_TYPE)
        return self._last

    def __enter__(self) -> "Liar":
        self._ground.stop("guard")
        self._listener = socket.create_server(("127.0.0.1", self._ground.ports.guard_signer))
        self._listener.settimeout(POLL_S)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        self._listener.close()

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(POLL_S)
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        """Frame by frame, until the link hangs up or this is over."""
        raw = b""
        while not self._is_over.is_set():
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not part:
                return
            raw += part
            while len(raw) >= 4 and len(raw) >= 4 + int.from_bytes(raw[:4]):
                end = 4 + int.from_bytes(raw[:4])
                answer = self.answer(raw[4:end])
                raw = raw[end:]
                connection.sendall(len(answer).to_bytes(4) + answer)


def entries_of(file: Path) -> list[bytes]:
    """Of a journal's file: each entry between its length and its head."""
    raw, entries = file.read_bytes(), []
    while raw:
        length = int.from_bytes(raw[:4])
        entries.append(raw[4 : 4 + length])
        raw = raw[36 + length :]
    return entries


def head(found: dict[str, Any]) -> Head:
    """As guard's status says it."""
    return Head(found["length"], bytes.fromhex(found["head"]))
