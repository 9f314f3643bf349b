"""JSON-RPC of an EVM node: one question, one answer of a known form, within a time and a size.

A provider's URL may carry its key, so no message here says the URL. What a node says in its own words is kept for
people, shortened, and decides nothing.
"""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from strongroom.rails import port
from strongroom.rails.port import RailError

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANSWER_BYTES_MAXIMUM: Final = 32 * 1_024 * 1_024
"""A full block of 60 million gas with its receipts has some 5 MB of JSON."""

Kind = TypeVar("Kind")

Data = Annotated[str, msgspec.Meta(pattern="^0x([0-9a-fA-F]{2})*\\Z")]
Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{64}\\Z")]
Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}\\Z")]
Quantity = Annotated[str, msgspec.Meta(pattern="^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})\\Z")]
"""A number below 2^256 without leading zeros."""
Number = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{1,64}\\Z")]
"""One that some nodes write with them."""


class Refused(Exception):
    """The node understood the question, and says no. `data` is what a reverted call answered."""

    def __init__(self, code: int, reason: str, data: bytes = b"") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.data = data


class _Fault(msgspec.Struct):
    code: int
    message: str
    data: object = None


class _Envelope(msgspec.Struct, Generic[Kind]):
    jsonrpc: Literal["2.0"]
    id: Literal[1]
    result: Kind | msgspec.UnsetType | None = msgspec.UNSET
    error: _Fault | None = None


def number(quantity: str) -> int:
    return int(quantity, 16)


def raw_bytes(data: str) -> bytes:
    return bytes.fromhex(data[2:])


def shortened(text: str) -> str:
    """A node's own words, for people: printable, and not long."""
    kept = text[: port.REASON_MAXIMUM]
    return "".join(each if each.isprintable() else "?" for each in kept)


class Rpc:
    """One node. `url` is https, or http on this machine; of an open event loop."""

    def __init__(self, url: str, answer_timeout_s: float = port.ANSWER_TIMEOUT_S) -> None:
        """Raises: RailError when the URL isn't safe."""
        try:
            parts = urlsplit(url)
            is_here = parts.hostname in LOOPBACK and parts.port is not None
        except ValueError as fault:
            raise RailError("an EVM node's URL can't be read") from fault
        is_safe = (parts.scheme == "https" and parts.hostname) or (parts.scheme == "http" and is_here)
        if not is_safe or parts.username is not None or parts.password is not None or parts.fragment:
            raise RailError("an EVM node must be at https://HOST, or at http://127.0.0.1:PORT, and without a user")
        self._url = url
        self._answer_timeout_s = answer_timeout_s
        timeout = httpx.Timeout(None, connect=port.CONNECT_TIMEOUT_S)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False)

    async def call(self, kind: type[Kind], method: str, *parameters: object) -> Kind:
        """Raises: Refused when the node says no; RailError when nothing is known."""
        result = await self.find(kind, method, *parameters)
        if result is None:
            raise RailError(f"{method}: the answer is null")
        return result

    async def find(self, kind: type[Kind], method: str, *parameters: object) -> Kind | None:
        """As `call`, where the answer may be null."""
        raw = await self._send(method, parameters)
        try:
            form = _Envelope[kind]  # type: ignore[valid-type]  # a type that is made when it runs
            answer: _Envelope[Kind] = msgspec.json.decode(raw, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise RailError(f"{method}: the answer can't be read: {shortened(str(fault))}") from fault
        if answer.error is not None:
            raise Refused(answer.error.code, shortened(answer.error.message), _revert_data(answer.error.data))
        if answer.result is msgspec.UNSET:
            raise RailError(f"{method}: the answer has neither a result nor an error")
        return answer.result

    async def ask(self, kind: type[Kind], method: str, *parameters: object) -> Kind:
        """As `call`, where a no is as good as no answer. Raises: RailError."""
        try:
            return await self.call(kind, method, *parameters)
        except Refused as fault:
            raise RailError(f"{method}: {fault.reason}") from fault

    async def find_or_none(self, kind: type[Kind], method: str, *parameters: object) -> Kind | None:
        """As `find`, where a no is as good as no answer. Raises: RailError."""
        try:
            return await self.find(kind, method, *parameters)
        except Refused as fault:
            raise RailError(f"{method}: {fault.reason}") from fault

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, parameters: tuple[object, ...]) -> bytes:
        question = msgspec.json.encode({"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters})
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._answer_timeout_s),
                self._client.stream("POST", self._url, content=question, headers=headers) as answer,
            ):
                raw = bytearray()
                async for part in answer.aiter_raw():
                    raw += part
                    if len(raw) > ANSWER_BYTES_MAXIMUM:
                        raise RailError(f"{method}: the answer is longer than {ANSWER_BYTES_MAXIMUM} bytes")
        except TimeoutError as fault:
            raise RailError(f"{method}: no answer within {self._answer_timeout_s} s") from fault
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
            raise RailError(f"{method}: {type(fault).__name__}") from None  # its words may have the URL
        if answer.status_code != HTTPStatus.OK:
            raise RailError(f"{method}: answered {answer.status_code}")
        return bytes(raw)


def _revert_data(data: object) -> bytes:
    """Of a call that reverted, where the node gives it in this form."""
    try:
        return raw_bytes(msgspec.convert(data, Data))
    except msgspec.ValidationError:
        return b""
