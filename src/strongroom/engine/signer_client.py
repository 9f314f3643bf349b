"""Asks the signer, one frame at a time. What it says no to is a normal answer; no answer at all is another thing.

An answer that didn't come says nothing of whether something was signed: the same question is asked again, with the
same bytes, until it is answered.
"""

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import FRAME_MAXIMUM, Ask, RefusedAnswer

TIMEOUT_S: Final = 30
_LENGTH: Final = 4


class SignerUnreachableError(Exception):
    """No answer: whatever was asked may have been done, or not."""


class SignerClient:
    """One connection, made again when it breaks. Not for two questions at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, ask: Ask, body: Mapping[str, JsonValue]) -> JsonValue | RefusedAnswer:
        """Raises: SignerUnreachableError."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await self._connected()
                frame = write_ask(ask, body)
                writer.write(len(frame).to_bytes(_LENGTH) + frame)
                await writer.drain()
                length = int.from_bytes(await reader.readexactly(_LENGTH))
                if length > FRAME_MAXIMUM:
                    raise SignerUnreachableError(f"an answer of {length} bytes")
                return read_answer(await reader.readexactly(length))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, DocumentError) as fault:
            self.close()
            raise SignerUnreachableError(f"the signer doesn't answer: {fault}") from fault

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path, limit=2**20)
        return self._streams


def statement(answer: JsonValue, name: str) -> tuple[bytes, bytes]:
    """A record that the signer signed, and its signature. Raises: DocumentError."""
    fields = Fields(answer)
    return b64decode(fields.text(name, 2**20)), bytes.fromhex(fields.text("signature"))
