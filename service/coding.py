"""Content codings (RFC 9110, 8.4 and 12.5.3): choosing one by Accept-Encoding, and compressing responses.

Our own, since Litestar's compression middleware ignores qualities, such as `br;q=0`.
"""

import gzip
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import brotli

from service.asgi import Message, Send
from service.weights import weighted

# A smaller response fits into one packet anyway.
COMPRESS_FROM_BYTES = 1024
# longer headers are not cached, so that a client cannot fill the memory with them
CACHED_BYTES = 256


class Coding(NamedTuple):
    """A content coding, and the smallest body that is encoded with it."""

    name: str
    """The value of Content-Encoding; empty for none."""
    from_bytes: int

    def name_for(self, size: int) -> str:
        """The coding of a response with a body of `size` bytes; empty for none."""
        return self.name if size >= self.from_bytes else ""


IDENTITY = Coding("", 0)


def _brotli(body: bytes) -> bytes:
    # most responses are smaller than this window of 64 KiB; the default of 4 MiB is allocated for each response
    return bytes(brotli.compress(body, quality=4, lgwin=16))


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


# the best first
ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {"br": _brotli, "gzip": _gzip}


def coding_of(accept_encoding: bytes) -> Coding:
    """The best coding for an Accept-Encoding header."""
    if not accept_encoding:
        return IDENTITY
    return _cached(accept_encoding) if len(accept_encoding) <= CACHED_BYTES else _choose(accept_encoding)


def _choose(accept_encoding: bytes) -> Coding:
    qualities = weighted(accept_encoding)
    # x-gzip is an old name of gzip (RFC 9110, 8.4.1.3)
    if "x-gzip" in qualities:
        qualities.setdefault("gzip", qualities["x-gzip"])
    others = qualities.get("*", 0.0)
    # identity is acceptable unless it is excluded (`identity;q=0`, `*;q=0`); then even the shortest body is encoded
    identity = qualities.get("identity", others if "*" in qualities else None)
    best = max(ENCODERS, key=lambda name: qualities.get(name, others))
    quality = qualities.get(best, others)
    if quality == 0 or (identity is not None and "identity" in qualities and identity > quality):
        return IDENTITY
    return Coding(best, 1 if identity == 0 else COMPRESS_FROM_BYTES)


_cached = lru_cache(1000)(_choose)


def encoding(send: Send, coding: Coding) -> Send:
    """`send` that encodes a response whose body is sent in one piece and is long enough."""
    start: Message | None = None
    is_short = False

    # for speed: most responses are too short by their Content-Length, and need no coroutine for each message
    def send_short_or_encoded(message: Message) -> Awaitable[None]:
        nonlocal is_short
        if message["type"] == "http.response.start":
            is_short = _is_short(message, coding.from_bytes)
        return send(message) if is_short else send_encoded(message)

    async def send_encoded(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        if start is not None:
            head, start = start, None
            body = message.get("body", b"")
            if not message.get("more_body") and len(body) >= coding.from_bytes and not _is_encoded(head):
                body = ENCODERS[coding.name](body)
                message = {**message, "body": body}
                head["headers"] = [
                    *(pair for pair in head["headers"] if pair[0] != b"content-length"),
                    (b"content-encoding", coding.name.encode()),
                    (b"content-length", b"%d" % len(body)),
                ]
            await send(head)
        await send(message)

    return send_short_or_encoded


def _is_short(head: Message, from_bytes: int) -> bool:
    for name, value in head["headers"]:
        if name == b"content-length":
            return int(value) < from_bytes
    return False


def _is_encoded(head: Message) -> bool:
    return any(name == b"content-encoding" for name, _ in head["headers"])
