"""Between signer and guard: carries frames, and loses or delays one when it is told to.

A frame is its length in four bytes and as many bytes. One connection at a time, as the signer makes them.
"""

import socket
import threading
import time
from contextlib import suppress
from enum import StrEnum


class Fault(StrEnum):
    BEFORE_REQUEST = "the request doesn't arrive"
    IN_REQUEST = "half of the request arrives"
    BEFORE_ANSWER = "the request arrives, and its answer doesn't"
    IN_ANSWER = "half of the answer arrives"
    DELAYED_REQUEST = "the request comes late"
    DELAYED_ANSWER = "the answer comes late"
    AFTER_ANSWER = "the connection ends when all has arrived"


class Proxy:
    """`fail` makes the `after`th exchange from now on fail in this way; `failed` counts those that did."""

    def __init__(self, port: int, guard_port: int) -> None:
        self._guard_port = guard_port
        self._listener = socket.create_server(("127.0.0.1", port))
        self._fault: Fault | None = None
        self._left = 0
        self.failed: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self.is_ended = False
        self.delay_s = 0.05
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def fail(self, fault: Fault, after: int = 1) -> None:
        self._fault, self._left = fault, after

    def close(self) -> None:
        self.is_ended = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while not self.is_ended:
            with suppress(OSError):
                signer, _ = self._listener.accept()
                with signer, suppress(OSError, EOFError):
                    signer.settimeout(0.2)
                    with socket.create_connection(("127.0.0.1", self._guard_port), 10) as guard:
                        while self._carry(signer, guard):
                            pass

    def _carry(self, signer: socket.socket, guard: socket.socket) -> bool:
        """One exchange; whether the connection goes on. Raises: OSError, EOFError."""
        request = self._receive(signer)
        fault = self._next_fault()
        match fault:
            case Fault.BEFORE_REQUEST:
                return False
            case Fault.IN_REQUEST:
                guard.sendall(request[: len(request) // 2])
                return False
            case Fault.DELAYED_REQUEST:
                time.sleep(self.delay_s)
        guard.sendall(request)
        answer = self._receive(guard)
        match fault:
            case Fault.BEFORE_ANSWER:
                return False
            case Fault.IN_ANSWER:
                signer.sendall(answer[: len(answer) // 2])
                return False
            case Fault.DELAYED_ANSWER:
                time.sleep(self.delay_s)
        signer.sendall(answer)
        return fault is not Fault.AFTER_ANSWER

    def _next_fault(self) -> Fault | None:
        self._left = max(0, self._left - 1)
        if self._left or self._fault is None:
            return None
        fault, self._fault = self._fault, None
        self.failed[fault] += 1
        return fault

    def _receive(self, source: socket.socket) -> bytes:
        raw = bytearray()
        length = 4
        while len(raw) < length:
            try:
                part = source.recv(length - len(raw))
            except TimeoutError:
                if self.is_ended:
                    raise EOFError from None
                continue
            if not part:
                raise EOFError
            raw += part
            if len(raw) == 4:
                length += int.from_bytes(raw)
        return bytes(raw)
