"""Bitcoin Core's JSON-RPC: one question, one answer of a known form, within a time and a size.

Amounts come as decimal numbers of bitcoin and are read exactly; no float ever stands in between. The password is the
cookie that the node writes at each start, so it is read anew for each question.
"""

import asyncio
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from strongroom.rails import port
from strongroom.rails.port import RailError

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
SATOSHI: Final = 100_000_000
ANSWER_BYTES_MAXIMUM: Final = 16 * 1_024 * 1_024
"""A block of four million bytes, in hex, and its frame."""

Kind = TypeVar("Kind")


class Refused(Exception):
    """The node understood the question, and says no: `code` as in Bitcoin Core's src/rpc/protocol.h."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Fault(msgspec.Struct):
    code: int
    message: str


class _Envelope(msgspec.Struct, Generic[Kind]):
    result: Kind | None = None
    error: _Fault | None = None


def satoshi(amount: Decimal) -> int:
    """Raises: RailError for what isn't whole, or is below zero."""
    whole = int(amount * SATOSHI)
    if whole < 0 or Decimal(whole) != amount * SATOSHI:
        raise RailError(f"the node names an amount that is none: {amount}")
    return whole


class Rpc:
    """One node. `url` is https, or http on this machine; of an open event loop."""

    def __init__(self, url: str, cookie_file: Path, answer_timeout_s: float) -> None:
        """Raises: RailError when the URL would send the password in the clear."""
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if not is_safe or parts.path.strip("/") or parts.query:
            raise RailError("a Bitcoin node must be at https://HOST:PORT, or at http:// on this machine")
        self._cookie_file = cookie_file
        self._answer_timeout_s = answer_timeout_s
        timeout = httpx.Timeout(None, connect=port.CONNECT_TIMEOUT_S)
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, follow_redirects=False)

    async def call(
        self, kind: type[Kind], method: str, *parameters: object, wallet: str = "", timeout_s: float | None = None
    ) -> Kind:
        """Raises: Refused when the node says no; RailError when nothing is known."""
        result = await self.find(kind, method, *parameters, wallet=wallet, timeout_s=timeout_s)
        if result is None:
            raise RailError(f"{method}: the answer has neither a result nor an error")
        return result

    async def find(
        self, kind: type[Kind], method: str, *parameters: object, wallet: str = "", timeout_s: float | None = None
    ) -> Kind | None:
        """As `call`, where the answer may be null."""
        raw = await self._send(method, parameters, wallet, timeout_s or self._answer_timeout_s)
        try:
            form = _Envelope[kind]  # type: ignore[valid-type]  # a type that is made when it runs
            answer: _Envelope[Kind] = msgspec.json.decode(raw, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise RailError(f"{method}: the answer can't be read: {fault}") from fault
        if answer.error is not None:
            raise Refused(answer.error.code, answer.error.message[: port.REASON_MAXIMUM])
        return answer.result

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, parameters: tuple[object, ...], wallet: str, timeout_s: float) -> bytes:
        question = msgspec.json.encode({"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters})
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        path = f"/wallet/{wallet}" if wallet else "/"
        try:
            name, _, password = self._cookie_file.read_text().strip().partition(":")
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream(
                    "POST", path, content=question, headers=headers, auth=(name, password)
                ) as answer,
            ):
                raw = bytearray()
                async for part in answer.aiter_raw():
                    raw += part
                    if len(raw) > ANSWER_BYTES_MAXIMUM:
                        raise RailError(f"{method}: the answer is longer than {ANSWER_BYTES_MAXIMUM} bytes")
        except OSError as fault:  # the cookie's file, and TimeoutError
            why = f"no answer within {timeout_s} s" if isinstance(fault, TimeoutError) else str(fault)
            raise RailError(f"{method}: {why}") from fault
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise RailError(f"{method}: {type(fault).__name__}") from fault
        if answer.status_code not in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_FOUND):
            raise RailError(f"{method}: answered {answer.status_code}")
        return bytes(raw)
