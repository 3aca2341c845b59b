"""Normalizes a request once, before all other layers.

So exemption from the rate limit, routing and metric labels all see the same path, and a list header has the same
meaning on one line or on several (RFC 9110, 5.3).
"""

import re
from collections.abc import Awaitable, Iterable
from functools import lru_cache

from litestar.utils import normalize_path

from service.asgi import App, Receive, Scope, Send
from service.coding import coding_of
from service.telemetry.request import TRACEPARENT

# keys of a request's ASGI scope
ACCEPT = "service.accept"
CODING = "service.coding"
IF_MATCH = "service.if_match"
FORWARDED_FOR = "service.forwarded_for"
REFUSAL = "service.refusal"
ELSEWHERE = "service.elsewhere"

LISTS = frozenset({b"accept", b"accept-encoding", b"if-match", b"if-none-match", b"upgrade", b"x-forwarded-for"})
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::([0-9]{0,5}))?")
HIGHEST_PORT = 65535
# longer values are not cached, so that a client cannot fill the memory with them
CACHED_BYTES = 256


def read(scope: Scope) -> None:
    """Normalizes the path, joins list headers, chooses the content coding, and marks a request that must be refused."""
    path: str = scope["path"]
    if not path.startswith("/") or (path.endswith("/") and path != "/") or "//" in path:
        scope["path"] = normalize_path(path)
    # for speed: most requests have no repeated headers, and a dict is enough
    found: dict[bytes, bytes] = dict(scope["headers"])
    hosts = 1 if b"host" in found else 0
    if len(found) != len(scope["headers"]):
        hosts = sum(name == b"host" for name, _ in scope["headers"])
        lists = _joined(scope["headers"])
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in LISTS] + list(lists.items())
        found |= lists
    refusal: tuple[int, str] | None = None
    if b"upgrade" in found and b"websocket" in found[b"upgrade"].lower():
        refusal = 404, "Not Found"
    elif hosts == 1 and not _is_host(found[b"host"]):
        refusal = 400, "the Host header names no host"
    if hosts != 1 and (hosts or scope["http_version"] == "1.1"):
        refusal = 400, "a request has one Host header"
    scope[ACCEPT] = found.get(b"accept", b"")
    scope[CODING] = coding_of(found.get(b"accept-encoding", b""))
    scope[IF_MATCH] = found.get(b"if-match")
    scope[FORWARDED_FOR] = found.get(b"x-forwarded-for", b"")
    scope[REFUSAL] = refusal
    scope[ELSEWHERE] = found.get(b"x-try-elsewhere", b"")
    scope[TRACEPARENT] = found.get(b"traceparent")


def reading(app: App) -> App:
    """`app` behind `read`."""

    # for speed: returns the app's coroutine instead of wrapping it in another
    def read_and_call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            read(scope)
        return app(scope, receive, send)

    return read_and_call


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The list headers, the lines of each joined."""
    lists: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in LISTS:
            lists[name] = b"%b, %b" % (lists[name], value) if name in lists else value
    return lists


def _is_host(value: bytes) -> bool:
    return _is_short_host(value) if len(value) <= CACHED_BYTES else False


@lru_cache(1000)
def _is_short_host(value: bytes) -> bool:
    found = HOST.fullmatch(value)
    return found is not None and (not found[1] or int(found[1]) <= HIGHEST_PORT)
