"""A todo service of a few lines: it answers at once, and can be told to stall or to fail."""

import asyncio
import json
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self
from uuid import uuid4


class TodoStub:
    """Listens on a free port of 127.0.0.1. `stall_at` is the number of the request during which all stands still."""

    def __init__(self, stall_at: int = -1, stall_seconds: float = 1.0, fail_every: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self.peers: Counter[str] = Counter()
        self.requests: list[tuple[str, str, bytes]] = []
        self._stall_at = stall_at
        self._stall_seconds = stall_seconds
        self._fail_every = fail_every
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def tasks_created(self) -> int:
        return self.counts["POST"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(self._answer(method, path, body, writer.get_extra_info("peername")[0]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, method: str, path: str, body: bytes, peer: str) -> bytes:
        if path.startswith("/health"):
            return _response("200 OK", b"{}")
        number = sum(self.counts.values())
        self.counts[method] += 1
        self.peers[peer] += 1
        self.requests.append((method, path, body))
        if number == self._stall_at:
            time.sleep(self._stall_seconds)
        if self._fail_every and number % self._fail_every == 0 and method != "POST":
            return _response("503 Service Unavailable", b"{}")
        if method == "POST":
            return _response("201 Created", json.dumps({}).encode(), f'location: /tasks/{uuid4()}\r\netag: "1"\r\n')
        if method == "DELETE":
            return _response("204 No Content", b"")
        return _response("200 OK", b"{}", 'etag: "1"\r\n')


def _response(status: str, body: bytes, headers: str = "") -> bytes:
    length = "" if status.startswith("204") else f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body
