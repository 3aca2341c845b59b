"""A minimal todo service that answers immediately, and can be made to misbehave."""

import asyncio
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

FOREVER = 3600.0


@dataclass(frozen=True)
class Reply:
    """The bytes of a response, what happens to the connection after it, and by how long the response is delayed."""

    data: bytes
    closes: bool = False
    wait_seconds: float = 0.0
    trickle_seconds: float = 0.0


Misbehaviour = Callable[[int, str, bytes], Reply | None]
"""The number of a request after the prepared ones, its method, the right answer → the answer; None: the right one."""


class TodoStub:
    """Listens on a free port of 127.0.0.1.

    The whole server stalls during request number `stall_at`. The first `good` requests are answered correctly, whatever
    `misbehaves`; after them, a connection is closed once it was idle for `idle_seconds`.
    """

    def __init__(
        self,
        stall_at: int = -1,
        stall_seconds: float = 1.0,
        fail_every: int = 0,
        misbehaves: Misbehaviour | None = None,
        good: int = 0,
        idle_seconds: float = FOREVER,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.peers: Counter[str] = Counter()
        self.requests: list[tuple[str, str, bytes]] = []
        self.url = ""
        self._stall_at = stall_at
        self._stall_seconds = stall_seconds
        self._fail_every = fail_every
        self._misbehaves = misbehaves
        self._good = good
        self._idle_seconds = idle_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000), self._loop
        ).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _hang_up(self) -> None:
        mine = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in mine:
            each.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    @property
    def total(self) -> int:
        """All requests except health checks."""
        return sum(self.counts.values())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                idle_seconds = self._idle_seconds if self.total >= self._good else FOREVER
                head_bytes = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), idle_seconds)
                head = head_bytes.decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                reply = self._reply(method, path, body, writer.get_extra_info("peername")[0])
                await asyncio.sleep(reply.wait_seconds)
                pieces = [reply.data] if not reply.trickle_seconds else [bytes([each]) for each in reply.data]
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(reply.trickle_seconds)
                if reply.closes:
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError):
            pass
        writer.close()

    def _reply(self, method: str, path: str, body: bytes, peer: str) -> Reply:
        if path.startswith("/health"):
            return Reply(response("200 OK", b"{}"))
        number = self.total
        self.counts[method] += 1
        self.peers[peer] += 1
        self.requests.append((method, path, body))
        if number == self._stall_at:
            time.sleep(self._stall_seconds)
        right = self._right(number, method, path, body)
        if self._misbehaves and number >= self._good:
            return self._misbehaves(number - self._good, method, right) or Reply(right)
        return Reply(right)

    def _right(self, number: int, method: str, path: str, body: bytes) -> bytes:
        if self._fail_every and number % self._fail_every == 0 and method != "POST":
            return response("503 Service Unavailable", b"{}")
        if method == "DELETE":
            return response("204 No Content", b"")
        if method == "GET" and not path.startswith("/tasks/"):
            return response("200 OK", b'{"items":[],"next":null}')
        text = json.loads(body)["task"] if body and path.startswith("/tasks") else "water plants"
        task_id = str(uuid4()) if method == "POST" else path.rsplit("/", 1)[-1]
        task = json.dumps({"id": task_id, "task": text}).encode()
        if method == "POST":
            return response("201 Created", task, f'location: /tasks/{task_id}\r\netag: "1"\r\n')
        return response("200 OK", task, 'etag: "1"\r\n')


def response(status: str, body: bytes, headers: str = "") -> bytes:
    """An HTTP response."""
    length = "" if status.startswith("204") else f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body


def head_of(right: bytes) -> bytes:
    """Status line and headers of a response, without Content-Length."""
    lines = right.split(b"\r\n\r\n")[0].split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"content-length"))


def with_body(right: bytes, body: bytes, headers: bytes = b"") -> bytes:
    """A response with another body."""
    return head_of(right) + b"\r\n" + headers + b"content-length: %d\r\n\r\n" % len(body) + body


def body_of(right: bytes) -> bytes:
    """The body of a response."""
    return right.split(b"\r\n\r\n", 1)[1]


def gzipped(right: bytes, cut: int = 0) -> bytes:
    """A response whose body is compressed, with its last `cut` bytes missing."""
    body = gzip.compress(body_of(right))
    return with_body(right, body[: len(body) - cut], b"content-encoding: gzip\r\n")
