"""The current request's telemetry context (ids, span, failure), kept in its ASGI scope."""

import random
from contextvars import ContextVar

from service.asgi import Scope
from service.telemetry.failure import Failure

# keys of the scope
TRACE_ID = "service.trace_id"
SPAN_ID = "service.span_id"
SPAN = "service.span"
PARENT = "service.parent"
TRACEPARENT = "service.traceparent"
FAILURE = "service.failure"
CACHE_RESULT = "service.cache_result"
IS_RECORDED = "service.is_recorded"
# longer than those that the gateway creates
LONGEST_REQUEST_ID = 64

_current: ContextVar[Scope | None] = ContextVar("request", default=None)


def enter(scope: Scope) -> None:
    """Makes this the current request.

    uvicorn runs each request in a context of its own, so that nothing has to be reset.
    """
    _current.set(scope)


def current() -> Scope | None:
    """The scope of the current request, or of the request that started the current background task."""
    return _current.get()


def trace_id_of(scope: Scope) -> str:
    """The request's trace id, 32 hexadecimal digits; created at the first call."""
    if TRACE_ID not in scope:
        scope[TRACE_ID] = random.getrandbits(128)
    return f"{scope[TRACE_ID]:032x}"


def span_id_of(scope: Scope) -> str:
    """The id of the request's server span, 16 hexadecimal digits; created at the first call."""
    if SPAN_ID not in scope:
        scope[SPAN_ID] = random.getrandbits(64)
    return f"{scope[SPAN_ID]:016x}"


def request_id_of(scope: Scope) -> str:
    """The `X-Request-ID` that the gateway set; empty if there is none."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value[:LONGEST_REQUEST_ID].decode("latin-1")
            return text
    return ""


def note_cache(result: str) -> None:
    """Sets the cache's result (hit, miss, bypass, error) for the span of the current request."""
    scope = _current.get()
    if scope is not None:
        scope[CACHE_RESULT] = result


def note_failure(scope: Scope | None, failure: Failure) -> None:
    """Sets why the request fails."""
    if scope is not None:
        scope[FAILURE] = failure


def failure_of(scope: Scope) -> Failure | None:
    """Why the request failed, if that is known."""
    return scope.get(FAILURE)
