"""Static files. Each is loaded and encoded once for each content coding, in a thread, and kept in memory."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from litestar.types import Receive, Scope, Send

from service.coding import ENCODERS, Coding
from service.entity_tags import entity_tag, is_current
from service.requests import CODING


class Encoded(NamedTuple):
    """A file in one content coding."""

    body: bytes
    tag: str
    headers: list[tuple[bytes, bytes]]


class Asset:
    """One file. `load` is called in a thread, for each content coding when a client first asks for it."""

    def __init__(self, content_type: str, load: Callable[[], bytes], *headers: tuple[bytes, bytes]) -> None:
        self._type = (b"content-type", content_type.encode())
        self._headers = [(b"cache-control", b"no-cache"), *headers]
        self._load = load
        self._encoded: dict[Coding, asyncio.Task[Encoded]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the file, or 304 if the client has it already."""
        coding: Coding = scope[CODING]  # type: ignore[literal-required]
        if coding not in self._encoded:
            self._encoded[coding] = asyncio.create_task(asyncio.to_thread(self._encode, coding))
        # a cancelled request must not cancel the work for the others
        found = await asyncio.shield(self._encoded[coding])
        body, status, headers = found.body, 200, found.headers
        condition = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        if condition is not None and is_current(condition.decode("latin-1"), found.tag):
            body, status = b"", 304
            headers = [
                pair for pair in headers if not pair[0].startswith((b"content-type", b"content-length", b"content-enc"))
            ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _encode(self, coding: Coding) -> Encoded:
        body = self._load()
        name = coding.name_for(len(body))
        tag = entity_tag(sha256(body).hexdigest()[:16], name)
        headers = [self._type, *self._headers, (b"etag", tag.encode())]
        if name:
            body = ENCODERS[name](body)
            headers.append((b"content-encoding", name.encode()))
        headers.append((b"content-length", b"%d" % len(body)))
        return Encoded(body, tag, headers)
