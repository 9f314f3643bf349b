"""The officers' listener: instructions from people and clients; heartbeats, alarms and checkpoints from watch; what
guard sees for itself on a chain, and what stands.

HTTP/1.1 as narrow as it can be: one request for each connection, within `TIMEOUT_S`, with a body of at most
`BODY_MAXIMUM`. Whoever can reach it may try; only what is signed counts. 202 means: kept for the signer, and no more.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import parse_organisation_id
from strongroom.domain.instant import Instant
from strongroom.guard.control_log import ControlLog
from strongroom.guard.cosigner import Cosigner, StaleError
from strongroom.guard.eyes import Eyes
from strongroom.guard.lease import Leases
from strongroom.guard.witness import Witness
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.protocol.client_request import take_base64
from strongroom.protocol.control import Control, take_given
from strongroom.protocol.negative import InstructionError
from strongroom.protocol.webauthn import WebauthnError

LOG: Final = logging.getLogger("strongroom.guard")
BODY_MAXIMUM: Final = 64 * 2**10
HEAD_MAXIMUM: Final = 16 * 2**10
TIMEOUT_S: Final = 10
ADDRESSES_MAXIMUM: Final = 4_096
HURRIED_S: Final = 1
"""For a request above the limit."""
WATCHES: Final = ("/v1/heartbeat", "/v1/alarms")
"""Never throttled by what else comes from watch's address: to see that one of these isn't watch's costs little more
than to refuse it unread.
"""
_LINE: Final = re.compile(r"(GET|POST) (/[!-~]*) HTTP/1\.[01]")
_LENGTH: Final = re.compile("[0-9]{1,9}")
_Answer = Mapping[str, JsonValue]
_TITLES: Final = {
    400: "Malformed", 404: "Not found", 408: "Too slow", 409: "Refused", 413: "Too large", 422: "Invalid",
    429: "Too many requests", 503: "Not reconciled",
}


class ProblemError(Exception):
    """A refusal with its HTTP status."""

    def __init__(self, status: int, detail: str, field: str = "", **more: JsonValue) -> None:
        super().__init__(detail)
        self.status = status
        self.document: dict[str, JsonValue] = {
            "detail": detail, "field": field, "status": status, "title": _TITLES[status], "type": "about:blank", **more,
        }


class Limiter:
    """At most so many requests of one address in a second of the clock."""

    def __init__(self, per_second: int, clock: Callable[[], Instant]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._counts: dict[str, int] = {}

    def allows(self, address: str) -> bool:
        second = self._clock() // 1_000
        if second != self._second:
            self._second, self._counts = second, {}
        if address not in self._counts and len(self._counts) >= ADDRESSES_MAXIMUM:
            return False
        self._counts[address] = self._counts.get(address, 0) + 1
        return self._counts[address] <= self._per_second


class Officers:
    def __init__(
        self, witness: Witness, log: ControlLog, leases: Leases, eyes: Eyes, cosigner: Cosigner, limiter: Limiter,
        clock: Callable[[], Instant],
    ) -> None:
        self._witness, self._log, self._leases, self._eyes = witness, log, leases, eyes
        self._cosigner, self._limiter, self._clock = cosigner, limiter, clock

    async def serve(self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Raises: OSError if it breaks; JournalError if the disk does."""
        try:
            is_allowed = self._limiter.allows(peer)
            async with asyncio.timeout(TIMEOUT_S if is_allowed else HURRIED_S):
                method, path, body = await _read_request(reader)
                if not is_allowed and path not in WATCHES:
                    raise ProblemError(429, "too many requests from this address in this second")
                status, document = await self._answer(method, path, body)
        except TimeoutError:
            status, document = 408, ProblemError(408, f"the request took longer than {TIMEOUT_S} s").document
        except ProblemError as problem:
            status, document = problem.status, problem.document
        kind = "application/problem+json" if status >= 400 else "application/json"
        body, genesis = encode(document), self._log.standings.genesis
        # The station's page may read the answer, by the first of its origins; before there is a genesis, nobody's may.
        allowed = f"access-control-allow-origin: {min(genesis.relying_party.origins)}\r\n" if genesis else ""
        writer.write(
            f"HTTP/1.1 {status} {_TITLES.get(status, 'OK')}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"{allowed}cache-control: no-store\r\nconnection: close\r\n\r\n".encode() + body
        )
        async with asyncio.timeout(TIMEOUT_S):
            await _finish(reader, writer)

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, JsonValue]]:
        routes: dict[tuple[str, str], Callable[[Fields], _Answer | Awaitable[_Answer]]] = {
            ("POST", "/v1/negatives"): self._instruct, ("POST", "/v1/alarms"): self._instruct,
            ("POST", "/v1/heartbeat"): self._beat, ("GET", "/v1/status"): self._status,
            ("POST", "/v1/attestations"): self._eyes.attest, ("POST", "/v1/checkpoints"): self._cosign,
        }
        act = routes.get((method, path))
        if act is None:
            raise ProblemError(404, f"there is no {method} {path}")
        try:
            fields = Fields(parse_object(body) if method == "POST" else {})
            answer = act(fields)
            status = 202 if act == self._instruct else 200
            return status, answer if isinstance(answer, Mapping) else await answer
        except CanonicalError as fault:
            raise ProblemError(400, str(fault), fault.field) from fault
        except (DocumentError, WebauthnError) as fault:
            raise ProblemError(422, str(fault), fault.field) from fault
        except InstructionError as fault:
            raise ProblemError(409, f"the instruction {fault}") from fault
        except StaleError as fault:
            raise ProblemError(409, str(fault), size=fault.size) from fault

    def _instruct(self, fields: Fields) -> Mapping[str, JsonValue]:
        """Of people, clients or watch: each shows itself by what it signed."""
        control = Control(self._clock(), fields.parsed("organisation", parse_organisation_id), take_given(fields))
        fields.close()
        if self._witness.is_restored:
            raise ProblemError(503, "guard was restored, and lets nothing be paid until its operator has reconciled it")
        length = self._log.keep(control)
        LOG.info("kept instruction %d for %s", length, control.organisation)
        return {"control_length": length}

    def _beat(self, fields: Fields) -> Mapping[str, JsonValue]:
        frame = take_base64(fields.take("frame"), "frame")
        fields.close()
        self._leases.beat(frame, self._clock())
        return {"lease": self._witness.lease().value}

    def _cosign(self, fields: Fields) -> Mapping[str, JsonValue]:
        frame = take_base64(fields.take("frame"), "frame")
        fields.close()
        return {"cosignature": self._cosigner.cosign(frame)}

    def _status(self, _: Fields) -> Mapping[str, JsonValue]:
        journal, control, tree = self._witness.head, self._log.head, self._cosigner.tree
        organisations: dict[str, JsonValue] = {
            name: {
                "alarms": sorted(standing.alarms), "freeze_epoch": standing.freeze_epoch,
                "frozen": sorted(standing.frozen), "pending_changes": list(standing.pending),
                "vaults": {each.network: each.vault for each in standing.policy.wallets.values() if each.vault},
            } for name, standing in self._log.current.items()
        }
        return {
            "audit": {"is_contradicted": self._leases.is_contradicted(), "root": tree.head.hex(), "size": tree.length},
            "control": {"head": control.head.hex(), "length": control.length},
            "heartbeat_age_ms": self._leases.silence_ms(), "is_restored": self._witness.is_restored,
            "journal": {"head": journal.head.hex(), "length": journal.length}, "lease": self._witness.lease().value,
            "organisations": organisations,
        }


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A connection that is closed on unread bytes is reset, and takes our answer with it."""
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
        while await reader.read(HEAD_MAXIMUM):
            pass


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path and body. Raises: ProblemError."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        line, length = _LINE.fullmatch(first), headers.get("content-length", "0")
        if line is None or _LENGTH.fullmatch(length) is None or "transfer-encoding" in headers:
            raise ProblemError(400, "must be a GET or POST with a Content-Length")
        if int(length) > BODY_MAXIMUM:
            raise ProblemError(413, f"the body is longer than {BODY_MAXIMUM} bytes")
        return line[1], line[2], await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as fault:
        raise ProblemError(400, "the request ends too early") from fault
    except asyncio.LimitOverrunError as fault:
        raise ProblemError(413, f"the head is longer than {HEAD_MAXIMUM} bytes") from fault
