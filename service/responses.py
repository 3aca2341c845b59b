"""What all responses have in common: security headers, content coding, HEAD, and the status that asks for a retry.

`with_headers` is outside of admission, since a rejected request has the headers too; `serving` is inside of it.
"""

import time
from collections.abc import Awaitable

from service.asgi import App, Message, Receive, Scope, Send
from service.coding import IDENTITY, Coding, encoding
from service.requests import CODING, ELSEWHERE
from service.telemetry.request import trace_id_of

# Asks the gateway to try another replica, if the request has X-Try-Elsewhere, with which the gateway offers to.
ELSEWHERE_STATUS = 502
# a 503 that took longer is not handed on: if a failure takes this long to notice, other replicas are slow as well
ELSEWHERE_SECONDS = 0.5
# methods that may have been executed although they failed, and must therefore not be handed on afterwards
WRITES = frozenset({"POST", "PATCH", "DELETE"})
# key of a request's ASGI scope: the headers to add to its response
ADDED = "service.added_headers"
# headers of every response; for those in DEFAULTS, the response's own value takes precedence
HEADERS = [
    # also of responses that are too short to be encoded: the next one may be longer
    (b"vary", b"accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
DEFAULTS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


def with_headers(app: App) -> App:
    """`app` with the security headers, and those in `scope[ADDED]`, in every response."""

    # for speed: returns the app's coroutine, and the server's for each message, instead of wrapping them
    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return app(scope, receive, send)
        added = scope[ADDED] = list(HEADERS)

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                own = dict(message["headers"])
                message["headers"] = headers = [*message["headers"], *added]
                for pair in DEFAULTS:
                    if pair[0] not in own:
                        headers.append(pair)
            return send(message)

        return app(scope, receive, send_with_headers)

    return call


def serving(app: App) -> App:
    """`app` with encoded responses, and HEAD served as GET: the server leaves the body out."""

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return app(scope, receive, send)
        coding: Coding = scope[CODING]
        if coding is not IDENTITY:
            send = encoding(send, coding)
        if scope[ELSEWHERE] and scope["method"] not in WRITES:
            send = _or_elsewhere(send)
        if scope["method"] == "HEAD":
            return _serve_as_get(app, scope, receive, send)
        return app(scope, receive, send)

    return call


async def _serve_as_get(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    # created before the copy, so that the response and the outer layers have the same trace id
    trace_id_of(scope)
    as_get = {**scope, "method": "GET"}
    try:
        await app(as_get, receive, send)
    finally:
        # what was recorded about the request, for the outer layers
        scope.update(as_get, method="HEAD")


def _or_elsewhere(send: Send) -> Send:
    """`send` that replaces an early 503 by the status that makes the gateway try another replica."""
    due = time.monotonic() + ELSEWHERE_SECONDS

    def send_or_pass_on(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start" and message["status"] == 503 and time.monotonic() < due:
            message["status"] = ELSEWHERE_STATUS
        return send(message)

    return send_or_pass_on
