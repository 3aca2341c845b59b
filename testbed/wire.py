"""A minimal HTTP client for tests that send thousands of requests, at a tenth of the cost of a client library."""

import asyncio
from types import TracebackType


class Wire:
    """One keep-alive connection. Every call raises ConnectionError or EOFError if the server closes it."""

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
        """Status and body of the response."""
        if body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        _, found, rest = head.partition(b"content-length:")
        return status, await self._reader.readexactly(int(rest.split(b"\r\n", 1)[0])) if found else b""
