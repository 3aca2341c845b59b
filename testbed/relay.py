"""A TCP proxy between a replica and a server, which can cut the connection without affecting the server."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType


class Relay:
    """Forwards its port to another until it is cut: then it closes all connections and accepts none."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.asked = 0
        """How often data arrived from a client. Small data that is sent at once arrives at once."""

    def __enter__(self) -> "Relay":
        self._thread.start()
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Closes all connections, and refuses new ones."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    def restore(self) -> None:
        """Forwards again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._restore(), self._loop).result(5)

    async def _restore(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def _count(self) -> None:
        self.asked += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        both = {writer, far_writer}
        self._writers |= both
        await asyncio.gather(_pass_on(reader, far_writer, self._count), _pass_on(far_reader, writer, _nothing))
        self._writers -= both


def _nothing() -> None:
    """Data from the server is not counted."""


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, came: Callable[[], None]) -> None:
    try:
        while data := await reader.read(65536):
            came()
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
