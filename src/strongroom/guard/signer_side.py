"""The signer's listener: frames from `link`, one at a time, each answered or its connection closed.

A frame is its length in four bytes, big-endian, and as many bytes. One connection for each peer: a new one ends the
old, which may be dead without our having heard of it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from strongroom.domain.document import DocumentError
from strongroom.protocol.guard_wire import FRAME_MAXIMUM
from strongroom.protocol.journal_chain import EntryError

LOG: Final = logging.getLogger("strongroom.guard")
IDLE_S: Final = 300
FRAME_S: Final = 10
_LENGTH: Final = 4


class SignerSide:
    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._open: dict[str, asyncio.StreamWriter] = {}

    async def serve(self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Raises: OSError if it breaks; JournalError if the disk does."""
        if peer in self._open:
            self._open[peer].close()
        self._open[peer] = writer
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    length = int.from_bytes(await reader.readexactly(_LENGTH))
                if not 1 <= length <= FRAME_MAXIMUM:
                    raise DocumentError("", f"a frame of {length} bytes")
                async with asyncio.timeout(FRAME_S):
                    answer = self._answer(await reader.readexactly(length))
                    writer.write(len(answer).to_bytes(_LENGTH) + answer)
                    await writer.drain()
        except (DocumentError, EntryError, EOFError, TimeoutError) as fault:
            LOG.warning("the connection from %s ends: %s", peer, fault)
        finally:
            if self._open.get(peer) is writer:
                del self._open[peer]
