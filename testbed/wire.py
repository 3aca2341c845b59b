"""HTTP by hand, for tests that send thousands of requests: a tenth of what a client library costs."""

import asyncio
from types import TracebackType


class Wire:
    """One kept connection. Every call raises ConnectionError or EOFError where the server goes away."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Wire":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def send(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        if body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        _, found, rest = head.partition(b"content-length:")
        return status, await self._reader.readexactly(int(rest.split(b"\r\n", 1)[0])) if found else b""
