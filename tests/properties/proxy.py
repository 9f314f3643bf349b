"""A TCP proxy on loopback that cuts connections at a chosen message: before it arrives, after it, or before its answer.

The important one is the cut after the request and before the answer: the request is carried out, and nobody is told.
"""

import asyncio
from enum import StrEnum

CHUNK = 65_536


class Cut(StrEnum):
    BEFORE_REQUEST = "before the request"
    AFTER_REQUEST = "after the request"
    BEFORE_ANSWER = "before the answer"


class Proxy:
    """Forwards to a port of this machine. `cut_at` arms it for one cut; made by `start`, ended by `stop`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._armed: tuple[Cut, int] | None = None
        self.cuts = 0

    async def start(self) -> int:
        """The port to connect to."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_at(self, where: Cut, message: int) -> None:
        """Cut once, at the message of this number from now on."""
        self._armed = (where, message)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, is_request=True), self._pump(far_reader, writer, is_request=False)
            )
        finally:
            for each in (writer, far_writer):
                each.transport.abort()
                self._open.discard(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        try:
            while data := await reader.read(CHUNK):
                reached = self._reached(is_request=is_request)
                if reached is not Cut.BEFORE_REQUEST and reached is not Cut.BEFORE_ANSWER:
                    writer.write(data)
                    await writer.drain()
                if reached is not None:
                    self.cuts += 1
                    if reached is Cut.AFTER_REQUEST:
                        await asyncio.sleep(0.005)  # it has left, and the answer is on its way or not
                    self._cut()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    def _reached(self, *, is_request: bool) -> Cut | None:
        """The cut to make now, if its message is there."""
        if self._armed is None:
            return None
        where, left = self._armed
        if is_request is (where is Cut.BEFORE_ANSWER):
            return None
        self._armed = (where, left - 1) if left > 1 else None
        return where if left <= 1 else None
