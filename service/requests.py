"""What every layer knows of a request, read once from its path and headers.

Exemption, routing and labels then follow one rule: all of them see the path as it is routed, and a header that is a
list counts as one however many lines it came on (RFC 9110, 5.3).
"""

import re
from collections.abc import Awaitable
from functools import lru_cache

from litestar.utils import normalize_path

from service.asgi import App, Receive, Scope, Send
from service.coding import coding_of

# keys of a request's ASGI scope
CODING = "service.coding"
FORWARDED_FOR = "service.forwarded_for"
REFUSAL = "service.refusal"
ELSEWHERE = "service.elsewhere"

LISTS = frozenset({b"accept", b"accept-encoding", b"if-match", b"if-none-match", b"x-forwarded-for"})
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::([0-9]{0,5}))?")
HIGHEST_PORT = 65535
# what is longer than any sensible value is read anew each time, lest a client fill the memory with it
CACHED_BYTES = 256


def read(scope: Scope) -> None:
    """Normalizes the path, joins list headers, chooses the content coding, and notes why to refuse the request."""
    path: str = scope["path"]
    if not path.startswith("/") or (path.endswith("/") and path != "/") or "//" in path:
        scope["path"] = normalize_path(path)
    lists: dict[bytes, bytes] = {}
    hosts = 0
    refusal: tuple[int, str] | None = None
    is_split = False
    may_be_elsewhere = False
    for name, value in scope["headers"]:
        if name in LISTS:
            if name in lists:
                is_split = True
                value = b"%b, %b" % (lists[name], value)  # noqa: PLW2901 (all lines as one)
            lists[name] = value
        elif name == b"host":
            hosts += 1
            if not _is_host(value):
                refusal = 400, "the Host header names no host"
        elif name == b"upgrade" and b"websocket" in value.lower():
            refusal = 404, "Not Found"
        elif name == b"x-try-elsewhere":
            may_be_elsewhere = True
    if is_split:
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in LISTS] + list(lists.items())
    if hosts != 1 and (hosts or scope["http_version"] == "1.1"):
        refusal = 400, "a request has one Host header"
    scope[CODING] = coding_of(lists.get(b"accept-encoding", b""))
    scope[FORWARDED_FOR] = lists.get(b"x-forwarded-for", b"")
    scope[REFUSAL] = refusal
    scope[ELSEWHERE] = may_be_elsewhere


def reading(app: App) -> App:
    """`app`, for requests that were read."""

    # no coroutine of its own, but the app's: one less to be made for each request
    def read_and_call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            read(scope)
        return app(scope, receive, send)

    return read_and_call


def _is_host(value: bytes) -> bool:
    return _is_short_host(value) if len(value) <= CACHED_BYTES else False


@lru_cache(1000)
def _is_short_host(value: bytes) -> bool:
    found = HOST.fullmatch(value)
    return found is not None and (not found[1] or int(found[1]) <= HIGHEST_PORT)
