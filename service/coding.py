"""Content codings (RFC 9110, 8.4 and 12.5.3): the one that a client prefers, and answers encoded with it."""

import gzip
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import brotli

from service.asgi import Message, Send
from service.weights import weighted

# Below this an answer fits into one packet anyway.
COMPRESS_FROM_BYTES = 1024
# what is longer is parsed anew each time, lest a client fill the memory with it
CACHED_BYTES = 256


class Coding(NamedTuple):
    """A content coding, and the size from which answers are encoded with it."""

    name: str
    """As in Content-Encoding; empty for none."""
    from_bytes: int

    def name_for(self, size: int) -> str:
        """The coding of an answer with a body of `size` bytes; empty for none."""
        return self.name if size >= self.from_bytes else ""


IDENTITY = Coding("", 0)


def _brotli(body: bytes) -> bytes:
    # a window of 64 KiB holds any answer; the default's 4 MiB are asked for anew for each
    return bytes(brotli.compress(body, quality=4, lgwin=16))


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


# the best first
ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {"br": _brotli, "gzip": _gzip}


def coding_of(accept_encoding: bytes) -> Coding:
    """The coding for a client that sent this Accept-Encoding."""
    if not accept_encoding:
        return IDENTITY
    return _cached(accept_encoding) if len(accept_encoding) <= CACHED_BYTES else _choose(accept_encoding)


def _choose(accept_encoding: bytes) -> Coding:
    qualities = weighted(accept_encoding)
    # an old name of gzip (RFC 9110, 8.4.1.3)
    if "x-gzip" in qualities:
        qualities.setdefault("gzip", qualities["x-gzip"])
    others = qualities.get("*", 0.0)
    # identity is acceptable unless it is excluded, and then anything is better
    identity = qualities.get("identity", others if "*" in qualities else None)
    best = max(ENCODERS, key=lambda name: qualities.get(name, others))
    quality = qualities.get(best, others)
    if quality == 0 or (identity is not None and "identity" in qualities and identity > quality):
        return IDENTITY
    return Coding(best, 1 if identity == 0 else COMPRESS_FROM_BYTES)


_cached = lru_cache(1000)(_choose)


def encoding(send: Send, coding: Coding) -> Send:
    """`send` for answers that are to be encoded, where their body comes in one piece and is long enough."""
    start: Message | None = None
    is_short = False

    # for speed: most answers say that they are too short, and need no coroutine for each of their parts
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
