"""Static files are loaded and encoded once for each content coding, outside the event loop's thread."""

import asyncio
import gzip
import threading
from typing import Any

from service.assets import Asset
from service.coding import coding_of
from service.requests import CODING


async def test_concurrent_requests_for_a_file_compress_it_once_in_a_thread() -> None:
    threads: list[int] = []

    def load() -> bytes:
        threads.append(threading.get_ident())
        return b"text " * 1000

    asset = Asset("text/plain", load)
    bodies: list[bytes] = []

    async def ask(accepted: bytes) -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                bodies.append(message["body"])

        async def receive() -> Any:
            raise AssertionError("no Accept-Encoding")

        scope: Any = {"headers": [], CODING: coding_of(accepted)}
        await asset(scope, receive, send)

    await asyncio.gather(*(ask(b"gzip") for _ in range(10)))
    await asyncio.gather(*(ask(b"gzip") for _ in range(10)))
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    assert {gzip.decompress(body) for body in bodies} == {b"text " * 1000}
    await ask(b"br")
    assert len(threads) == 2
