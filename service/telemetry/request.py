"""What is known of the request that is being handled. It is kept in its ASGI scope, for its span and its log lines."""

import random
from contextvars import ContextVar

from service.asgi import Scope
from service.telemetry.failure import Failure

# keys of the scope
TRACE_ID = "service.trace_id"
SPAN_ID = "service.span_id"
SPAN = "service.span"
PARENT = "service.parent"
FAILURE = "service.failure"
CACHE_RESULT = "service.cache_result"
IS_RECORDED = "service.is_recorded"
# longer than any that the gateway makes
LONGEST_REQUEST_ID = 64

_current: ContextVar[Scope | None] = ContextVar("request", default=None)


def enter(scope: Scope) -> None:
    """Makes this the request that is being handled.

    uvicorn runs each request in a context of its own, so what is set here ends with the request.
    """
    _current.set(scope)


def current() -> Scope | None:
    """The request that is being handled, or that caused the work that is being done."""
    return _current.get()


def trace_id_of(scope: Scope) -> str:
    """The request's trace id, 32 hexadecimal digits; made now, if nothing has asked for it yet."""
    if TRACE_ID not in scope:
        scope[TRACE_ID] = random.getrandbits(128)
    return f"{scope[TRACE_ID]:032x}"


def span_id_of(scope: Scope) -> str:
    """The id of the request's server span, 16 hexadecimal digits; made now, if nothing has asked for it yet."""
    if SPAN_ID not in scope:
        scope[SPAN_ID] = random.getrandbits(64)
    return f"{scope[SPAN_ID]:016x}"


def request_id_of(scope: Scope) -> str:
    """The `X-Request-ID` that the gateway gave the request; empty where there is none."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value[:LONGEST_REQUEST_ID].decode("latin-1")
            return text
    return ""


def note_cache(result: str) -> None:
    """Notes what the cache said, for the span of the present request."""
    scope = _current.get()
    if scope is not None:
        scope[CACHE_RESULT] = result


def note_failure(scope: Scope | None, failure: Failure) -> None:
    """Notes why this request fails."""
    if scope is not None:
        scope[FAILURE] = failure


def failure_of(scope: Scope) -> Failure | None:
    """Why the request failed, if that was noted."""
    return scope.get(FAILURE)
